"""What a check is made of: registering an exercise, the `Mistake` it may find, and helpers that look at results.

How a learner's function is run and answered lives in `judging`; the exercises themselves in `lesson_NN`.
"""

import inspect
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import nn

HINTS = 3
TIME_LIMIT_S = 20.0

EXERCISES = {}


class Mistake(Exception):
    """A property that a learner's function lacks: what failed, on which input, with numbers.

    Args:
        text: one or two sentences to the learner; `backticks` set code. It never holds the solution.
        figure: a picture that shows it, where that helps.
    """

    def __init__(self, text, figure=None):
        super().__init__(text)
        self.figure = figure


class CheckFailed(AssertionError):
    """An exercise that isn't solved, in strict mode."""


@dataclass(frozen=True)
class Exercise:
    """One exercise, as `exercise` registers it."""

    name: str
    lesson: str
    title: str
    reference: Callable
    hints: tuple[str, ...]
    limit_s: float
    check: Callable

    @property
    def call(self):
        """How the check calls the function, in words: ``fgs(model, x, y, eps)``."""
        return f"{self.name}({', '.join(inspect.signature(self.reference).parameters)})"


def exercise(name, *, lesson, title, reference, hints, limit_s=TIME_LIMIT_S):
    """Register the decorated function as the check of an exercise.

    The check takes the learner's function, calls it as the reference may be called, and raises `Mistake` for the first
    property that fails. It returns None, or one line of praise that says what was seen.

    Args:
        name: what the lesson writes after ``check.``, and the name of the function to write.
        lesson: the lesson's two digits, ``"03"``.
        title: what is to be written, in a few words.
        reference: a right function, used while the learner's isn't; its signature is the documented call.
        hints: three, each saying more than the one before, the last nearly the answer.
        limit_s: seconds that the whole check may take.

    Raises:
        ValueError: if one of these doesn't fit, or the name is taken.
    """
    if not (name.isidentifier() and not name.startswith("_")):
        raise ValueError(f"name={name!r} can't follow `check.`. Use a plain function name, such as 'fgs'.")
    if not (len(lesson) == 2 and lesson.isdigit()):
        raise ValueError(f"lesson={lesson!r} of exercise {name!r}: give the lesson's two digits, such as '03'.")
    hints = (hints,) if isinstance(hints, str) else tuple(hints)
    if len(hints) != HINTS or not all(isinstance(hint, str) and hint.strip() for hint in hints):
        raise ValueError(f"Exercise {name!r} has {len(hints)} hints; it needs {HINTS}, each a text.")
    try:
        inspect.signature(reference)
    except (TypeError, ValueError):
        came = describe(reference)
        raise ValueError(f"The reference of exercise {name!r} is {came}; give a function with parameters.") from None

    def register(check):
        taken = EXERCISES.get(name)
        if taken and taken.check.__module__ != check.__module__:
            raise ValueError(f"Exercise {name!r} exists already, in {taken.check.__module__}. Choose another name.")
        EXERCISES[name] = Exercise(name, lesson, title, reference, hints, limit_s, check)
        return check

    return register


def call(fn, *args, **kwargs):
    """Call a learner's function on copies of tensors and arrays; modules and other objects are passed as they are.

    Returns:
        What the function returns.

    Raises:
        Mistake: if it changed one of its inputs in place, left PyTorch recording what is done to one, or returned None.
    """
    copied_args, copied_kwargs = _copied(args), _copied(kwargs)
    output = fn(*copied_args, **copied_kwargs)
    names = _parameter_names(fn, len(args))
    for name, before, after in [
        *zip(names, args, copied_args, strict=True),
        *((name, kwargs[name], copied_kwargs[name]) for name in kwargs),
    ]:
        if not _same(before, after):
            raise Mistake(
                f"Your function changed its input `{name}` in place, so whoever called it has lost the original. "
                "Work on a copy."
            )
        if _is_watched(after) and not _is_watched(before):
            raise Mistake(
                f"Your function left its caller's `{name}` watched by PyTorch (`requires_grad`, or a gradient in `.grad`), so the next "
                "gradient is added to this one. Watch a copy."
            )
    if output is None:
        raise Mistake("Your function gave back None. Does it end with a `return`?")
    return output


@contextmanager
def unchanged(model):
    """Raise `Mistake` if the block changes the model's mode, weights or buffers, thaws them, or leaves gradients on them."""
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    gradients = [_copied(parameter.grad) for parameter in model.parameters()]
    watched = [parameter.requires_grad for parameter in model.parameters()]
    yield
    if modes != [module.training for module in model.modules()]:
        raise Mistake("Your function switched the model between `train()` and `eval()` and left it so.")
    for name, value in model.state_dict().items():
        if not _same(before[name], value):
            raise Mistake(f"Your function changed the model itself: its `{name}` is another. Only the images may move.")
    if watched != [parameter.requires_grad for parameter in model.parameters()]:
        raise Mistake(
            "Your function changed whether the model's weights are watched (`requires_grad`), and left it so."
        )
    if not all(map(_same, gradients, (parameter.grad for parameter in model.parameters()))):
        raise Mistake(
            "Your function left gradients on the model's weights, which the next training step would add to its own. "
            "Ask for the gradient of the images alone."
        )


def expect_images(out, like, *, low=0.0, high=1.0, what="what you returned"):
    """Raise `Mistake` unless `out` is a tensor of `like`'s shape, dtype and device with values from `low` to `high`."""
    expect_tensor(out, shape=like.shape, dtype=like.dtype, what=what)
    if out.device != like.device:
        raise Mistake(f"The device of {what} is {out.device}; expected was {like.device}, as for what went in.")
    if out.numel() == 0:
        return
    darkest, brightest = out.min().item(), out.max().item()
    slack = 1e-6
    if darkest < low - slack or brightest > high + slack:
        outside = ((out < low - slack) | (out > high + slack)).sum().item()
        raise Mistake(
            f"The values of {what} run from {darkest:.3f} to {brightest:.3f}. Those of an image stay between "
            f"{low:g} and {high:g}; here {outside:,} of {out.numel():,} don't."
        )


