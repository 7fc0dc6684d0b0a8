"""What a learner has solved, in numbers and as a page to keep: one HTML file, no network, printed on A4.

What is known comes from `progress`; nothing is recorded here.
"""

import html
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from medattack_edu import __version__, runtime
from medattack_edu.course.notices import rich
from medattack_edu.course.progress import PAUSE_S, when

GENERATOR = "medattack summary"  # how a page of ours is told from any other file
SOLVED, WITH_HINTS, SOLUTION, OPEN = "solved", "solved with hints", "solution run", "open"


@dataclass(frozen=True)
class Solved:
    """One exercise: `state` is SOLVED, WITH_HINTS, SOLUTION (it passed in a solution's notebook only) or OPEN."""

    name: str
    title: str
    hints: int = 0
    hints_when_solved: int = 0
    met: datetime | None = None
    solved: datetime | None = None
    solution: datetime | None = None

    @property
    def is_solved(self):
        return self.solved is not None

    @property
    def state(self):
        if self.is_solved:
            return WITH_HINTS if self.hints_when_solved else SOLVED
        return SOLUTION if self.solution else OPEN

    @property
    def in_words(self):
        """What happened, for the page; empty if nothing did."""
        if not self.is_solved:
            opened = [_count(self.hints, "hint")] if self.hints else []
            tried = ["the lesson went on with the reference"] if self.met else []
            return ", ".join((["solution run, not solved"] if self.solution else tried) + opened)
        parts = [_day(self.solved)]
        if self.hints_when_solved:
            parts.append(f"with {_count(self.hints_when_solved, 'hint')}")
        if self.solution and self.solution < self.solved:
            parts.append("after its solution was run")
        return ", ".join(parts)


@dataclass(frozen=True)
class Lesson:
    """A lesson's exercises, and the seconds at work in it; None if they were never counted."""

    number: str
    title: str
    exercises: tuple[Solved, ...]
    seconds: float | None = None

    @property
    def time(self):
        """The time in words, empty if it was never counted."""
        return "" if self.seconds is None else _duration(self.seconds)


@dataclass(frozen=True)
class Summary:
    """What a record says of the lessons that this copy of the course has."""

    lessons: tuple[Lesson, ...]
    answered: int
    right_at_once: int
    elsewhere: int  # solved exercises that this copy of the course doesn't have

    @property
    def exercises(self):
        return [exercise for lesson in self.lessons for exercise in lesson.exercises]

    def count(self, *states):
        """How many exercises are in one of these states."""
        return sum(exercise.state in states for exercise in self.exercises)

    @property
    def days(self):
        """The days, in local time, on which an exercise was met or solved, in their order."""
        times = [time for exercise in self.exercises for time in (exercise.met, exercise.solved) if time]
        return sorted({time.astimezone().date() for time in times})

    @property
    def time(self):
        """Of all lessons, in words; empty if it was never counted."""
        known = [lesson.seconds for lesson in self.lessons if lesson.seconds is not None]
        return _duration(sum(known)) if known else ""

    @property
    def in_words(self):
        """One line: ``Solved: 5 of 31, 3 of them without a hint. Time: 2 h 05 min.``"""
        solved, alone = self.count(SOLVED, WITH_HINTS), self.count(SOLVED)
        told = f"Solved: {solved} of {len(self.exercises)}, {alone} of them without a hint."
        return told + (f" Time: {self.time}." if self.time else "")


def summarise(known, exercises):
    """The `Summary` of a record.

    Args:
        known: what `progress.Record.read` returns.
        exercises: what there is to solve, registered `Exercise`s.
    """
    lessons, titles = {}, _titles()
    for exercise in sorted(exercises, key=lambda exercise: exercise.lesson):
        lessons.setdefault(exercise.lesson, []).append(_solved(exercise, known["exercises"].get(exercise.name, {})))
    names = {exercise.name for exercise in exercises}
    return Summary(
        tuple(
            Lesson(number, titles.get(number, f"Lesson {number}"), tuple(of_lesson), _seconds(known, number))
            for number, of_lesson in lessons.items()
        ),
        answered=len(known["quizzes"]),
        right_at_once=sum(quiz["right_at_once"] for quiz in known["quizzes"].values()),
        elsewhere=sum("solved" in entry for name, entry in known["exercises"].items() if name not in names),
    )


