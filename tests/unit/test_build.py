"""What `medattack build` promises: one source, two notebooks, and no mistake in either that goes unsaid."""

import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medattack_edu import cli
from medattack_edu.course import made, pictures
from medattack_edu.course import source as sources
from medattack_edu.course.build import build, watch
from medattack_edu.course.take import BACKUPS, NotTaken, take

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

"""
TITLE = """\
# %% [markdown]
# # 03 The fast gradient sign attack
#
# You will write *one* step.

"""
PARAMETERS = """\
# %% tags=["parameters"]
eps = 2 / 255
clinic = "chest"

"""
IMPORTS = """\
# %%
# %matplotlib inline
from medattack_edu import check

"""
EXERCISE = '''\
# %%
def fgs(model, x, y, eps):
    """One step. x: (N, 3, H, W)."""
    ### BEGIN SOLUTION
    secret = eps * x
    return x + secret
    ### END SOLUTION


fgs = check.fgs(fgs)

'''
MORE = """\
# %% [markdown]
# ### Run

# %% tags=["solution-only"]
print("for those who mark")

# %% tags=["instructor"]
print("for the instructor")

# %% [markdown]
# ### Run
"""
WHOLE = HEADER + TITLE + PARAMETERS + IMPORTS + EXERCISE + MORE
EXERCISES = {"fgs": SimpleNamespace(lesson="03"), "project": SimpleNamespace(lesson="04")}


@pytest.fixture
def course(tmp_path):
    """A course of one lesson; `write` puts a source in its place."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "lessons").mkdir()

    def write(text=WHOLE, name="03_fgs"):
        path = tmp_path / "solutions" / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    write()
    return SimpleNamespace(
        root=tmp_path, write=write, lesson=tmp_path / "lessons" / "03_fgs.ipynb",
        solution=tmp_path / "solutions" / "03_fgs.ipynb",
        build=lambda check=False, exercises=EXERCISES: [
            str(problem) for problem in build(check=check, root=tmp_path, exercises=exercises)
        ],
    )  # fmt: skip


def cells(path):
    return nbformat.read(path, as_version=4).cells


def texts(path):
    """What somebody wrote in a notebook: the cells that a build makes are left out."""
    return [cell.source for cell in cells(path) if not made.is_made(cell)]


# -- what is built


def test_a_build_makes_both_notebooks_and_the_check_agrees(course, capsys):
    assert course.build() == []
    assert course.build(check=True) == []
    assert "1 lessons, all well." in capsys.readouterr().out
    for path in (course.lesson, course.solution):
        nbformat.validate(nbformat.read(path, as_version=4))
        assert path.read_text(encoding="utf-8").endswith("}\n")


def test_a_learner_gets_a_stub_at_the_same_indentation_and_nothing_of_the_solution(course):
    course.build()
    stub = next(text for text in texts(course.lesson) if "def fgs" in text)
    assert '    """One step. x: (N, 3, H, W)."""\n    # YOUR CODE HERE\n    ...\n\n\nfgs = check.fgs(fgs)' in stub
    assert "secret" not in course.lesson.read_text() and "SOLUTION" not in course.lesson.read_text()
    assert any("secret = eps * x" in text for text in texts(course.solution))


def test_code_beside_the_solution_stays_and_each_region_gets_its_stub():
    code = "for b in a:\n    ### BEGIN SOLUTION\n    c = b\n    ### END SOLUTION\nprint(c)\n"
    stub = "for b in a:\n    # YOUR CODE HERE\n    ...\nprint(c)\n"
    assert sources.without_solution(code + code) == (stub + stub).rstrip()


def test_tagged_cells_go_where_they_belong(course):
    course.build()
    lesson, solution = "\n".join(texts(course.lesson)), "\n".join(texts(course.solution))
    assert "for those who mark" not in lesson and "for those who mark" in solution
    assert "for the instructor" not in lesson + solution


def test_notebooks_hold_no_outputs_and_little_metadata(course):
    course.build()
    for path, more in ((course.lesson, set()), (course.solution, {"jupytext"})):
        notebook = nbformat.read(path, as_version=4)
        assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
        assert set(notebook.metadata) == {"kernelspec", "medattack"} | more
        assert notebook.metadata.kernelspec.name == "python3"
        assert notebook.metadata.medattack.generated_from == "solutions/03_fgs.py"
    assert all(set(cell.metadata) <= {"tags"} for cell in cells(course.lesson) if not made.is_made(cell))


