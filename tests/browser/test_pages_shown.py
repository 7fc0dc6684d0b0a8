"""The pages of a run and the teaching guide in a real Chromium: on a phone and a projector, by keyboard, light and dark."""

from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from executed_course import write_course

from medattack_edu.course import pages
from medattack_edu.course.guide import write_guide
from medattack_edu.course.lesson_run import LessonRun

axe_wheel = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python isn't installed")

ROOT = Path(__file__).parents[2]
PHONE, PROJECTOR = {"width": 360, "height": 720}, {"width": 1280, "height": 720}
SERIOUS = {"serious", "critical"}
SCROLLING = "pre, .input_area, .output_area, .wide, .math"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pages of two small lessons, one of which failed, and of a whole solution; their index, and the guide."""
    folder = tmp_path_factory.mktemp("pages")
    solution = ROOT / "solutions" / "01_deep_learning_in_medicine.ipynb"
    runs = [LessonRun(path, nbformat.read(path, as_version=4)) for path in (*write_course(folder), solution)]
    runs[1].error, runs[1].stopped_at = "KeyError: '<gone>'", 3
    for run in runs:
        (folder / f"{run.name}.html").write_text(pages.lesson_page(run), encoding="utf-8")
    index = pages.index_page(runs, datetime(2026, 1, 1), len(runs), {})
    (folder / "index.html").write_text(index, encoding="utf-8")
    write_guide(folder / "guide.html")
    return folder


@pytest.mark.parametrize(("scheme", "viewport"), [("light", PHONE), ("dark", PROJECTOR)], ids=["phone", "projector"])
def test_every_page_can_be_read_fits_the_screen_and_scrolls_by_keyboard(scheme, viewport, folder, browser):
    axe = (Path(axe_wheel.__path__[0]) / "axe.min.js").read_text(encoding="utf-8")
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    window = context.new_page()
    for path in sorted(folder.glob("*.html")):
        window.goto(path.as_uri())
        assert window.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path.name
        boxes = window.locator(SCROLLING).evaluate_all(
            "all => all.map(box => [box.scrollWidth > box.clientWidth, box.tabIndex])"
        )
        assert all((index == 0) == wide for wide, index in boxes), path.name
        window.evaluate(axe)
        found = window.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS] == [], path.name
    context.close()


@pytest.mark.parametrize("viewport", [PHONE, PROJECTOR], ids=["phone", "projector"])
def test_the_index_shows_its_small_figures_undistorted(viewport, folder, browser):
    window = browser.new_page(viewport=viewport)
    window.goto((folder / "index.html").as_uri())
    shapes = window.locator("tr.strip img").evaluate_all(
        "all => all.map(image => [image.clientWidth / image.clientHeight, image.naturalWidth / image.naturalHeight])"
    )
    assert len(shapes) >= 2
    assert all(shown == pytest.approx(own, rel=0.05) for shown, own in shapes)
    window.close()
