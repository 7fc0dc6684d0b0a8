"""A lesson as slides: one HTML page that needs no network, cut where the lesson's headings stand, with its teaching notes.

How cells become HTML is the matter of `pages`, running a lesson that of `lesson_run`.
"""

import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from medattack_edu import runtime
from medattack_edu.course import pages
from medattack_edu.course import source as sources
from medattack_edu.course.build import course_root
from medattack_edu.course.formulas import as_mathml
from medattack_edu.course.parameters import TAG
from medattack_edu.course.run import run_lessons, write_text

CUTS = re.compile(r"(?:> )?#{1,3} \S")  # headings down to the third level begin a slide
LONG_CODE = 8  # lines: with a figure below them they'd be too small to read
PICTURES = ("image/png", "image/svg+xml", "application/vnd.jupyter.widget-view+json")
CUT = "<!-- here ends a slide -->"  # in a cell of its own, while all slides are made HTML at once
CUT_CELL = re.compile(rf'<div class="cell[^>]*>(?:\s*<div[^>]*>)*\s*{CUT}\s*(?:</div>\s*){{3}}')
ADDED = {"injected-parameters", sources.MADE}  # tags of cells that papermill and a build add: no source has them


@dataclass
class Slide:
    """What is shown at once: cells of a notebook, and the teaching notes that belong to them, Markdown."""

    cells: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    @property
    def is_heading(self):
        """Whether nothing but a heading stands here yet, and not the lesson's title."""
        first = self.cells[0].source if len(self.cells) == 1 and _begins(self.cells[0]) else "# "
        return "\n" not in first and not first.startswith("# ")

    def is_full(self, cell):
        """Whether a cell had better stand on the next slide: what comes after a picture, or after long code its picture, or
        long code after anything but a heading."""
        if cell.cell_type == "code" and self.cells and not self.is_heading:
            if _is_long(cell) or (_is_long(self.cells[-1]) and _shows_picture(cell)):
                return True
        return any(map(_shows_picture, self.cells))


def make_slides(notebook, out, **options):
    """Write the slides of a lesson and print where they are. A notebook without outputs is run first.

    Args:
        notebook: the path of a lesson or solution, or of a notebook that was executed already.
        out: the folder for the slides, and for the executed notebook where there wasn't one.
        options: as in `run.run_lessons`.

    Returns:
        An exit code: 0, or 1 if the lesson failed. There are slides of what came before the failure, too.
    """
    notebook, out, code = Path(notebook), Path(out), 0
    runtime.check_folder(out)
    if not any(cell.get("outputs") for cell in nbformat.read(notebook, as_version=4).cells):
        code = run_lessons([notebook], out, **options)
        notebook = out / notebook.name
    page = out / f"{notebook.stem}.slides.html"
    slides, noted = write_slides(notebook, page)
    print(f"{slides} slides, {noted} of them with teaching notes: {page}")
    return code


def write_slides(executed, out):
    """Write the slides of an executed notebook to an HTML file. Returns how many there are, and how many have notes."""
    notebook, out = nbformat.read(executed, as_version=4), Path(out)
    slides = cut(notebook, notes_of(Path(executed).stem, notebook))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, slides_page(slides))
    return len(slides), sum(bool(slide.notes) for slide in slides)


def notes_of(name, notebook, root=None):
    """Teaching notes by the index of the cell that they stand behind: ``{index: [Markdown]}``.

    They are read from the source of the lesson of this name. There are none where it has no source, or where its cells are
    not those of the notebook any more.
    """
    path = course_root(root) / "solutions" / f"{name}.py"
    if not path.is_file():
        return {}
    source = sources.read(path)
    own = [index for index, cell in enumerate(notebook.cells) if not ADDED & set(cell.metadata.get("tags", []))]
    for hidden in (
        {sources.INSTRUCTOR},
        {sources.INSTRUCTOR, sources.SOLUTION_ONLY},
    ):  # a solution's cells, or a lesson's
        notes, shown = {}, 0
        for cell in source.cells:
            if sources.INSTRUCTOR in cell.tags:
                notes.setdefault(max(0, shown - 1), []).append(cell.text)
            elif not hidden & set(cell.tags):
                shown += 1
        if shown == len(own):
            return {own[place]: texts for place, texts in notes.items()}
    return {}