def test_source_notebook_source_is_the_same_text(course):
    without_instructor = WHOLE.replace('# %% tags=["instructor"]\nprint("for the instructor")\n\n', "")
    path = course.write(without_instructor)
    course.build()
    notebook = jupytext.read(course.solution)
    notebook.cells = [cell for cell in notebook.cells if not made.is_made(cell)]
    assert jupytext.writes(notebook, "py:percent") == path.read_text()


def test_ids_are_unique_and_a_change_in_one_cell_changes_that_cell_alone(course):
    course.build()
    before = {cell.id: cell.source for cell in cells(course.lesson)}
    assert len(before) == len(cells(course.lesson))
    new_cell = "# %% [markdown]\n# ### Predict\n\n"
    course.write(WHOLE.replace(EXERCISE, new_cell + EXERCISE.replace("One step.", "A single step.")))
    course.build()
    after = {cell.id: cell.source for cell in cells(course.lesson)}
    assert len(after.keys() - before.keys()) == 2 and len(before.keys() - after.keys()) == 1
    assert all(after[own_id] == before[own_id] for own_id in before.keys() & after.keys())


def test_building_twice_changes_no_byte(course):
    course.build()
    before = course.lesson.read_bytes(), course.solution.read_bytes()
    course.build()
    assert (course.lesson.read_bytes(), course.solution.read_bytes()) == before


# -- mistakes in a source


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("    ### BEGIN SOLUTION\n", "", 34, "`### END SOLUTION` without its"),
        ("    ### END SOLUTION\n", "", 32, "`### BEGIN SOLUTION` without its"),
        ("    secret = eps * x\n", "    ### BEGIN SOLUTION\n", 33, "inside a solution"),
        ("    ### BEGIN SOLUTION\n", "    # BEGIN SOLUTION\n", 32, "looks like a solution mark"),
        ("    ### END SOLUTION\n", "    ### end solution\n", 35, "looks like a solution mark"),
        ("# You will write *one* step.", "# ### BEGIN SOLUTION", 19, "text cell"),
        ("    secret = eps * x\n", "    secret = = x\n", 33, "the code doesn't compile"),
        (' tags=["parameters"]', "", 1, "0 cells are tagged parameters"),
        ("# %%\n# %matplotlib", '# %% tags=["parameters"]\n# %matplotlib', 26, "2 cells are tagged parameters"),
        ("eps = 2 / 255", "eps = float(2)", 22, "`name = value` only"),
        ("eps = 2 / 255", "print", 22, "`name = value` only"),
        ("# # 03 The", "# # 04 The", 1, "start with the title, `# 03 ...`"),
        ("# # 03 The", "# 03 The", 1, "start with the title"),
        ("check.fgs(fgs)", "check.fsg(fgs)", 38, "no exercise 'fsg' is registered"),
        ("check.fgs(fgs)", "fgs", 1, "there is no `check.NAME(...)`"),
        ("check.fgs(fgs)", "check.project(fgs)", 1, "'fgs' is registered for this lesson"),
        ("#     name: python3\n", "#     name: python4\n", 1, "should name the kernel"),
        ("#     formats: ipynb,py:percent\n", "", 1, "pair it with a notebook"),
        ("#   kernelspec:\n", "#       jupytext_version: 1.2.3\n#   kernelspec:\n", 10, "would write"),
        (TITLE, "print(1)\n\n" + TITLE, 1, "Start each cell"),
        ("# jupyter:", "# jupyter: [", 1, ""),
    ],
)  # fmt: skip
def test_a_mistake_in_a_source_is_told_with_its_line_and_nothing_is_built(old, new, line, told, course, capsys):
    assert old in WHOLE
    course.write(WHOLE.replace(old, new, 1))
    found = course.build()
    place = f"solutions/03_fgs.py:{line}: " if line else "solutions/03_fgs.py:"
    assert any(problem.startswith(place) and told in problem for problem in found), found
    assert found[0] in capsys.readouterr().out
    assert not course.lesson.exists() and not course.solution.exists()


SOLUTION = EXERCISE[EXERCISE.index("    ### BEGIN") : EXERCISE.index("\n\n\nfgs = check")]


