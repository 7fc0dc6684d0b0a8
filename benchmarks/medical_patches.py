"""Patches on a clinic's test patients: accuracy, AUC, confidence and success, white box, black box and the natural control.

    python benchmarks/medical_patches.py [--clinic derm] [--images real] [--patients 64] [--scale 0.4]

As in Finlayson et al., each patient gets the patch of the class that they aren't; here success counts only those that the
victim judged rightly before.
"""

import argparse

import torch

from medattack_edu import evaluate, freeze, metrics, open_clinic, runtime, trained_patches
from medattack_edu.attacks import place, random_placements


def written(estimate):
    return f"{estimate:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clinic", default="derm", help="fundus, chest or derm")
    parser.add_argument("--images", default="auto", help="auto, phantom, medmnist, real or a path")
    parser.add_argument("--patients", type=int, default=64)
    parser.add_argument("--scale", type=float, default=trained_patches.MEDICAL_SCALE)
    arguments = parser.parse_args()
    clinic = open_clinic(arguments.clinic, arguments.images)
    clinic.banner()
    victim = freeze(clinic.victim())
    x, y = clinic.test.sample(arguments.patients, balanced=True)
    where = random_placements(len(x), scale=arguments.scale, generator=runtime.generator(1))

    def patched(patches):
        """Each patient with a patch of the other class: patches[target] (n, 3, h, w), dealt out in turn."""
        each = torch.stack([patches[1 - label][row % len(patches[1 - label])] for row, label in enumerate(y.tolist())])
        return place(each, x, **where)

    images = {"no patch": x, "natural patch": patched([trained_patches.natural(clinic, target) for target in (0, 1)])}
    for access in ("black", "white"):
        patches = [trained_patches.medical(clinic, target, access).patch[None] for target in (0, 1)]
        images[f"{access} box"] = patched(patches)
    print("\n | accuracy | AUC | confidence | " + " | ".join(f"success on {name}, n" for name in clinic.classes))
    print("--- | " * 5 + "---")
    for name, seen in images.items():
        scores, success = evaluate(victim, seen, y), metrics.attack_success(victim, x, seen, y)
        numbers = [written(estimate) for estimate in (scores.accuracy, scores.auc, scores.confidence)]
        by_class = [f"{written(success.by_class[label])}, {success.by_class[label].n}" for label in (0, 1)]
        print(name, *numbers, *by_class, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
