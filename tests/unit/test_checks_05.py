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

    def wilson_by_hand(target, x, x_adv, y):
        right = target(x).softmax(1).max(1).indices.eq(y)
        n, hits = int(right.sum()), int((target(x_adv).argmax(1) != y)[right].sum())
        if not n:
            return float("nan")
        z, share = 1.959964, hits / n
        centre, half = share + z * z / (2 * n), z * (share * (1 - share) / n + (z / (2 * n)) ** 2) ** 0.5
        return metrics.Estimate(share, (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n), n)

    def mean_of_hits(target, x, x_adv, y):
        right = answers(target, x) == y
        return metrics.mean((answers(target, x_adv) != y)[right])

    def answers(target, images):
        return target(images).argmax(1)

    assert_check_is_sound(
        "transfer_rate",
        solution=transfer_rate,
        alternatives=[among_the_rows, attack_success, wilson_by_hand],
        mistakes={
            "divides by all": (
                lambda t, x, a, y: metrics.proportion(((answers(t, x) == y) & (answers(t, a) != y)).sum(), len(y)),
                "You divide by all 12",
            ),
            "all wrong answers": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != y).sum(), len(y)),
                "That is the share of wrong answers after the attack",
            ),
            "wrong answers by right ones": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != y).sum(), (answers(t, x) == y).sum()),
                "You count all wrong answers",
            ),
            "every change": (
                lambda t, x, a, y: metrics.proportion((answers(t, a) != answers(t, x)).sum(), len(y)),
                "You count every answer that changed",
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
            "the mean of ones and zeros": (mean_of_hits, "but its interval runs from 0.175 to 0.967"),
            "an interval out of thin air": (
                lambda *a: metrics.Estimate(transfer_rate(*a), 0, 1, transfer_rate(*a).n),
                "but its interval runs from 0.000 to 1.000",
            ),
            "an interval of all 12": (
                lambda *a: metrics.Estimate(transfer_rate(*a), 0.3, 0.8, 12),
                "says that it stands on 12 images",
            ),
            "before for after": (lambda t, x, a, y: transfer_rate(t, a, x, y), "You returned 0.400"),
            "the sick only": (
                lambda t, x, a, y: transfer_rate(t, x[y == 1], a[y == 1], y[y == 1]),
                "You returned 0.600",
            ),
            "in percent": (lambda *a: 100 * float(transfer_rate(*a)), "should be between 0 and 1"),
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
        return metrics.Estimate(rate * rate.n / rate.n if rate.n else 0 / rate.n, rate.low, rate.high, rate.n)

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

    def target_by_target(sources, targets, x, y, attack):
        made = {name: attack(model=model, x=x, y=y) for name, model in sources.items()}
        return {(s, t): transfer_rate(targets[t], x, made[s], y) for t in targets for s in sources}

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

    def right_on_the_source(sources, targets, x, y, attack):
        rates = {}
        for s, source in sources.items():
            x_adv, right = attack(source, x, y), source(x).argmax(1) == y
            for t, target in targets.items():
                rates[s, t] = metrics.proportion((right & (target(x_adv).argmax(1) != y)).sum(), right.sum())
        return rates

    def nested(sources, targets, *arguments):
        rates = transfer_matrix(sources, targets, *arguments)
        return {s: {t: rates[s, t] for t in targets} for s in sources}

    def against_the_answers(sources, targets, x, y, attack):
        return transfer_matrix(sources, targets, x, y, lambda model, x, y: attack(model, x, model(x).argmax(1)))

    def all_wrong_answers(sources, targets, x, y, attack):
        made = {s: attack(source, x, y) for s, source in sources.items()}
        wrong = {(s, t): target(made[s]).argmax(1) != y for s in sources for t, target in targets.items()}
        return {cell: metrics.proportion(rows.sum(), len(y)) for cell, rows in wrong.items()}

    assert_check_is_sound(
        "transfer_matrix",
        solution=transfer_matrix,
        alternatives=[in_two_passes, target_by_target, by_the_library],
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
            "bare numbers": (
                lambda *a: {cell: float(rate) for cell, rate in transfer_matrix(*a).items()},
                "knows how many images stand behind it",
            ),
            "numbers that stand on all": (
                lambda *a: {
                    cell: metrics.Estimate(rate, rate.low, rate.high, 8) for cell, rate in transfer_matrix(*a).items()
                },
                "says that it stands on 8 images",
            ),
            "counts who was right on the source": (
                right_on_the_source,
                "you found 1.00. Whose attack is it, and who answers?",
            ),
            "all wrong answers": (all_wrong_answers, "you found 0.88"),
            "a dictionary in a dictionary": (nested, "the key 'blue' is none"),
            "attacks what the source answers": (against_the_answers, "other labels than `y`"),
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
        return (x + change).detach()

    def mean_of_probabilities(models, x, y, eps, steps, step_size):
        x_adv = x.clone()
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            probabilities = torch.stack([model(x_adv).softmax(1) for model in models]).mean(0)
            F.nll_loss(probabilities.log(), y).backward()
            x_adv = (x_adv + step_size * x_adv.grad.sign()).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv.detach()

    def logits_with_backward(models, x, y, eps, steps, step_size):
        x_adv = x.clone()
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            F.cross_entropy(sum(model(x_adv) for model in models) / len(models), y).backward()
            with torch.no_grad():
                x_adv = x + (x_adv + step_size * x_adv.grad.sign() - x).clamp(-eps, eps)
                x_adv = x_adv.clamp(0, 1)
        return x_adv

    def sum_of_gradients(models, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            uphill = sum(gradient_of(model, x_adv, y) for model in models)
            x_adv = torch.minimum(torch.maximum(x_adv + step_size * uphill.sign(), x - eps), x + eps).clamp(0, 1)
        return x_adv

    def by_the_library(models, x, y, eps, steps, step_size):
        ensemble = attacks.transfer.Ensemble(models)
        return attacks.pgd(ensemble, x, y, eps=eps, steps=steps, step_size=step_size, random_start=False)

    def stepping(direction, at_start=False, project_each=True):
        """PGD along the signs that `direction` makes of the models' gradients (models, N, C, H, W)."""

        def attack(models, x, y, eps, steps, step_size):
            x_adv = x
            for _ in range(steps):
                gradients = torch.stack([gradient_of(model, x if at_start else x_adv, y) for model in models])
                x_adv = x_adv + step_size * direction(gradients)
                if project_each:
                    x_adv = x_adv.clamp(x - eps, x + eps).clamp(0, 1)
            return x_adv.clamp(x - eps, x + eps).clamp(0, 1)

        return attack

    def joined(gradients):
        return gradients.sum(0).sign()

    def vote_without_ties(gradients):
        votes = gradients.sign().sum(0)
        return torch.where(votes == 0, gradients[0].sign() + gradients[-1].sign(), votes).sign()

    def the_largest(gradients):
        return gradients.gather(0, gradients.abs().argmax(0, keepdim=True))[0].sign()

    def normalised(gradients):
        return (gradients / gradients.flatten(2).norm(dim=2)[..., None, None, None]).sum(0).sign()

    def where_all_agree(gradients):
        return gradients.sign().mean(0).trunc()

    def in_turn(models, x, y, eps, steps, step_size):
        x_adv = x
        for step in range(steps):
            uphill = gradient_of(models[step % len(models)], x_adv, y).sign()
            x_adv = (x_adv + step_size * uphill).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv

    def one_after_another(models, x, y, eps, steps, step_size):
        x_adv = x
        for model in models:
            for _ in range(steps):
                x_adv = (x_adv + step_size * gradient_of(model, x_adv, y).sign()).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv

    def each_a_step_per_round(models, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            for model in models:
                x_adv = (x_adv + step_size * gradient_of(model, x_adv, y).sign()).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv

    def apart(models, x, y, eps, steps, step_size):
        return torch.stack([ensemble_attack([model], x, y, eps, steps, step_size) for model in models])

    def sum_of_attacks(models, x, y, eps, steps, step_size):
        return (x + (apart(models, x, y, eps, steps, step_size) - x).sum(0)).clamp(x - eps, x + eps).clamp(0, 1)

    def mean_of_attacks(models, x, y, eps, steps, step_size):
        return apart(models, x, y, eps, steps, step_size).mean(0)

    def weakest_model(models, x, y, eps, steps, step_size):
        x_adv = x
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            losses = torch.stack([F.cross_entropy(model(x_adv), y) for model in models])
            (gradient,) = torch.autograd.grad(losses.min(), x_adv)
            x_adv = (x_adv + step_size * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
        return x_adv.detach()

    def a_random_start(models, x, y, eps, steps, step_size):
        start = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        moved = ensemble_attack(models, start, y, 2 * eps, steps, step_size)
        return moved.clamp(x - eps, x + eps).clamp(0, 1)

    def one_model_is_nothing(models, *arguments):
        return (
            ensemble_attack(models, *arguments)
            if len(models) > 1
            else ensemble_attack(models, *arguments).lerp(arguments[0], 0.5)
        )

    def downhill(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, 1 - y, eps, steps, step_size)

    def never_projects(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, y, 1.0, steps, step_size)

    def with_steps(count):
        return lambda models, x, y, eps, steps, step_size: ensemble_attack(models, x, y, eps, count(steps), step_size)

    def with_step_size(length):
        return lambda models, x, y, eps, steps, step_size: ensemble_attack(
            models, x, y, eps, steps, length(eps, step_size)
        )

    def hangs(models, x, y, eps, steps, step_size):
        return ensemble_attack(models, x, y, eps, steps, step_size).requires_grad_()

    assert_check_is_sound(
        "ensemble_attack",
        solution=ensemble_attack,
        alternatives=[
            mean_of_losses,
            mean_of_probabilities,
            logits_with_backward,
            sum_of_gradients,
            stepping(joined),
            by_the_library,
        ],
        mistakes={
            "the first model only": (
                lambda models, *a: ensemble_attack(models[:1], *a),
                "of 6 steps, model 1 was not asked",
            ),
            "the first two only": (lambda models, *a: ensemble_attack(models[:2], *a), "model 2 was not asked"),
            "in turn": (in_turn, "In a walk of a single step, model 1"),
            "mean of the signs": (stepping(lambda g: g.sign().mean(0)), "708 moved by less, 135 of them not at all"),
            "sum of the signs": (
                stepping(lambda g: g.sign().sum(0)),
                "337 moved by something else, the furthest by 0.1.",
            ),
            "a vote of the signs": (
                stepping(lambda g: g.sign().sum(0).sign()),
                "135 moved by less, 135 of them not at all",
            ),
            "the answers for the truth": (
                lambda models, x, y, *a: ensemble_attack(models, x, models[0](x).argmax(1), *a),
                "At 264 of 680",
            ),
            "a vote of the signs, ties too": (stepping(vote_without_ties), "At 70 of 680"),
            "the largest gradient at each pixel": (
                stepping(the_largest),
                "50 of 864 pixel values are not where 6 steps lead",
            ),
            "gradients made equally long": (stepping(normalised), "75 of 864 pixel values are not where 6 steps lead"),
            "only where all agree": (stepping(where_all_agree), "708 moved by less, 708 of them not at all"),
            "the gradient without its sign": (stepping(lambda g: g.sum(0)), "How long is one step of yours"),
            "the gradients at x": (stepping(joined, at_start=True), "All your steps go in the same direction"),
            "projects once, at the end": (stepping(joined, project_each=False), "You project once, at the end"),
            "one after another": (one_after_another, "334 moved by something else, the furthest by 0.1."),
            "each a step in every round": (each_a_step_per_round, "334 moved by something else, the furthest by 0.1."),
            "sum of the attacks": (sum_of_attacks, "337 moved by something else, the furthest by 0.1."),
            "mean of the attacks": (mean_of_attacks, "708 moved by less, 135 of them not at all"),
            "the model with the smallest loss": (weakest_model, "265 moved by less, 265 of them not at all"),
            "a random start": (a_random_start, "after 0 steps"),
            "a step short": (with_steps(lambda n: max(n - 1, min(n, 1))), "where 5 steps lead"),
            "twice the steps": (with_steps(lambda n: n if n < 2 else 2 * n), "where 12 steps lead"),
            "stops after a step": (with_steps(lambda n: min(n, 1)), "where a single step leads"),
            "steps of eps": (
                with_step_size(lambda eps, length: eps),
                "789 moved by something else, the furthest by 0.1.",
            ),
            "half as long alone": (one_model_is_nothing, "With a list of one model"),
            "downhill": (downhill, "walking downhill"),
            "never projects": (never_projects, "one budget for the whole ensemble"),
            "hangs on the graph": (hangs, "still hang on the graph"),
        },
    )


def find_surrogate(oracle, x, y, attacked):
    right = (oracle(x) == y).nonzero().flatten()
    rates = {name: (oracle(x_adv[right], right) != y[right]).float().mean().item() for name, x_adv in attacked.items()}
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

    def without_ids(oracle, x, y, attacked):
        right = oracle(x) == y
        rates = {name: (oracle(x_adv[right]) != y[right]).float().mean().item() for name, x_adv in attacked.items()}
        return max(rates, key=rates.get), rates

    def ids_counted_anew(oracle, x, y, attacked):
        right = (oracle(x) == y).nonzero().flatten()
        ids = torch.arange(len(right))
        rates = {
            name: (oracle(x_adv[right], ids) != y[right]).float().mean().item() for name, x_adv in attacked.items()
        }
        return max(rates, key=rates.get), rates

    def the_first_rows(oracle, x, y, attacked):
        k = int((oracle(x) == y).sum())
        rates = {name: (oracle(x_adv[:k]) != y[:k]).float().mean().item() for name, x_adv in attacked.items()}
        return max(rates, key=rates.get), rates

    def one_patient_at_a_time(oracle, x, y, attacked):
        right = [i for i in range(len(x)) if oracle(x[i : i + 1], [i]).item() == y[i].item()]
        rates = {
            name: sum(oracle(moved[i : i + 1], [i]).item() != y[i].item() for i in right) / len(right)
            for name, moved in attacked.items()
        }
        return [max(rates, key=rates.get), rates]

    def one_patient_at_a_time_without_ids(oracle, x, y, attacked):
        right = oracle(x) == y
        rates = {
            name: sum(oracle(moved[i : i + 1]).item() != y[i].item() for i in right.nonzero().flatten().tolist()) / 6
            for name, moved in attacked.items()
        }
        return max(rates, key=rates.get), rates

    def with_a_mask_for_ids(oracle, x, y, attacked):
        right = oracle(x) == y
        rates = {
            name: (oracle(x_adv[right], right) != y[right]).float().mean().item() for name, x_adv in attacked.items()
        }
        return max(rates, key=rates.get), rates

    def asks_again(oracle, x, y, attacked):
        rates = {name: ((oracle(x) == y) & (oracle(x_adv) != y)).sum() / 6 for name, x_adv in attacked.items()}
        return max(rates, key=rates.get), rates

    def the_weakest(*arguments):
        _, rates = find_surrogate(*arguments)
        return min(rates, key=rates.get), rates

    assert_check_is_sound(
        "find_surrogate",
        solution=find_surrogate,
        alternatives=[asks_about_everybody, with_ids, one_patient_at_a_time],
        mistakes={
            "wrong answers of all": (
                rated(lambda b, a, y: (a != y).float().mean()),
                "You count wrong answers among all 10",
            ),
            "every change": (rated(lambda b, a, y: (a != b).float().mean()), "also those that became right"),
            "divides by all": (rated(lambda b, a, y: ((b == y) & (a != y)).float().mean()), "You divide by all 10"),
            "who withstood": (
                rated(lambda b, a, y: ((b == y) & (a == y)).sum() / (b == y).sum()),
                "the share that withstood",
            ),
            "asks about the clean images every time": (asks_again, "What doesn't need to be asked again?"),
            "the smallest": (the_weakest, "the one whose attacks turn most"),
            "the name only": (lambda *a: find_surrogate(*a)[0], "'relative' came"),
            "the other way round": (lambda *a: find_surrogate(*a)[::-1], "a tuple of 2 came"),
            "in percent": (
                lambda *a: (lambda best, rates: (best, {name: 100 * rate for name, rate in rates.items()}))(
                    *find_surrogate(*a)
                ),
                "Yours is 16.667",
            ),
            "without ids": (without_ids, "the oracle counts 1 about patient 6"),
            "ids counted anew": (ids_counted_anew, "the oracle counts 1 about patient 6"),
            "the first rows": (the_first_rows, "Yours is 0.667. Who counts, and who of them was turned?"),
            "a mask for ids": (with_a_mask_for_ids, "6 images came with 10 ids"),
            "one at a time without ids": (
                one_patient_at_a_time_without_ids,
                "5 questions are booked on patient 0, and 1 on patient 9",
            ),
            "only the best name's rate": (
                lambda *a: (lambda best, rates: (best, {best: rates[best]}))(*find_surrogate(*a)),
                "yours are for relative",
            ),
            "asks nobody": (
                lambda o, x, y, attacked: ("relative", dict.fromkeys(attacked, 0.5)),
                "You didn't ask the victim",
            ),
        },
    )
