"""What the cell for Google Colab promises: there it installs the course, anywhere else it does nothing at all."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from medattack_edu.course import address, colab, made

ROOT = Path(__file__).resolve().parents[2]
HOME = address.Address("github.com", "someone", "a-course")
REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def code(home):
    """The cell of a course with this address, as Python."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 03 Title")], metadata={"medattack": {}})
    cells = made.add(notebook, "lessons", "03_fgs", ROOT, home).cells
    return TransformerManager().transform_cell(next(cell.source for cell in cells if cell.cell_type == "code"))


@pytest.fixture
def on_colab(monkeypatch):
    """As if this were Colab, which has all but safetensors, jupytext and tqdm; returns what pip was called with."""
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    calls = SimpleNamespace(magics=[], installs=[], fails=False)

    def run(words, check):
        calls.installs.append(words)
        return SimpleNamespace(returncode=int(calls.fails))

    monkeypatch.setattr(colab.subprocess, "run", run)
    monkeypatch.setattr(colab.metadata, "requires", lambda name: [*REQUIRED, 'dask==1.0; extra == "dev"'])
    monkeypatch.setattr(colab, "_is_installed", lambda name: name not in ("safetensors", "jupytext", "tqdm", "dask"))
    shell = SimpleNamespace(run_line_magic=lambda name, line: calls.magics.append((name, line)))
    calls.run = lambda home: exec(code(home), {"get_ipython": lambda: shell})
    return calls


@pytest.mark.parametrize("home", [None, HOME])
def test_off_colab_the_cell_says_and_imports_nothing(home):
    program = (
        f"import sys\nbefore = set(sys.modules)\nexec({code(home)!r}, {{}})\nprint(set(sys.modules) - before, end='')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()", "")


def test_on_colab_the_cell_installs_the_course_from_its_address_and_then_what_colab_lacks(on_colab):
    on_colab.run(HOME)
    assert on_colab.magics == [("pip", "install --quiet --no-deps git+https://github.com/someone/a-course")]
    pins = [pin for pin in REQUIRED if pin.startswith(("safetensors==", "tqdm=="))]
    assert on_colab.installs == [[sys.executable, "-m", "pip", "install", "--quiet", *pins]] and len(pins) == 2


def test_on_colab_nothing_is_installed_over_what_is_there(on_colab, monkeypatch):
    monkeypatch.setattr(colab, "_is_installed", lambda name: True)
    on_colab.run(HOME)
    assert on_colab.installs == []


def test_an_installation_that_fails_is_said(on_colab):
    on_colab.fails = True
    with pytest.raises(RuntimeError, match="pip could not install safetensors.*Restart session"):
        on_colab.run(HOME)


def test_without_an_address_the_cell_says_what_to_do_and_installs_nothing(on_colab, capsys):
    on_colab.run(None)
    said = capsys.readouterr().out
    assert "no public address" in said and "%pip install" in said and "[project.urls]" in said
    assert on_colab.magics == on_colab.installs == []


def test_what_is_installed_is_told_from_what_is_not():
    assert colab._is_installed("pytest") and not colab._is_installed("no-such-package-anywhere")


def test_no_lesson_needs_what_is_left_out():
    """With those packages out of reach, the names that a lesson imports are all there, and work is recorded."""
    names = "open_clinic, attacks, check, hint, claim, freeze, evaluate, show, explore, progress, quiz, models, metrics"
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({colab.NOT_IN_LESSONS!r}))\n"
        f"from medattack_edu import {names}\nprogress(); print(check.fgs.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "fgs"