def write(summary, path):
    """Write the page and return the file's full path. A summary that is there is replaced, any other file is not.

    Raises:
        ValueError: if it can't be written there.
    """
    path = Path(path).expanduser().resolve()
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder. Give the file to write, for example {path / 'summary.html'}.")
        if path.exists() and GENERATOR.encode() not in path.read_bytes():
            raise ValueError(f"{path} is there already, and is no summary of this course. Choose another name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with runtime.atomic_path(path) as temporary:
            temporary.write_text(page(summary), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"The summary can't be written to {path}: {error}. Choose another place.") from error
    return path


def _solved(exercise, entry):
    hints = int(entry.get("hints", 0))
    times = {name: when(entry[name]) for name in ("met", "solved", "solution") if name in entry}
    return Solved(exercise.name, exercise.title, hints, int(entry.get("hints_when_solved", hints)), **times)


def _seconds(known, number):
    entry = known.get("lessons", {}).get(number)
    return entry and entry["seconds"]


def _titles():
    """What each lesson is called, from the notebooks where they are: ``{"03": "The fast gradient sign attack"}``."""
    from medattack_edu.lab import course_folder

    titles = {}
    try:
        for path in sorted((course_folder() / "lessons").glob("[0-9][0-9]_*.ipynb")):
            first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
            titles[path.name[:2]] = "".join(first).splitlines()[0].lstrip("# ").removeprefix(path.name[:2]).strip()
    except (OSError, ValueError, LookupError, TypeError):
        pass  # no lessons here, or one that somebody is editing: the number will do
    return titles


def _day(time):
    here = time.astimezone()
    return f"{here.day} {here:%b %Y}"


def _duration(seconds):
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- the page

INK, QUIET, PALE, BLUE, SKY, ORANGE, RED = "#1b1f24", "#505a64", "#dfe5ea", "#0b4f8a", "#d7e7f5", "#e69f00", "#b04a00"
STYLE = f"""
:root {{ color-scheme: only light; font-size: 16px; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #eef1f4; color: {INK}; font: 1rem/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: 210mm; margin: 1.5rem auto; background: #fff; padding: 12mm 14mm; border-top: 3mm solid {BLUE}; }}
header p {{ margin: 0; color: {QUIET}; }}
h1 {{ margin: 0.1rem 0 0.3rem; font-size: 2rem; line-height: 1.2; color: {BLUE}; }}
h2 {{ margin: 0 0 0.2rem; font-size: 1rem; line-height: 1.3; }}
dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(7.6rem, 1fr)); gap: 0.6rem 1.2rem; }}
dl {{ margin: 1rem 0; }}
dl div {{ border-top: 1px solid {BLUE}; padding-top: 0.3rem; }}
dt {{ color: {QUIET}; font-size: 0.85rem; line-height: 1.3; }}
dd {{ margin: 0; font-size: 1.25rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }}
dd small {{ display: block; font-size: 0.82rem; font-weight: 400; color: {QUIET}; }}
svg.climb {{ display: block; width: 100%; height: auto; }}
ul.key {{ display: flex; flex-wrap: wrap; gap: 0.1rem 1.3rem; list-style: none; margin: 0.2rem 0 1rem; padding: 0; }}
ul.key, .state, footer {{ font-size: 0.82rem; color: {QUIET}; }}
svg.mark {{ width: 0.85em; height: 0.85em; vertical-align: -0.06em; margin-right: 0.35em; flex: none; }}
.lessons {{ columns: 2; column-gap: 9mm; }}
.lessons section {{ break-inside: avoid; padding-bottom: 0.8rem; }}
.lessons h2 span {{ font-weight: 400; color: {QUIET}; white-space: nowrap; }}
.lessons ul {{ list-style: none; margin: 0; padding: 0; }}
.lessons li {{ display: flex; align-items: baseline; padding: 0.08rem 0; line-height: 1.35; }}
.state {{ display: block; }}
footer {{ border-top: 1px solid {PALE}; margin-top: 0.4rem; }}
footer h2 {{ margin-top: 0.6rem; color: {INK}; }}
footer p {{ margin: 0.3rem 0; }}
@media (max-width: 42rem) {{ main {{ margin: 0; padding: 1rem; }} .lessons {{ columns: 1; }} }}
@page {{ size: A4; margin: 10mm 13mm; }}
@media print {{
  :root {{ font-size: 11px; }}
  body {{ background: #fff; line-height: 1.4; }}
  main {{ max-width: none; margin: 0; padding: 0; border: 0; }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  footer, .key {{ break-inside: avoid; }}
}}
""".strip()
KEY = {
    SOLVED: "solved without a hint",
    WITH_HINTS: "solved with hints",
    SOLUTION: "passed in the solution's notebook only",
    OPEN: "open",
}


def page(summary):
    """The summary as one HTML page that needs nothing else."""
    solved, days = summary.count(SOLVED, WITH_HINTS), summary.days
    head = "All of it solved" if solved == len(summary.exercises) > 0 else f"{_count(solved, 'exercise')} solved"
    key = "".join(f"<li>{_mark(state)}{words}</li>" for state, words in KEY.items() if summary.count(state))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{GENERATOR} {__version__}"><title>medattack: {head.lower()}</title>'
        f"<style>\n{STYLE}\n</style></head><body><main>\n"
        f"<header><p>medattack: break, understand and harden medical image classifiers</p><h1>{head}</h1>"
        f"<p>{_span(days)}</p></header>\n"
        f"<dl>{_figures(summary)}</dl>\n{_climb(summary)}\n<ul class='key'>{key}</ul>\n"
        f'<div class="lessons">{"".join(map(_lesson, summary.lessons))}</div>\n'
        f"{_footer(summary)}\n</main></body></html>\n"
    )


