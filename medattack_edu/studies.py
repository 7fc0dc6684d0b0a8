"""Long measurements, made once and cached: how many questions each black-box attack needs for each patient.

The attacks are in `attacks`. All of them, ours and other libraries', are judged by one yardstick and one patient at a time,
because each counts and stops in its own way: an attack has succeeded at the first question whose image lies within eps and is
answered wrong.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from medattack_edu import attacks, cache, metrics, runtime
from medattack_edu.attacks import _asking
from medattack_edu.models.freeze import freeze

SLACK = 1e-6  # of rounding, beyond eps
# Whatever changes one of these changes the result.
FILES = (
    Path(__file__),
    *(
        Path(attacks.__file__).with_name(name)
        for name in ("_asking.py", "_draws.py", "gradient.py", "labels.py", "oracle.py", "queries.py")
    ),
)
# What each attack sees, and the eps that it is tried at: a label says less than a number.
SETTINGS = {
    "NES": ("probabilities", 4 / 255),
    "NES in blocks": ("probabilities", 4 / 255),
    "Square": ("probabilities", 4 / 255),
    "label-only": ("label", 8 / 255),
    "HopSkipJump": ("label", 8 / 255),
}
# As the paper has it, and with directions of blocks of pixels, which a few hundred questions are better spent on: they find the
# easy patients sooner, and the others never. See `grid` of `nes_gradient`.
NES_OPTIONS = {"NES": {"samples": 50}, "NES in blocks": {"samples": 20, "grid": 8}}


class Over(Exception):
    """The patient's questions are over: the budget is spent, or the attack has succeeded. Raised out of the model."""


class Questioned(torch.nn.Module):
    """A model that answers for one patient until it is deceived within eps, or until the budget is spent.

    Attributes:
        asked: questions so far. deceived: whether one of them succeeded.
    """

    def __init__(self, model, x, y, eps, budget):
        super().__init__()
        self._answer, self._clean, self._truth, self._eps, self._budget = model, x, int(y), eps, budget
        self.asked, self.deceived = 0, False
        self.training = False

    @torch.no_grad()
    def forward(self, x):
        allowed = x[: self._budget - self.asked].to(self._clean)  # some libraries ask in double precision
        if not len(allowed):
            raise Over
        logits = _asking.logits(self._answer, allowed)
        near = (allowed - self._clean).abs().amax((1, 2, 3)) <= self._eps + SLACK
        hits = torch.nonzero(near & (logits.argmax(1) != self._truth)).flatten()
        if len(hits):
            self.asked, self.deceived = self.asked + int(hits[0]) + 1, True
            raise Over
        self.asked += len(allowed)
        if len(allowed) < len(x):
            raise Over
        return logits


@dataclass(frozen=True)
class Patients:
    """Patients (N,) whom the victim judges rightly, and for each an image of the attacker's that it answers otherwise."""

    victim: torch.nn.Module
    x: torch.Tensor
    y: torch.Tensor
    start: torch.Tensor


