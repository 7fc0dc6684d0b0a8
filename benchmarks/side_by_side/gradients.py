"""FGS and PGD as each library has them: the same images, eps, steps and start (the clean image). Nothing is timed here."""

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.patch_training import art_classifier
from benchmarks.side_by_side.rounds import Run
from medattack_edu import attacks

EPS = 2 / 255
STEP = EPS / 4


def runs(models, x, y, steps, found):
    """A list of `Run`: two yardsticks, ours, and each library on the model as trained and frozen.

    Args:
        models: {"as trained": Watched, "frozen": Watched}.
        x, y: images and their labels. steps: of PGD, or None for FGS.
        found: {library: Found}.
    """

    def run(who, kind, call, **given):
        model = models[kind].model
        brief = None if steps is None else lambda: call(model, x, y, 1, **given)
        return Run(who, kind, lambda: call(model, x, y, steps, **given), brief)

    every = [
        run("plain loop", "as trained", plain_loop),
        run("limit", "frozen", limit),
        run("medattack", "frozen", ours),
        run("medattack", "as trained", ours),
    ]
    if steps:
        every.append(run("medattack, stop when fooled", "frozen", ours, stop_when_fooled=True))
    for name, call in LIBRARIES.items():
        if found[name].problem:
            every.append(Run(name, problem=found[name].problem))
        else:
            every += [run(name, kind, call) for kind in models]
    return every


def plain_loop(model, x, y, steps):
    """As a tutorial writes it."""
    x_adv, length = x.clone(), STEP if steps else EPS
    for _ in range(steps or 1):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
        with torch.no_grad():
            x_adv = torch.clamp(x_adv + length * gradient.sign(), x - EPS, x + EPS).clamp(0, 1)
    return x_adv.detach()


def limit(model, x, y, steps):
    """Forward and backward, and nothing else."""
    for _ in range(steps or 1):
        point = x.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(point), y), point)


def ours(model, x, y, steps, **options):
    if steps is None:
        return attacks.fgs(model, x, y, eps=EPS)
    return attacks.pgd(model, x, y, eps=EPS, steps=steps, step_size=STEP, random_start=False, **options)


def foolbox(model, x, y, steps):
    import foolbox

    attack = (
        foolbox.attacks.LinfFastGradientAttack(random_start=False)
        if steps is None
        else foolbox.attacks.LinfPGD(steps=steps, abs_stepsize=STEP, random_start=False)
    )
    fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    return attack(fmodel, x, foolbox.criteria.Misclassification(y), epsilons=EPS)[1]


def art(model, x, y, steps):
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch

    classifier = art_classifier(model, x)
    attack = (
        FastGradientMethod(classifier, eps=EPS, batch_size=len(x))
        if steps is None
        else ProjectedGradientDescentPyTorch(
            classifier, eps=EPS, eps_step=STEP, max_iter=steps, num_random_init=0, batch_size=len(x), verbose=False
        )
    )
    return torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x)


def torchattacks(model, x, y, steps):
    import torchattacks

    if steps is None:
        return torchattacks.FGSM(model, eps=EPS)(x, y)
    return torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=steps, random_start=False)(x, y)


def cleverhans(model, x, y, steps):
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    known = {"norm": np.inf, "clip_min": 0, "clip_max": 1, "y": y}
    if steps is None:
        return fast_gradient_method(model, x, EPS, **known).detach()
    return projected_gradient_descent(
        model, x, EPS, STEP, steps, rand_init=False, sanity_checks=False, **known
    ).detach()


LIBRARIES = {"Foolbox": foolbox, "ART": art, "torchattacks": torchattacks, "CleverHans": cleverhans}
