"""The checks of lesson 05's exercises accept what is right and name what is wrong."""

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound

from medattack_edu import attack_success, attacks, metrics


def transfer_rate(target, x, x_adv, y):
    right = target(x).argmax(1) == y
    turned = right & (target(x_adv).argmax(1) != y)
    return metrics.proportion(turned.sum(), right.sum())


def test_check_transfer_rate_knows_right_from_wrong():
    def among_the_rows(target, x, x_adv, y):
        rows = torch.nonzero(target(x).argmax(1) == y).flatten()
        wrong = [row for row in rows.tolist() if target(x_adv[row : row + 1]).argmax().item() != y[row].item()]
        return metrics.proportion(len(wrong), len(rows))

    def answers(target, images):
        return target(images).argmax(1)

    assert_check_is_sound(
        "transfer_rate",
        solution=transfer_rate,
        alternatives=[among_the_rows, attack_success],
        mistakes={
            "divides by all": (
                lambda t, x, a, y: metrics.proportion(((answers(t, x) == y) & (answers(t, a) != y)).sum(), len(y)),
                "You divide by all 12",
            ),
            "all wrong answers": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != y).sum(), len(y)),
                "share of wrong answers after the attack",
            ),
            "wrong answers by right ones": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != y).sum(), (answers(t, x) == y).sum()),
                "You count all wrong answers",
            ),
            "every change": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != answers(t, x)).sum(), len(y)),
                "also the 2 that the attack made right",
            ),
            "who withstood": (
                lambda t, x, a, y: metrics.proportion(
                    ((answers(t, x) == y) & (answers(t, a) == y)).sum(), (answers(t, x) == y).sum()
                ),
                "the share that withstood",
            ),
            "the accuracy": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) == y).sum(), len(y)),
                "the accuracy after the attack",
            ),
            "the fall of the accuracy": (
                lambda t, x, a, y: (answers(t, x) == y).float().mean() - (answers(t, a) == y).float().mean(),
                "how far the accuracy fell",
            ),
            "a bare number": (lambda *a: float(transfer_rate(*a)), "how many images stand behind it"),
            "nobody is 0": (
                lambda *a: metrics.proportion(0, 1) if transfer_rate(*a).n == 0 else transfer_rate(*a),
                "A 0 would say that the attack failed",
            ),
        },
    )


def test_dividing_by_nobody_is_named():
    from medattack_edu.course.checks import all_exercises
    from medattack_edu.course.checks.judging import judge

    def by_hand(target, x, x_adv, y):
        rate = transfer_rate(target, x, x_adv, y)
        right = int((target(x).argmax(1) == y).sum())
        return metrics.Estimate(round(rate * right) / right, 0, 1, right) if right else 1 / right

    assert "divides by 0" in str(judge(all_exercises()["transfer_rate"], by_hand))


def transfer_matrix(sources, targets, x, y, attack):
    rates = {}
    for source, model in sources.items():
        x_adv = attack(model, x, y)
        for target, other in targets.items():
            rates[source, target] = transfer_rate(other, x, x_adv, y)
    return rates


def test_check_transfer_matrix_knows_right_from_wrong():
    def in_two_passes(sources, targets, x, y, attack):
        made = {name: attack(model, x, y) for name, model in sources.items()}
        return {(s, t): attack_success(model, x, x_adv, y) for s, x_adv in made.items() for t, model in targets.items()}

    def by_the_library(sources, targets, x, y, attack):
        return metrics.transfer_matrix(sources, x, y, attack, targets=targets).success

    def once_per_cell(sources, targets, x, y, attack):
        return {
            (s, t): transfer_rate(target, x, attack(source, x, y), y)
            for s, source in sources.items()
            for t, target in targets.items()
        }

    def attacks_on_top(sources, targets, x, y, attack):
        rates, moved = {}, x
        for s, source in sources.items():
            moved = attack(source, moved, y)
            for t, target in targets.items():
                rates[s, t] = transfer_rate(target, x, moved, y)
        return rates

    def last_attack_for_all(sources, targets, x, y, attack):
        made = [attack(source, x, y) for source in sources.values()]
        return {(s, t): transfer_rate(target, x, made[-1], y) for s in sources for t, target in targets.items()}

    def source_answers(sources, targets, x, y, attack):
        made = {s: attack(source, x, y) for s, source in sources.items()}
        return {(s, t): transfer_rate(sources[s], x, made[s], y) for s in sources for t in targets}

    assert_check_is_sound(
        "transfer_matrix",
        solution=transfer_matrix,
        alternatives=[in_two_passes, by_the_library],
        mistakes={
            "an attack for every cell": (once_per_cell, "make each once"),
            "keys the wrong way round": (
                lambda *a: {(t, s): rate for (s, t), rate in transfer_matrix(*a).items()},
                "The source comes first",
            ),
            "attacks the targets": (
                lambda s, t, x, y, attack: transfer_matrix(t, s, x, y, attack),
                "isn't among `sources`",
            ),
            "attacks what was attacked": (attacks_on_top, "had been attacked already"),
            "one attack for all rows": (last_attack_for_all, "that of blue"),
            "the source answers": (source_answers, "each target has to answer for itself"),
            "leaves out a model's own cell": (
                lambda *a: {(s, t): rate for (s, t), rate in transfer_matrix(*a).items() if s != t},
                "('green', 'green') is missing",
            ),
            "a list": (lambda *a: list(transfer_matrix(*a).values()), "a list of 6 came"),
        },
    )