def cut(notebook, notes=None):
    """The `Slide`s of a notebook, the title first.

    A heading begins a slide, and so does long code, and whatever comes after a picture. The cell of parameters isn't shown, nor is code that is folded in
    JupyterLab, nor an output that only warns.

    Args:
        notebook: executed or not.
        notes: as from `notes_of`.
    """
    slides = [Slide()]
    for index, cell in enumerate(notebook.cells):
        for part in _parts(cell):
            begins = _begins(part) and not slides[-1].is_heading
            if slides[-1].cells and (begins or slides[-1].is_full(part)):
                slides.append(Slide())
            slides[-1].cells.append(part)
        slides[-1].notes += (notes or {}).get(index, [])
    return slides


def _parts(cell):
    """What of a cell is shown: a text is cut before each heading, code comes whole or not at all."""
    tags = set(cell.metadata.get("tags", []))
    if tags & {TAG, *ADDED}:
        return []
    if cell.cell_type == "markdown":
        return [new_markdown_cell(text) for text in _cut_text(cell.source)]
    if not (cell.source.strip() or cell.get("outputs")):
        return []
    shown = deepcopy(cell)
    if cell.cell_type != "code":
        return [shown]
    shown.outputs = [output for output in shown.outputs if output.get("name") != "stderr"]
    folded = _is_folded(cell)
    if folded and not shown.outputs:
        return []
    if folded or not _is_long(cell) or not _shows_picture(cell):
        return [shown]
    what_it_shows = new_code_cell(outputs=shown.outputs, metadata={"jupyter": {"source_hidden": True}})
    shown.outputs = []
    return [shown, what_it_shows]


def _cut_text(text):
    """A text in pieces, each beginning with a heading that cuts, but for the first; code and boxes stay whole."""
    pieces, inside = [[]], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif line.startswith(("<div", "</div")):
            inside = line.startswith("<div")
        if CUTS.match(line) and not inside and any(map(str.strip, pieces[-1])):
            pieces.append([])
        pieces[-1].append(line)
    whole = ["\n".join(piece).strip() for piece in pieces]
    return [piece for piece in whole if piece]


def _is_folded(cell):
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def _is_long(cell):
    return cell.cell_type == "code" and not _is_folded(cell) and cell.source.count("\n") >= LONG_CODE


def _begins(cell):
    """Whether a slide begins with this cell: a heading, or a box, which has its heading inside."""
    return cell.cell_type == "markdown" and bool(CUTS.match(cell.source) or cell.source.startswith("<div"))


def _shows_picture(cell):
    return any(kind in output.get("data", {}) for output in cell.get("outputs", []) for kind in PICTURES)


def slides_page(slides):
    """The page: each slide a section, its notes hidden until they are asked for. Without scripts, all stand one below the other."""
    title = slides[0].cells[0].source.splitlines()[0].lstrip("# ") if slides[0].cells else "Slides"
    bodies = _bodies(slides)
    sections = "".join(
        _section(*each, len(slides)) for each in zip(slides, bodies, range(1, len(slides) + 1), strict=True)
    )
    controls = (
        '<nav id="controls" aria-label="Slides"><button id="back" aria-label="Previous slide">◀</button>'
        '<output id="place" aria-live="polite"></output><button id="on" aria-label="Next slide">▶</button>'
        '<button id="say">Notes (N)</button></nav>'
    )
    return pages.page(title, f'<div id="deck">{sections}</div>{controls}<script>{SCRIPT}</script>', STYLE)


def _bodies(slides):
    """The HTML of each slide's cells. All are converted at once: starting nbconvert takes half a second."""
    cells = [cell for slide in slides for cell in (*slide.cells, new_markdown_cell(CUT))]
    whole = pages.cells_as_html(new_notebook(cells=cells))
    return CUT_CELL.split(whole)[: len(slides)]


