"""What readers' mistakes do to the scores of a model that is measured against their labels: closed forms, no drawing.

The model of a reader is the simplest one: each is wrong with the same probability `error`, on sick and healthy patients
alike, independently of the other readers and of the classifier. Real readers err together, on the hard patients, where
classifiers err too; then readers agree more often and a model looks better than here.
"""

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Measured:
    """What a study reports when readers' labels stand for the truth."""

    auc: float
    sensitivity: float
    specificity: float


def label_error(error, readers):
    """How often the majority of an odd number of readers is wrong: more than half of them are, a binomial tail."""
    majority = range(readers // 2 + 1, readers + 1)
    return sum(comb(readers, wrong) * error**wrong * (1 - error) ** (readers - wrong) for wrong in majority)


def agreement(error):
    """How often two readers say the same: both are right, or both are wrong."""
    return (1 - error) ** 2 + error**2


def kappa(error, share):
    """Cohen's kappa of two readers (Cohen 1960): agreement beyond chance, as a share of what chance leaves.

    Chance: each says "sick" with probability q = share (1 - error) + (1 - share) error, whatever the other says.
    """
    sick = share * (1 - error) + (1 - share) * error
    chance = sick**2 + (1 - sick) ** 2
    return (agreement(error) - chance) / (1 - chance)


def trust(wrong, share):
    """How often a label is true, by Bayes' rule: P(sick | labelled sick), P(healthy | labelled healthy).

    Args:
        wrong: probability that a label is wrong. share: of the patients that are sick, between 0 and 1.
    """
    labelled_sick = share * (1 - wrong) + (1 - share) * wrong
    return share * (1 - wrong) / labelled_sick, (1 - share) * (1 - wrong) / (1 - labelled_sick)


def measured(true, wrong, share):
    """The scores of a model against labels, from its scores against the truth.

    With p = P(sick | labelled sick) and q = P(healthy | labelled healthy):

    - sensitivity: a patient labelled sick is sick with p and called so with the true sensitivity; else healthy, and
      called sick by mistake. Hence p * sensitivity + (1 - p) * (1 - specificity). Specificity is the mirror image.
    - AUC compares a patient labelled sick with one labelled healthy. Both labels true (p q): in order with
      probability A. Both wrong: 1 - A. One wrong: two patients of the same kind, 1/2. The sum is
      p q A + (1 - p)(1 - q)(1 - A) + (p (1 - q) + (1 - p) q) / 2 = 1/2 + (p + q - 1) (A - 1/2).

    Args:
        true: a Measured, against the truth.
        wrong, share: as in `trust`.
    """
    p, q = trust(wrong, share)
    return Measured(
        auc=0.5 + (p + q - 1) * (true.auc - 0.5),
        sensitivity=p * true.sensitivity + (1 - p) * (1 - true.specificity),
        specificity=q * true.specificity + (1 - q) * (1 - true.sensitivity),
    )


def binormal(auc):
    """A model whose scores are two normal distributions of the same width, cut half way between them.

    Their distance is d = sqrt(2) * z(AUC) widths, and half of it lies between each mean and the cut:
    sensitivity = specificity = Phi(d / 2). A perfect model (AUC 1) gets 1.
    """
    normal = NormalDist()
    right = 1.0 if auc == 1 else normal.cdf(sqrt(2) * normal.inv_cdf(auc) / 2)
    return Measured(auc, right, right)
