"""How a learner's function is judged: run by its check under a time limit, with every outcome put in words.

Nothing here knows an exercise. Whatever the function does, the notebook's random state, gradient mode and signal
handlers are afterwards what they were.
"""

import ast
import dis
import inspect
import random
import signal
import textwrap
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from medattack_edu.course.checks.framework import Mistake, describe

RIGHT, NOT_STARTED, NOT_YET = "right", "not started", "not yet"

SEED = 0  # the same function always gets the same verdict
RING_AGAIN_S = 1e-4  # a bare `except` swallows an alarm; one of many falls outside of it
STUB_MARK = "# YOUR CODE HERE"  # what `medattack build` leaves, above a line with an ellipsis


@dataclass(frozen=True)
class Verdict:
    """`kind` is RIGHT, NOT_STARTED or NOT_YET; `text` says why to the learner, with a figure where it helps."""

    kind: str
    text: str = ""
    figure: Any = None


class OutOfTime(BaseException):
    """The time limit has passed. Not an `Exception`, so that a learner's ``except Exception`` doesn't catch it."""


def judge(exercise, fn):
    """Run the exercise's check on `fn`; returns a `Verdict` and never raises, except when the learner interrupts."""
    if not callable(fn):
        name = exercise.name
        return Verdict(
            NOT_YET,
            f"`check.{name}` takes the function itself, and {describe(fn)} came. Leave out the call: "
            f"`{name} = check.{name}({name})`.",
        )
    if fn is exercise.reference:
        return Verdict(NOT_STARTED, "This is the reference. Run the cell that defines your function, then this one.")
    functions = _functions(fn)
    if functions and all(map(_is_empty, functions)):
        return Verdict(NOT_STARTED)
    if refused := _refused_call(exercise, fn):
        return Verdict(NOT_YET, refused)
    verdict = _run(exercise, fn)
    if verdict.kind == NOT_YET and any(_is_empty(function) or _has_untouched_stub(function) for function in functions):
        return Verdict(NOT_STARTED)
    return verdict


def _run(exercise, fn):
    try:
        with _world_restored():
            praise = _within(exercise.limit_s, exercise.check, fn)
        return Verdict(RIGHT, praise or "")
    except Mistake as mistake:
        return Verdict(NOT_YET, str(mistake), mistake.figure)
    except OutOfTime:
        return Verdict(NOT_YET, f"It did not come back within {exercise.limit_s:g} s: is there a loop that never ends?")
    except (Exception, SystemExit) as error:
        return Verdict(NOT_YET, _error_in_words(error, fn))


def _error_in_words(error, fn):
    """The error, and the line of the learner's function that it came from; no library frames."""
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    frame = _learners_frame(error, fn)
    if frame is None:
        return (
            f"What your function gave back could not be checked ({what}). Does it return what its docstring promises?"
        )
    source = f": `{frame.line.strip()}`" if frame.line else ""
    return f"Your code stopped with {what}\nLine {frame.lineno}{source}"


def _learners_frame(error, fn):
    """The innermost frame of the traceback that stands in the learner's own file, or None."""
    codes = {function.__code__ for function in _functions(fn)}
    files = {code.co_filename for code in codes}
    entered, innermost = False, None
    for frame, line in traceback.walk_tb(error.__traceback__):
        entered = entered or frame.f_code in codes
        if entered and frame.f_code.co_filename in files:
            innermost = traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)
    return innermost


def _functions(fn):
    """The plain Python functions that a callable is made of: itself, its methods, or what a partial or method wraps."""
    fn = inspect.unwrap(fn)
    fn = getattr(fn, "func", fn)
    fn = getattr(fn, "__func__", fn)
    if isinstance(fn, FunctionType):
        return [fn]
    owner = fn if isinstance(fn, type) else type(fn)
    return [member for member in vars(owner).values() if isinstance(member, FunctionType)]


def _is_empty(function):
    """Whether the body is only a docstring, `...`, `pass`, or ``raise NotImplementedError``: read from the bytecode.

    Bytecode is there even where the source isn't, and comments don't count.
    """
    ignored = ("RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "MAKE_CELL")
    steps = [step for step in dis.get_instructions(function) if step.opname not in ignored]
    names = {step.opname for step in steps}
    if names <= {"LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}:
        return [step.argval for step in steps if step.opname.endswith("CONST")] in ([None], [...])
    only_raises = names <= {"LOAD_GLOBAL", "LOAD_CONST", "PUSH_NULL", "PRECALL", "CALL", "RAISE_VARARGS"}
    return only_raises and function.__code__.co_names == ("NotImplementedError",)


def _has_untouched_stub(function):
    """Whether the stub's mark and the ellipsis under it still stand together; False where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return False
    lines = source.splitlines()
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and node.value.value is ...
        and lines[node.lineno - 2].strip() == STUB_MARK
        for node in ast.walk(tree)
    )


def _refused_call(exercise, fn):
    """Why `fn` can't be called as documented, or None."""
    try:
        takes = inspect.signature(fn)
        documented = inspect.signature(exercise.reference)
    except (TypeError, ValueError):
        return None
    positional, keywords = [], {}
    for parameter in documented.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(parameter.name)
        elif parameter.kind == parameter.KEYWORD_ONLY:
            keywords[parameter.name] = parameter.name
    try:
        takes.bind(*positional, **keywords)
    except TypeError as error:
        return f"It is called as `{exercise.call}`, and your function takes `{takes}`: {error}."
    return None


@contextmanager
def _world_restored():
    """Run the block with fixed seeds and gradients on; then put the random states and the gradient mode back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    random.seed(SEED)
    np.random.seed(SEED)
    torch.default_generator.manual_seed(SEED)
    if cuda_states:
        torch.cuda.manual_seed_all(SEED)
    gradients = torch.is_grad_enabled()
    try:
        torch.set_grad_enabled(True)
        yield
    finally:
        torch.set_grad_enabled(gradients)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


def _within(seconds, function, *args):
    """Call ``function(*args)``, stopped by `OutOfTime` in time where the platform and the thread have alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return function(*args)

    def ring(signum, frame):
        while frame:  # once the function is left, a late alarm must not hit whoever comes next
            if frame.f_code is function.__code__:
                raise OutOfTime
            frame = frame.f_back

    started = time.monotonic()
    previous = signal.signal(signal.SIGALRM, ring)
    others_delay, others_interval = signal.setitimer(signal.ITIMER_REAL, seconds, RING_AGAIN_S)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if others_delay:  # an alarm that was already running, of a test runner for instance
            left = max(others_delay - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, others_interval)