def ensemble_attack(models, x, y, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        logits = torch.stack([model(x_adv) for model in models]).mean(0)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y), x_adv)
        x_adv = (x_adv + step_size * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return x_adv.detach()


def gradient_of(model, x, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y), x)[0]


def test_check_ensemble_attack_knows_right_from_wrong():
    def mean_of_losses(models, x, y, eps, steps, step_size):
        change = torch.zeros_like(x)
        for _ in range(steps):
            change = change.detach().requires_grad_()
            sum(F.cross_entropy(model(x + change), y, reduction="sum") for model in models).backward()
            change = (change + step_size * change.grad.sign()).clamp(-eps, eps)
            change = (x + change).clamp(0, 1) - x
        for model in models:
            model.zero_grad()
        return (x + change).detach()

    def sum_of_gradients(models, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            uphill = sum(gradient_of(model, x_adv, y) for model in models)
            x_adv = torch.minimum(torch.maximum(x_adv + step_size * uphill.sign(), x - eps), x + eps).clamp(0, 1)
        return x_adv

    def by_the_library(models, x, y, eps, steps, step_size):
        ensemble = attacks.transfer.Ensemble(models)
        return attacks.pgd(ensemble, x, y, eps=eps, steps=steps, step_size=step_size, random_start=False)

    def in_turn(models, x, y, eps, steps, step_size):
        x_adv = x
        for step in range(steps):
            uphill = gradient_of(models[step % len(models)], x_adv, y).sign()
            x_adv = (x_adv + step_size * uphill).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv

    def mean_of_signs(models, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            uphill = torch.stack([gradient_of(model, x_adv, y).sign() for model in models]).mean(0)
            x_adv = (x_adv + step_size * uphill).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv

    def mean_of_attacks(models, x, y, eps, steps, step_size):
        return torch.stack([ensemble_attack([model], x, y, eps, steps, step_size) for model in models]).mean(0)

    def downhill(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, 1 - y, eps, steps, step_size)

    def never_projects(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, y, 1.0, steps, step_size)

    def same_direction(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, y, min(eps, step_size), min(steps, 1), step_size)

    def hangs(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, y, eps, steps, step_size).requires_grad_()

    assert_check_is_sound(
        "ensemble_attack",
        solution=ensemble_attack,
        alternatives=[mean_of_losses, sum_of_gradients, by_the_library],
        mistakes={
            "the first model only": (lambda models, *a: ensemble_attack(models[:1], *a), "model 1 was not asked"),
            "the first two only": (lambda models, *a: ensemble_attack(models[:2], *a), "model 2 was not asked"),
            "in turn": (in_turn, "have a say in every step"),
            "mean of the signs": (mean_of_signs, "thin out a mean of *steps*"),
            "mean of the attacks": (mean_of_attacks, "thin out a mean of *steps*"),
            "downhill": (downhill, "walking downhill"),
            "never projects": (never_projects, "one budget for the whole ensemble"),
            "stops after a step": (same_direction, "was within reach"),
            "hangs on the graph": (hangs, "still hang on the graph"),
        },
    )


def find_surrogate(oracle, x, y, attacked):
    right = oracle(x) == y
    rates = {name: (oracle(x_adv[right]) != y[right]).float().mean().item() for name, x_adv in attacked.items()}
    return max(rates, key=rates.get), rates


def test_check_find_surrogate_knows_right_from_wrong():
    def asks_about_everybody(oracle, x, y, attacked):
        right, rates = oracle(x) == y, {}
        for name, x_adv in attacked.items():
            rates[name] = metrics.proportion(((oracle(x_adv) != y) & right).sum(), right.sum())
        return sorted(rates, key=rates.get)[-1], rates

    def with_ids(oracle, x, y, attacked):
        rows = torch.arange(len(x))
        rows = rows[oracle(x, ids=rows) == y]
        share = {name: (oracle(moved[rows], ids=rows) != y[rows]).sum() / len(rows) for name, moved in attacked.items()}
        return max(share, key=lambda name: share[name]), share

    def rated(rate):
        def find(oracle, x, y, attacked):
            before = oracle(x)
            rates = {name: rate(before, oracle(x_adv), y).item() for name, x_adv in attacked.items()}
            return max(rates, key=rates.get), rates

        return find

    def asks_again(oracle, x, y, attacked):
        rates = {name: ((oracle(x) == y) & (oracle(x_adv) != y)).sum() / 6 for name, x_adv in attacked.items()}
        return max(rates, key=rates.get), rates

    def the_weakest(*arguments):
        _, rates = find_surrogate(*arguments)
        return min(rates, key=rates.get), rates

    assert_check_is_sound(
        "find_surrogate",
        solution=find_surrogate,
        alternatives=[asks_about_everybody, with_ids],
        mistakes={
            "wrong answers of all": (rated(lambda b, a, y: (a != y).float().mean()), "You count wrong answers among all 10"),
            "every change": (rated(lambda b, a, y: (a != b).float().mean()), "also those that became right"),
            "divides by all": (rated(lambda b, a, y: ((b == y) & (a != y)).float().mean()), "You divide by all 10"),
            "who withstood": (rated(lambda b, a, y: ((b == y) & (a == y)).sum() / (b == y).sum()), "the share that withstood"),
            "asks about the clean images every time": (asks_again, "What doesn't need to be asked again?"),
            "the smallest": (the_weakest, "the one whose attacks turn most"),
            "the name only": (lambda *a: find_surrogate(*a)[0], "'relative' came"),
            "asks nobody": (lambda o, x, y, attacked: ("relative", dict.fromkeys(attacked, 0.5)), "You didn't ask the victim"),
        },
    )
