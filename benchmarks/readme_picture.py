"""Draws the pictures of the README from phantoms: one patient under attack, and the widget with the slider for eps.

python benchmarks/readme_picture.py
"""

from pathlib import Path

import torch

from medattack_edu import attacks, explore, freeze, open_clinic, show

DOCS = Path(__file__).parents[1] / "docs"
EPS = 2 / 255


def main():
    clinic = open_clinic("fundus", "phantom")
    victim = freeze(clinic.victim())
    x, y = clinic.test.sample(24, seed=1, balanced=True)
    sick = int((victim(x).softmax(1)[:, 1] * (y == 1)).argmax())
    attacked = attacks.pgd(
        victim, x[sick : sick + 1], y[sick : sick + 1], eps=EPS, generator=torch.Generator().manual_seed(0)
    )
    names = [name.replace("_", " ") for name in clinic.classes]
    DOCS.mkdir(exist_ok=True)
    (DOCS / "attack.png").write_bytes(show.perturbation(x[sick], attacked[0], victim, y[sick], names).png())
    (DOCS / "epsilon.png").write_bytes(explore.epsilon(victim, x[:12], y[:12], names).static().data)


if __name__ == "__main__":
    main()
