"""Training a patch, ours against ART's AdversarialPatchPyTorch: seconds, and how probable the target becomes on unseen patients.

    python benchmarks/patch_training.py [--clinic derm] [--images phantom] [--target 1] [--steps 60] [--batch 16]

Both train a disc on the same victim, patients, steps, batch, scale and rotations, and are placed by the same operator for the
comparison, on test patients of the other class. ART gets the victim as the course trains it, and once more frozen, as ours is.
"""

import argparse
import time

import torch

from medattack_edu import freeze, metrics, open_clinic, runtime
from medattack_edu.attacks import place, random_placements, train_patch

SCALE, ANGLES = 0.4, 22.5


def ours(model, x, target, steps, batch):
    return train_patch(model, x, target, steps=steps, batch=batch, scale=SCALE, angles=ANGLES, progress=False).patch


class Probabilities(torch.nn.Module):
    """A model as ART's estimator wants it: asked in double precision, and answering with probabilities."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, x):
        return self.inner(x.float()).softmax(1)


def art_classifier(model, x):
    """The model as ART wants it, for images like `x`."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model,
        torch.nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=2,
        clip_values=(0, 1),
        device_type="cpu" if x.device.type == "cpu" else "gpu",
    )


def art(model, x, target, steps, batch):
    """ART's patch (3, h, w), trained with Adam for the same number of steps and pictures. It knows epochs, not steps."""
    from art.attacks.evasion import AdversarialPatchPyTorch

    side = x.shape[-1]
    rows = torch.randint(len(x), (steps * batch,), generator=runtime.generator(0))
    attack = AdversarialPatchPyTorch(
        art_classifier(model, x),
        rotation_max=ANGLES,
        scale_min=SCALE,
        scale_max=SCALE + 1e-6,
        learning_rate=0.05,
        max_iter=1,
        batch_size=batch,
        patch_shape=(3, side, side),
        patch_type="circle",
        optimizer="Adam",
        targeted=True,
        verbose=False,
    )
    labels = torch.nn.functional.one_hot(torch.full((len(rows),), target), 2).numpy()
    patch, _ = attack.generate(x[rows.to(x.device)].cpu().numpy(), labels)
    return torch.as_tensor(patch, dtype=torch.float32, device=x.device).clamp(0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clinic", default="derm", help="fundus, chest or derm")
    parser.add_argument("--images", default="auto", help="auto, phantom, medmnist, real or a path")
    parser.add_argument("--target", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patients", type=int, default=64, help="of the other class, to compare on")
    parser.add_argument("--repeats", type=int, default=1, help="of the timing; the median is printed")
    arguments = parser.parse_args()
    clinic = open_clinic(arguments.clinic, arguments.images)
    clinic.banner()
    plain = clinic.victim()
    victim, target = freeze(plain), arguments.target
    x, y = clinic.attacker.sample(len(clinic.attacker))
    x = x[y != target]
    unseen, truth = clinic.test.sample(len(clinic.test))
    unseen = unseen[truth != target][: arguments.patients]
    where = random_placements(len(unseen), scale=SCALE, angles=ANGLES, generator=runtime.generator(1))
    runs = {"medattack": (ours, victim), "ART, frozen victim": (art, victim), "ART": (art, plain)}
    print(
        f"Target {clinic.classes[target]}; {arguments.steps} steps of {arguments.batch}; {len(unseen)} unseen patients.\n"
    )
    print("who | s | times ours | target probability (95 %) | success (95 %)\n--- | --- | --- | --- | ---")
    first = None
    for name, (train, model) in runs.items():
        seconds = []
        train(model, x, target, 1, 1)  # what is imported and set up once belongs to nobody's time
        for _ in range(arguments.repeats):
            begun = time.perf_counter()
            patch = train(model, x, target, arguments.steps, arguments.batch)
            seconds.append(time.perf_counter() - begun)
        cost = sorted(seconds)[len(seconds) // 2]
        first = cost if first is None else first
        placed = place(patch, unseen, **where)
        sure = metrics.mean(metrics.logits(victim, placed).softmax(1)[:, target])
        success = metrics.patch_success(victim, unseen, patch, target, scale=SCALE, generator=runtime.generator(2))
        numbers = [f"{e:.3f} ({e.low:.3f} to {e.high:.3f})" for e in (sure, success)]
        print(name, f"{cost:.1f}", f"{cost / first:.2f}", *numbers, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