def _section(slide, body, number, count):
    notes = "".join(map(_html, slide.notes))
    aside = f'<aside class="notes" aria-label="Teaching notes">{notes}</aside>' if notes else ""
    alone = ' class="title"' if slide.is_heading or number == 1 else ""
    return f'<section id="s{number}"{alone} aria-label="Slide {number} of {count}"><div class="sheet">{body}</div>{aside}</section>\n'


def _html(markdown):
    from nbconvert.filters import markdown2html

    return markdown2html(as_mathml(markdown))


STYLE = """
.deck main { max-width: none; padding: 0; }
.deck section { display: none; height: calc(100vh - 3rem); overflow: auto; box-sizing: border-box; padding: 2vh 4vw 0; }
.deck section.here { display: block; }
.deck .sheet { font-size: 1.35rem; max-width: 74rem; margin: 0 auto; display: flow-root; }
.deck section.title .sheet { padding-top: 12vh; }
.deck .sheet pre { font-size: 0.8em; }
.deck .sheet :not(pre) > code { font-size: 0.88em; }
.deck .sheet h1, .deck .sheet h2 { font-size: 2em; margin: 0.3em 0 0.5em; }
.deck .sheet h3 { font-size: 1.5em; margin: 0.2em 0 0.5em; }
.deck .output_area img { max-height: 72vh; object-fit: contain; }
section + section { border-top: 1px solid var(--line); }
.deck section { border-top: none; }
.notes { background: var(--soft); border-left: 0.25rem solid #0072b2; padding: 0.2rem 1rem; margin: 1rem auto; max-width: 74rem; }
.deck .notes { display: none; }
.deck.telling .notes { display: block; }
#controls { display: none; }
.deck #controls { display: flex; position: fixed; inset: auto 0 0 0; height: 3rem; gap: 0.6rem; align-items: center;
  justify-content: flex-end; padding: 0 1rem; background: var(--paper); border-top: 1px solid var(--line); }
#controls button { font: inherit; color: var(--ink); background: var(--soft); border: 1px solid var(--line);
  border-radius: 0.3rem; padding: 0.15rem 0.8rem; }
@media print {
  #controls { display: none !important; }
  .deck section { display: block !important; height: auto; break-after: page; overflow: visible; }
}
"""
# A slide that is too high for the window is made smaller, down to what can still be read; beyond, it scrolls.
SCRIPT = """
const root = document.documentElement, slides = [...document.querySelectorAll('#deck > section')];
const smallest = 0.6, place = document.getElementById('place');
let here = 0;
function fit(slide) {
  const sheet = slide.querySelector('.sheet');
  const share = () => {
    const [room, taken] = [slide, sheet].map(part => part.getBoundingClientRect());
    return (room.bottom - taken.top) / taken.height;
  };
  let scale = sheet.style.zoom = 1;
  for (let trial = 0; trial < 4 && share() < 1 && scale > smallest; trial++) {  // lines break anew each time
    sheet.style.zoom = scale = Math.max(smallest, scale * share());
  }
}
function go(to) {
  here = Math.min(Math.max(to, 0), slides.length - 1);
  slides.forEach((slide, number) => slide.classList.toggle('here', number === here));
  place.textContent = `${here + 1} / ${slides.length}`;
  history.replaceState(null, '', `#s${here + 1}`);
  slides[here].scrollTop = 0;
  fit(slides[here]);
}
const keys = {ArrowRight: 1, PageDown: 1, ' ': 1, ArrowLeft: -1, PageUp: -1, Home: -1e6, End: 1e6};
const tell = () => root.classList.toggle('telling');
root.classList.add('deck');
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('button, summary, a')) return;
  if (event.key in keys) { event.preventDefault(); go(here + keys[event.key]); }
  if (event.key.toLowerCase() === 'n') tell();
});
document.getElementById('on').onclick = () => go(here + 1);
document.getElementById('back').onclick = () => go(here - 1);
document.getElementById('say').onclick = tell;
addEventListener('resize', () => fit(slides[here]));
addEventListener('load', () => fit(slides[here]));
addEventListener('hashchange', () => go(parseInt(location.hash.slice(2)) - 1 || 0));
go(parseInt(location.hash.slice(2)) - 1 || 0);
"""
