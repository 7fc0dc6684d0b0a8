"""NES and Square as each library has them, asked with the same number of questions a patient. Nothing is timed here.

The libraries' relatives of NES differ from it in one word each: CleverHans and torchattacks have SPSA (directions of plus and
minus one, Adam), ART the estimator of Ilyas et al. behind its PGD. What is compared is the time of a question.
"""

import numpy as np
import torch

from benchmarks.patch_training import Probabilities, art_classifier
from benchmarks.side_by_side.rounds import Run
from medattack_edu import attacks, runtime
from medattack_edu.attacks._asking import BATCH

# So small that nobody succeeds: a library that stops asking about an image that is done would ask smaller batches.
EPS = 0.25 / 255
SAMPLES = 40  # questions of one estimate: what ours and ART's take if they aren't told
SIGMA = 1e-3
AREA = 0.05
STEP = EPS / 4


def runs(models, x, y, attack, queries, found):
    """A list of `Run`, as in `gradients`; attack: "NES" or "Square". queries: a patient."""
    steps = queries if attack == "Square" else max(1, queries // SAMPLES)  # proposals, or estimates

    def run(who, kind, call, size):
        model = models[kind].model
        brief = lambda: call(model, x[:2], y[:2], attack, size)  # noqa: E731
        return Run(who, kind, lambda: call(model, x, y, attack, size), brief, steps=steps)

    every = [
        run("limit", "frozen", limit, queries),
        *(run("medattack", kind, ours, queries) for kind in ("frozen", "as trained")),
    ]
    for name, (attacks_there, call) in LIBRARIES.items():
        if found[name].problem or attack not in attacks_there:
            every.append(Run(name, problem=found[name].problem or f"has no {attack}"))
        else:
            every += [run(name, kind, call, steps) for kind in models]
    return every


@torch.no_grad()
def limit(model, x, y, attack, queries):
    """Answers for as many images, as many at once as an Oracle takes, and nothing else."""
    crowd = x.repeat(-(-BATCH // len(x)), 1, 1, 1)[:BATCH]
    for _ in range(-(-queries * len(x) // BATCH)):
        model(crowd)


def ours(model, x, y, attack, queries):
    oracle = attacks.Oracle(model, reveals="probabilities")
    options = {"eps": EPS, "queries": queries, "generator": runtime.generator(0)}
    if attack == "Square":
        return attacks.square_attack(oracle, x, y, area=AREA, **options)
    return attacks.nes_attack(oracle, x, y, samples=SAMPLES, sigma=SIGMA, step_size=STEP, **options)


def art(model, x, y, attack, size):
    from art.attacks.evasion import ProjectedGradientDescent, SquareAttack
    from art.estimators.classification import QueryEfficientGradientEstimationClassifier

    classifier = art_classifier(model, x)
    truth = torch.nn.functional.one_hot(y, 2).cpu().numpy()
    if attack == "Square":
        walk = SquareAttack(
            classifier, eps=EPS, max_iter=size, nb_restarts=1, p_init=AREA, batch_size=BATCH, verbose=False
        )
    else:
        classifier = art_classifier(Probabilities(model), x)
        guessing = QueryEfficientGradientEstimationClassifier(classifier, num_basis=SAMPLES // 2, sigma=SIGMA)
        walk = ProjectedGradientDescent(
            guessing, eps=EPS, eps_step=STEP, max_iter=size, num_random_init=0, batch_size=BATCH, verbose=False
        )
    return torch.from_numpy(walk.generate(x.cpu().numpy(), truth)).to(x)


def torchattacks(model, x, y, attack, size):
    import torchattacks

    if attack == "Square":
        return torchattacks.Square(model, norm="Linf", eps=EPS, n_queries=size, n_restarts=1, p_init=AREA)(x, y)
    together = max(1, BATCH // len(x))  # directions at once, each for all images
    return torchattacks.SPSA(
        model, eps=EPS, delta=SIGMA, lr=STEP, nb_iter=size, nb_sample=SAMPLES // 2, max_batch_size=together
    )(x, y)


def cleverhans(model, x, y, attack, size):
    from cleverhans.torch.attacks.spsa import spsa

    return spsa(
        model, x, EPS, size, norm=np.inf, clip_min=0, clip_max=1, y=y, learning_rate=STEP, delta=SIGMA,
        spsa_samples=SAMPLES // 2, sanity_checks=False,
    ).detach()  # fmt: skip


LIBRARIES = {
    "ART": (("NES", "Square"), art),
    "torchattacks": (("NES", "Square"), torchattacks),
    "CleverHans": (("NES",), cleverhans),
    "Foolbox": ((), None),
}
