"""The explorers in a real JupyterLab, moved by a real mouse and a real keyboard."""

import driving
import nbformat
import numpy as np
import pytest
from driving import VIEWPORT, changed, drag, picture, settled
from PIL import Image
from playwright.sync_api import expect

MOVES = 16  # timed ones; every slider has more stops than half of them
ROUNDS = 3  # of as many moves: a widget that is slow is slow in all of them, a machine that is busy isn't
TO_THE_SCREEN = 250  # milliseconds from a key to the changed picture, 95th percentile

SETUP = """\
import torch
from medattack_edu import explore, metrics
from medattack_edu.models import SmallCNN

torch.manual_seed(3)
model = SmallCNN(width=8).eval()
x = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8), size=128, mode="bilinear")
with torch.no_grad():
    logits = model(x)
    model.classifier.bias[0] += (logits[:, 1] - logits[:, 0]).quantile(0.5)
    y = model(x).argmax(1)
classes = ("not_referable", "referable")
labels = torch.arange(120) % 2
scores = metrics.scores(torch.sigmoid(2 * labels - 1 + torch.randn(120)), labels)
twin = SmallCNN(width=8).eval()
sticker = torch.rand(3, 32, 32)
scene = explore.Scene(model, x[:4], sticker, 1, classes)

def drawn(k, turns, tilts):
    return (x[k] * (0.5 + turns[:, None, None, None] / 800 + tilts[:, None, None, None] / 400)).clamp(0, 1)

looks = {name: (lambda turns, tilts, k=k: drawn(k, turns, tilts)) for k, name in enumerate(("as it is", "attacked"))}"""
CELLS = {
    "epsilon": "explore.epsilon(model, x, y, classes)",
    "steps": "explore.steps(model, x[:2], y[:2], classes)",
    "queries": "explore.queries(model, x[:4], y[:4], classes, queries=120)",
    "threshold": "explore.threshold(scores, classes)",
    "transfer": "explore.transfer({'victim': model, 'twin': twin}, x[:4], y[:4], classes, stops=range(9), steps=2)",
    "agreement": "explore.agreement()",
    "patch": "explore.patch({'photograph': scene, 'clinic': scene}, scales=(0.2, 0.3, 0.4, 0.5))",
    "own_photo": "explore.own_photo(scene, sticker)",
    "turntable": "explore.turntable(model, looks, range(0, 360, 30), (0, 15, 30), truth=0, target=1, names=dict(enumerate(classes)))",
    "broken": """\
import ipywidgets
from PIL import Image

def render(level):
    if level > 3:
        raise ValueError("level is more than 3")
    return Image.new("RGB", (60 + level, 40), "navy")

explore.interactive(render, {"level": ipywidgets.IntSlider(max=4, description="level")}, alt="a square")""",
}

SLIDING = [
    "epsilon",
    "steps",
    "queries",
    "threshold",
    "agreement",
    "transfer",
    "patch",
    "turntable",
]  # those with sliders


@pytest.fixture(scope="module")
def notebook(lab, browser):
    """The page with every explorer in it, run from top to bottom, and what the console complained about."""
    address, folder = lab
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, *CELLS.values())]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=driving.KERNEL), folder / "widgets.ipynb")
    page, complaints = driving.opened(browser, address, "widgets.ipynb")
    driving.run_all(page)
    yield page, complaints
    page.context.close()


def cell(page, name):
    """The cell that shows an explorer, scrolled to."""
    found = page.locator(".jp-CodeCell").nth(1 + list(CELLS).index(name))
    found.scroll_into_view_if_needed()
    found.locator("img.widget-image").wait_for()
    return found


@pytest.mark.parametrize("name", SLIDING)
def test_every_slider_follows_the_mouse_and_the_keyboard_to_both_ends(notebook, name):
    page, _ = notebook
    shown = cell(page, name)
    assert shown.locator(".widget-slider").count() >= 1
    driving.move_sliders(page, shown)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("epsilon", 0),
        ("epsilon", 1),
        ("steps", 0),
        ("steps", 1),
        ("queries", 0),
        ("queries", 1),
        ("transfer", 0),
        ("transfer", 1),
        ("transfer", 2),
        ("patch", 0),
    ],
)
def test_every_chooser_changes_the_picture(notebook, name, number):
    page, _ = notebook
    shown = cell(page, name)
    drag(page, shown.locator(".widget-slider").first, 0.5)
    before = settled(page, shown)
    chooser = shown.locator(".widget-dropdown select").nth(number)
    values = chooser.locator("option").all_inner_texts()
    chooser.select_option(
        label=next(value for value in values if value != chooser.evaluate("e => e.selectedOptions[0].text"))
    )
    changed(shown, before)


