"""An executed notebook as the text of a page: Markdown as MyST reads it, its outputs as HTML, its pictures as files.

How the pages look is decided in `site_theme`; making a site of them is the work of `site`.
"""

import base64
import html
import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import nbformat

from medattack_edu.course import notices
from medattack_edu.course.guide import PROMISE, TIME
from medattack_edu.course.source import INSTRUCTOR, MADE

FIGURES = "figures"  # the folder of a site that holds its pictures
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
BROAD = 1.6  # width over height of a picture with panels side by side
REPLIED = "shell.execute_reply"  # when a cell came to its end; a kernel that dies or takes too long never says so
# In the contents of a page stand its sections; predict, run and explain come again in each.
SECTIONS_ALONE = "---\ntocdepth: 2\n---"
STILL = "A still picture of the widget. In JupyterLab its controls move it."
OPEN_EXERCISE = "# YOUR CODE HERE"
# The colours of notices, which are told apart everywhere, but are too pale for text on white or too dark for it on black.
TONES = {notices.GOOD.colour: "good", notices.NOT_YET.colour: "not-yet", notices.NEUTRAL.colour: "neutral"}

_LINK = re.compile(r"\[([^\]]+)\]\((\w+)\.ipynb(?:#([^)]+))?\)")
_BOX = re.compile(r"\A<div[^>]*>\n(.*)\n</div>\s*\Z", re.DOTALL)
_COLUMNS = re.compile(r"\S {2,}\S|^ +\S", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Failure(NamedTuple):
    """Where a notebook stopped, and what stopped it."""

    cell: int
    words: str


@dataclass
class Page:
    """The text of a page and what goes with it.

    Attributes:
        name: of the notebook, without its ending; the page is `name`.html.
        title, promise, time: as the lesson's first cell has them, plain; promise and time may be empty.
        text: MyST Markdown.
        pictures: {file name: bytes}, which belong into the site's folder `FIGURES`.
        failure: a `Failure`, or None.
        unspoken: how many pictures have no alternative text.
        exercises_open: whether there is an exercise that nobody has written.
    """

    name: str
    title: str
    promise: str = ""
    time: str = ""
    text: str = ""
    pictures: dict = field(default_factory=dict)
    failure: Failure | None = None
    unspoken: int = 0
    exercises_open: bool = False


def read_page(path, names=()):
    """The page of an executed notebook.

    Args:
        path: the notebook; its name is the page's.
        names: of all pages of the site; a link to another lesson becomes plain text.
    """
    notebook = nbformat.read(path, as_version=4)
    head = next((cell.source for cell in notebook.cells if _belongs(cell)), "")
    promise, time = PROMISE.search(head), TIME.search(head)
    name = Path(path).stem
    page = Page(
        name,
        title=head.splitlines()[0].lstrip("# ") if head else name,
        promise=_plain(promise[1]) if promise else "",
        time=re.split("[;,.]", next(filter(None, time.groups())))[0] if time else "",
        failure=failure_of(notebook),
    )
    parts = []
    for number, cell in enumerate(notebook.cells):
        if page.failure and number == page.failure.cell:
            parts.append(_raw('<span id="stopped"></span>'))
        if _belongs(cell):
            parts += [_markdown(cell.source, names)] if cell.cell_type == "markdown" else _code(cell, page)
    if page.failure:
        parts.insert(1, _raw(_stopped(page.failure)))
    page.text = "\n\n".join([SECTIONS_ALONE, *filter(None, parts)]) + "\n"
    return page


def _belongs(cell):
    """Whether a reader gets to see a cell: not what only a notebook needs, nor a teacher's notes."""
    return not {MADE, INSTRUCTOR} & set(cell.metadata.get("tags", []))


def failure_of(notebook):
    """The first cell that raised or wasn't run to its end, as a `Failure`; None if all were."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                return Failure(number, without_colours(f"{output.ename}: {output.evalue}").rstrip(": "))
        times = cell.metadata.get("execution", {REPLIED: None})  # what isn't recorded isn't held against the cell
        if cell.execution_count is None or REPLIED not in times:
            return Failure(number, "The notebook wasn't run to its end: its kernel died, or a cell took too long.")
    return None


def _stopped(failure):
    return (
        '<div class="stopped" role="note"><p><strong>This lesson stopped before its end.</strong> '
        f'<a href="#stopped">Go to the cell.</a></p><pre>{html.escape(failure.words)}</pre></div>'
    )


# -- Markdown


def _markdown(text, names):
    """A cell's text: a box that was drawn in HTML becomes a quotation, and links lead to pages instead of notebooks."""
    if box := _BOX.match(text):
        text = "\n".join(f"> {line}".rstrip() for line in box[1].strip().splitlines())

    def link(match):
        words, name, anchor = match.groups()
        if name not in names:
            return words
        return f"[{words}]({name}.md{f'#{_slug(anchor)}' if anchor else ''})"

    return _LINK.sub(link, text)


def _slug(anchor):
    """JupyterLab's anchor of a heading as GitHub and MyST write it."""
    return re.sub(r"[^\w\-]", "", anchor.lower())


def _plain(markdown):
    return " ".join(re.sub(r"[*`]", "", markdown).split())


# -- code and what it showed


def _code(cell, page):
    """The code, unless it is folded away in JupyterLab, then its outputs."""
    page.exercises_open |= OPEN_EXERCISE in cell.source
    folded = cell.metadata.get("jupyter", {}).get("source_hidden")
    shown = "".join(_output(output, page) for output in _together(cell.outputs))
    return [
        "" if folded or not cell.source.strip() else _fenced("python", cell.source),
        _raw(f'<div class="outputs">{shown}</div>') if shown else "",
    ]


def _together(outputs):
    """The outputs, with what was printed in one go as one: a kernel may send it in pieces."""
    joined = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before and output.output_type == "stream" and before.get("name") == output.name:
            before["text"] += output.text
        else:
            joined.append(deepcopy(output))
    return joined


def _output(output, page):
    """One output as HTML; of a widget, what stands there where no kernel is."""
    if output.output_type == "stream":
        return _text(output.text, output.name)
    if output.output_type == "error":
        return _text("\n".join(output.traceback) or f"{output.ename}: {output.evalue}", "error")
    data = output.data
    if "text/html" in data:
        return _fitted(data["text/html"])
    for kind, ending in PICTURES.items():
        if kind in data:
            picture = _picture(data[kind], ending, output.metadata.get(kind, {}).get("alt"), page)
            return picture + (f'<p class="still">{STILL}</p>' if WIDGET in data else "")
    if WIDGET in data:  # of the course's own widgets each has a picture or HTML: this is a progress bar at its end
        return ""
    return _text(data["text/plain"], "result") if "text/plain" in data else ""


def _text(text, kind):
    """Text as it was printed: columns keep their places and scroll, sentences go on in the next line."""
    if not text.strip():
        return ""
    text = without_colours(text).rstrip()
    columns = " columns" if _COLUMNS.search(text) else ""
    return f'<pre class="{kind}{columns}">{html.escape(text)}</pre>'


def _picture(content, ending, alt, page):
    """An image that opens in its full size; its file is noted in the page."""
    file = f"{page.name}-{len(page.pictures) + 1:02}.{ending}"
    page.pictures[file] = content.encode() if ending == "svg" else base64.b64decode(content)
    if not alt:
        page.unspoken += 1
        alt = f"Picture {len(page.pictures)} of {page.title}"
    address = f"{FIGURES}/{file}"
    width, height = _size(page.pictures[file]) if ending != "svg" else (0, 0)
    # With its size given, what stands below a picture doesn't jump once it has come.
    size = f' width="{width}" height="{height}"' if width else ""
    broad = " broad" if width > BROAD * height else ""
    image = f'<img src="{address}" alt="{html.escape(alt)}" loading="lazy"{size}>'
    return f'<a class="figure{broad}" href="{address}">{image}</a>'


def _size(content):
    """Width and height of an image in pixels."""
    import io

    from PIL import Image

    return Image.open(io.BytesIO(content)).size


def _fitted(page):
    """HTML of a notice or a table, in colours that can be read on light and on dark, and in a box that scrolls."""
    for colour, tone in TONES.items():
        page = page.replace(f"color: {colour}", f"color: var(--tone-{tone})")
    return f'<div class="shown">{page}</div>'


# -- Markdown's fences


def _raw(page):
    """HTML that MyST leaves as it is. Blank lines are no end of it in a fence."""
    return _fenced("{raw} html", page)


def _fenced(kind, text):
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def without_colours(text):
    """A text without the codes by which a terminal colours it."""
    return _ANSI.sub("", text)
