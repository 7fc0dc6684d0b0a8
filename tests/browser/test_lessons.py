"""Each lesson that has a widget, in a real JupyterLab: opened on a projector's screen, run from top to bottom, moved, looked at."""

import re
import shutil
from pathlib import Path

import driving
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
THEMES = ("Light", "Dark")
HIGHEST = 560  # pixels that a widget may take, so that all of it and a line of text are seen at once
# Less of what a lesson computes, not of what it shows: every cell is run by tests/notebooks with the lesson's own values.
SMALLER = {
    "02": {"n_train": 60, "n_validation": 40, "n": 40, "epochs": 1},
    "03": {"n": 12},
    "04": {"n": 8},
    "05": {"n": 8},
    "06": {"queries": 60, "long_curves": False},
    "07": {"n": 12},
    "08": {"n": 16, "drives": 2, "poses": 12},
}


def lessons_with_widgets():
    return [
        path for path in sorted((ROOT / "lessons").glob("*.ipynb")) if "explore." in path.read_text(encoding="utf-8")
    ]


@pytest.fixture(scope="module", params=lessons_with_widgets(), ids=lambda path: path.stem)
def lesson(request, lab, browser):
    """A lesson, run in JupyterLab: (its name, the page, what the console complained about)."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    address, folder = lab
    path = request.param
    notebook = load_notebook_node(str(path))
    if values := SMALLER.get(path.name[:2]):
        notebook = parameterize_notebook(notebook, values)
    notebook.metadata |= driving.KERNEL
    nbformat.write(notebook, folder / path.name)
    if (pictures := path.parent / "pictures").is_dir():
        shutil.copytree(pictures, folder / pictures.name, dirs_exist_ok=True)
    page, complaints = driving.opened(browser, address, path.name)
    driving.run_all(page)
    yield path.stem, page, complaints
    page.evaluate("window.jupyterapp.commands.execute('kernelmenu:shutdown')")
    page.context.close()


def explorers(page):
    """The cells that show an explorer, each scrolled to and drawn."""
    cells = page.locator(".jp-CodeCell").filter(has=page.locator("img.widget-image"))
    for number in range(cells.count()):
        shown = cells.nth(number)
        shown.scroll_into_view_if_needed()
        shown.locator("img.widget-image").wait_for()
        yield shown


def test_it_runs_to_its_end_without_an_error_and_shows_its_widgets(lesson):
    _, page, _ = lesson
    notebook = driving.content(page)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.ename for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(list(explorers(page))) == len(re.findall(r"\bexplore\.[a-z_]+\(", code)) > 0


def test_each_slider_follows_the_mouse_and_the_keyboard_to_both_ends(lesson):
    _, page, _ = lesson
    for shown in explorers(page):
        driving.move_sliders(page, shown)
        assert shown.locator("[role=alert]").count() == 0


@pytest.mark.parametrize("theme", THEMES)
def test_each_widget_is_whole_and_readable_on_a_projector(lesson, theme, screenshots):
    name, page, _ = lesson
    driving.use_theme(page, theme)
    for number, shown in enumerate(explorers(page), 1):
        widget = shown.locator(".jp-OutputArea-output").filter(has=page.locator("img.widget-image"))
        box = widget.bounding_box()
        shown.evaluate("cell => cell.scrollIntoView({block: 'end'})")
        page.wait_for_timeout(300)
        page.screenshot(path=screenshots / f"lesson_{name}_{number}_{theme.lower()}.png")
        assert box["x"] >= 0 and box["x"] + box["width"] <= driving.VIEWPORT["width"]
        assert box["height"] <= HIGHEST
        assert driving.outside(widget, box) == []
        assert driving.cut_words(widget) == []
        assert driving.faint_words(widget) == []
    said = page.locator(".jp-OutputArea-output [role=status]")
    assert [words for number in range(said.count()) for words in driving.faint_words(said.nth(number), least=3)] == []


def test_nothing_was_complained_about_in_the_console(lesson):
    _, _, complaints = lesson
    assert complaints == []