def patients(clinic, n, seed=0):
    """`n` patients of a clinic's test set (an even number), half of each class, all judged rightly.

    The start of each is the attacker's own image of the other class that is nearest in the L2 norm and answered as wanted.
    """
    victim = freeze(clinic.victim())
    x, y = clinic.test.sample(len(clinic.test), seed=seed)
    right = metrics.logits(victim, x).argmax(1) == y
    rows = torch.cat([torch.nonzero(right & (y == label)).flatten()[: n // 2] for label in (0, 1)])
    x, y = x[rows], y[rows]
    own, _ = clinic.attacker.sample(len(clinic.attacker), seed=seed)
    told = metrics.logits(victim, own).argmax(1)
    apart = torch.cdist(x.flatten(1), own.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    apart[told[None] == y[:, None]] = float("inf")
    return Patients(victim, x, y, own[apart.argmin(1)])


def ask(attack, group, row, eps, budget):
    """Let ``attack(model, x, y, start)`` at one of the `Patients`.

    Returns:
        Questions asked, and whether the last one succeeded.
    """
    x, y, start = (part[row : row + 1] for part in (group.x, group.y, group.start))
    model = Questioned(group.victim, x, y, eps, budget)
    try:
        attack(model, x, y, start)
    except Over:
        pass
    return model.asked, model.deceived


def our_attack(name, eps, budget, seed=0):
    """One of `SETTINGS` as a function ``attack(model, x, y, start)``."""
    reveals, _ = SETTINGS[name]

    def attack(model, x, y, start):
        oracle = attacks.Oracle(model, reveals)
        options = {"eps": eps, "queries": budget, "generator": runtime.generator(seed)}
        if name in NES_OPTIONS:
            attacks.nes_attack(oracle, x, y, **options, **NES_OPTIONS[name])
        elif name == "Square":
            attacks.square_attack(oracle, x, y, **options)
        elif name == "label-only":
            attacks.label_only_attack(oracle, x, y, start, **options)
        else:
            attacks.hop_skip_jump(oracle, x, y, start, **options)

    return attack


@dataclass(frozen=True)
class Asked:
    """How many questions an attack took for each patient.

    Attributes:
        eps, budget: what it was allowed.
        labels: true classes (N,). questions: (N,), int64. deceived: (N,), bool.
    """

    eps: float
    budget: int
    labels: torch.Tensor
    questions: torch.Tensor
    deceived: torch.Tensor

    def success(self, within=None, label=None):
        """The share deceived `within` so many questions, of one class or of all, an Estimate."""
        rows = torch.ones_like(self.deceived) if label is None else self.labels == label
        done = self.deceived & (self.questions <= (self.budget if within is None else within))
        return metrics.proportion(done[rows].sum(), rows.sum())

    def median(self, label=None):
        """The median number of questions of those that succeeded, an Estimate; not a number if none did."""
        rows = self.deceived if label is None else self.deceived & (self.labels == label)
        return metrics.median(self.questions[rows])


def queries(clinic, *, n=8, budget=1000, names=tuple(SETTINGS)):
    """Ask about `n` patients of a clinic by each attack, or read what was measured before.

    Every patient that is finished is kept, so a study that was stopped goes on where it was.

    Args:
        clinic: a Clinic. n: patients, an even number, half of each class. budget: the most questions about one.
        names: attacks, of `SETTINGS`.

    Returns:
        {name: Asked}.
    """
    from tqdm.auto import tqdm

    if n < 2 or n % 2:
        raise ValueError(f"n={n}: give an even number of patients, half of each class.")
    key = cache.digest_of(FILES, clinic.fingerprint, cache.digest_of_weights(clinic.victim()), n, budget, SETTINGS)
    path = runtime.cache_dir("studies") / f"{clinic.name}-queries-{key}.json"
    known = _read(path)

    def missing():
        return [(name, row) for name in names for row in range(len(known["labels"])) if f"{name} {row}" not in known]

    if "labels" not in known or missing():
        with cache.alone(path):
            known = _read(path)  # more of it may have been measured while we waited
            group = patients(clinic, n)
            known["labels"] = group.y.tolist()
            for name, row in tqdm(
                missing(), desc=f"asking about {clinic.name} patients (once; some minutes on 2 cores)"
            ):
                _, eps = SETTINGS[name]
                known[f"{name} {row}"] = ask(our_attack(name, eps, budget), group, row, eps, budget)
                with runtime.atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(known), encoding="utf-8")
    labels = torch.tensor(known["labels"])
    studies = {}
    for name in names:
        results = [known[f"{name} {row}"] for row in range(len(labels))]
        questions, deceived = torch.tensor([r[0] for r in results]), torch.tensor([bool(r[1]) for r in results])
        studies[name] = Asked(SETTINGS[name][1], budget, labels, questions, deceived)
    return studies


def _read(path):
    """What was measured before; nothing if it isn't there or is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
