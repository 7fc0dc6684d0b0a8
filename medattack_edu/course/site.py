"""A static site of executed lessons: a page each, an index, a search that needs no server.

What stands on a page is decided in `site_text`, how it looks in `site_theme`; running the lessons is the work of `run`.
Sphinx builds the site, without a network, and what it built needs none.
"""

import html
import io
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from medattack_edu import runtime
from medattack_edu.course import site_theme
from medattack_edu.course.site_text import FIGURES, read_page, without_colours

TITLE = "medattack"
NEEDED = ("sphinx", "furo", "myst_parser", "latex2mathml")
INTRODUCTION = """\
# Break, understand and harden medical image classifiers

A course in Jupyter notebooks. You write each attack by hand, watch it turn a confident diagnosis into a wrong one, and
learn why it works. It runs on a laptop, without a GPU and without a network."""
READING = "These pages show the notebooks as they ran, with all results."
OPEN = "The exercises are left open; what follows each was made with the reference solution."
WORKING = """\
To write the exercises yourself, with checks, hints and widgets that move, open the course in JupyterLab: `make lab` in
a clone of it."""


def check_tools():
    """Raise a `ValueError` unless all that builds a site is installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"A site is built with {', '.join(missing)}, not installed here. In the clone, make site installs what is "
            'needed; else: python -m pip install -e ".[site]"'
        )


def executed_notebooks(notebooks, folder):
    """What `medattack run` left of these notebooks in a folder.

    Args:
        notebooks: the paths of notebooks; their names are looked for.
        folder: where the executed ones are.

    Raises:
        ValueError: if one isn't there.
    """
    found = [Path(folder) / Path(path).name for path in notebooks]
    if missing := [path.name for path in found if not path.is_file()]:
        raise ValueError(
            f"{folder} holds no {', '.join(missing)}. Name the lessons that it holds, or run the others: "
            f"medattack run {' '.join(name[:2] for name in missing)} --out {folder}"
        )
    return found


def build_site(executed, out):
    """Build the site of executed notebooks, and print what is wrong with it.

    Args:
        executed: the paths of executed notebooks, in their order.
        out: the folder of the site. One that is there is replaced as a whole, once the new one is finished.

    Returns:
        An exit code: 0, or 1 if a lesson stopped before its end or a page isn't what it should be.

    Raises:
        ValueError: if a tool is missing, or `out` can't be written or holds something that isn't a site.
    """
    check_tools()
    out = Path(out).resolve()
    check_replaceable(out)
    names = [Path(path).stem for path in executed]
    pages = [read_page(path, names) for path in executed]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=out.parent) as scratch:
        source, built = Path(scratch, "source"), Path(scratch, "built")
        _write_sources(source, pages)
        complaints = _run_sphinx(source, built, Path(scratch, "doctrees"))
        if out.exists():
            out.rename(Path(scratch, "old"))
        built.rename(out)
    wrong = [f"{page.name}: stopped before its end. {page.failure.words}" for page in pages if page.failure]
    wrong += [f"{page.name}: {page.unspoken} pictures without an alternative text" for page in pages if page.unspoken]
    wrong += complaints
    for line in wrong:
        print(line)
    print(f"{len(pages)} lessons. Open {out / 'index.html'}")
    return 1 if wrong else 0


def check_replaceable(out):
    """Raise a `ValueError` unless a site can be written there: a folder is replaced only if it is empty or holds a site."""
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not (out / "searchindex.js").is_file():
        raise ValueError(f"{out} is there and isn't a site that could be replaced. Choose another folder with --out.")
    runtime.check_folder(out.parent)


def _write_sources(source, pages):
    """What Sphinx builds from: the texts, the pictures, and the theme's own files."""
    pictures = source / "_extra" / FIGURES
    pictures.mkdir(parents=True)
    for page in pages:
        (source / f"{page.name}.md").write_text(page.text, encoding="utf-8")
        for name, content in page.pictures.items():
            (pictures / name).write_bytes(content)
    (source / "index.md").write_text(_index(pages), encoding="utf-8")
    site_theme.write_configuration(source, TITLE)


def _index(pages):
    """The first page, as MyST Markdown."""
    reading = f"{READING} {OPEN}" if any(page.exercises_open for page in pages) else READING
    lessons = "".join(map(_entry, pages))
    contents = "\n".join(page.name for page in pages)
    return (
        f"{INTRODUCTION}\n\n{reading} {WORKING}\n\n## The lessons\n\n"
        f'```{{raw}} html\n<ul class="lessons">{lessons}</ul>\n```\n\n'
        f"```{{toctree}}\n:hidden:\n\n{contents}\n```\n"
    )


def _entry(page):
    time = f'<span class="time">{html.escape(page.time)}</span>' if page.time else ""
    promise = f"<p>{html.escape(page.promise)}</p>" if page.promise else ""
    failed = ""
    if page.failure:
        words = html.escape(page.failure.words.splitlines()[0][:200])
        failed = f'<p class="failed">✗ Stopped before its end: {words}</p>'
    return f'<li><a href="{page.name}.html">{html.escape(page.title)}</a> {time}{promise}{failed}</li>'


def _run_sphinx(source, built, doctrees):
    """Build; returns what Sphinx complained about, a line each."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    complaints = io.StringIO()
    with patch_docutils(source), docutils_namespace():
        app = Sphinx(source, source, built, doctrees, "html", status=None, warning=complaints, freshenv=True)
        app.build()
    if app.statuscode:
        raise RuntimeError(f"Sphinx could not build the site:\n{complaints.getvalue()}")
    for left in ("objects.inv", ".buildinfo"):
        (built / left).unlink(missing_ok=True)
    shutil.rmtree(built / "_sources", ignore_errors=True)
    told = without_colours(complaints.getvalue()).replace(f"{source}/", "")
    return [line for line in told.splitlines() if line.strip()]