def expect_detached(out, what="what you returned"):
    """Raise `Mistake` if `out` still hangs on the graph of what made it."""
    if out.requires_grad:
        raise Mistake(
            f"{_start(what)} still hang on the graph, PyTorch's recording of how they were made. Hand them out with `.detach()`."
        )


def expect_in_ball(out, x, eps, hint=""):
    """Raise `Mistake` if a pixel of `out` is further than `eps` from `x`; `hint` says where that comes from."""
    furthest = (out - x).abs().max().item()
    if furthest > eps + 1e-5:
        allowed = f"{255 * eps:.0f}/255" if eps < 0.05 else f"{eps:g}"
        came = f"{255 * furthest:.1f}/255" if eps < 0.05 else f"{furthest:.3f}"
        raise Mistake(
            f"A pixel has moved by {came}, and eps allows {allowed}, measured from `x`, the clean images. {hint}".rstrip()
        )


def curved_model(inputs, classes=2, *, hidden=24, steepness=4.0):
    """A small smooth model on images of `inputs` values, in eval mode and frozen like the lessons' victims.

    The steeper it is, the more its gradient turns on the way: what tells a walk of several steps from one long step.
    """
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, classes)).eval()
    with torch.no_grad():
        net[1].weight.mul_(1.5 * steepness)
        net[3].weight.mul_(steepness)
    return net.requires_grad_(False)


def expect_tensor(out, *, shape=None, dtype=None, what="what you returned"):
    """Raise `Mistake` unless `out` is a tensor of finite values, of this shape and dtype where they are given."""
    if not isinstance(out, torch.Tensor):
        raise Mistake(f"A tensor was expected for {what}; {describe(out)} came.")
    if shape is not None and tuple(out.shape) != tuple(shape):
        raise Mistake(f"The shape of {what} is {tuple(out.shape)}; expected was {tuple(shape)}.")
    if dtype is not None and out.dtype != dtype:
        raise Mistake(f"The type of {what} is {_dtype(out)}; expected was {str(dtype).removeprefix('torch.')}.")
    broken = out.numel() - out.isfinite().sum().item()
    if broken:
        raise Mistake(f"{broken:,} of {out.numel():,} values of {what} are NaN or infinite.")


def expect_number(out, what, *, low=None, high=None):
    """Raise `Mistake` unless `out` is one finite number from `low` to `high`; returns it as a float."""
    one_value = isinstance(out, torch.Tensor | np.ndarray | np.generic) and tuple(out.shape) == ()
    is_truth = isinstance(out, bool) or (one_value and _dtype(out) == "bool")
    if is_truth or not (isinstance(out, Real) or one_value):
        raise Mistake(f"{_start(what)} should be one number; {describe(out)} came.")
    number = float(out)
    if not np.isfinite(number):
        raise Mistake(f"{_start(what)} is {number}; a finite number was expected.")
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = (
            f"between {low:g} and {high:g}"
            if None not in (low, high)
            else (f"at least {low:g}" if high is None else f"at most {high:g}")
        )
        raise Mistake(f"{_start(what)} should be {bounds}; yours is {number:.4g}.")
    return number


def expect_close(out, expected, what, *, rtol=1e-4, atol=1e-5):
    """Raise `Mistake` unless `out` equals `expected` (a number, or a tensor of the same shape) up to the tolerances.

    The message gives the value that is furthest off, and where it stands.
    """
    if not isinstance(expected, torch.Tensor | np.ndarray) or expected.ndim == 0:
        number, expected = expect_number(out, what), float(expected)
        if abs(number - expected) > atol + rtol * abs(expected):
            raise Mistake(f"{_start(what)} should be {expected:.4g}; yours is {number:.4g}.")
        return
    expected = torch.as_tensor(expected)
    expect_tensor(out, shape=expected.shape, what=what)
    out, expected = out.detach().cpu().double(), expected.detach().cpu().double()
    off = (out - expected).abs()
    wrong = off > atol + rtol * expected.abs()
    if wrong.any():
        place = np.unravel_index(off.argmax().item(), tuple(off.shape))
        raise Mistake(
            f"{_start(what)} should be {expected[place]:.4g} at position {tuple(map(int, place))}; "
            f"yours is {out[place]:.4g}. {wrong.sum().item():,} of {wrong.numel():,} values differ."
        )


def describe(value):
    """A value in a few words, for a message: ``a tensor (4, 3, 8, 8) of float32``."""
    if value is None or value is ...:
        return str(value)
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {_dtype(value)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array {value.shape} of {_dtype(value)}"
    if isinstance(value, bool | str):
        return repr(value)
    if isinstance(value, Real):
        return f"the number {value:.4g}"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"an object of type {type(value).__name__}"


def _is_watched(value):
    """Whether PyTorch records what is done to a tensor, or keeps a gradient with it."""
    return isinstance(value, torch.Tensor) and (value.requires_grad or (value.is_leaf and value.grad is not None))


def _start(what):
    return what[0].upper() + what[1:]


def _dtype(value):
    return str(value.dtype).removeprefix("torch.")


def _copied(value):
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


def _same(before, after):
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        return torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
    if type(before) in (list, tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    if type(before) is dict:
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    return type(before) is type(after)


def _parameter_names(fn, count):
    """The names under which `fn` takes its first arguments; `*args` and unreadable signatures get a number."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"argument {number}" for number in range(len(names) + 1, count + 1)]