def _span(days):
    if not days:
        return "Nothing has been checked yet."
    first, last = (f"{day.day} {day:%B %Y}" for day in (days[0], days[-1]))
    return f"On {first}" if len(days) == 1 else f"From {first} to {last}, on {len(days)} days"


def _figures(summary):
    solved, alone = summary.count(SOLVED, WITH_HINTS), summary.count(SOLVED)
    hints = sum(exercise.hints for exercise in summary.exercises)
    figures = [
        ("Exercises solved", f"{solved} of {len(summary.exercises)}", f"{alone} without a hint"),
        ("Hints used", str(hints), f"of {3 * len(summary.exercises)} in the course"),
        ("Quiz, right at once", f"{summary.right_at_once} of {summary.answered}", "questions answered"),
        ("Time at work", summary.time or "not counted", "pauses left out" if summary.time else ""),
    ]
    return "".join(f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in figures)


def _lesson(lesson):
    time = f", {lesson.time}" if lesson.time else ""
    solved = sum(exercise.is_solved for exercise in lesson.exercises)
    lines = ""
    for exercise in lesson.exercises:
        more = f'<span class="state">{html.escape(exercise.in_words)}</span>' if exercise.in_words else ""
        lines += f"<li>{_mark(exercise.state)}<div>{rich(exercise.title)}{more}</div></li>"
    return (
        f"<section><h2>{lesson.number} {html.escape(lesson.title)} "
        f"<span>{solved} of {len(lesson.exercises)}{time}</span></h2><ul>{lines}</ul></section>"
    )


