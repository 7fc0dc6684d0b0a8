"""What `medattack site` promises: every lesson as a page, whole without a network, and no failure in silence."""

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import pytest
from executed_course import code, printed, write_course
from nbformat.v4 import new_markdown_cell, new_notebook, new_output

from medattack_edu import cli
from medattack_edu.course import run as runs
from medattack_edu.course import site as sites
from medattack_edu.course.site_text import failure_of, read_page

ROOT = Path(__file__).resolve().parents[2]
WORKS, FAILS = "03_works", "04_fails"
PAGES = {"index", "search", WORKS, FAILS}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The folder of two executed lessons, and their paths."""
    folder = tmp_path_factory.mktemp("executed")
    return SimpleNamespace(folder=folder, paths=write_course(folder))


@pytest.fixture(scope="module")
def site(course, tmp_path_factory):
    """The site of both: its folder, what each page holds, and how the command ended."""
    pytest.importorskip("furo", reason="the tools of the extra site aren't installed")
    out = tmp_path_factory.mktemp("served") / "site"
    with pytest.MonkeyPatch.context() as patch:
        told = []
        patch.setattr("builtins.print", lambda *words: told.append(" ".join(map(str, words))))
        code = sites.build_site(course.paths, out)
    text = {path.stem: path.read_text(encoding="utf-8") for path in out.glob("*.html")}
    return SimpleNamespace(out=out, code=code, told="\n".join(told), text=text, pages=parsed(text))


class Parsed(HTMLParser):
    """The addresses, pictures and ids of a page; addresses of what a browser fetches by itself apart from links."""

    FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}

    def __init__(self, page):
        super().__init__()
        self.links, self.fetched, self.pictures, self.ids = [], [], [], {""}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id", ""))
        if tag == "a":
            self.links.append(attributes.get("href", ""))
        if self.FETCHED.get(tag) in attributes:
            self.fetched.append(attributes[self.FETCHED[tag]])
        if tag == "img":
            self.pictures.append(attributes)


def parsed(text):
    return {name: Parsed(page) for name, page in text.items()}


def article(site, name):
    """What stands between the navigation and the footer."""
    return site.text[name].partition('<article role="main"')[2].partition("</article>")[0]


# What is there


def test_each_lesson_has_a_page_and_the_index_says_what_is_built_and_how_long_it_takes(site):
    assert set(site.text) == PAGES and sorted(path.name for path in site.out.parent.iterdir()) == ["site"]
    index = article(site, "index")
    for words in (
        "03 The &lt;fast&gt; &amp; the sure</a>",
        "30 to 40 minutes",
        "You write one step, fgs. No eye sees it.",
    ):
        assert words in index
    assert "The exercises are left open" in index
    assert WORKS in index and "5 minutes" in index


def test_what_the_notebook_shows_stands_on_the_page_and_what_it_hides_does_not(site):
    page = article(site, WORKS)
    for words in (
        "YOUR CODE HERE",
        "one and two",
        "beware",
        "Holds",
        "<summary",
        "column_number_19",
        "% of all patients",
    ):
        assert words in page
    for words in ("quiz(", "Say this.", "A badge", "attacking:", "\x1b", "<th"):
        assert words not in page


def test_the_contents_of_a_page_are_its_sections_without_the_rounds_in_them(site):
    contents = site.text[WORKS].partition('<div class="toc-tree">')[2].partition("</aside>")[0]
    assert "Up the hill" in contents and "Predict" not in contents
    assert "Predict" in article(site, WORKS)


def test_a_widget_is_a_picture_with_its_words(site):
    page = article(site, WORKS)
    pictures = [picture["alt"] for picture in site.pages[WORKS].pictures]
    assert pictures == ['Eight "patients" & more', "A slider's picture"]
    assert page.count("A still picture of the widget") == 1
    assert page.index("slider&#x27;s picture") < page.index("A still picture of the widget")


def test_formulas_need_no_script(site):
    page = article(site, WORKS)
    assert page.count("<math") == 3 and 'display="block"' in page and "$" not in page
    assert [address for address in site.pages[WORKS].fetched if "math" in address.lower()] == []


def test_a_box_drawn_in_html_is_a_quotation_and_tears_no_section_apart(site):
    box = re.search(r"<blockquote>(.*?)</blockquote>", article(site, WORKS), re.DOTALL)[1]
    assert "In the clinic" in box and "<strong>stethoscope</strong>" in box


def test_the_footer_tells_licence_and_responsible_use_and_pages_lead_on_and_back(site):
    for name in PAGES:
        assert "CC BY 4.0" in site.text[name] and "Attack only what is yours" in site.text[name]
    assert 'class="next-page" href="04_fails.html"' in site.text[WORKS]
    assert 'class="prev-page" href="03_works.html"' in site.text[FAILS]


# Nothing missing, nothing from elsewhere


def test_every_link_and_picture_leads_to_something_that_is_there(site):
    for name, page in site.pages.items():
        for address in page.links + page.fetched:
            if re.match(r"https?:", address):
                continue
            path, _, anchor = unquote(address).partition("#")
            path = path.partition("?")[0]
            assert not path or (site.out / path).is_file(), f"{name} leads to {address}"
            if anchor and path in ("", *(f"{other}.html" for other in PAGES)):
                assert anchor in site.pages[path.removesuffix(".html") or name].ids, f"{name} leads to {address}"


def test_no_page_fetches_anything_from_another_host(site):
    for page in site.pages.values():
        assert [address for address in page.fetched if "//" in address] == []
    for style in [*site.text.values(), *(path.read_text(encoding="utf-8") for path in site.out.rglob("*.css"))]:
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\s)]*", style) == []


def test_links_between_lessons_lead_to_pages_and_those_to_lessons_that_are_not_there_are_words(site):
    assert 'href="04_fails.html#down-and-up"' in article(site, WORKS)
    assert "lesson 05" in article(site, WORKS) and "05_not_there" not in site.text[WORKS]
    assert "ipynb" not in "".join(site.text.values())


def test_the_search_knows_the_words_of_texts_and_of_results(site):
    index = (site.out / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ("stethoscop", "bewar"))  # their stems


# Failures


def test_a_lesson_that_failed_is_marked_and_the_command_fails(site):
    assert site.code == 1
    assert "04_fails: stopped before its end. KeyError: '<gone>'" in site.told
    [_, failed] = article(site, "index").split("<li>")[1:]
    assert "✗ Stopped before its end: KeyError: &#x27;&lt;gone&gt;&#x27;" in failed
    assert article(site, "index").count("✗") == 1


def test_its_page_says_so_at_the_top_with_a_link_to_the_cell_and_shows_the_error(site):
    page = article(site, FAILS)
    assert (
        page.index("stopped before its end")
        < page.index("First")
        < page.index('id="stopped"')
        < page.index('class="error"')
    )
    assert 'href="#stopped"' in page and page.count("KeyError") == 2
    assert "stopped before" not in article(site, WORKS)


def test_sphinx_has_nothing_else_to_complain_about(site):
    assert site.told.splitlines() == [
        "04_fails: stopped before its end. KeyError: '<gone>'", f"2 lessons. Open {site.out / 'index.html'}",
    ]  # fmt: skip


BEGAN = {"execution": {"iopub.execute_input": "then"}}
ENDED = {"execution": {"iopub.execute_input": "then", "shell.execute_reply": "later"}}


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([code("1"), code("  ", count=None), new_markdown_cell("text")], None),
        ([code("1", **ENDED)], None),
        ([code("1", printed("Error: told, not raised", "stderr"))], None),
        ([code("1"), code("f()", new_output("error", ename="KeyError", evalue=""))], (1, "KeyError")),
        ([code("1"), code("2", **BEGAN)], (1, "wasn't run to its end")),
        ([code("1", count=None)], (0, "wasn't run to its end")),
    ],
)
def test_what_counts_as_failed(cells, wanted):
    failure = failure_of(new_notebook(cells=cells))
    assert (failure is None) == (wanted is None)
    if wanted:
        assert failure.cell == wanted[0] and wanted[1] in failure.words


def test_a_kernel_that_died_is_seen_in_what_the_run_left(tmp_path):
    cells = [
        code("n = 1", count=None, tags=["parameters"]),
        code("import os; os._exit(1)", count=None),
        code("2", count=None),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "05_dies.ipynb")
    assert runs.run_lessons([tmp_path / "05_dies.ipynb"], tmp_path / "out", timeout=60) == 1
    assert read_page(tmp_path / "out" / "05_dies.ipynb").failure.cell == 1


def test_a_formula_that_cannot_be_set_and_a_picture_without_words_are_told(course, tmp_path, capsys, site):
    cells = [
        new_markdown_cell("# 06 Odd\n\n$\\left( x$"),
        code("1", new_output("display_data", {"image/svg+xml": "<svg/>"})),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "06_odd.ipynb")
    assert sites.build_site([tmp_path / "06_odd.ipynb"], tmp_path / "site") == 1
    told = capsys.readouterr().out
    assert "06_odd: 1 pictures without" in told and "06_odd.md" in told and "no MathML" in told and "\x1b" not in told
    assert (tmp_path / "site/figures/06_odd-01.svg").read_text() == "<svg/>"


# The folder and the command


def test_only_a_site_is_replaced(course, site, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="isn't a site that could be replaced.*--out"):
        sites.build_site(course.paths, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert sites.check_replaceable(site.out) is None


def test_a_notebook_that_was_not_run_is_told(course, tmp_path):
    assert sites.executed_notebooks([Path("lessons/03_works.ipynb")], course.folder) == [course.paths[0]]
    with pytest.raises(ValueError, match="holds no 07_gone.ipynb.*medattack run 07 --out"):
        sites.executed_notebooks([Path("lessons/07_gone.ipynb")], course.folder)


def test_a_missing_tool_is_told_before_anything_runs(monkeypatch):
    monkeypatch.setattr(sites, "find_spec", lambda name: None if name == "furo" else name)
    with pytest.raises(ValueError, match=r'built with furo.*make site.*"\.\[site\]"'):
        sites.check_tools()


@pytest.mark.parametrize(("ran", "built"), [(0, 0), (1, 0), (0, 1)])
def test_the_command_runs_the_lessons_on_phantoms_and_fails_if_either_part_does(ran, built, monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(sites, "check_tools", lambda: None)
    monkeypatch.setattr(
        sites, "executed_notebooks", lambda notebooks, folder: [folder / path.name for path in notebooks]
    )
    monkeypatch.setattr(sites, "build_site", lambda executed, out: asked.update(executed=executed, out=out) or built)
    monkeypatch.setattr(runs, "run_lessons", lambda notebooks, out, **options: asked.update(options) or ran)
    assert cli.main(["site", "03", "--jobs", "2", "--out", str(tmp_path)]) == max(ran, built)
    assert asked["images"] == "phantom" and asked["jobs"] == 2 and asked["out"] == tmp_path
    assert asked["executed"] == [Path("reports/03_fast_gradient_sign.ipynb")]


def test_a_place_that_cannot_be_written_is_told_before_the_lessons_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runs, "run_lessons", lambda *_, **__: pytest.fail("ran"))
    monkeypatch.setattr(sites, "check_tools", lambda: None)
    (tmp_path / "mine").write_text("dear")
    for place in (tmp_path / "mine", tmp_path / "mine" / "site"):
        assert cli.main(["site", "03", "--out", str(place)]) == cli.TO_MEND
        assert capsys.readouterr().err.count("\n") == 1


def test_what_was_executed_before_is_not_run_again(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "run_lessons", lambda *_, **__: pytest.fail("ran"))
    monkeypatch.setattr(sites, "check_tools", lambda: None)
    (tmp_path / "03_fast_gradient_sign.ipynb").touch()
    monkeypatch.setattr(
        sites, "build_site", lambda executed, out: executed != [tmp_path / "03_fast_gradient_sign.ipynb"]
    )
    assert cli.main(["site", "03", "--executed", str(tmp_path)]) == 0


def test_the_extra_has_the_pins_that_the_tests_run_with():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["site"] and set(extras["site"]) <= set(extras["dev"])
    assert {name.split("==")[0].replace("-", "_") for name in extras["site"]} == set(sites.NEEDED)
