"""What `medattack slides` promises: every part of a lesson on a slide, its notes at their place, no network, no script needed."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from medattack_edu import cli
from medattack_edu.course import slides as module
from medattack_edu.course import source as sources
from medattack_edu.course.slides import cut, make_slides, notes_of, slides_page, write_slides

ROOT = Path(__file__).resolve().parents[2]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def text(*lines):
    return new_markdown_cell("\n".join(lines))


def code(source, *outputs, **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def said(words, name="stdout"):
    return new_output("stream", name=name, text=words)


def picture():
    return new_output("display_data", data={"image/png": PIXEL, "text/plain": "a figure"})


LESSON = [
    text("# 03 The attack", "", "You will write *one* step."),
    code("eps = 1", tags=["parameters"]),
    code("import torch", said("a warning", "stderr")),
    text("## 1. One loss"),
    text("### Predict", "", "What will happen?", "", "### Run", "", "```", "# no heading", "```"),
    code("draw()", picture()),
    code("draw_more()", picture()),
    code("quiz('Why?', answer='secret')", said("Why?"), jupyter={"source_hidden": True}),
    code("folded = 1", jupyter={"source_hidden": True}),
    text("#### A small heading"),
    text("> ### In the clinic", "> Who could do it? $x^2$"),
]


def shown(slide):
    return [cell.source for cell in slide.cells]


def test_headings_begin_slides_and_so_does_what_follows_a_picture_and_nothing_of_the_lesson_is_lost():
    slides = cut(new_notebook(cells=LESSON))
    assert [shown(slide)[0] for slide in slides] == [
        "# 03 The attack\n\nYou will write *one* step.", "## 1. One loss", "### Run\n\n```\n# no heading\n```", "draw_more()",
        "quiz('Why?', answer='secret')", "> ### In the clinic\n> Who could do it? $x^2$",
    ]  # fmt: skip
    assert shown(slides[1])[1] == "### Predict\n\nWhat will happen?", "a heading alone waits for what it is about"
    assert shown(slides[4])[1:] == ["#### A small heading"], "nor is folded code that shows nothing"
    assert shown(slides[0])[1:] == ["import torch"] and slides[0].cells[1].outputs == [], (
        "parameters and warnings are no slide"
    )


def test_long_code_and_its_figure_are_two_slides_and_short_code_stands_with_it():
    long = "\n".join(f"step_{number} = {number}" for number in range(12))
    cells = [text("# 03 The attack"), text("### Run"), code("draw()", picture()), text("Words."), code(long, picture())]
    slides = cut(new_notebook(cells=cells))
    assert [shown(slide) for slide in slides] == [["# 03 The attack"], ["### Run", "draw()"], ["Words."], [long], [""]]
    assert slides[3].cells[0].outputs == [] and len(slides[4].cells[0].outputs) == 1


def test_a_box_is_a_slide_of_its_own_and_stays_whole_and_a_comment_is_no_heading():
    box = '<div style="border: 1px">\n\n### In the clinic\n\nWho?\n\n</div>'
    slides = cut(
        new_notebook(
            cells=[text("# 03 The attack"), code("# only a comment"), text("Words.", "", box), text(box, "", "## Quiz")]
        )
    )
    assert [shown(slide) for slide in slides] == [
        ["# 03 The attack", "# only a comment", f"Words.\n\n{box}"],
        [box],
        ["## Quiz"],
    ]


def test_the_page_is_whole_without_network_or_scripts_and_hides_what_is_folded():
    page = slides_page(cut(new_notebook(cells=LESSON), {4: ["**Ask** first."]}))
    assert page.count("<section") == 6 and page.count('<aside class="notes"') == 1
    assert '<section id="s3"' in page and 'aria-label="Slide 3 of 6"' in page
    assert "secret" not in page and "Why?" in page and "eps = 1" not in page
    assert "<math" in page and "$x^2$" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//|@import|url\(""", page)
    # Only what a script has marked is taken off the page: where scripts are blocked, all stands below one another.
    assert all(
        ".deck" in rule
        for rule in re.findall(r"[^{}]*\{[^{}]*display: none[^{}]*\}", module.STYLE)
        if "controls" not in rule
    )


def test_notes_stand_behind_the_cell_that_they_follow_in_the_lesson_and_in_the_solution():
    for path in sorted((ROOT / "solutions").glob("*.py")):
        source = sources.read(path)
        for make, hidden in (
            (sources.lesson_notebook, {sources.INSTRUCTOR, sources.SOLUTION_ONLY}),
            (sources.solution_notebook, {sources.INSTRUCTOR}),
        ):
            notebook, before, expected = make(source), None, []
            for cell in source.cells:
                if sources.INSTRUCTOR in cell.tags:
                    expected.append((before, cell.text))
                elif not hidden & set(cell.tags):
                    before = sources.without_solution(cell.text)
            notes = notes_of(path.stem, notebook)
            came = [(notebook.cells[place].source, note) for place in sorted(notes) for note in notes[place]]
            assert [(sources.without_solution(cell), note) for cell, note in came] == expected, path.name


def test_notes_are_left_out_where_the_notebook_is_not_the_sources_any_more(tmp_path):
    source = sources.read(ROOT / "solutions/03_fast_gradient_sign.py")
    notebook = sources.lesson_notebook(source)
    with_values = new_notebook(cells=[code("eps = 2", tags=["injected-parameters"]), *notebook.cells])
    assert {place - 1 for place in notes_of("03_fast_gradient_sign", with_values)} == set(
        notes_of("03_fast_gradient_sign", notebook)
    )
    assert notes_of("03_fast_gradient_sign", new_notebook(cells=notebook.cells[:-1])) == {}
    assert notes_of("my_own", notebook) == {}


def test_a_notebook_that_was_run_is_taken_as_it_is(tmp_path, capsys):
    nbformat.write(new_notebook(cells=LESSON), tmp_path / "my_lesson.ipynb")
    assert cli.main(["slides", str(tmp_path / "my_lesson.ipynb"), "--out", str(tmp_path / "out")]) == 0
    assert (
        capsys.readouterr().out
        == f"6 slides, 0 of them with teaching notes: {tmp_path / 'out/my_lesson.slides.html'}\n"
    )
    assert (tmp_path / "out/my_lesson.slides.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


@pytest.mark.parametrize("code_of_the_run", [0, 1])
def test_a_lesson_is_run_first_and_has_slides_even_where_it_fails(tmp_path, monkeypatch, code_of_the_run):
    bare = [cell if cell.cell_type == "markdown" else new_code_cell(cell.source) for cell in LESSON]
    nbformat.write(new_notebook(cells=bare), tmp_path / "my_lesson.ipynb")

    def run_lessons(notebooks, out, **options):
        assert notebooks == [tmp_path / "my_lesson.ipynb"] and options == {"images": "phantom"}
        out.mkdir()
        nbformat.write(new_notebook(cells=LESSON), out / "my_lesson.ipynb")
        return code_of_the_run

    monkeypatch.setattr(module, "run_lessons", run_lessons)
    assert make_slides(tmp_path / "my_lesson.ipynb", tmp_path / "out", images="phantom") == code_of_the_run
    assert "image/png" in (tmp_path / "out/my_lesson.slides.html").read_text(encoding="utf-8")


def test_a_notebook_without_a_title_has_slides(tmp_path):
    nbformat.write(new_notebook(cells=[code("1 + 1")]), tmp_path / "a.ipynb")
    assert write_slides(tmp_path / "a.ipynb", tmp_path / "new" / "a.html") == (1, 0)
