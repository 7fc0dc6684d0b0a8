"""The attacks, each a plain function: open a file and read the algorithm in the order of its paper."""

from medattack_edu.attacks.gradient import fgs, pgd, random_noise, smallest_eps

__all__ = ["fgs", "pgd", "random_noise", "smallest_eps"]
