"""One assertion for tests of lesson checks: the check accepts what is right and names what is wrong."""

import inspect
import re

import pytest

from medattack_edu.course.checks import all_exercises, check
from medattack_edu.course.checks.framework import CheckFailed

LEAST_MISTAKES = 5
LEAST_ALTERNATIVES = 2
TELLING_LINE = 12  # shorter lines, such as `return x`, give nothing away


def assert_check_is_sound(name, *, solution, mistakes, alternatives):
    """Assert that the check of an exercise can be trusted.

    The stub isn't accepted; the solution and each alternative are, as the very objects given; each mistake is refused
    with its fragment in the message, which gives no line of the solution away, and the reference takes its place.

    Args:
        name: the exercise.
        solution: a right function, as the lesson's solution has it.
        mistakes: ``{label: (function, fragment)}``, five or more plausible ones; each fragment is a piece of the
            message that shows that the check found this mistake and not another.
        alternatives: two or more right functions, written otherwise than the solution.
    """
    assert len(mistakes) >= LEAST_MISTAKES, f"{len(mistakes)} mistakes; give {LEAST_MISTAKES} plausible ones"
    assert len(alternatives) >= LEAST_ALTERNATIVES, f"{len(alternatives)} alternatives; give {LEAST_ALTERNATIVES}"
    exercise = all_exercises()[name]

    stub = _stub(exercise)
    assert "Not written yet" in _refusal(name, stub), "the stub was taken for an attempt"
    assert _goes_on_with(name, stub) is exercise.reference

    for right in (solution, *alternatives):
        assert _goes_on_with(name, right, strict=True) is right

    for label, (wrong, fragment) in mistakes.items():
        assert fragment.strip(), f"{label}: say which message is expected"
        message = _refusal(name, wrong)
        assert fragment in message, f"{label}: {fragment!r} isn't in {message!r}"
        told = [line for line in _body_lines(solution) if line in _without_own_line(message)]
        assert not told, f"{label}: the message gives the solution away: {told}"
        assert _goes_on_with(name, wrong) is exercise.reference, label


def _goes_on_with(name, fn, strict=False):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDATTACK_STRICT", "1" if strict else "0")
        patch.setenv("MEDATTACK_PROGRESS", "off")
        return getattr(check, name)(fn)


def _refusal(name, fn):
    with pytest.raises(CheckFailed) as caught:
        _goes_on_with(name, fn, strict=True)
    return str(caught.value)


def _stub(exercise):
    """What a learner finds in the lesson: the signature, a docstring and an ellipsis."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for parameter in inspect.signature(exercise.reference).parameters.values()
    ]
    signature = inspect.Signature(parameters)
    namespace = {}
    exec(f'def {exercise.name}{signature}:\n    """Stub."""\n    # YOUR CODE HERE\n    ...\n', namespace)
    return namespace[exercise.name]


def _body_lines(function):
    """Lines of code that would give the function away: not its `def`, docstring or comments."""
    code = re.sub(r'""".*?"""', "", inspect.getsource(function), flags=re.DOTALL)
    lines = (line.strip() for line in code.splitlines())
    return [line for line in lines if len(line) >= TELLING_LINE and not line.startswith(("def ", "#", "@"))]


def _without_own_line(message):
    """The message without the line of the learner's own code that it quotes after an error."""
    return re.sub(r"\nLine \d+: `.*`", "", message)
