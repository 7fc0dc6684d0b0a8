"""The command line: what it understands, what it passes on, and how it says that something is wrong."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medattack_edu import __version__, cli, lab, runtime
from medattack_edu.clinics import download, images, medmnist
from medattack_edu.course.lesson_run import settings_for

COMMANDS = (
    "lab",
    "run",
    "rehearse",
    "build",
    "new-lesson",
    "guide",
    "site",
    "slides",
    "fetch",
    "prepare",
    "doctor",
    "progress",
)


@pytest.fixture
def medattack(capsys):
    """A function that runs a command line and returns its exit code and what it said on stdout and stderr."""

    def medattack(*words):
        try:
            code = cli.main(words)
        except SystemExit as stop:  # argparse's own way out
            code = stop.code
        told = capsys.readouterr()
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return medattack


def test_help_names_every_command(medattack):
    told = medattack("--help")
    assert told.code == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s", told.out, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(medattack, command):
    told = medattack(command, "--help")
    assert told.code == 0 and f"usage: medattack {command}" in told.out


def test_version_is_told(medattack):
    assert medattack("--version").out == f"medattack {__version__}\n"


def test_python_m_does_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "medattack_edu", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"medattack {__version__}\n"


@pytest.mark.parametrize(("typed", "meant"), [("docter", "doctor"), ("prepair", "prepare"), ("bulid", "build")])
def test_a_mistyped_command_is_told_the_near_one(medattack, typed, meant):
    told = medattack(typed)
    assert told.code == 2 and f"Did you mean {meant}?" in told.err


def test_an_unlikely_command_is_told_them_all(medattack):
    told = medattack("xyzzy")
    assert told.code == 2 and all(f" {command}" in told.err for command in COMMANDS)


def test_an_unknown_option_is_refused_except_by_lab(medattack):
    told = medattack("doctor", "--fast")
    assert told.code == 2 and "--fast" in told.err and "medattack doctor --help" in told.err


# Errors that the user can mend


@pytest.mark.parametrize(
    "error",
    [
        ValueError("There is no such thing. Take another."),
        images.ImagesUnavailable("They aren't here. Fetch them."),
        download.DownloadError("This machine is offline. Connect it."),
        runtime.CacheUnavailable("The cache folder can't be written. Set MEDATTACK_CACHE."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_can_be_mended_is_one_line_and_exit_code_2(medattack, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(medmnist, "fetch", fail)
    told = medattack("fetch", "chest")
    assert (told.code, told.err) == (2, f"medattack: {error}\n")


def test_a_defect_of_ours_keeps_its_traceback(medattack, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(medmnist, "fetch", fail)
    with pytest.raises(ZeroDivisionError):
        medattack("fetch")


def test_a_library_that_cannot_be_imported_leads_to_the_doctor(medattack, monkeypatch):
    monkeypatch.setitem(sys.modules, "medattack_edu.clinics.medmnist", None)
    monkeypatch.delattr("medattack_edu.clinics.medmnist")
    told = medattack("fetch")
    assert told.code == 2 and len(told.err.splitlines()) == 1 and "medattack doctor" in told.err


def test_ctrl_c_ends_quietly(medattack, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(medmnist, "fetch", stop)
    told = medattack("fetch")
    assert told.code == 130 and "What was finished is kept" in told.err


# fetch


def test_fetch_takes_all_clinics_or_the_ones_named(medattack, monkeypatch):
    asked = []
    monkeypatch.setattr(medmnist, "fetch", lambda name, size: asked.append((name, size)))
    medattack("fetch")
    medattack("fetch", "derm", "--size", "224")
    assert asked == [("fundus", 128), ("chest", 128), ("derm", 128), ("derm", 224)]


def test_fetch_of_an_unknown_clinic_lists_the_clinics(medattack):
    told = medattack("fetch", "dentist")
    assert told.code == 2 and "'dentist'" in told.err and "'fundus', 'chest', 'derm'" in told.err


# run


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two lessons, and what run_lessons was asked for."""
    for kind in ("lessons", "solutions"):
        (tmp_path / kind).mkdir()
        for name in ("00_start_here", "03_fgs"):
            (tmp_path / kind / f"{name}.ipynb").touch()
    monkeypatch.setattr(lab, "course_folder", lambda: tmp_path)
    asked = SimpleNamespace(folder=tmp_path)

    def run_lessons(notebooks, out, **options):
        asked.notebooks, asked.out, asked.options = notebooks, out, options
        return asked.code

    asked.code = 0
    monkeypatch.setitem(sys.modules, "medattack_edu.course.run", SimpleNamespace(run_lessons=run_lessons))
    return asked


def test_run_takes_every_lesson(medattack, course):
    assert medattack("run").code == 0
    assert [str(path.relative_to(course.folder)) for path in course.notebooks] == [
        "lessons/00_start_here.ipynb",
        "lessons/03_fgs.ipynb",
    ]


def test_run_takes_numbers_solutions_and_parameters(medattack, course):
    medattack(
        *("run", "03", "--solutions", "--images", "real", "--device", "cpu", "--out", "pages"),
        *("-p", "n=16", "-p", "clinic=derm", "-p", "eps=0.01", "-p", "quick=true"),
    )
    assert course.notebooks == [course.folder / "solutions/03_fgs.ipynb"]
    assert str(course.out) == "pages"
    assert course.options["images"] == "real" and course.options["device"] == "cpu"
    assert course.options["parameters"] == {"n": 16, "clinic": "derm", "eps": 0.01, "quick": True}