def test_a_stub_that_does_not_compile_is_a_mistake_though_its_solution_does(course):
    half = "    ### BEGIN SOLUTION\n    try:\n        x = 1\n    ### END SOLUTION\n    finally:\n        pass"
    course.write(WHOLE.replace(SOLUTION, half))
    found = course.build()
    assert any("what is left for the learner doesn't compile" in problem for problem in found), found


def test_a_solution_within_an_expression_leaves_a_stub_that_compiles(course):
    within = "    return (\n        ### BEGIN SOLUTION\n        x\n        ### END SOLUTION\n    )"
    course.write(WHOLE.replace(SOLUTION, within))
    assert course.build() == []
    assert any("    return (\n        # YOUR CODE HERE\n        ...\n    )" in text for text in texts(course.lesson))


@pytest.mark.parametrize("name", ["fgs", "3_fgs", "03-fgs", "03_FGS", "03_"])
def test_a_name_that_is_not_nn_slug_is_a_mistake(name, course):
    course.write(name=name)
    assert any("the name should be NN_slug.py" in problem for problem in course.build())


def test_two_lessons_with_one_number_are_a_mistake(course):
    course.write(name="03_other")
    assert any("03_other.py: has the number of 03_fgs.py" in problem for problem in course.build())


def test_one_lessons_mistake_does_not_hold_up_another(course):
    course.write("broken", name="04_pgd")
    assert any("04_pgd.py" in problem for problem in course.build())
    assert course.lesson.exists()


def test_a_source_that_is_not_utf_8_is_named_with_its_line_and_holds_up_no_other(course):
    latin = WHOLE.replace("# # 03 The fast", "# # 04 The fäst").encode("latin-1")
    course.write(name="04_pgd").write_bytes(latin)
    assert course.build() == [
        "solutions/04_pgd.py:17: isn't UTF-8 (invalid continuation byte). Save it in that encoding."
    ]
    assert course.lesson.exists()


def test_exercises_checked_again_in_a_later_lesson_are_fine(course):
    later = WHOLE.replace("# 03 The", "# 04 The").replace("check.fgs(fgs)", "check.project(check.fgs(fgs))")
    course.write(later, name="04_pgd")
    assert course.build() == []


# -- what is on disk


def test_the_check_names_what_is_missing_and_how_to_mend_it_and_writes_nothing(course):
    found = course.build(check=True)
    assert [problem.split(":")[0] for problem in found] == ["solutions/03_fgs.ipynb", "lessons/03_fgs.ipynb"]
    assert all("is missing. To mend: medattack build." in problem for problem in found)
    assert not course.lesson.exists()


def test_the_check_names_what_is_older_than_its_source_and_a_build_mends_it(course):
    course.build()
    course.write(WHOLE.replace("*one* step", "a single step"))
    assert all("is older than its source" in problem for problem in course.build(check=True))
    assert course.build() == [] == course.build(check=True)
    assert "a single step" in course.lesson.read_text()


def test_the_check_names_what_holds_outputs_and_a_build_mends_it(course):
    course.build()
    notebook = json.loads(course.lesson.read_text())
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    course.lesson.write_text(json.dumps(notebook))
    (problem,) = course.build(check=True)
    assert "holds the outputs of a run" in problem and "medattack build" in problem
    assert course.build() == [] == course.build(check=True)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("source_changed", [True, False])
def test_a_notebook_edited_by_hand_is_named_and_never_overwritten(check, source_changed, course):
    course.build()
    notebook = json.loads(course.lesson.read_text())
    notebook["cells"][0]["source"] = ["# 03 My own title"]
    course.lesson.write_text(json.dumps(notebook))
    edited = course.lesson.read_bytes()
    if source_changed:
        course.write(WHOLE.replace("*one* step", "a single step"))
    found = [problem for problem in course.build(check=check) if problem.startswith("lessons")]
    assert len(found) == 1 and "edited by hand" in found[0] and "solutions/03_fgs.py" in found[0]
    assert course.lesson.read_bytes() == edited


def test_a_solution_edited_as_a_notebook_and_synced_to_its_source_is_fine(course):
    course.write(WHOLE.replace('# %% tags=["instructor"]\nprint("for the instructor")\n\n', ""))
    course.build()
    notebook = jupytext.read(course.solution)
    notebook.cells[0].source = notebook.cells[0].source.replace("*one*", "a single")
    jupytext.write(notebook, course.solution)
    course.write(jupytext.writes(notebook, "py:percent"))
    assert course.build() == []
    assert "a single step" in course.lesson.read_text()


