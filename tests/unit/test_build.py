"""What `medattack build` promises: one source, two notebooks, and no mistake in either that goes unsaid."""

import json
from types import SimpleNamespace

import jupytext
import nbformat
import pytest

from medattack_edu.course import source as sources
from medattack_edu.course.build import build

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
    return [cell.source for cell in cells(path)]


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
    assert all(set(cell.metadata) <= {"tags"} for cell in cells(course.lesson))


def test_source_notebook_source_is_the_same_text(course):
    without_instructor = WHOLE.replace('# %% tags=["instructor"]\nprint("for the instructor")\n\n', "")
    path = course.write(without_instructor)
    course.build()
    assert jupytext.writes(jupytext.read(course.solution), "py:percent") == path.read_text()


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
