"""Black-box attacks, ours against the peers': success and questions at the same eps and budget, on the same patients.

    python benchmarks/query_attacks.py [--clinic chest] [--images real] [--patients 16] [--eps 8] [--budget 1000]

eps is in grey levels (1/255). Every attack starts from the same images and is judged by the same yardstick, that of
`medattack_edu.studies`: questions up to the first one that is within eps and answered wrong.
"""

import argparse
import importlib
import time

import torch
from black_box import written
from patch_training import Probabilities, art_classifier

from medattack_edu import open_clinic, studies


def ours(eps, budget):
    """{name: (what is revealed, attack(model, x, y, start))}."""
    return {
        f"medattack {name}": (
            "numbers" if reveals == "probabilities" else reveals,
            studies.our_attack(name, eps, budget),
        )
        for name, (reveals, _) in studies.SETTINGS.items()
    }


def peers(eps, budget):
    """The same of other libraries. One that isn't installed is reported and left out."""
    runs = {}
    for library, add in (("art", _art), ("foolbox", _foolbox)):
        try:
            importlib.import_module(library)
        except ImportError as error:
            print(f"{library} is not installed here and not measured ({error}).")
        else:
            runs |= add(eps, budget)
    return runs


def _art(eps, budget):
    from art.attacks.evasion import HopSkipJump, ProjectedGradientDescent, SquareAttack
    from art.estimators.classification import QueryEfficientGradientEstimationClassifier

    def square(model, x, y, start):
        attack = SquareAttack(
            art_classifier(model, x), eps=eps, max_iter=budget, nb_restarts=1, p_init=0.05, verbose=False
        )
        attack.generate(x.cpu().numpy(), torch.nn.functional.one_hot(y, 2).cpu().numpy())

    def hop_skip_jump(model, x, y, start):
        attack = HopSkipJump(
            art_classifier(model, x), norm="inf", max_iter=budget, max_eval=10_000, init_eval=100, verbose=False
        )
        attack.generate(
            x.cpu().numpy(), torch.nn.functional.one_hot(y, 2).cpu().numpy(), x_adv_init=start.cpu().numpy()
        )

    def nes(model, x, y, start):
        """ART's estimator behind its PGD, with as many questions a step as ours."""
        samples = studies.NES_OPTIONS["NES"]["samples"]
        guessing = QueryEfficientGradientEstimationClassifier(
            art_classifier(Probabilities(model), x), num_basis=samples // 2, sigma=1e-3
        )
        attack = ProjectedGradientDescent(
            guessing, eps=eps, eps_step=eps / 4, max_iter=budget // samples + 1, num_random_init=0, verbose=False
        )
        attack.generate(x.cpu().numpy(), torch.nn.functional.one_hot(y, 2).cpu().numpy())

    return {"ART NES": ("numbers", nes), "ART Square": ("numbers", square), "ART HopSkipJump": ("label", hop_skip_jump)}


def _foolbox(eps, budget):
    import foolbox

    def hop_skip_jump(model, x, y, start):
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        attack = foolbox.attacks.HopSkipJumpAttack(steps=budget, constraint="linf")
        attack(fmodel, x, foolbox.criteria.Misclassification(y), epsilons=None, starting_points=start)

    return {"Foolbox HopSkipJump": ("label", hop_skip_jump)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clinic", default="chest", help="fundus, chest or derm")
    parser.add_argument("--images", default="auto", help="auto, phantom, medmnist, real or a path")
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--eps", type=float, default=8, help="in grey levels")
    parser.add_argument("--budget", type=int, default=1000, help="questions a patient")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    arguments = parser.parse_args()
    clinic = open_clinic(arguments.clinic, arguments.images)
    clinic.banner()
    group = studies.patients(clinic, arguments.patients)
    eps, budget = arguments.eps / 255, arguments.budget
    print(f"{len(group.y)} patients, eps {arguments.eps:g}/255, at most {budget} questions a patient.\n")
    print("attack | sees | class | success (95 %) | median questions (95 %) | ms a question")
    print("--- | " * 5 + "---")
    for name, (sees, attack) in (ours(eps, budget) | peers(eps, budget)).items():
        if arguments.only.lower() not in name.lower():
            continue
        begun = time.perf_counter()
        results = [studies.ask(attack, group, row, eps, budget) for row in range(len(group.y))]
        questions, deceived = torch.tensor([asked for asked, _ in results]), torch.tensor([done for _, done in results])
        cost = 1000 * (time.perf_counter() - begun) / questions.sum()
        study = studies.Asked(eps, budget, group.y.cpu(), questions, deceived)
        for label, words in ((None, "all"), *enumerate(clinic.classes)):
            success, median = written(study.success(label=label)), written(study.median(label), 0)
            print(" | ".join([name, sees, words, success, median, f"{cost:.1f}"]), flush=True)


if __name__ == "__main__":
    main()
