"""The teaching guide: one HTML page of plans, outlines, teaching notes and hints, gathered from what the course holds.

What the notes say stands in the lessons' sources, in cells tagged `instructor`, and the plans in docs/teaching.md;
nothing is said here. The look is that of `pages`.
"""

import html
import re
from pathlib import Path

from medattack_edu import runtime
from medattack_edu.course import pages
from medattack_edu.course import source as sources
from medattack_edu.course.build import course_root
from medattack_edu.course.notices import rich

PLANS = "docs/teaching.md"
TITLE = "Teaching guide"
ROUND = {"Predict", "Run", "Explain", "Sources"}  # headings that come again and again, or that no teacher looks for

_HEADING = re.compile(r"(?:> )?(#{1,6}) (.+)")
_CHECK = re.compile(r"\bcheck\.([a-z_][a-z0-9_]*)\(")
PROMISE = re.compile(r"^# .+\n+(.+(?:\n.+)*)")
TIME = re.compile(r"^(?:\| Time \| (.+?) \|$|\*\*Time:\*\* (.+?)(?:\s*\*\*Needs:|$))", re.MULTILINE)

STYLE = """
nav.contents { columns: 20rem; border-block: 1px solid var(--line); padding: 0.5rem 0; margin: 1rem 0; }
nav.contents ol { list-style: none; margin: 0; padding: 0; }
nav.contents li { break-inside: avoid; padding: 0.15rem 0; }
nav.contents li li { padding-left: 1rem; }
.lesson, .plans { border-top: 0.2rem solid var(--line); margin-top: 2.5rem; }
.lesson h3, .lesson h4 { margin: 1.1rem 0 0.3rem; font-size: 1.08rem; }
.lesson h4 { font-size: 1rem; font-weight: 600; margin-left: 1rem; }
.promise { font-size: 1.1rem; }
.note, .exercise { margin: 0.6rem 0 0.6rem 1rem; padding: 0.15rem 0.9rem; border-left: 0.25rem solid #0072b2; }
.note { background: var(--soft); }
.note p, .note ul { margin: 0.5rem 0; }
.exercise { border-color: #009e73; }
.exercise ol { margin: 0.4rem 0; }
summary { cursor: pointer; padding: 0.2rem 0; }
.plans td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) {
  .note, .exercise, .lesson h4 { margin-left: 0; }
  ol, ul { padding-left: 1.3rem; }
  .plans th, .plans td { padding: 0.3rem 0.4rem; font-size: 0.92rem; }
}
@media print { details > * { display: block; } .note { break-inside: avoid; } }
"""


def write_guide(out, root=None, exercises=None):
    """Write the guide for all lessons of a course.

    Args:
        out: the HTML file to write.
        root: the folder that holds `solutions/`, and the plans where there are any; default: the clone, else the
            current folder.
        exercises: ``{name: Exercise}``; default: all that are registered.

    Returns:
        How many lessons and how many notes are in it.

    Raises:
        SourceError: if a lesson's source can't be read.
        ValueError: if the page can't be written there.
    """
    root, out = course_root(root), Path(out)
    if out.is_dir():
        raise ValueError(f"{out} is a folder. Give the file to write, for example {out / 'guide.html'}.")
    runtime.check_folder(out.parent)
    if exercises is None:
        from medattack_edu.course.checks import all_exercises

        exercises = all_exercises()
    lessons = [sources.read(path) for path in sorted((root / "solutions").glob("*.py"))]
    plans = (root / PLANS).read_text(encoding="utf-8") if (root / PLANS).is_file() else ""
    out.parent.mkdir(parents=True, exist_ok=True)
    with runtime.atomic_path(out) as temporary:
        temporary.write_text(guide_page(plans, lessons, exercises), encoding="utf-8")
    return len(lessons), sum(sources.INSTRUCTOR in cell.tags for lesson in lessons for cell in lesson.cells)


def guide_page(plans, lessons, exercises):
    """The guide as HTML.

    Args:
        plans: Markdown, its title first; empty for none.
        lessons: the lessons' sources, in their order.
        exercises: ``{name: Exercise}``.
    """
    plans = _html(re.sub(r"\A# .+\n", "", plans))
    entries = re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', plans)
    entries += [(_anchor(lesson), html.escape(_title(lesson))) for lesson in lessons]
    contents = "".join(f'<li><a href="#{own_id}">{text}</a></li>' for own_id, text in entries)
    body = (
        f'<h1>{TITLE}</h1><nav class="contents" aria-label="Contents"><ol>{contents}</ol></nav>'
        + (f'<section class="plans">{plans}</section>' if plans else "")
        + "".join(_lesson(lesson, exercises) for lesson in lessons)
    )
    return pages.page(TITLE, body, STYLE)


def _lesson(lesson, exercises):
    """A lesson: its title, promise and time, then its sections with the notes and exercises at their place."""
    head = lesson.cells[0].text
    promise, time = PROMISE.search(head), TIME.search(head)
    parts = [
        f"<h2>{html.escape(_title(lesson))}</h2>",
        f'<div class="promise">{_html(promise[1])}</div>' if promise else "",
        f"<p>Time: {html.escape(next(filter(None, time.groups())))}</p>" if time else "",
    ]
    shown = set()
    for cell in lesson.cells:
        if sources.INSTRUCTOR in cell.tags:
            parts.append(f'<aside class="note" aria-label="Teaching note">{_html(cell.text)}</aside>')
        elif cell.kind == "markdown":
            parts += [_heading(marks, text) for marks, text in _headings(cell.text)]
        else:
            for name in _CHECK.findall(cell.text):
                if name not in shown and name in exercises and exercises[name].lesson == lesson.number:
                    shown.add(name)
                    parts.append(_exercise(exercises[name]))
    return f'<section class="lesson" id="{_anchor(lesson)}">{"".join(parts)}</section>'


def _exercise(exercise):
    hints = "".join(f"<li>{rich(hint)}</li>" for hint in exercise.hints)
    return (
        f'<details class="exercise"><summary>Exercise <code>{exercise.name}</code>: {rich(exercise.title)} (hints)'
        "</summary>"
        f"<p>Called as <code>{html.escape(exercise.call)}</code></p><ol>{hints}</ol></details>"
    )


def _title(lesson):
    return lesson.cells[0].text.splitlines()[0].removeprefix("# ")


def _anchor(lesson):
    return f"lesson-{lesson.number}"


def _heading(marks, text):
    """A section's heading, one level below that of its lesson."""
    level, words = len(marks) + 1, re.match(r"<h1[^>]*>(.*?)<a ", _html(f"# {text}"))[1]
    return f"<h{level}>{words}</h{level}>"


def _headings(markdown):
    """(marks, text) of the headings below the title that an outline shows."""
    for line in _outside_code(markdown):
        match = _HEADING.fullmatch(line)
        if match and len(match[1]) > 1 and match[2] not in ROUND:
            yield match.groups()


def _outside_code(markdown):
    inside = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield line


def _html(markdown):
    """Markdown as HTML, each table in a box that scrolls if it must."""
    from nbconvert.filters import markdown2html

    return pages.tables_that_scroll(markdown2html(markdown))