def test_a_notebook_without_a_source_is_named(course):
    course.build()
    for folder in ("lessons", "solutions"):
        (course.root / folder / "05_old.ipynb").write_text("{}")
    found = course.build(check=True)
    assert [problem.split(":")[0] for problem in found] == ["solutions/05_old.ipynb", "lessons/05_old.ipynb"]
    assert all("has no source solutions/05_old.py" in problem for problem in found)


def test_what_is_no_notebook_is_not_overwritten(course):
    course.lesson.write_text("not JSON")
    assert any(problem.startswith("lessons/03_fgs.ipynb") for problem in course.build())
    assert course.lesson.read_text() == "not JSON"


def test_a_folder_without_solutions_is_told(tmp_path):
    with pytest.raises(ValueError, match="no folder solutions/"):
        build(root=tmp_path / "elsewhere")


# -- an edit made in a notebook, and taken into the source


@pytest.fixture
def edit(course):
    """A function that builds, changes a notebook's cells with the function given, and saves as JupyterLab does."""
    course.build()

    def edit(change, path=course.lesson):
        notebook = nbformat.read(path, as_version=4)
        change(notebook.cells)
        nbformat.write(notebook, path)
        return path

    return edit


def taken(course, path):
    """Take the notebook's edit; the source and both notebooks must be in order afterwards. Returns the source."""
    assert take(path, root=course.root, exercises=EXERCISES) is not None
    assert course.build() == [] == course.build(check=True)
    return (course.root / "solutions" / "03_fgs.py").read_text(encoding="utf-8")


def place_of(cells, fragment):
    return next(index for index, cell in enumerate(cells) if fragment in cell.source)


def replaced(fragment, old, new):
    """An edit: in the cell that holds the fragment, `old` becomes `new`."""

    def change(cells):
        cell = cells[place_of(cells, fragment)]
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return change


@pytest.mark.parametrize("where", ["lesson", "solution"])
def test_changed_prose_and_code_are_taken_and_what_the_notebook_hides_stays(where, course, edit, capsys):
    path = getattr(course, where)
    edit(replaced("You will write", "*one* step", "a single step"), path)
    edit(replaced("def fgs", "One step.", "A single step."), path)
    text = taken(course, path)
    expected = WHOLE.replace("*one* step", "a single step").replace("One step.", "A single step.")
    assert text == expected
    told = capsys.readouterr().out
    assert "-# You will write *one* step." in told and "+# You will write a single step." in told
    assert "secret" not in told.split("A single step.")[0]


def test_code_around_the_gap_is_taken_and_the_solution_stays_in_it(course, edit):
    edit(replaced("def fgs", "    # YOUR CODE HERE", "    x = x.clone()\n    # YOUR CODE HERE"))
    assert taken(course, course.lesson) == WHOLE.replace("    ### BEGIN", "    x = x.clone()\n    ### BEGIN")


def test_added_removed_and_moved_cells_are_taken(course, edit):
    def change(cells):
        cells.pop(place_of(cells, "### Run"))
        exercise = cells.pop(place_of(cells, "def fgs"))
        cells.insert(1, exercise)
        cells.insert(2, new_markdown_cell("A new paragraph."))
        cells.append(new_code_cell("print('new')", metadata={"tags": ["mine"], "editable": True}))
        cells.append(new_code_cell(""))  # JupyterLab leaves one at the end

    edit(change)
    text = taken(course, course.lesson)
    shown = texts(course.lesson)
    assert "def fgs" in shown[1] and shown[2] == "A new paragraph." and shown[-1] == "print('new')"
    assert sum("### Run" in cell for cell in shown) == 1
    for kept in ("secret = eps * x", '"for those who mark"', '"for the instructor"', '# %% tags=["mine"]'):
        assert text.count(kept) == 1
    assert "editable" not in text


ON_PURPOSE = {"jupyter": {"source_hidden": True}, "slideshow": {"slide_type": "skip"}, "editable": False}
NOISE = {
    "jupyter": {"outputs_hidden": True, "source_hidden": False}, "slideshow": {"slide_type": ""}, "editable": True,
    "collapsed": True, "trusted": True, "ExecuteTime": {}, "execution": {}, "vscode": {"languageId": "python"}, "tags": [],
    "colab": {"base_uri": "https://localhost/"}, "id": "a1", "outputId": "b2", "executionInfo": {"elapsed": 1},
}  # fmt: skip


