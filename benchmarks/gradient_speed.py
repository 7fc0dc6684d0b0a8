"""The time of PGD, ours against the peers', side by side in one run.

    python benchmarks/gradient_speed.py [--batch 16] [--steps 10] [--rounds 3]

The same EfficientNet-Lite0 at 128 px, the same images, eps and steps, in interleaved rounds; medians, and ratios to a plain
loop of ``autograd.grad`` on the model as it is trained. "The limit" is forward and backward of the frozen model alone.
"""

import argparse
import importlib
import statistics
import time

import torch
import torch.nn.functional as F

from medattack_edu import attacks, freeze
from medattack_edu.models.efficientnet_lite import efficientnet_lite0

EPS = 2 / 255


def plain_loop(model, x, y, steps):
    """PGD as a tutorial writes it, on the model as it is."""
    x_adv = x.clone()
    for _ in range(steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
        with torch.no_grad():
            x_adv = torch.clamp(x_adv + EPS / 4 * gradient.sign(), x - EPS, x + EPS).clamp(0, 1)
    return x_adv.detach()


def limit(frozen, x, y, steps):
    """Forward and backward of the frozen model, and nothing else."""
    for _ in range(steps):
        point = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(frozen(point), y), point)


def contestants(model, x, y, steps):
    """{name: a function without arguments}. A peer that isn't installed is reported and left out."""
    frozen = freeze(model)
    ours = {"eps": EPS, "steps": steps, "step_size": EPS / 4, "random_start": False}
    runs = {
        "plain loop": lambda: plain_loop(model, x, y, steps),
        "limit": lambda: limit(frozen, x, y, steps),
        "medattack": lambda: attacks.pgd(frozen, x, y, **ours),
        "medattack, stop when fooled": lambda: attacks.pgd(frozen, x, y, stop_when_fooled=True, **ours),
    }
    for name, add in (("foolbox", _foolbox), ("art", _art), ("torchattacks", _torchattacks)):
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is not installed here and not measured ({error}).")
        else:
            runs[name] = add(model, x, y, steps)
    return runs


def _foolbox(model, x, y, steps):
    import foolbox

    fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.LinfPGD(steps=steps, abs_stepsize=EPS / 4, random_start=False)
    return lambda: attack(fmodel, x, foolbox.criteria.Misclassification(y), epsilons=EPS)


def _art(model, x, y, steps):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), nb_classes=2, clip_values=(0, 1)
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier, eps=EPS, eps_step=EPS / 4, max_iter=steps, num_random_init=0, batch_size=len(x), verbose=False
    )
    return lambda: attack.generate(x.cpu().numpy(), y.cpu().numpy())


def _torchattacks(model, x, y, steps):
    import torchattacks

    attack = torchattacks.PGD(model, eps=EPS, alpha=EPS / 4, steps=steps, random_start=False)
    return lambda: attack(x, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = efficientnet_lite0(2)
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size)
    y = model(x).argmax(1)
    runs = contestants(model, x, y, arguments.steps)
    seconds = {name: [] for name in runs}
    for _ in range(arguments.rounds + 1):  # the first round warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    kept = {name: values[1:] for name, values in seconds.items()}
    base = statistics.median(kept["plain loop"])
    print(f"\n{arguments.batch} images of {arguments.size} px, {arguments.steps} steps, {torch.get_num_threads()} threads")
    print(f"{'':<30}{'median s':>10}{'min':>8}{'max':>8}{'of plain':>10}")
    for name, values in kept.items():
        middle = statistics.median(values)
        print(f"{name:<30}{middle:>10.2f}{min(values):>8.2f}{max(values):>8.2f}{middle / base:>10.2f}")


if __name__ == "__main__":
    main()
