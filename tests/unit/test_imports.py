"""What the package, and the way to the first prediction, bring into memory: told by modules and bytes, not by the clock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSON_NAMES = "open_clinic, attacks, check, hint, claim, freeze, evaluate, show, explore"
LATE = {"torchvision", "sklearn", "skimage", "scipy", "pandas", "timm", "medmnist"}
MEMORY_BAR_MB = 60
REPORT = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"

FIRST_CELLS = f"""
from medattack_edu import {LESSON_NAMES}
from medattack_edu.models.victims import cached_names
if not any(name.startswith("{{clinic}}-victim") for name in cached_names()):
    print("no victim")
    raise SystemExit
clinic = open_clinic("{{clinic}}", "phantom")
clinic.banner()
victim = clinic.victim()
x, y = clinic.test.sample(4)
assert victim(x).shape == (4, 2)
"""

MEMORY = f"""
import matplotlib.figure, psutil, torch
before = psutil.Process().memory_info().rss
from medattack_edu import {LESSON_NAMES}
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


def said(code):
    """The last line that `code` prints in a new process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("clinic", ["fundus", "chest", "derm"])
def test_as_far_as_the_first_prediction_nothing_imports_torchvision_or_scikit_learn(clinic):
    told = said(FIRST_CELLS.format(clinic=clinic) + REPORT)
    if told == "no victim":
        pytest.skip("there is no trained victim in the cache; make test trains it first")
    loaded = set(json.loads(told))
    assert {"torch", "medattack_edu"} <= loaded
    assert loaded & LATE == set()


def test_an_attack_and_its_scores_import_nothing_more():
    code = (
        f"from medattack_edu import {LESSON_NAMES}\nfrom medattack_edu.models.small_cnn import SmallCNN\nimport torch\n"
        "model, x, y = freeze(SmallCNN(width=4).eval()), torch.rand(4, 3, 32, 32), torch.arange(4) % 2\n"
        "evaluate(model, attacks.pgd(model, x, y, eps=2 / 255, steps=2), y)\n"
    )
    assert set(json.loads(said(code + REPORT))) & LATE == set()


def test_the_package_takes_less_than_60_mb_beyond_pytorch_and_matplotlib():
    taken = float(said(MEMORY))
    assert taken < MEMORY_BAR_MB, f"the import took {taken:.0f} MB; the bar is {MEMORY_BAR_MB}"


def test_jupyterlab_starts_without_building_a_grammar():
    """jsonschema 4.25 and later build one at import, which takes longer than all the rest of the start."""
    told = json.loads(said(f"import jupyter_server.serverapp\n{REPORT}"))
    assert "jsonschema" in told and not {"lark", "rfc3987_syntax"} & set(told)