@pytest.mark.parametrize("where", ["lesson", "solution"])
def test_what_was_set_on_a_cell_is_an_edit_that_is_named_and_taken(where, course, edit):
    path = getattr(course, where)
    edit(lambda cells: cells[place_of(cells, "def fgs")].metadata.update(ON_PURPOSE), path)
    edited = path.read_bytes()
    assert ["edited by hand" in problem for problem in course.build()] == [True]
    assert path.read_bytes() == edited
    text = taken(course, path)
    assert '\n# %% editable=false jupyter={"source_hidden": true} slideshow={"slide_type": "skip"}\ndef fgs' in text
    for built in (course.lesson, course.solution):
        assert cells(built)[place_of(cells(built), "def fgs")].metadata.items() >= ON_PURPOSE.items()


def test_what_editors_note_for_themselves_is_no_edit(course, edit):
    edit(lambda cells: [cell.metadata.update(NOISE) for cell in cells if "def fgs" in cell.source])
    assert take(course.lesson, root=course.root, exercises=EXERCISES) is None
    assert course.build() == [] == course.build(check=True)


@pytest.mark.parametrize("text", ["![a picture](attachment:mine.png)", "nothing shows it"])
def test_a_picture_pasted_into_a_cell_is_refused_and_never_lost(text, course, edit):
    pasted = new_markdown_cell(text, attachments={"mine.png": {"image/png": "cGlj"}})
    edit(lambda cells: cells.insert(2, pasted))
    edited = course.lesson.read_bytes()
    assert ["edited by hand" in problem for problem in course.build()] == [True]
    assert course.lesson.read_bytes() == edited
    refused(course, course.lesson, "Cell 3 holds a picture that was pasted into it: .*Save it as a file and show that")


def test_a_picture_pasted_in_jupyterlab_is_told_by_the_build_and_never_lost(course, jupyterlab):
    model = jupyterlab.get("solutions/03_fgs.ipynb")
    cell = model["content"]["cells"][0]
    cell["source"] += "\n\n![a picture](attachment:mine.png)"
    cell["attachments"] = {"mine.png": {"image/png": "cGlj"}}
    jupyterlab.save(model, "solutions/03_fgs.ipynb")
    (problem,) = course.build()
    assert problem.startswith("solutions/03_fgs.py:21: a source is text and holds no pasted picture. Save it as a file")
    assert "cGlj" in course.solution.read_text(encoding="utf-8")


def test_hidden_cells_move_with_the_cell_that_they_follow(course, edit):
    def to_the_front(cells):
        cells.insert(1, cells.pop(place_of(cells, "### Run")))

    edit(to_the_front)
    text = taken(course, course.lesson)
    order = ["You will write", "### Run", "for those who mark", "for the instructor", "eps = 2 / 255", "def fgs"]
    assert sorted(order, key=text.index) == order


def test_a_notebook_whose_editor_gave_the_cells_new_ids_is_taken_as_well(course, edit):
    def change(cells):
        for number, cell in enumerate(cells):
            cell.id = f"new-{number}"
        replaced("def fgs", "One step.", "A single step.")(cells)

    edit(change)
    assert taken(course, course.lesson) == WHOLE.replace("One step.", "A single step.")


def test_a_solution_written_anew_is_taken_from_its_notebook(course, edit):
    edit(replaced("secret", "secret = eps * x", "secret = x * eps"), course.solution)
    assert taken(course, course.solution) == WHOLE.replace("secret = eps * x", "secret = x * eps")


def test_what_was_there_before_is_kept(course, edit):
    edit(replaced("You will write", "*one* step", "a single step"))
    edited = course.lesson.read_bytes()
    backup = take(course.lesson, root=course.root, exercises=EXERCISES)
    assert backup.parent == course.root / BACKUPS
    assert (backup / "03_fgs.py").read_text(encoding="utf-8") == WHOLE
    assert (backup / "03_fgs.ipynb").read_bytes() == edited


def test_outputs_are_nothing_to_take(course, edit, capsys):
    edit(lambda cells: cells[2].update(execution_count=1))
    assert take(course.lesson, root=course.root, exercises=EXERCISES) is None
    assert "holds nothing that its source doesn't" in capsys.readouterr().out


