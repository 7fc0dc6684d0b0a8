"""Claims: what a lesson's prose asserts about results, as a line of code; and results, numbers kept under a name.

Checks of exercises live in `checks`.
"""

import math

from medattack_edu import runtime
from medattack_edu.course.notices import GOOD, NEUTRAL, NOT_YET, tell

CLAIM_RECORD = "application/vnd.medattack.claim+json"
RESULT_RECORD = "application/vnd.medattack.result+json"


class ClaimFailed(AssertionError):
    """A claim that doesn't hold, in strict mode."""


def claim(text, holds, detail=None):
    """Say whether what a lesson asserts holds for the images and the models at hand.

    In a notebook the output carries a record of type `CLAIM_RECORD` as well, so that `medattack run` can count claims.

    Args:
        text: the assertion, a short sentence.
        holds: True or False, or a single truth value of NumPy or PyTorch.
        detail: the numbers behind it, shown beside it.

    Raises:
        ValueError: if `holds` isn't one truth value.
        ClaimFailed: if it doesn't hold and ``MEDATTACK_STRICT=1``.
    """
    holds = _truth_value(holds)
    detail = "" if detail is None else str(detail)
    record = {CLAIM_RECORD: {"text": text, "holds": holds, "detail": detail}}
    if holds:
        tell(GOOD, f"Holds: {text}", detail, record=record)
    else:
        tell(NOT_YET, f"Does not hold here: {text}", detail, record=record)
        if runtime.strict():
            raise ClaimFailed(f"does not hold here: {text}" + (f" ({detail})" if detail else ""))


def result(name, value):
    """Show a number under a name, and keep it: `medattack run --sweep` collects such numbers over many runs.

    Args:
        name: what the number is, the same in every run: "accuracy under FGS". What is swept doesn't belong in it.
        value: one finite number; the interval of a score (its ``.low`` and ``.high``) is kept with it.

    Raises:
        ValueError: if `value` isn't one finite number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: PyTorch's, for a tensor of several numbers
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"A result is one finite number; {str(value)[:60]} came for {name!r}. Take a mean, or leave it out where there is none."
        )
    low, high = (float(getattr(value, side)) if hasattr(value, side) else None for side in ("low", "high"))
    interval = "" if low is None or high is None else f"  ({low:.4g} to {high:.4g})"
    record = {RESULT_RECORD: {"name": name, "value": number, "low": low, "high": high}}
    tell(NEUTRAL, f"{name}: {number:.4g}{interval}", record=record)


def _truth_value(holds):
    """`holds` as a Python bool, without importing NumPy or PyTorch: their truth values look alike from outside."""
    if isinstance(holds, bool):
        return holds
    of_booleans = str(getattr(holds, "dtype", "")).removeprefix("torch.") == "bool"
    if of_booleans and tuple(holds.shape) == ():
        return bool(holds)
    if of_booleans:
        came = f"{tuple(holds.shape)} truth values came"
        advice = "Sum them up in one: (a < b).all(), (a < b).any(), or compare their means."
    else:
        came = f"{type(holds).__name__} came ({str(holds)[:60]!r})"
        advice = 'Compare two numbers: claim("PGD beats FGS", pgd.accuracy < fgs.accuracy).'
    raise ValueError(f"A claim takes one truth value, True or False; {came}. {advice}")
