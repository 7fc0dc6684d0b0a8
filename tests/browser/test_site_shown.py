"""The static site in a real Chromium that reaches no other host: on a phone, by search, by keyboard, light and dark."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from executed_course import write_course

axe_wheel = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python isn't installed")
pytest.importorskip("furo", reason="the tools of the extra site aren't installed")

PAGES = ("index.html", "03_works.html", "04_fails.html", "search.html")
PHONE, PROJECTOR = {"width": 360, "height": 720}, {"width": 1280, "height": 720}
SERIOUS = {"serious", "critical"}
TOO_WIDE = """[...document.querySelectorAll('article *, footer *')].filter(
    (part) => part.getBoundingClientRect().right > innerWidth + 1 && !part.closest('pre, .shown, .math, .figure, .table-wrapper')
).map((part) => part.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two small lessons, served: its address, and its folder."""
    from medattack_edu.course.site import build_site

    folder = tmp_path_factory.mktemp("site")
    assert build_site(write_course(folder), folder / "site") == 1, "one of the two lessons failed"
    handler = functools.partial(QuietHandler, directory=folder / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield SimpleNamespace(address=f"http://127.0.0.1:{server.server_port}", folder=folder / "site")
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def visit(browser, site):
    """A function that opens a window on a page of the site. What went wrong in any of them fails the test at its end."""
    complaints, contexts = [], []

    def block(route):
        complaints.append(f"asked for {route.request.url}")
        route.abort()

    def visit(page, viewport=PROJECTOR, scheme="light", address=site.address):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        context.route(lambda url: not url.startswith((site.address, "file:", "data:")), block)
        window = context.new_page()
        window.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        window.on("pageerror", lambda error: complaints.append(str(error)))
        window.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        window.goto(f"{address}/{page}")
        window.wait_for_load_state("networkidle")
        return window

    visit.complaints = complaints
    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("viewport", [PHONE, PROJECTOR], ids=["phone", "projector"])
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_the_screen_but_what_scrolls_within_itself(page, viewport, visit):
    window = visit(page, viewport)
    assert window.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert window.evaluate(TOO_WIDE) == []


def test_what_scrolls_on_a_phone_can_be_reached_with_the_keyboard(visit):
    window = visit("03_works.html", PHONE)
    for kind in (".highlight pre", ".shown", ".math", ".figure.broad"):
        wide = window.locator(kind).evaluate_all("(all) => all.filter((part) => part.scrollWidth > part.clientWidth)"
                                                 ".map((part) => part.tabIndex)")  # fmt: skip
        assert wide and set(wide) == {0}, kind
    assert visit("03_works.html").locator(".math").get_attribute("tabindex") is None, "what fits is no stop on the way"


@pytest.mark.parametrize(("scheme", "viewport"), [("light", PHONE), ("dark", PROJECTOR)], ids=["phone", "projector"])
def test_the_accessibility_engine_finds_nothing_serious(scheme, viewport, visit):
    axe = (Path(axe_wheel.__path__[0]) / "axe.min.js").read_text(encoding="utf-8")
    for page in PAGES:
        window = visit(page, viewport, scheme)
        window.evaluate(axe)
        found = window.evaluate("axe.run()")["violations"]
        told = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS]
        assert told == [], page


def test_the_search_finds_a_word_and_leads_to_its_lesson(visit):
    window = visit("index.html")
    search_for("stethoscope", window)


def test_the_search_works_from_a_folder_without_a_server(visit, site):
    window = visit("index.html", address=site.folder.as_uri())
    search_for("stethoscope", window)
    # Of the pages that it found, a browser reads no excerpts from a folder; it says so and shows the titles.
    excerpts = ("file:", "ERR_FAILED", "Failed to fetch")
    visit.complaints[:] = [said for said in visit.complaints if not any(word in said for word in excerpts)]


def search_for(word, window):
    window.locator("input.sidebar-search").fill(word)
    window.keyboard.press("Enter")
    window.locator("ul.search a", has_text="03 The").first.click()
    window.wait_for_load_state("networkidle")
    assert "03_works.html" in window.url
    assert window.locator("article").get_by_text(word).first.is_visible()


def test_pictures_are_there_and_open_in_their_full_size(visit):
    window = visit("03_works.html")
    pictures = window.locator("article img")
    assert pictures.count() == 2
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        window.wait_for_function(
            "(picture) => picture.complete && picture.naturalWidth > 0", arg=picture.element_handle()
        )
    window.locator("article a.figure").first.click()
    assert window.url.endswith("figures/03_works-01.png")


def test_a_lesson_that_failed_leads_to_its_cell(visit):
    window = visit("index.html")
    assert "✗ Stopped before its end: KeyError" in window.locator("ul.lessons .failed").inner_text()
    window.locator("ul.lessons a").nth(1).click()
    window.get_by_role("link", name="Go to the cell").click()
    assert window.url.endswith("04_fails.html#stopped")
    assert window.locator("pre.error").is_visible()