@pytest.mark.parametrize("name", SLIDING)
def test_a_move_reaches_the_screen_in_time(notebook, name):
    """From the key to the new picture decoded and painted, watched by the page itself."""
    page, _ = notebook
    shown = cell(page, name)
    handle = shown.locator(".noUi-handle").first
    drag(page, shown.locator(".widget-slider").first, 0.0)
    settled(page, shown)
    handle.focus()
    watch = """image => { window.moved = new Promise((done, fail) => {
        let start;
        setTimeout(() => fail(new Error('no new picture within 10 s')), 10000);
        document.addEventListener('keydown', () => { start = performance.now(); }, {once: true, capture: true});
        image.addEventListener('load', () => requestAnimationFrame(() => done(performance.now() - start)), {once: true});
    }); }"""
    slowest = []
    for _ in range(ROUNDS):
        took = []
        for key in ["ArrowRight"] * (MOVES // 2) + ["ArrowLeft"] * (MOVES // 2):
            shown.locator("img.widget-image").evaluate(watch)
            page.keyboard.press(key)
            took.append(page.evaluate("window.moved"))
        slowest.append(np.percentile(took, 95))
        print(f"\n{name}: key to screen, ms: median {np.median(took):.0f}, 95th percentile {slowest[-1]:.0f}")
        if slowest[-1] < TO_THE_SCREEN:
            break
    assert min(slowest) < TO_THE_SCREEN


def test_the_whole_widget_fits_a_projector(notebook, screenshots):
    page, _ = notebook
    for theme in ("Light", "Dark"):
        driving.use_theme(page, theme)
        for name in (*SLIDING, "own_photo"):
            shown = cell(page, name)
            widget = shown.locator(".jp-OutputArea-output").last
            box = widget.bounding_box()
            assert box["width"] <= VIEWPORT["width"]
            assert box["height"] <= 520
            assert driving.outside(widget, box) == []
            assert driving.cut_words(widget) == []
            assert driving.faint_words(widget) == []
            shown.evaluate("element => element.scrollIntoView({block: 'start'})")
            page.wait_for_timeout(300)
            page.screenshot(path=screenshots / f"{name}_{theme.lower()}.png")


def test_a_patch_that_was_moved_is_measured_there_when_the_sliders_rest(notebook):
    page, _ = notebook
    shown = cell(page, "patch")
    words = shown.locator("[role=status]")
    for slider in (2, 3):  # x and y
        drag(page, shown.locator(".widget-slider").nth(slider), 0.1 * (slider - 1))
    expect(words).to_contain_text("with the patch there, success")


def test_a_photograph_of_ones_own_is_shown_and_a_letter_is_not(notebook, tmp_path):
    page, _ = notebook
    shown = cell(page, "own_photo")
    before = settled(page, shown)
    photo, letter = tmp_path / "mine.png", tmp_path / "letter.txt"
    Image.new("RGB", (90, 60), "goldenrod").save(photo)
    letter.write_text("dear colleague")
    choose(page, shown, photo)
    mine = changed(shown, before)
    choose(page, shown, letter)
    alert = shown.locator("[role=alert]")
    alert.wait_for()
    assert "no image that can be read" in alert.inner_text()
    assert picture(shown) == mine
    choose(page, shown, photo)
    alert.wait_for(state="hidden")


def choose(page, shown, path):
    """Press an upload button, and choose a file."""
    with page.expect_file_chooser() as opened:
        shown.locator("button.jupyter-button").click()
    opened.value.set_files(path)


def test_a_turntable_turns_by_itself_until_it_is_stopped(notebook):
    page, _ = notebook
    shown = cell(page, "turntable")
    before = settled(page, shown)
    buttons = shown.locator(".jupyter-widgets button")
    buttons.first.click()
    after = changed(shown, before)
    changed(shown, after)
    buttons.first.click()
    settled(page, shown)


def test_an_error_stands_in_the_widget_and_goes(notebook, screenshots):
    page, _ = notebook
    shown = cell(page, "broken")
    handle = shown.locator(".noUi-handle")
    handle.focus()
    page.keyboard.press("End")
    alert = shown.locator("[role=alert]")
    alert.wait_for()
    assert "ValueError: level is more than 3" in alert.inner_text()
    page.screenshot(path=screenshots / "error.png")
    page.keyboard.press("ArrowLeft")
    alert.wait_for(state="hidden")


def test_the_picture_has_words_for_those_who_cannot_see_it(notebook):
    page, _ = notebook
    spoken = cell(page, "agreement").locator("[role=status]")
    assert "Two readers agree" in spoken.text_content()
    assert spoken.bounding_box()["height"] <= 1


def test_nothing_went_wrong_in_the_notebook_or_the_console(notebook):
    page, complaints = notebook
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert complaints == []
