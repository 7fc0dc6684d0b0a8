"""What `medattack new-lesson` promises: a skeleton that passes all that a lesson must pass, and nothing overwritten."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medattack_edu import cli
from medattack_edu.course.new_lesson import CHECKS, TESTS, new_lesson

ROOT = Path(__file__).resolve().parents[2]
# What must hold of the course as a whole, whatever lessons it has.
WHOLE = [f"{TESTS}/test_{name}.py" for name in ("guide", "lesson_names", "links", "packaging", "pictures")]
OF_LESSONS = "not packaging or every_feature or table_of_lessons or links_to"  # not what is told of the installation
# In one process, because each pays for PyTorch: the build, the tests, the solution run strictly as plain Python.
TRY = f"""
import os, runpy, sys
import pytest
from medattack_edu.course.build import build
assert build() == [] and build(check=True) == []
assert pytest.main(["-q", "-p", "no:cacheprovider", "tests/unit/test_checks_{{0}}.py"]) == 0
assert pytest.main(["-q", "-p", "no:cacheprovider", "-k", {OF_LESSONS!r}, *{WHOLE}]) == 0
os.environ["MEDATTACK_STRICT"] = "1"
runpy.run_path("solutions/{{0}}_why_it_works.py")
"""

ROWS = ["| 00 | Start | a | 20 min |", "| 01 | Next | b | planned |", "| 02 | Last | c | planned |"]
NEW_ROW = r"| {} | This \| that | the mean brightness of an image | 30 min |"


@pytest.fixture
def empty_course(tmp_path):
    for folder in ("solutions", "lessons", CHECKS, TESTS):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_the_skeleton_builds_runs_and_passes_the_tests_of_its_check_and_of_the_whole_course(tmp_path):
    root = tmp_path / "course"
    there = ("medattack_edu", "solutions", "lessons", "docs", "binder", "tests/conftest.py", TESTS, "README.md")
    for name in (*there, "pyproject.toml", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "LICENSE-lessons"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / name)
    written = new_lesson("Why it works", root=root)
    number = written[0].name[:2]
    assert [path.relative_to(root).as_posix() for path in written] == [
        f"solutions/{number}_why_it_works.py", f"{CHECKS}/lesson_{number}.py", f"{TESTS}/test_checks_{number}.py"
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(root), "MEDATTACK_IMAGES": "phantom", "MPLBACKEND": "agg"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and loading them takes as long as the rest
    code = TRY.format(number)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{int(number) + 1} lessons, all well." in done.stdout and "does not hold" not in done.stdout
    lint = [sys.executable, "-m", "ruff", "check", *map(str, written)]
    linted = subprocess.run(lint, cwd=root, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("number", "rows"),
    [
        ("01", ["| 00 | Start | a | 20 min |", NEW_ROW.format("01"), "| 02 | Last | c | planned |"]),
        ("02", ["| 00 | Start | a | 20 min |", "| 01 | Next | b | planned |", NEW_ROW.format("02")]),
        ("07", [*ROWS, NEW_ROW.format("07")]),
    ],
)
def test_it_gets_its_row_in_the_readme_in_place_of_a_planned_one_or_behind_those_before_it(number, rows, empty_course):
    readme = "# A course\n\n| nr | lesson | built | time |\n|---|---|---|---|\n{}\n\nMore.\n"
    (empty_course / "README.md").write_text(readme.format("\n".join(ROWS)), encoding="utf-8")
    new_lesson("This | that", number=number, root=empty_course)
    assert (empty_course / "README.md").read_text(encoding="utf-8") == readme.format("\n".join(rows))


def test_it_takes_the_next_number_and_says_what_to_do_next(empty_course, capsys):
    (empty_course / "solutions" / "07_last.py").touch()
    lesson, *_ = new_lesson("Größe & Form: a study", root=empty_course)
    assert lesson.name == "08_groe_form_a_study.py" and "# # 08 Größe & Form: a study" in lesson.read_text("utf-8")
    told = capsys.readouterr().out
    assert "medattack build" in told and "medattack run 08" in told and "test_checks_08.py" in told


def test_a_second_skeleton_has_an_exercise_of_its_own(empty_course):
    new_lesson("One", root=empty_course)
    _, check, _ = new_lesson("Two", root=empty_course)
    assert '"mean_brightness_01"' in check.read_text(encoding="utf-8")


@pytest.mark.parametrize("taken", ["solutions/09_other.py", f"{CHECKS}/lesson_09.py", f"{TESTS}/test_checks_09.py"])
def test_nothing_is_overwritten(taken, empty_course):
    (empty_course / taken).write_text("mine")
    with pytest.raises(ValueError, match="Lesson 09 exists already: .*Nothing was written"):
        new_lesson("Mine", number="09", root=empty_course)
    assert [path.name for path in empty_course.rglob("*.py")] == [Path(taken).name]
    assert (empty_course / taken).read_text() == "mine"


@pytest.mark.parametrize(("title", "number"), [("!?", None), ("", None), ("Fine", "9"), ("Fine", "nine")])
def test_a_title_or_number_that_will_not_do_is_told(title, number, empty_course):
    with pytest.raises(ValueError, match="gives no file name|takes two digits"):
        new_lesson(title, number=number, root=empty_course)


def test_a_long_title_stands_in_the_lesson_and_its_beginning_in_the_names_of_files(empty_course):
    title = "why " * 75
    lesson, *_ = new_lesson(title, root=empty_course)
    assert lesson.stem == f"00_{'_'.join(['why'] * 15)}"
    assert f"# # 00 {title.strip()}\n" in lesson.read_text(encoding="utf-8")


def test_outside_a_clone_it_says_what_is_missing(tmp_path):
    (tmp_path / "solutions").mkdir()
    with pytest.raises(ValueError, match="needs a clone"):
        new_lesson("Mine", root=tmp_path)


def test_the_command_passes_title_and_number_on_and_tells_a_mistake_in_a_line(empty_course, monkeypatch, capsys):
    monkeypatch.setattr("medattack_edu.course.new_lesson.course_root", lambda root: empty_course)
    assert cli.main(["new-lesson", "Why it works", "--number", "11"]) == 0
    assert (empty_course / "solutions" / "11_why_it_works.py").exists()
    assert cli.main(["new-lesson", "Other", "--number", "11"]) == cli.TO_MEND
    assert capsys.readouterr().err.startswith("medattack: Lesson 11 exists already")
