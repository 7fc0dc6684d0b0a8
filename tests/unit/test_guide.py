"""What `medattack guide` promises: every note at its place, the plans first, and a page that needs nothing else."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_build import EXERCISE, HEADER, IMPORTS, PARAMETERS, TITLE

from medattack_edu import cli
from medattack_edu.course import source as sources
from medattack_edu.course.guide import write_guide

ROOT = Path(__file__).resolve().parents[2]
NOTED = ("00", "01", "02", "03", "04", "05", "06", "07", "08")  # lessons with teaching notes
NOTE = '# %% [markdown] tags=["instructor"]\n# **Ask:** {}\n\n'
TABLE = "# | | |\n# |---|---|\n# | Time | 30 to 40 minutes |"
SECTION = "# %% [markdown]\n# ## 1. A section & more\n#\n# ### Predict\n#\n# What will `happen`?\n\n"
SOURCE = (
    HEADER
    + TITLE.replace("# You will write *one* step.", "# **You write *one* step.**\n#\n" + TABLE)
    + NOTE.format("first")
    + PARAMETERS
    + IMPORTS
    + SECTION
    + NOTE.format("second")
    + EXERCISE
    + NOTE.format("third")
)  # fmt: skip
FGS = SimpleNamespace(
    name="fgs",
    lesson="03",
    title="One step",
    call="fgs(model, x, y, eps)",
    hints=("Look <up>.", "Use `sign()`.", "Add."),
)
PLANS = "# Teaching\n\nThree plans.\n\n## 90 minutes: *one* attack\n\n| a |\n|---|\n| 1 |\n\n## Two days\n\nLong.\n"


@pytest.fixture
def guide(tmp_path):
    """The guide of a course of one lesson, as HTML."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "solutions" / "03_fgs.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "docs" / "teaching.md").write_text(PLANS, encoding="utf-8")
    out = tmp_path / "new" / "guide.html"
    assert write_guide(out, root=tmp_path, exercises={"fgs": FGS}) == (1, 3)
    return out.read_text(encoding="utf-8")


def in_order(page, *fragments):
    missing = [fragment for fragment in fragments if fragment not in page]
    assert not missing
    return sorted(fragments, key=page.index) == list(fragments)


def test_plans_come_first_then_each_lesson_with_its_notes_and_exercises_where_they_belong(guide):
    assert in_order(
        guide, "Two days</a>", "Three plans.", "Long.", "<h2>03 The fast gradient sign attack</h2>",
        "You write <em>one</em> step.",
        "Time: 30 to 40 minutes", "</strong> first", "<h3>1. A section &amp; more</h3>", "</strong> second",
        "<code>fgs</code>: One step", "</strong> third",
    )  # fmt: skip


def in_contents(page):
    contents = page[page.index("<nav") : page.index("</nav>")]
    return re.findall(r'href="#([^"]+)"', contents)


def test_the_contents_lead_to_each_plan_and_lesson(guide):
    entries = in_contents(guide)
    assert len(entries) == 3 and "lesson-03" in entries
    assert all(f'id="{entry}"' in guide for entry in entries)


def test_hints_are_folded_and_shown_as_text(guide):
    exercise = guide[guide.index("<details") : guide.index("</details>")]
    assert "open" not in exercise.split(">")[0]
    assert "fgs(model, x, y, eps)" in exercise
    assert "<li>Look &lt;up&gt;.</li><li>Use <code>sign()</code>.</li>" in exercise


def test_the_outline_leaves_out_the_rounds_the_solutions_and_the_rest_of_the_prose(guide):
    assert not any(words in guide for words in ("<h4>Predict</h4>", "What will", "secret", "BEGIN SOLUTION"))


class Outside(HTMLParser):
    """Collects what a page would fetch from elsewhere, and tags that stay open."""

    VOID = ("meta", "img", "br", "hr", "link", "input")

    def __init__(self, page):
        super().__init__()
        self.fetched, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name == "src" or (tag == "link" and name == "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_fetches_nothing_and_is_whole(guide):
    page = Outside(guide)
    assert page.fetched == [] and page.open == []
    assert "@import" not in guide and "url(" not in guide


def test_a_course_without_plans_has_a_guide_of_its_lessons(tmp_path):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "03_fgs.py").write_text(SOURCE, encoding="utf-8")
    write_guide(tmp_path / "guide.html", root=tmp_path, exercises={})
    page = (tmp_path / "guide.html").read_text(encoding="utf-8")
    assert in_contents(page) == ["lesson-03"] and "<details" not in page


# -- the course itself


@cache
def sources_of_the_course():
    return [sources.read(path) for path in sorted((ROOT / "solutions").glob("*.py"))]


def test_each_lesson_says_what_to_say_first_and_how_long_each_section_takes():
    for lesson in sources_of_the_course():
        if lesson.number not in NOTED:
            continue
        first = next(cell.text for cell in lesson.cells if sources.INSTRUCTOR in cell.tags)
        assert "**In two minutes.**" in first and "**Time.**" in first, lesson.path.name


def test_no_note_reaches_a_learner():
    for lesson in sources_of_the_course():
        shown = "\n".join(cell.source for cell in sources.lesson_notebook(lesson).cells)
        for cell in lesson.cells:
            if sources.INSTRUCTOR in cell.tags:
                assert cell.kind == "markdown", f"{lesson.path.name}:{cell.line}: notes are text"
                assert cell.text not in shown and "**In two minutes.**" not in shown


def test_every_lesson_and_section_that_the_plans_name_exists():
    plans = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    titles = {lesson.number: "\n".join(cell.text for cell in lesson.cells) for lesson in sources_of_the_course()}
    assert set(re.findall(r"[Ll]esson (\d\d)", plans)) <= set(titles)
    for number, section in re.findall(r"[Ll]esson (\d\d), section (\d+)", plans):
        assert f"\n## {section}. " in f"\n{titles[number]}", f"lesson {number} has no section {section}"
    for number, heading in re.findall(r'[Ll]esson (\d\d)[^"|\n]*"([A-Z][^"]+)"', plans):
        assert heading.rstrip("?") in titles[number], f"lesson {number} has no {heading!r}"


def test_the_figures_that_the_plans_promise_in_a_sweep_are_those_that_the_lessons_keep():
    plans = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    table = plans.partition("| lesson | figures |")[2].partition("\n\n")[0]
    promised = {row[0]: set(row[1].split("; ")) for row in re.findall(r"\| (\d\d) \| (.+) \|", table)}
    kept = {lesson.number: set(re.findall(r'^result\("(.+?)"', "\n".join(cell.text for cell in lesson.cells), re.MULTILINE))
            for lesson in sources_of_the_course()}  # fmt: skip
    assert promised == {number: names for number, names in kept.items() if names}
    assert set(promised) >= {"03", "04", "05", "06", "07", "08"}


def test_a_place_that_cannot_be_written_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "taken").touch()
    for place, told in ((tmp_path, "is a folder. Give the file"), (tmp_path / "taken" / "guide.html", "is no folder")):
        assert cli.main(["guide", "--out", str(place)]) == cli.TO_MEND
        said = capsys.readouterr().err
        assert told in said and said.count("\n") == 1


def test_the_command_says_what_it_wrote_and_where(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("medattack_edu.course.guide.write_guide", lambda out: (7, 49))
    assert cli.main(["guide", "--out", str(tmp_path / "guide.html")]) == 0
    assert capsys.readouterr().out == f"7 lessons, 49 notes: {tmp_path / 'guide.html'}\n"
