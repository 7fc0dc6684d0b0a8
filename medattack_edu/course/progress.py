"""What a learner has done: exercises solved, hints used, quiz answers, time. What is right lives in `checks`.

The page that is made of it is `summary`.
"""

import json
import os
import sys
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import PurePath

from medattack_edu import runtime
from medattack_edu.course.notices import GOOD, NEUTRAL, NOT_YET, in_kernel, rich, show, tell

EMPTY = {"version": 1, "exercises": {}, "quizzes": {}, "lessons": {}}
PAUSE_S = 30 * 60  # between two checks, hints or answers: a longer gap was a break, and not work
MOST = 1e9  # hints or seconds: beyond it a number is damage
LOCK_WAIT_S = 5  # a write takes milliseconds; whoever holds the lock longer than this is stuck


class Record:
    """The record of one learner, shared by all kernels on this machine.

    Each change reads the file, changes it and writes it whole under a lock, so two kernels lose nothing of each
    other's. Where nothing may be written (`recording` is False) or can be, changes last until the kernel stops.
    """

    def __init__(self):
        self._remembered = None
        self._writable = True

    def read(self):
        """The record as it is now: ``{"exercises": {name: {...}}, "quizzes": {question: {...}}, "lessons": {...}}``.

        Of an exercise: ``met`` (when its check first ran, be it on an empty gap), ``solved``, ``hints``,
        ``hints_when_solved``, ``solution`` (when its check passed in a solution's notebook). Of a quiz question:
        ``right_at_once``, ``right``. Of a lesson, by its number: ``seconds`` at work, ``last`` (when something was last
        done). Times are ISO 8601 with their zone. Old records lack all but ``solved``, ``hints`` and the answers.
        """
        return self.update(lambda record: deepcopy(record), write=False)

    def check(self, name, lesson, right):
        """Note that an exercise's check ran, and whether it passed; in a solution's notebook that solves nothing."""

        def note(record):
            exercise = _entry(record, "exercises", name)
            exercise.setdefault("met", _now())
            if right and in_solution():
                exercise.setdefault("solution", _now())
            elif right:
                _solve(exercise)
            _work(record, lesson)

        self.update(note)

    def solve(self, name):
        """Note that the exercise is solved; the time of the first solution stays."""
        self.update(lambda record: _solve(_entry(record, "exercises", name)))

    def use_hint(self, name, most, lesson=None):
        """Note one more hint, up to `most`; returns how many were used before."""

        def one_more(record):
            exercise = _entry(record, "exercises", name)
            before = exercise.get("hints", 0)
            exercise["hints"] = min(before + 1, most)
            _work(record, lesson)
            return before

        return self.update(one_more)

    def answer(self, question, right):
        """Note an answer to a quiz question. Only the first answer counts as known."""

        def note(record):
            quiz = _entry(record, "quizzes", question)
            quiz.setdefault("right_at_once", bool(right))
            quiz["right"] = quiz.get("right", False) or bool(right)
            _work(record)

        self.update(note)

    def clear(self):
        """Forget everything."""
        self.update(lambda record: record.update(deepcopy(EMPTY)))

    def update(self, change, write=True):
        """Apply ``change(record)`` and return what it returns."""
        if recording() and self._writable:
            try:
                return self._update_file(change, write)
            except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
                self._writable = False
                tell(NOT_YET, "Progress can't be saved; all else works.", f"It lasts until this kernel stops. {error}")
        if self._remembered is None:
            self._remembered = deepcopy(EMPTY)
        return change(self._remembered)

    def _update_file(self, change, write):
        with _locked_file() as path:
            record = _load(path)
            result = change(record)
            if write:
                _write(path, record)
            return result


class Progress:
    """`progress()` shows a table of the lessons, `progress.save(FILE)` writes a page, `progress.reset()` starts anew."""

    def __call__(self):
        summary = self._summary()
        rows = [_row(lesson) for lesson in summary.lessons]
        to_keep = '`progress.save("summary.html")`' if in_kernel() else "`medattack progress --html summary.html`"
        footer = (
            f"{summary.in_words} Quiz questions answered: {summary.answered}, right at once: {summary.right_at_once}.\n"
            f"{to_keep} writes a page to keep or to print."
        )
        show(_table_text(rows, footer), _table_html(rows, footer))

    def save(self, path="summary.html"):
        """Write what was solved as one HTML page that needs no network and prints on A4.

        Args:
            path: the file. A summary that is there is replaced, any other file is not.

        Raises:
            ValueError: if it can't be written there; the message says why.
        """
        from medattack_edu.course.summary import write

        written = write(self._summary(), path)
        tell(GOOD, "Your summary is written.", f"Open it in a browser, to read or to print it: {written}")

    def _summary(self):
        from medattack_edu.course.checks import all_exercises
        from medattack_edu.course.summary import summarise

        return summarise(record.read(), all_exercises().values())

    def reset(self):
        """Forget what was solved, the hints and the quiz answers."""
        solved = sum("solved" in entry for entry in record.read()["exercises"].values())
        record.clear()
        tell(NEUTRAL, "Progress starts anew.", f"Solved exercises forgotten: {solved}. Your notebooks stay.")

    def __repr__(self):
        return "progress() shows what you have solved; progress.save(FILE) writes a page; progress.reset() starts anew"


