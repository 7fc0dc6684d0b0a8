"""What a learner has done: exercises solved, hints used, quiz answers. What is right lives in `checks`."""

import json
import os
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime

from medattack_edu import runtime
from medattack_edu.course.notices import NEUTRAL, NOT_YET, rich, show, tell

EMPTY = {"version": 1, "exercises": {}, "quizzes": {}}
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
        """The record as it is now: ``{"exercises": {name: {...}}, "quizzes": {question: {...}}}``."""
        return self.update(lambda record: deepcopy(record), write=False)

    def solve(self, name):
        """Note that the exercise is solved; the time of the first solution stays."""
        self.update(lambda record: _entry(record, "exercises", name).setdefault("solved", _now()))

    def use_hint(self, name, most):
        """Note one more hint, up to `most`; returns how many were used before."""

        def one_more(record):
            exercise = _entry(record, "exercises", name)
            before = exercise.get("hints", 0)
            exercise["hints"] = min(before + 1, most)
            return before

        return self.update(one_more)

    def answer(self, question, right):
        """Note an answer to a quiz question. Only the first answer counts as known."""

        def note(record):
            quiz = _entry(record, "quizzes", question)
            quiz.setdefault("right_at_once", bool(right))
            quiz["right"] = quiz.get("right", False) or bool(right)

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
                with runtime.atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            return result


class Progress:
    """`progress()` shows a table of the lessons; `progress.reset()` starts anew."""

    def __call__(self):
        from medattack_edu.course.checks import all_exercises

        known = record.read()
        lessons = {}
        for exercise in sorted(all_exercises().values(), key=lambda exercise: exercise.lesson):
            lessons.setdefault(exercise.lesson, []).append((exercise, known["exercises"].get(exercise.name, {})))
        rows = [_row(lesson, entries) for lesson, entries in lessons.items()]
        quizzes = known["quizzes"].values()
        footer = f"Quiz questions answered: {len(quizzes)}, right at once: {sum(q['right_at_once'] for q in quizzes)}."
        show(_table_text(rows, footer), _table_html(rows, footer))

    def reset(self):
        """Forget what was solved, the hints and the quiz answers."""
        solved = sum("solved" in entry for entry in record.read()["exercises"].values())
        record.clear()
        tell(NEUTRAL, "Progress starts anew.", f"Solved exercises forgotten: {solved}. Your notebooks stay.")

    def __repr__(self):
        return "progress() shows what you have solved; progress.reset() starts anew"


def recording():
    """Whether progress is written: not in strict mode, and not under `medattack run`; nobody learns there."""
    return not runtime.strict() and os.environ.get("MEDATTACK_PROGRESS") != "off"


@contextmanager
def _locked_file():
    from filelock import FileLock

    folder = runtime.cache_dir("progress")
    with FileLock(folder / "progress.lock", timeout=LOCK_WAIT_S):
        yield folder / "progress.json"


def _load(path):
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if _is_whole(record):
            return record
    except FileNotFoundError:
        return deepcopy(EMPTY)
    except ValueError:
        pass
    aside = path.with_name(f"damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json")
    path.replace(aside)
    tell(NOT_YET, "The progress file was damaged; a new one is started.", f"The old one is kept as {aside}.")
    return deepcopy(EMPTY)


def _is_whole(record):
    if not isinstance(record, dict) or record.get("version") != EMPTY["version"]:
        return False
    parts = [record.get("exercises"), record.get("quizzes")]
    if not all(isinstance(part, dict) and all(isinstance(entry, dict) for entry in part.values()) for part in parts):
        return False
    return all(isinstance(entry.get("hints", 0), int) for entry in parts[0].values()) and all(
        isinstance(entry.get("right_at_once"), bool) for entry in parts[1].values()
    )


def _entry(record, part, name):
    return record[part].setdefault(name, {})


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def _row(lesson, entries):
    """One lesson as (number, "2 of 3", exercises in words, hints used)."""
    solved = sum("solved" in entry for _, entry in entries)
    names = ", ".join(f"`{exercise.name}` {'✓' if 'solved' in entry else '–'}" for exercise, entry in entries)
    return lesson, f"{solved} of {len(entries)}", names, str(sum(entry.get("hints", 0) for _, entry in entries))


HEADINGS = ("Lesson", "Solved", "Exercises", "Hints used")


def _table_text(rows, footer):
    rows = [HEADINGS, *(tuple(cell.replace("`", "") for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, footer])


def _table_html(rows, footer):
    head = "".join(f'<th scope="col" style="text-align: left">{heading}</th>' for heading in HEADINGS)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{rich(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{rich(footer)}</p>"


record = Record()
progress = Progress()
