"""The attacks, each a plain function: open a file and read the algorithm in the order of its paper."""

from medattack_edu.attacks.gradient import fgs, pgd, random_noise, smallest_eps
from medattack_edu.attacks.labels import hop_skip_jump, label_only_attack
from medattack_edu.attacks.oracle import Oracle, QueriesRefused
from medattack_edu.attacks.patches import TrainedPatch, place, random_placements, train_patch
from medattack_edu.attacks.queries import nes_attack, nes_gradient, square_attack
from medattack_edu.attacks.transfer import transfer_attack

__all__ = [
    "Oracle",
    "QueriesRefused",
    "TrainedPatch",
    "fgs",
    "hop_skip_jump",
    "label_only_attack",
    "nes_attack",
    "nes_gradient",
    "pgd",
    "place",
    "random_noise",
    "random_placements",
    "smallest_eps",
    "square_attack",
    "train_patch",
    "transfer_attack",
]
