"""Executing a notebook with nbval, in processes of its own, as the tests of this folder do. The bars are in the tests.

nbval and no other tool: it also fails on errors that a widget caught and shows.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from medattack_edu.course.lesson_run import NOT_STARTED, STARTS

ROOT = Path(__file__).parents[2]
CELL_LIMIT_S = 300
LIMIT_S = 900
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Outcome(NamedTuple):
    """What became of a notebook, and what it took. `output` is nbval's own report."""

    passed: bool
    output: str
    wall_s: float
    cpu_s: float
    peak_bytes: int


def execute(notebook, folder, *, images, strict, data=None, cell_limit_s=CELL_LIMIT_S):
    """Execute `notebook` with `MEDATTACK_IMAGES=images`; `folder` is for scratch files. Returns an `Outcome`."""
    result = folder / "measured.json"
    nbval = [
        *(sys.executable, "-m", "pytest", "-p", "nbval.plugin", "-p", "no:cacheprovider", "--override-ini", "addopts="),
        *("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", str(cell_limit_s)),
        *("--maxfail=1", "--color=no", "-q", "--rootdir", str(notebook.parent), str(notebook)),
    ]
    # Settings for this run of pytest are none for the one within.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MEDATTACK_DATA"))
    }
    environment |= {
        "MEDATTACK_IMAGES": images,
        "MEDATTACK_STRICT": "1" if strict else "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    if data is not None:
        environment["MEDATTACK_DATA"] = str(data)
    for _ in range(STARTS):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("measured.py")), str(result), str(LIMIT_S), *nbval],
            check=False, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        if NOT_STARTED not in done.stdout:
            break
    return Outcome(done.returncode == 0, COLOURS.sub("", done.stdout), **json.loads(result.read_text()))


def with_parameters(notebook, folder, **values):
    """A copy of `notebook` in `folder` whose parameters have these values."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    page = load_notebook_node(str(notebook))
    if not any("parameters" in cell.metadata.get("tags", []) for cell in page.cells):
        raise ValueError(f"{notebook.name} has no cell tagged parameters, so papermill would set nothing.")
    copy = folder / notebook.name
    nbformat.write(parameterize_notebook(page, values), copy)
    return copy