def refused(course, path, told):
    """Taking is refused with this message, and no file has changed."""
    files = [course.root / "solutions" / "03_fgs.py", course.lesson, course.solution]
    before = [file.read_bytes() for file in files if file.exists()]
    with pytest.raises(NotTaken, match=told):
        take(path, root=course.root, exercises=EXERCISES)
    assert before == [file.read_bytes() for file in files if file.exists()]
    assert not (course.root / BACKUPS).exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # YOUR CODE HERE\n    ...", "    return x + eps"),
        ("    ...", "    return x"),
        ("    # YOUR CODE HERE\n", ""),
        ("    # YOUR CODE HERE\n    ...", "        # YOUR CODE HERE\n        ..."),
        ("    # YOUR CODE HERE\n    ...", 2 * "    # YOUR CODE HERE\n    ...\n"),
    ],
)
def test_an_edit_of_the_gap_itself_is_refused(old, new, course, edit):
    edit(replaced("def fgs", old, new))
    refused(course, course.lesson, "Cell 5, which begins 'def fgs.*where the learner's gap is.*in the source")


def test_an_edit_is_refused_where_the_source_has_changed_since(course, edit):
    edit(replaced("You will write", "*one* step", "a single step"))
    course.write(WHOLE.replace("# ### Run", "# ### Look", 1))
    refused(course, course.lesson, "its source 03_fgs.py has changed as well")


def test_an_edit_that_would_break_the_source_is_refused_with_what_is_wrong(course, edit):
    edit(replaced("def fgs", "check.fgs(fgs)", "check.fsg(fgs)"))
    refused(course, course.lesson, "no exercise 'fsg' is registered")


def test_a_removed_exercise_is_refused(course, edit):
    edit(lambda cells: cells.pop(place_of(cells, "def fgs")))
    refused(course, course.lesson, "no `check.NAME")


def test_what_is_no_notebook_of_the_course_is_refused(course, tmp_path):
    course.build()
    (tmp_path / "lessons" / "05_mine.ipynb").write_text(course.lesson.read_text())
    course.solution.write_text("not JSON")
    for path, told in (
        (tmp_path / "lessons" / "04_gone.ipynb", "There is no notebook"),
        (tmp_path / "lessons" / "05_mine.ipynb", "has no source 05_mine.py"),
        (tmp_path / "solutions" / "03_fgs.py", "is no notebook in lessons/ or solutions/"),
        (tmp_path / "elsewhere" / "lessons" / "03_fgs.ipynb", "Copy it there first"),
        (course.solution, "can't be read as a notebook"),
    ):
        refused(course, path, told)


def test_the_message_about_an_edit_names_the_command_that_takes_it(course, edit):
    edit(replaced("You will write", "*one* step", "a single step"))
    (problem,) = course.build()
    assert "medattack build --take lessons/03_fgs.ipynb" in problem


# -- pairing, in JupyterLab


@pytest.fixture
def jupyterlab(course):
    """What JupyterLab opens and saves files with, where Jupytext is installed, on the folder of the course."""
    from jupytext import TextFileContentsManager

    course.build()
    return TextFileContentsManager(root_dir=str(course.root))


