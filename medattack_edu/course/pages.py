"""The HTML of a run: a page for each lesson and an index. They need no network and follow light or dark themes."""

import base64
import html
import io
import re
from copy import deepcopy

from medattack_edu.course import formulas
from medattack_edu.course.notices import GOOD, NOT_YET, Tone
from medattack_edu.course.page_style import SCRIPT, STYLE
from medattack_edu.course.source import MADE

PASSED, FAILED = GOOD, Tone("✗", NOT_YET.colour)
THUMBNAILS = 4  # of each lesson, spread over it
THUMBNAIL_SIZE = (360, 150)  # pixels, at most
COLUMNS = ("Lesson", "Result", "Time", "Peak memory", "Claims held")

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
{style}
</style></head><body><main>
{body}
</main><script>{script}</script></body></html>
"""


def lesson_page(lesson):
    """The executed notebook as one page; where it stopped is said at the top, with a link to the cell."""
    return page(lesson.title, '<p><a href="index.html">All lessons</a></p>' + _what_stopped(lesson) + _body(lesson))


def index_page(lessons, started, total, environment):
    """The table of a run: result, time, peak memory, claims and small pictures of each lesson."""
    failed = sum(lesson.error is not None for lesson in lessons)
    tone, passed = FAILED if failed else PASSED, len(lessons) - failed
    result = f"{passed} of {len(lessons)} lessons passed"
    if len(lessons) < total:
        result += f", {total - len(lessons)} not run"
    about = [
        f"{started:%d %B %Y, %H:%M}",
        f"images: {environment.get('MEDATTACK_IMAGES') or 'auto'}",
        f"device: {environment.get('MEDATTACK_DEVICE') or 'auto'}",
        f"{sum(lesson.seconds for lesson in lessons):.0f} s in all",
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    return page(
        "medattack: lessons run",
        f'<h1><span style="color: {tone.colour}">{tone.symbol}</span> {result}</h1>'
        f"<p>{html.escape('; '.join(about))}</p>"
        f'<div class="wide"><table class="run"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row, lessons))}</tbody></table></div>",
    )


def _row(lesson):
    tone, result = (FAILED, "failed") if lesson.error else (PASSED, "passed")
    page = f"{lesson.name}.html"
    held = sum(claim["holds"] for claim in lesson.claims)
    error = f'<div class="error">{html.escape(lesson.error.splitlines()[0][:200])}</div>' if lesson.error else ""
    pictures = _spread(lesson.pictures, THUMBNAILS)
    small = "".join(f'<img src="{_thumbnail(picture)}" alt="a figure of {lesson.name}">' for picture in pictures)
    strip = f'<tr class="strip"><td colspan="{len(COLUMNS)}"><a href="{page}">{small}</a></td></tr>' if small else ""
    return (
        f'<tr><th scope="row"><a href="{page}">{html.escape(lesson.title)}</a>{error}</th>'
        f'<td data-name="Result"><span style="color: {tone.colour}">{tone.symbol}</span> {result}</td>'
        f'<td data-name="Time">{lesson.seconds:.1f} s</td>'
        f'<td data-name="Peak memory">{lesson.peak_bytes / 2**20:.0f} MiB</td>'
        f'<td data-name="Claims held">{held} of {len(lesson.claims)}</td></tr>{strip}'
    )


def _what_stopped(lesson):
    if lesson.error is None:
        return ""
    where = ""
    if lesson.stopped_at is not None and lesson.stopped_at < len(lesson.notebook.cells):
        cell = lesson.notebook.cells[lesson.stopped_at]
        where = (
            f'<p><a href="#cell-id={cell.id}">Go to the cell</a>. It begins:</p>'
            f"<pre>{html.escape(chr(10).join(cell.source.splitlines()[:12]))}</pre>"
        )
    return (
        f'<section class="stopped" style="border-color: {FAILED.colour}"><h2>This lesson stopped before its end</h2>'
        f"<pre>{html.escape(_without_colours(lesson.error))}</pre>{where}</section>"
    )


def _body(lesson):
    return tables_that_scroll(cells_as_html(lesson.notebook))


def cells_as_html(notebook):
    """A notebook's cells, with figures embedded and formulas set. Widgets show the static picture that stands beside them."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    what_is_shown = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": what_is_shown}}),
        template_name="basic",
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    notebook = deepcopy(notebook)
    notebook.metadata.pop("widgets", None)  # the state of live widgets, megabytes that nothing on the page reads
    drawn = []
    # A build puts still pictures of the widgets and a way to install beside what the run itself shows.
    notebook.cells = [cell for cell in notebook.cells if MADE not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = formulas.take_out(cell.source, drawn)
        if cell.metadata.get("jupyter", {}).get(
            "source_hidden"
        ):  # folded in JupyterLab: a quiz's answer, a figure's code
            cell.metadata.transient = {"remove_source": True}
    body, _ = exporter.from_notebook_node(notebook)
    return formulas.put_in(body, drawn)


def page(title, body, more_style=""):
    """A whole page in the look of the course, from the HTML of its body."""
    style = f"{STYLE}\n{_code_style()}\n{more_style}".rstrip()
    return _PAGE.format(title=html.escape(title), style=style, body=body, script=SCRIPT)


def tables_that_scroll(body):
    """HTML with each table in a box that scrolls if it must."""
    return re.sub(r"<table.*?</table>", r'<div class="wide">\g<0></div>', body, flags=re.DOTALL)


def _code_style():
    """Colours of code for both themes, of styles that every pygments has and that can be read on our grounds."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n.highlight {{ background: none; }}"


def _spread(items, most):
    """At most so many of the items, at even distances, the first among them."""
    step = max(1, -(-len(items) // most))
    return items[::step][:most]


def _thumbnail(picture):
    """A base64 PNG as a small JPEG, in a data address."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    image.thumbnail(THUMBNAIL_SIZE)
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(image, mask=image.getchannel("A"))
    small = io.BytesIO()
    on_white.save(small, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()


def _without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
