"""The yardstick of the black-box benchmarks: a victim that notes when it was first deceived, and by which question.

Ours and the peers' attacks are all judged by it, one patient at a time, because libraries count and stop in ways of their
own. An attack has succeeded at the first question whose image lies within eps and is answered wrong.
"""

from dataclasses import dataclass

import torch

from medattack_edu import freeze, metrics
from medattack_edu.attacks.oracle import BATCH

SLACK = 1e-6  # of rounding, beyond eps


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
        left = self._budget - self.asked
        if left <= 0:
            raise Over
        logits = torch.cat([self._answer(part) for part in x[:left].split(BATCH)])
        near = (x[:left] - self._clean).abs().amax((1, 2, 3)) <= self._eps + SLACK
        hits = torch.nonzero(near & (logits.argmax(1) != self._truth)).flatten()
        if len(hits):
            self.asked, self.deceived = self.asked + int(hits[0]) + 1, True
            raise Over
        self.asked += len(logits)
        if len(logits) < len(x):
            raise Over
        return logits


@dataclass(frozen=True)
class Patients:
    """Patients whom the victim judges rightly, and for each an image of the attacker's that it answers otherwise."""

    victim: torch.nn.Module
    x: torch.Tensor
    y: torch.Tensor
    start: torch.Tensor


def patients(clinic, n, seed=0):
    """`n` patients of a clinic's test set, half of each class, all judged rightly.

    The start of each is the attacker's own image of the other class that is nearest in the L2 norm and answered as wanted.
    """
    victim = freeze(clinic.victim())
    x, y = clinic.test.sample(len(clinic.test), seed=seed)
    right = metrics.logits(victim, x).argmax(1) == y
    rows = torch.cat([torch.nonzero(right & (y == label)).flatten()[: n // 2] for label in (0, 1)])
    x, y = x[rows], y[rows]
    own, _ = clinic.attacker.sample(len(clinic.attacker), seed=seed)
    told = metrics.logits(victim, own).argmax(1)
    start = []
    for image, label in zip(x, y, strict=True):
        others = own[told != label]
        start.append(others[(others - image).flatten(1).norm(dim=1).argmin()])
    return Patients(victim, x, y, torch.stack(start))


def ask(attack, group, row, eps, budget):
    """Let `attack(model, x, y, start)` at one patient. Returns the questions it took, and whether it succeeded."""
    x, y, start = (part[row : row + 1] for part in (group.x, group.y, group.start))
    model = Questioned(group.victim, x, y, eps, budget)
    try:
        attack(model, x, y, start)
    except Over:
        pass
    return model.asked, model.deceived


def summary(results, labels):
    """Success and median questions of the successes, overall and by class, from [(asked, deceived)] and labels (N,)."""
    asked = torch.tensor([float(count) for count, _ in results])
    deceived = torch.tensor([success for _, success in results])

    def of(rows):
        success = metrics.proportion(deceived[rows].sum(), rows.sum())
        middle = metrics.median(asked[rows & deceived])
        median = f"{middle:.0f} ({middle.low:.0f} to {middle.high:.0f})" if middle.n else "none"
        return f"{success:.2f} ({success.low:.2f} to {success.high:.2f}) | {median}"

    everyone = torch.ones(len(labels), dtype=torch.bool)
    return [of(everyone), *(of(labels.cpu() == label) for label in (0, 1))]