def age(path, seconds=60):
    """As if the file had been written so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_solution_saved_in_jupyterlab_changes_its_source(course, jupyterlab):
    model = jupyterlab.get("solutions/03_fgs.ipynb")
    cell = model["content"]["cells"][0]
    cell["source"] = cell["source"].replace("*one* step", "a single step")
    jupyterlab.save(model, "solutions/03_fgs.ipynb")
    source = course.root / "solutions" / "03_fgs.py"
    assert source.read_text(encoding="utf-8") == WHOLE.replace("*one* step", "a single step")
    assert course.build() == [] == course.build(check=True)
    assert "a single step" in course.lesson.read_text(encoding="utf-8")
    assert "for the instructor" not in course.solution.read_text(encoding="utf-8")


def test_a_source_edited_elsewhere_is_what_jupyterlab_opens(course, jupyterlab):
    course.write(WHOLE.replace("*one* step", "a single step"))
    for _ in range(2):  # before a build, and after
        model = jupyterlab.get("solutions/03_fgs.ipynb")
        assert "a single step" in model["content"]["cells"][0]["source"]
        assert any("for the instructor" in cell["source"] for cell in model["content"]["cells"])
        assert course.build() == []


def test_jupyterlab_opens_a_solution_that_was_built_long_after_its_source_was_written(course, jupyterlab):
    source = course.write(WHOLE.replace("*one* step", "a single step"))
    age(source)
    assert course.build() == []
    assert "a single step" in jupyterlab.get("solutions/03_fgs.ipynb")["content"]["cells"][0]["source"]


def test_a_note_written_into_a_solution_without_pairing_is_an_edit_and_can_be_taken(course, edit):
    note = new_markdown_cell("Ask first.", metadata={"tags": ["instructor"]})
    edit(lambda cells: cells.insert(1, note), course.solution)
    assert any("edited by hand" in problem for problem in course.build())
    text = taken(course, course.solution)
    assert '# %% [markdown] tags=["instructor"]\n# Ask first.\n' in text
    assert text.count("instructor") == WHOLE.count("instructor") + 1


# -- the cells that a build makes


ADDRESS = '[project]\nname = "medattack-edu"\n\n[project.urls]\nRepository = "{}"\n'


def made_cells(path):
    return [cell for cell in cells(path) if made.is_made(cell)]


def test_colabs_cell_stands_behind_the_title_of_both_notebooks_folded(course):
    course.build()
    for path in (course.lesson, course.solution):
        title, colab = cells(path)[:2]
        assert title.source.startswith("# 03") and colab.cell_type == "code" and made_cells(path) == [colab]
        assert colab.metadata.jupyter.source_hidden and "google.colab" in colab.source


def test_a_picture_stands_behind_its_widget_in_both_notebooks_once_it_is_drawn(course):
    widget = "# %%\nexplore.epsilon(model, x)\nexplore.Scene()\n\n"
    course.write(WHOLE.replace(MORE, widget + MORE))
    course.build()
    assert not any("<img" in cell.source for cell in cells(course.lesson))
    draw(course, "03_epsilon", 'a "slider" & more')
    found = course.build(check=True)
    assert len(found) == 2 and all("hasn't the pictures" in problem for problem in found)
    assert course.build() == [] == course.build(check=True)
    for path in (course.lesson, course.solution):
        place = place_of(cells(path), "explore.epsilon")
        shown = cells(path)[place + 1]
        assert made.is_made(shown) and shown.source.startswith("<details><summary>")
        assert 'alt="a &quot;slider&quot; &amp; more"' in shown.source
        (address,) = re.findall(r'src="([^"]+)"', shown.source)
        assert (path.parent / address).resolve() == pictures.place(course.root, "03_epsilon").resolve()


def draw(course, name, words):
    said = PngInfo()
    said.add_itxt(pictures.WORDS, words)
    path = pictures.place(course.root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, pnginfo=said)


def test_once_there_is_an_address_the_badges_and_the_installation_follow_from_it(course):
    course.build()
    (course.root / "pyproject.toml").write_text(ADDRESS.format("https://github.com/someone/some-course"))
    assert all("the address, that the course has now" in problem for problem in course.build(check=True))
    assert course.build() == [] == course.build(check=True)
    title, badges, colab = cells(course.lesson)[:3]
    assert "colab.research.google.com/github/someone/some-course/blob/main/lessons/03_fgs.ipynb" in badges.source
    assert "mybinder.org/v2/gh/someone/some-course/HEAD?urlpath=lab%2Ftree%2Flessons%2F03_fgs.ipynb" in badges.source
    assert "git+https://github.com/someone/some-course" in colab.source
    assert "blob/main/solutions/03_fgs.ipynb" in cells(course.solution)[1].source


def test_an_address_that_is_none_is_told_and_nothing_is_built(course):
    (course.root / "pyproject.toml").write_text(ADDRESS.format("soon"))
    (problem,) = course.build()
    assert "pyproject.toml" in problem and "'soon'" in problem and not course.lesson.exists()


def test_an_edit_of_a_made_cell_is_named_and_refused_and_never_overwritten(course, edit):
    edit(replaced("google.colab", "import sys", "import os"))
    edited = course.lesson.read_bytes()
    assert ["edited by hand" in problem for problem in course.build()] == [True]
    assert course.lesson.read_bytes() == edited
    refused(course, course.lesson, "Cell 2 of 03_fgs.ipynb is made by medattack build")


def test_a_made_cell_that_is_gone_comes_back_and_an_edit_beside_it_is_taken(course, edit):
    edit(lambda cells: cells.pop(1))
    assert course.build() == [] and len(made_cells(course.lesson)) == 1
    edit(lambda cells: cells.pop(1))
    edit(replaced("You will write", "*one* step", "a single step"))
    assert taken(course, course.lesson) == WHOLE.replace("*one* step", "a single step")
    assert len(made_cells(course.lesson)) == 1


def test_made_cells_that_a_sync_outside_of_jupyterlab_left_in_a_source_are_taken_out_of_it(course):
    path = course.write(WHOLE.replace('# %% tags=["instructor"]\nprint("for the instructor")\n\n', ""))
    before = path.read_text(encoding="utf-8")
    course.build()
    path.write_text(jupytext.writes(jupytext.read(course.solution), "py:percent"), encoding="utf-8")
    (problem,) = [problem for problem in course.build(check=True) if "solutions/03_fgs.py" in problem]
    assert "which a build makes" in problem
    assert course.build() == [] == course.build(check=True)
    assert path.read_text(encoding="utf-8") == before


# -- nbgrader


def test_nbgrader_makes_the_lesson_out_of_the_solution(course):
    from nbgrader.preprocessors import ClearSolutions
    from traitlets.config import Config

    root = Path(__file__).resolve().parents[2]
    said = (root / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("nbgrader_config.py")[2]
    exec(said.partition("```python\n")[2].partition("```")[0], {"c": (documented := Config())})
    clear = ClearSolutions(config=documented)
    solutions = [course.solution, *sorted((root / "solutions").glob("*.ipynb"))]
    course.build()
    for path in solutions:
        cleared, _ = clear.preprocess(nbformat.read(path, as_version=4), {})
        for_learners = [cell for cell in cleared.cells if sources.SOLUTION_ONLY not in cell.metadata.get("tags", [])]
        written = [cell.source for cell in for_learners if not made.is_made(cell)]
        assert written == texts(path.parent.parent / "lessons" / path.name), path.name


# -- the command


def test_the_command_takes_an_edit_and_builds_what_follows_from_it(course, edit, monkeypatch, capsys):
    for module in ("build", "take"):
        monkeypatch.setattr(f"medattack_edu.course.{module}.course_root", lambda root: course.root)
    monkeypatch.setattr("medattack_edu.course.checks.all_exercises", lambda: EXERCISES)
    edit(replaced("You will write", "*one* step", "a single step"))
    assert cli.main(["build", "--take", str(course.lesson)]) == 0
    assert "a single step" in course.solution.read_text(encoding="utf-8")
    edit(replaced("def fgs", "    ...", "    return x"))
    assert cli.main(["build", "--take", str(course.lesson)]) == cli.TO_MEND
    assert "medattack: Cell 5, which begins 'def fgs" in capsys.readouterr().err


def test_the_command_does_one_thing_at_a_time(capsys):
    with pytest.raises(SystemExit):
        cli.main(["build", "--check", "--watch"])
    assert "not allowed with" in capsys.readouterr().err


# -- watching


def test_watching_builds_at_the_start_and_after_each_change_until_it_is_stopped(course, monkeypatch, capsys):
    def said():
        return re.sub(r"\d\d:\d\d:\d\d", "TIME", capsys.readouterr().out).splitlines()

    def look_at_the_start():
        start = f"Watching {course.root / 'solutions'}; Ctrl-C ends it."
        assert said() == [start, "TIME  all notebooks are up to date."]
        assert course.lesson.exists()
        course.write(WHOLE.replace("*one* step", "a single step"))

    def look_at_the_change():
        assert said() == ["TIME  03_fgs.py changed; all notebooks are up to date."]
        assert "a single step" in course.lesson.read_text(encoding="utf-8")
        course.write(WHOLE.replace("# # 03 The", "# 03 The"))

    def look_at_the_mistake():
        first, second = said()
        assert first == "TIME  03_fgs.py changed; 1 problems:" and "start with the title" in second
        raise KeyboardInterrupt

    def nothing():
        pass

    pauses = iter([nothing, look_at_the_start, nothing, look_at_the_change, nothing, look_at_the_mistake])
    monkeypatch.setattr("medattack_edu.course.build.time.sleep", lambda seconds: next(pauses)())
    watch(root=course.root, exercises=EXERCISES)
    assert said() == ["", "No longer watching."]