def _shape(state, x, y, radius):
    """The mark of a state: told apart by shape, and by colour for those who see it."""
    if state == SOLVED:
        return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{BLUE}"/>'
    if state == WITH_HINTS:
        half = f"M{x} {y - radius} A{radius} {radius} 0 0 0 {x} {y + radius} Z"
        ring = f'<circle cx="{x}" cy="{y}" r="{radius - 0.5:g}" fill="#fff" stroke="{BLUE}" stroke-width="1.4"/>'
        return f'{ring}<path d="{half}" fill="{BLUE}"/>'
    if state == SOLUTION:
        side = 1.7 * radius
        corner = f'x="{x - side / 2:g}" y="{y - side / 2:g}"'
        return f'<rect {corner} width="{side:g}" height="{side:g}" fill="#fff" stroke="{RED}" stroke-width="1.4"/>'
    return f'<circle cx="{x}" cy="{y}" r="{radius - 0.5:g}" fill="#fff" stroke="{QUIET}" stroke-width="1"/>'


def _mark(state):
    shape = _shape(state, 6, 6, 5)
    return f'<svg class="mark" viewBox="0 0 12 12" role="img" aria-label="{KEY[state]}">{shape}</svg>'


WIDTH, HEIGHT, BASE, MARK = 720, 168, 22, 6.5  # of the drawn climb; its lowest strip names the lessons


def _climb(summary):
    """The course as a climb, a step for each exercise, as an attack climbs the loss."""
    exercises = summary.exercises
    if not exercises:
        return ""
    wide, floor = WIDTH / len(exercises), HEIGHT - BASE
    rise = (floor - 4 * MARK) / len(exercises)
    steps, marks, names, place = [], [], [], 0
    for lesson in summary.lessons:
        middle = (place + len(lesson.exercises) / 2) * wide
        names.append(f'<text x="{middle:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{lesson.number}</text>')
        if place:
            names.append(f'<path d="M{place * wide:.1f} {floor} v{BASE}" stroke="{PALE}"/>')
        for exercise in lesson.exercises:
            left, top = place * wide, floor - (place + 1) * rise
            colour = SKY if exercise.is_solved else "#f3f5f7"
            steps.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{floor - top:.1f}" fill="{colour}"/>'
                f'<path d="M{left:.1f} {top:.1f} h{wide:.1f}" stroke="{BLUE if exercise.is_solved else QUIET}"/>'
            )
            marks.append(_shape(exercise.state, round(left + wide / 2, 1), round(top - MARK - 3, 1), MARK))
            place += 1
    told = "; ".join(
        f"lesson {lesson.number}, {sum(one.is_solved for one in lesson.exercises)} of {len(lesson.exercises)} solved"
        for lesson in summary.lessons
    )
    return (
        f'<svg class="climb" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="A climb with a step for each exercise: {html.escape(told)}." font-size="11" fill="{QUIET}" font-family="system-ui, sans-serif">'
        f"{''.join(steps)}{''.join(marks)}{''.join(names)}</svg>"
    )


def _footer(summary):
    elsewhere = (
        f"<p>Also solved, in lessons that this copy of the course doesn't have: {summary.elsewhere}.</p>"
        if summary.elsewhere
        else ""
    )
    now = datetime.now().astimezone()
    return (
        f"<footer>{elsewhere}<h2>What this page says, and what it doesn't</h2>"
        "<p>An exercise is solved when a function written for it has passed the course's check, on this machine. Hints "
        "are those opened before that; lesson 00 opens one itself, to show what a hint is. While an exercise is open, "
        "the lesson goes on with the course's reference, which counts for nothing here; nor does what passed in a "
        "solution's notebook.</p>"
        "<p>Time runs from a lesson's first check to the last check, hint or answer; a gap of more than "
        f"{PAUSE_S // 60} minutes is a pause and left out, and so is what was read before the first check.</p>"
        "<p>The page doesn't say who was at the keyboard, and its owner can change the record that it is made from. "
        f"Made on {now.day} {now:%B %Y} with medattack {__version__}.</p></footer>"
    )
