"""Time runs against each other: in turns, so that whatever disturbs the machine disturbs all of them alike."""

import copy
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from medattack_edu import runtime
from medattack_edu.models.freeze import freeze


class Spread(NamedTuple):
    """The middle of several measurements, and the smallest and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))


class Watched:
    """A model that counts the images it answers for. `model` is the module itself, so that nothing stands in between."""

    def __init__(self, model):
        self.model, self.images = model, 0
        model.register_forward_pre_hook(self._count)

    def _count(self, _, inputs):
        self.images += len(inputs[0])


@dataclass
class Run:
    """Something to be timed, and what it took.

    Attributes:
        who: whose it is. model: of which `Watched` model, by name: "as trained" or "frozen".
        go: a function without arguments, that returns what was made.
        warm: a shorter one to warm up with, or None for `go`.
        result: what it returned at last. problem: why it couldn't be run, if so.
        seconds: of each round, of the processor; with several threads, or on a GPU, of the clock. wall: of the clock always.
        asked: images that the model answered for, in each round.
        steps: of the attack, as its library counts them; 0 where that says nothing.
    """

    who: str
    model: str = ""
    go: Callable | None = None
    warm: Callable | None = None
    result: object = None
    problem: str = ""
    seconds: list = field(default_factory=list)
    wall: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    steps: int = 0

    def per(self, other):
        """The Spread of its time as a share of another run's in the same round; None if one of the two wasn't run."""
        if not (self.seconds and other.seconds):
            return None
        return Spread.of([mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True)])

    @property
    def each(self):
        """The Spread of the seconds for each image that the model answered for; None if it wasn't run."""
        if not self.seconds or not all(self.asked):
            return None
        return Spread.of([mine / asked for mine, asked in zip(self.seconds, self.asked, strict=True)])


def both(model):
    """{"as trained", "frozen"}: `Watched` copies of a model as people have it after training, and as the course attacks it."""
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format).requires_grad_(True)
    return {"as trained": Watched(plain), "frozen": Watched(freeze(model))}


def in_turns(runs, models, rounds):
    """Run every one of `runs` once a round, after a round that warms up and isn't counted. They are changed in place.

    Each round has an order of its own, so that nobody always follows the same neighbour. A run that fails says so in its
    `problem`, and what was measured of it is dropped.

    Args:
        runs: a list of `Run`. models: {name: Watched}. rounds: how many.
    """
    dice = random.Random(0)
    for number in range(rounds + 1):
        going = [run for run in runs if run.go is not None and not run.problem]
        for run in dice.sample(going, len(going)):
            _once(run, models, counted=number > 0)


def _once(run, models, counted):
    watched = models.get(run.model)
    before = watched.images if watched else 0
    _wait()
    wall, processor = time.perf_counter(), time.process_time()
    try:
        run.result = (run.go if counted or run.warm is None else run.warm)()
    except Exception as error:  # noqa: BLE001  whatever it is, it is news of this library and ends no other's measurement
        run.problem = f"failed ({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:120]})"
        run.seconds, run.wall, run.asked = [], [], []
        return
    _wait()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    if counted:
        run.seconds.append(wall if on_a_gpu() or torch.get_num_threads() > 1 else processor)
        run.wall.append(wall)
        run.asked.append(watched.images - before if watched else 0)


def on_a_gpu():
    return runtime.device().type == "cuda"


def _wait():
    """A GPU works on while Python has gone ahead."""
    if on_a_gpu():
        torch.cuda.synchronize()
