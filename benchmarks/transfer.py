"""Attacks that transfer, at full size: from each of the attacker's models to the victim, by class, beside noise.

    python benchmarks/transfer.py [fundus chest derm] [--images real] [--patients 96] [--eps 4] [--steps 10] [--only twin]

Success is over the patients whom the victim judges rightly, with its 95 % interval. The surrogates are trained and cached the
first time, some minutes a clinic.
"""

import argparse

import torch
from black_box import written

from medattack_edu import attacks, freeze, metrics, open_clinic, runtime
from medattack_edu.clinics.tasks import CLASSES
from medattack_edu.models.surrogates import KINDS

PART = 16  # patients attacked at a time: gradients take memory


def in_parts(attack, x, y):
    return torch.cat([attack(*part) for part in zip(x.split(PART), y.split(PART), strict=True)])


def measure(clinic, n, eps, steps, kinds):
    """Print a row for each way to attack the victim without asking it."""
    victim = freeze(clinic.victim())
    own = {kind: freeze(clinic.surrogate(kind)) for kind in kinds}
    x, y = clinic.test.sample(n, balanced=True)
    draw = runtime.generator(0)
    sources = dict(own)
    if len(own) == len(KINDS):
        sources |= {"twin and relative": [own["twin"], own["relative"]], "all four": list(own.values())}

    print(f"\n{clinic.name}, eps {255 * eps:g}/255, {steps} steps\n")
    print("made on | how | all | " + " | ".join(clinic.classes) + "\n" + "--- | " * 4 + "---")

    def row(source, how, x_adv):
        success = metrics.attack_success(victim, x, x_adv, y)
        cells = [f"{written(part)}, n = {part.n}" for part in (success, success.by_class[0], success.by_class[1])]
        print(source, how, *cells, sep=" | ", flush=True)

    row("noise", "a coin at each pixel", attacks.random_noise(x, eps=eps, generator=draw))
    for source, models in sources.items():
        ways = {"PGD": {"momentum": 0, "diversity": 0}, "PGD, momentum and diverse inputs": {}}
        for how, options in ways.items():
            attack = lambda x, y, o=options, m=models: attacks.transfer_attack(  # noqa: E731
                m, x, y, eps=eps, steps=steps, generator=draw, **o
            )
            row(source, how, in_parts(attack, x, y))
    white = lambda x, y: attacks.pgd(victim, x, y, eps=eps, steps=steps, generator=draw)  # noqa: E731
    row("the victim itself", "PGD", in_parts(white, x, y))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clinics", nargs="*", default=list(CLASSES), help="default: all three")
    parser.add_argument("--images", default="auto", help="auto, phantom, medmnist, real or a path")
    parser.add_argument("--patients", type=int, default=96)
    parser.add_argument("--eps", type=float, default=4, help="in grey levels")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=KINDS, choices=tuple(KINDS), help="made on these models alone")
    arguments = parser.parse_args()
    for name in arguments.clinics:
        clinic = open_clinic(name, arguments.images)
        clinic.banner()
        measure(clinic, arguments.patients, arguments.eps / 255, arguments.steps, arguments.only)


if __name__ == "__main__":
    main()
