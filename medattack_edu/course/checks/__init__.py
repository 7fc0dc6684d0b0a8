"""`check.NAME(fn)` and `hint("NAME")`: what a learner meets. What checks are made of lives in `framework`."""

import importlib
import pkgutil
from difflib import get_close_matches

from medattack_edu import runtime
from medattack_edu.course.checks.framework import EXERCISES, HINTS, CheckFailed
from medattack_edu.course.checks.judging import NOT_STARTED, RIGHT, judge
from medattack_edu.course.notices import GOOD, NEUTRAL, NOT_YET, tell
from medattack_edu.course.progress import record


def all_exercises():
    """Every registered exercise by name; the lesson files are imported on the first call."""
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("lesson_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return EXERCISES


class Checks:
    """``fgs = check.fgs(fgs)`` checks your function and returns the one to go on with: yours, or the reference."""

    def __getattr__(self, name):
        exercise = None if name.startswith("_") else all_exercises().get(name)
        if exercise is None:
            raise AttributeError(f"There is no exercise {name!r}. {_names_near(name)}")

        def check_function(fn):
            return _answer(exercise, fn, judge(exercise, fn))

        check_function.__name__ = check_function.__qualname__ = name
        check_function.__doc__ = f"{exercise.title}. The function to write is called as ``{exercise.call}``."
        return check_function

    def __dir__(self):
        return sorted(all_exercises())

    def __repr__(self):
        return f"check.NAME(your_function), where NAME is one of {', '.join(dir(self))}"


def hint(name=None):
    """Show the next hint of the exercise, up to its last.

    Raises:
        ValueError: if there is no such exercise.
    """
    exercise = all_exercises().get(name) if isinstance(name, str) else None
    if exercise is None:
        raise ValueError(f'hint takes the name of an exercise in quotes, as in hint("fgs"). {_names_near(name)}')
    used = record.use_hint(name, HINTS, exercise.lesson)
    number = min(used + 1, HINTS)
    title = f"Hint {number} of {HINTS} for `{name}`" + (" (there are no more)" if used == HINTS else "")
    tell(NEUTRAL, title, exercise.hints[number - 1])


def _answer(exercise, fn, verdict):
    """Say the verdict and return the function to go on with; in strict mode raise unless it is right."""
    name = exercise.name
    record.check(name, exercise.lesson, right=verdict.kind == RIGHT)
    if verdict.kind == RIGHT:
        tell(GOOD, f"`{name}` is right.", f"{verdict.text}\nThe lesson goes on with your function.".strip())
        return fn
    if verdict.kind == NOT_STARTED:
        why = verdict.text or "Not written yet."
        tell(NEUTRAL, f"`{name}`: {why}", "The lesson goes on with the reference, come back any time.")
    else:
        why = verdict.text
        goes_on = f'The lesson goes on with the reference. `hint("{name}")` helps.'
        tell(NOT_YET, f"`{name}` is not there yet.", f"{why}\n{goes_on}", figure=verdict.figure)
    if runtime.strict():
        raise CheckFailed(f"{name}: {why}")
    return exercise.reference


def _names_near(name):
    names = sorted(all_exercises())
    near = get_close_matches(str(name), names, n=3, cutoff=0.5) or names
    return f"Did you mean {' or '.join(near)}?" if len(near) < len(names) else f"There are: {', '.join(names)}."


check = Checks()