def test_pages_of_solutions_lie_beside_those_of_lessons(medattack, course):
    for arguments, out in ((("03",), "reports"), (("03", "--solutions"), "reports/solutions")):
        medattack("run", *arguments)
        assert course.out.as_posix() == out


def test_relative_paths_in_the_settings_reach_the_kernels_absolute(medattack, course, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDATTACK_DATA", "data")
    monkeypatch.setenv("MEDATTACK_IMAGES", "real")
    monkeypatch.setenv("MEDATTACK_CACHE", "cache")
    medattack("run", "03")
    assert {name: os.environ[f"MEDATTACK_{name}"] for name in ("DATA", "IMAGES", "CACHE")} == {
        "DATA": str(tmp_path / "data"),
        "IMAGES": "real",
        "CACHE": str(tmp_path / "cache"),
    }
    assert settings_for("chest")["MEDATTACK_IMAGES"] == str(tmp_path / "chest")
    assert settings_for("phantom")["MEDATTACK_IMAGES"] == "phantom"


def test_run_passes_the_exit_code_on(medattack, course):
    course.code = 1
    assert medattack("run").code == 1


def test_run_of_an_unknown_lesson_lists_the_lessons(medattack, course):
    told = medattack("run", "07")
    assert told.code == 2 and "'07'" in told.err and "00, 03" in told.err
    assert "There is no notebook mine.ipynb" in medattack("run", "mine.ipynb").err


def test_run_without_notebooks_says_how_to_make_them(medattack, course):
    for path in (course.folder / "lessons").iterdir():
        path.unlink()
    assert "medattack build" in medattack("run").err


@pytest.mark.parametrize("text", ["n", "=3", "2n=3"])
def test_a_parameter_without_name_or_value_is_refused(medattack, course, text):
    told = medattack("run", "-p", text)
    assert told.code == 2 and "NAME=VALUE" in told.err


@pytest.mark.parametrize("limit", ["-1", "0", "soon"])
@pytest.mark.parametrize("command", ["run", "rehearse", "site", "slides"])
def test_a_time_limit_that_is_none_is_refused(medattack, course, command, limit):
    told = medattack(command, *(["03"] if command == "slides" else []), "--timeout", limit)
    assert told.code == 2 and told.err.endswith(f"'{limit}' is no time limit. Give whole seconds, 1 or more.\n")


# lab


@pytest.fixture
def started(course, monkeypatch):
    """The command and the environment that JupyterLab would have been started with, in the course of two lessons."""
    seen = SimpleNamespace()

    def become(command, environment):
        seen.command, seen.environment = command, environment
        return 0

    monkeypatch.setattr(lab, "_become", become)
    return seen


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_lab_opens_the_first_lesson_and_passes_the_rest_on(medattack, started, dashes):
    assert medattack("lab", *dashes, "--no-browser", "--port", "9999").code == 0
    assert started.command[1:3] == ["-m", "jupyterlab"]
    assert started.command[3].endswith("lessons/00_start_here.ipynb")
    assert started.command[-3:] == ["--no-browser", "--port", "9999"]


def test_a_terminal_of_jupyterlab_finds_this_installations_commands(medattack, started):
    medattack("lab")
    assert Path(shutil.which("medattack", path=started.environment["PATH"])).parent == Path(sys.executable).parent
    assert started.environment["PATH"].endswith(os.environ["PATH"])


def test_lab_asks_the_network_for_nothing(medattack, started):
    from jupyterlab.labapp import LabApp

    medattack("lab")
    app = LabApp()
    app.parse_command_line([word for word in started.command if word.startswith("--LabApp.")])
    assert app.news_url is None
    assert app.check_for_updates_class.__name__ == "NeverCheckForUpdate"


def test_lab_leaves_a_home_that_can_be_written_alone(medattack, started, monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("JUPYTER_DATA_DIR", raising=False)
    medattack("lab")
    assert "JUPYTER_DATA_DIR" not in started.environment
    assert list(home.iterdir()) == []


def test_lab_writes_to_the_cache_where_the_home_cannot_be_written(medattack, started, monkeypatch, tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.touch()  # a file: nothing can be made in it, not even by root
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MEDATTACK_CACHE", str(cache))
    monkeypatch.setenv("IPYTHONDIR", "mine")
    monkeypatch.delenv("JUPYTER_DATA_DIR", raising=False)
    medattack("lab")
    assert started.environment["JUPYTER_DATA_DIR"] == str(cache / "jupyter" / "data")
    assert started.environment["IPYTHONDIR"] == "mine"


def test_lab_without_the_first_lesson_says_how_to_make_it(medattack, started, course):
    (course.folder / lab.FIRST_LESSON).unlink()
    told = medattack("lab")
    assert told.code == 2 and "medattack build" in told.err


def test_lab_outside_the_course_says_where_to_go(medattack, monkeypatch, tmp_path):
    monkeypatch.setattr(lab, "__file__", str(tmp_path / "site-packages" / "medattack_edu" / "lab.py"))
    monkeypatch.chdir(tmp_path)
    told = medattack("lab")
    assert told.code == 2 and "Change to the folder that holds lessons/" in told.err
