"""The slides of a lesson in a real browser, without a network: keys turn them, notes come when asked for, and all of it is seen."""

import pytest
from driving import VIEWPORT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from medattack_edu.course.slides import cut, slides_page

HIGH = "\n\n".join(f"Paragraph {number} of a text that is too high for the screen." for number in range(16))
CELLS = [
    new_markdown_cell("# 03 The attack\n\nA promise."),
    new_markdown_cell("## 1. One loss\n\nThe loss is $-\\log p$."),
    new_markdown_cell(f"### Explain\n\n{HIGH}"),
    new_code_cell("x + 1"),
]


@pytest.fixture
def shown(browser, tmp_path):
    """The page of the slides, and what its console complained about."""
    file = tmp_path / "slides.html"
    file.write_text(slides_page(cut(new_notebook(cells=CELLS), {1: ["**Ask** first."]})), encoding="utf-8")
    page = browser.new_context(viewport=VIEWPORT, offline=True).new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page, complaints
    page.context.close()


def test_keys_and_buttons_turn_the_slides_and_the_address_remembers_the_place(shown):
    page, complaints = shown
    here = page.locator("section.here")
    assert here.count() == 1 and "A promise." in here.inner_text()
    for press, place in (("ArrowRight", 2), ("End", 3), ("ArrowRight", 3), ("Home", 1), (" ", 2), ("ArrowLeft", 1)):
        page.keyboard.press(press)
        assert page.locator("#place").inner_text() == f"{place} / 3" and here.get_attribute("id") == f"s{place}"
    page.get_by_role("button", name="Next slide").click()
    assert page.url.endswith("#s2")
    page.reload()
    assert here.get_attribute("id") == "s2" and complaints == []


def test_notes_are_hidden_until_they_are_asked_for(shown):
    page, _ = shown
    page.keyboard.press("ArrowRight")
    notes = page.get_by_label("Teaching notes")
    assert not notes.is_visible()
    page.keyboard.press("n")
    assert notes.is_visible() and notes.inner_text() == "Ask first."
    page.get_by_role("button", name="Notes").click()
    assert not notes.is_visible()


def test_a_slide_that_is_too_high_is_made_smaller_until_it_fits(shown):
    page, _ = shown
    page.keyboard.press("End")
    zoom, overflow = page.locator("section.here").evaluate(
        "slide => [slide.querySelector('.sheet').style.zoom, slide.scrollHeight - slide.clientHeight]"
    )
    assert 0.6 <= float(zoom) < 1 and overflow <= 1


def test_a_formula_is_drawn_by_the_browser_itself(shown):
    pytest.importorskip("latex2mathml", reason="latex2mathml isn't installed; formulas then stay as they are written")
    page, _ = shown
    page.keyboard.press("ArrowRight")
    assert page.locator("section.here math mi").evaluate_all("parts => parts.map(part => part.textContent)") == [
        "log",
        "p",
    ]


def test_without_scripts_all_slides_stand_below_one_another(browser, tmp_path):
    file = tmp_path / "slides.html"
    file.write_text(slides_page(cut(new_notebook(cells=CELLS))), encoding="utf-8")
    context = browser.new_context(viewport=VIEWPORT, offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert [page.locator(f"#s{number}").is_visible() for number in (1, 2, 3)] == [True] * 3
    context.close()