def recording():
    """Whether progress is written: not in strict mode, and not under `medattack run`; nobody learns there."""
    return not runtime.strict() and os.environ.get("MEDATTACK_PROGRESS") != "off"


def in_solution():
    """Whether this kernel belongs to a notebook in a folder `solutions`, as far as JupyterLab or VS Code says."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    notebook = os.environ.get("JPY_SESSION_NAME") or getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or ""
    return PurePath(notebook).parent.name == "solutions"


def when(time):
    """A time of the record as a datetime."""
    return datetime.fromisoformat(time)


@contextmanager
def _locked_file():
    from filelock import FileLock

    folder = runtime.cache_dir("progress")
    with FileLock(folder / "progress.lock", timeout=LOCK_WAIT_S):
        yield folder / "progress.json"


def _load(path):
    """The record in the file. A damaged file is kept under another name, and what can be read of it goes on."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return deepcopy(EMPTY)
    except (ValueError, RecursionError):
        record = None
    whole, lost = _whole_part(record)
    if not lost:
        return whole
    aside = path.with_name(f"damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json")
    path.replace(aside)
    _write(path, whole)
    kept = sum(len(whole[part]) for part in _ENTRIES)
    goes_on = f"its {kept} readable entries go on" if kept else "a new one is started"
    tell(NOT_YET, f"The progress file was damaged; {goes_on}.", f"The old one is kept as {aside}.")
    return whole


def _write(path, record):
    with runtime.atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _whole_part(record):
    """What of a record is as this module writes it, and whether anything isn't. What it doesn't know, it keeps."""
    if not isinstance(record, dict) or record.get("version") != EMPTY["version"]:
        return deepcopy(EMPTY), True
    whole, lost = dict(record), False
    for part, is_whole in _ENTRIES.items():
        entries = record.get(part, {} if part in _ADDED_LATER else None)
        kept = {name: entry for name, entry in entries.items() if is_whole(entry)} if isinstance(entries, dict) else {}
        lost = lost or not isinstance(entries, dict) or len(kept) < len(entries)
        whole[part] = kept
    return whole, lost


def _is_exercise(entry):
    return (
        isinstance(entry, dict)
        and all(_is_count(entry.get(name, 0)) for name in ("hints", "hints_when_solved"))
        and all(_is_time(entry[name]) for name in ("met", "solved", "solution") if name in entry)
    )


def _is_quiz(entry):
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name, default), bool) for name, default in (("right_at_once", None), ("right", False))
    )


def _is_lesson(entry):
    return isinstance(entry, dict) and _is_count(entry.get("seconds")) and _is_time(entry.get("last"))


_ENTRIES = {"exercises": _is_exercise, "quizzes": _is_quiz, "lessons": _is_lesson}
_ADDED_LATER = ("lessons",)  # a record without it is an old one, and whole


def _is_count(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST


def _is_time(value):
    try:
        time = when(value)
        return time.tzinfo is not None and 2000 <= time.year < 3000  # beyond, no calendar is sure to follow
    except (TypeError, ValueError):
        return False


def _entry(record, part, name):
    return record[part].setdefault(name, {})


def _solve(exercise):
    """The first solution stays, with its time and the hints that had been used."""
    if "solved" not in exercise:
        exercise |= {"solved": _now(), "hints_when_solved": exercise.get("hints", 0)}


def _work(record, lesson=None):
    """Count the time since something was last done in this lesson (default: in the latest), unless it was a break."""
    lessons, now = record["lessons"], _now()
    if lesson is None:
        lesson = max(lessons, key=lambda number: when(lessons[number]["last"]), default=None)
    if lesson is None:
        return
    entry = lessons.setdefault(lesson, {"seconds": 0, "last": now})
    passed = (when(now) - when(entry["last"])).total_seconds()
    if 0 <= passed <= PAUSE_S:  # below 0 after a change of the clock
        entry["seconds"] += round(passed)
    entry["last"] = now


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def _row(lesson):
    """One lesson as (number, "2 of 3", exercises in words, hints used, time)."""
    solved = sum(exercise.is_solved for exercise in lesson.exercises)
    names = ", ".join(f"`{exercise.name}` {'✓' if exercise.is_solved else '–'}" for exercise in lesson.exercises)
    hints = sum(exercise.hints for exercise in lesson.exercises)
    return lesson.number, f"{solved} of {len(lesson.exercises)}", names, str(hints), lesson.time or "–"


HEADINGS = ("Lesson", "Solved", "Exercises", "Hints used", "Time")


def _table_text(rows, footer):
    rows = [HEADINGS, *(tuple(cell.replace("`", "") for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, footer.replace("`", "")])


def _table_html(rows, footer):
    head = "".join(f'<th scope="col" style="text-align: left">{heading}</th>' for heading in HEADINGS)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{rich(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    said = f'<p style="white-space: pre-wrap">{rich(footer)}</p>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}"


record = Record()
progress = Progress()
