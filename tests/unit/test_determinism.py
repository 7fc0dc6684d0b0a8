"""The same seed gives the same figures: twice, and in another process, to the last bit. This holds on the processor.

Between machines sums are added in another order, so there the same seed gives nearly the same.
"""

import json
import subprocess
import sys

import pytest
import torch
from figures_of_attacks import figures, made

from medattack_edu import runtime

DRAWN = ("noise", "PGD", "transfer", "NES", "Square", "patch", "texture")  # FGS draws nothing

pytestmark = pytest.mark.skipif(runtime.device().type != "cpu", reason="a GPU adds up in whatever order is quickest")


@pytest.fixture(scope="module")
def once():
    return figures()


def test_the_same_seed_gives_every_attack_the_same_figures_again(once):
    torch.rand(7)  # the global generator has gone on meanwhile, which may change nothing
    assert figures() == once


def test_another_seed_gives_other_figures_where_something_is_drawn(once):
    other = figures(seed=1)
    assert {name for name in DRAWN if other[name] == once[name]} == set()
    assert other["FGS"] == once["FGS"]


def test_another_process_gives_the_same_figures(once):
    from figures_of_attacks import __file__ as program

    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == once


def test_no_attack_touches_the_global_generator():
    state = torch.get_rng_state()
    made(0)
    assert torch.equal(state, torch.get_rng_state())
