"""The checks of lesson 01's exercises accept what is right and name what is wrong."""

import numpy as np
import torch
from checks import assert_check_is_sound

from medattack_edu import metrics
from medattack_edu.course.checks import lesson_01

# ---- the operating point ------------------------------------------------------------------------------------------


def operating_point(logits, y, threshold):
    called = logits.softmax(1)[:, 1] >= threshold
    sick = y == 1
    sensitivity = called[sick].float().mean().item()
    specificity = (~called)[~sick].float().mean().item()
    return sensitivity, specificity


def shares(called, y):
    """Sensitivity and specificity of answers given as True and False."""
    sick = y == 1
    return called[sick].float().mean(), (~called[~sick]).float().mean()


def test_check_operating_point_knows_right_from_wrong():
    def with_a_sigmoid(logits, y, threshold):
        probability = torch.sigmoid(logits[:, 1] - logits[:, 0])
        called = (probability >= threshold).long()
        true_positives = ((called == 1) & (y == 1)).sum()
        true_negatives = ((called == 0) & (y == 0)).sum()
        return torch.stack([true_positives / (y == 1).sum(), true_negatives / (y == 0).sum()])

    def in_a_loop(logits, y, threshold):
        found = cleared = sick = healthy = 0
        for p, truth in zip(torch.softmax(logits, dim=1)[:, 1].tolist(), y.tolist(), strict=True):
            if truth:
                sick, found = sick + 1, found + (p >= threshold)
            else:
                healthy, cleared = healthy + 1, cleared + (p < threshold)
        return [found / sick, cleared / healthy]

    def in_numpy(logits, y, threshold):
        called, sick = logits.softmax(1)[:, 1].numpy() >= threshold, y.numpy() == 1
        return np.array([called[sick].mean(), (~called[~sick]).mean()])

    def swapped(logits, y, threshold):
        return shares(logits.softmax(1)[:, 1] >= threshold, y)[::-1]

    def false_alarms(logits, y, threshold):
        sensitivity, specificity = shares(logits.softmax(1)[:, 1] >= threshold, y)
        return sensitivity, 1 - specificity

    def larger_logit(logits, y, threshold):
        return shares(logits.argmax(1) == 1, y)

    def predictive_values(logits, y, threshold):
        called, sick = logits.softmax(1)[:, 1] >= threshold, y == 1
        return sick[called].float().mean(), (~sick)[~called].float().mean()

    def of_all_patients(logits, y, threshold):
        called, sick = logits.softmax(1)[:, 1] >= threshold, y == 1
        return (called & sick).float().mean(), (~called & ~sick).float().mean()

    def logit_against_threshold(logits, y, threshold):
        return shares(logits[:, 1] >= threshold, y)

    def healthy_probability(logits, y, threshold):
        return shares(logits.softmax(1)[:, 0] >= threshold, y)

    def softmax_down_the_patients(logits, y, threshold):
        return shares(logits.softmax(0)[:, 1] >= threshold, y)

    def above_only(logits, y, threshold):
        return shares(logits.softmax(1)[:, 1] > threshold, y)

    def sigmoid_of_one_logit(logits, y, threshold):
        return shares(logits[:, 1].sigmoid() >= threshold, y)

    def from_the_other_end(logits, y, threshold):
        return shares(logits.softmax(1)[:, 1] >= 1 - threshold, y)

    def four_and_six(logits, y, threshold):
        called, sick = logits.softmax(1)[:, 1] >= threshold, y == 1
        return (called & sick).sum() / 4, (~called & ~sick).sum() / 6

    def by_name(logits, y, threshold):
        return dict(zip(("sensitivity", "specificity"), operating_point(logits, y, threshold), strict=True))

    def one_number(logits, y, threshold):
        return shares(logits.softmax(1)[:, 1] >= threshold, y)[0]

    def percent(logits, y, threshold):
        return tuple(100 * share for share in shares(logits.softmax(1)[:, 1] >= threshold, y))

    def accuracy_twice(logits, y, threshold):
        right = ((logits.softmax(1)[:, 1] >= threshold) == (y == 1)).float().mean()
        return right, right

    assert_check_is_sound(
        "operating_point",
        solution=operating_point,
        mistakes={
            "swapped": (swapped, "sensitivity comes first"),
            "false alarms": (false_alarms, "the false alarms"),
            "larger logit": (larger_logit, "yours does not seem to move"),
            "predictive values": (predictive_values, "shares of the called"),
            "of all patients": (of_all_patients, "You divided by all 10 patients"),
            "logit against threshold": (logit_against_threshold, "the logit is compared with the threshold"),
            "healthy probability": (healthy_probability, "the probability of class 0"),
            "softmax down the patients": (softmax_down_the_patients, "softmax runs down the patients"),
            "above only": (above_only, "Whoever reaches the threshold"),
            "sigmoid of one logit": (sigmoid_of_one_logit, "the sigmoid of one logit alone"),
            "from the other end": (from_the_other_end, "goes down when it should go up"),
            "four and six": (four_and_six, "Count them each time"),
            "by name": (by_name, "a dict of 2 came"),
            "one number": (one_number, "a tensor () of float32 came"),
            "percent": (percent, "should be between 0 and 1"),
            "accuracy twice": (accuracy_twice, "Sensitivity looks at the sick only"),
        },
        alternatives=[with_a_sigmoid, in_a_loop, in_numpy],
    )


# ---- the AUC ------------------------------------------------------------------------------------------------------


def auc(scores, y):
    sick, healthy = scores[y == 1], scores[y == 0]
    above = (sick[:, None] > healthy[None]).float()
    tied = (sick[:, None] == healthy[None]).float()
    return (above + tied / 2).mean().item()


def test_check_auc_knows_right_from_wrong():
    def in_two_loops(scores, y):
        points = pairs = 0
        for s, truth in zip(scores.tolist(), y.tolist(), strict=True):
            for t, other in zip(scores.tolist(), y.tolist(), strict=True):
                if truth == 1 and other == 0:
                    pairs += 1
                    points += 1 if s > t else 0.5 if s == t else 0
        return points / pairs

    def by_ranks(scores, y):
        below = (scores[None] < scores[:, None]).sum(1)
        level = (scores[None] == scores[:, None]).sum(1)
        rank = below + (level + 1) / 2  # mean rank among the tied, from 1
        sick, healthy = (y == 1).sum(), (y == 0).sum()
        return (rank[y == 1].sum() - sick * (sick + 1) / 2) / (sick * healthy)

    def under_the_curve(scores, y):
        _, sensitivity, specificity = metrics.roc_curve(scores, y)
        return torch.trapezoid(sensitivity, 1 - specificity)

    def by_signs(scores, y):
        return (scores[y == 1][:, None] - scores[y == 0]).sign().mean() / 2 + 0.5

    def upside_down(scores, y):
        return 1 - auc(scores, y)

    def pairs_of(scores, y):
        sick, healthy = scores[y == 1][:, None], scores[y == 0][None]
        return (sick > healthy).float(), (sick == healthy).float()

    def ties_lost(scores, y):
        return pairs_of(scores, y)[0].mean()

    def ties_won(scores, y):
        above, tied = pairs_of(scores, y)
        return (above + tied).mean()

    def ties_left_out(scores, y):
        above, tied = pairs_of(scores, y)
        return above.sum() / (1 - tied).sum()

    def count(scores, y):
        above, tied = pairs_of(scores, y)
        return (above + tied / 2).sum()

    def over_all_pairs(scores, y):
        above, tied = pairs_of(scores, y)
        return (above + tied / 2).sum() / len(scores) ** 2

    def over_pairs_of_two(scores, y):
        above, tied = pairs_of(scores, y)
        return (above + tied / 2).sum() / (len(scores) * (len(scores) - 1) / 2)

    def accuracy(scores, y):
        return ((scores >= 0.5) == (y == 1)).float().mean()

    def side_by_side(scores, y):
        sick, healthy = scores[y == 1], scores[y == 0]
        n = min(len(sick), len(healthy))
        return (sick[:n] > healthy[:n]).float().mean()

    def on_a_coarse_grid(scores, y):
        thresholds = torch.linspace(1.05, -0.05, 23)[:, None]
        sensitivity = (scores[y == 1][None] >= thresholds).float().mean(1)
        alarms = (scores[y == 0][None] >= thresholds).float().mean(1)
        return torch.trapezoid(sensitivity, alarms)

    def never_below_half(scores, y):
        return max(auc(scores, y), 1 - auc(scores, y))

    def gini(scores, y):
        return 2 * auc(scores, y) - 1

    def ties_by_place(scores, y):
        rank = scores.argsort(stable=True).argsort() + 1  # the later of two tied counts as higher
        sick, healthy = (y == 1).sum(), (y == 0).sum()
        return (rank[y == 1].sum() - sick * (sick + 1) / 2) / (sick * healthy)

    def without_a_start(scores, y):
        thresholds = scores.unique().flip(0)[:, None]
        sensitivity = (scores[y == 1] >= thresholds).float().mean(1)
        return torch.trapezoid(sensitivity, (scores[y == 0] >= thresholds).float().mean(1))

    def in_percent_points(scores, y):
        return auc((100 * scores).round(), y)

    assert_check_is_sound(
        "auc",
        solution=auc,
        mistakes={
            "upside down": (upside_down, "pairs in the wrong order"),
            "ties lost": (ties_lost, "You left out the 2 tied pairs"),
            "ties won": (ties_won, "You counted the 2 tied pairs as in order"),
            "ties left out": (ties_left_out, "took the 2 tied pairs out of the count"),
            "count": (count, "how many pairs are in order"),
            "over all pairs": (over_all_pairs, "all pairs of all patients"),
            "over pairs of two": (over_pairs_of_two, "Two sick ones have no order"),
            "accuracy": (accuracy, "The AUC needs no threshold"),
            "side by side": (side_by_side, "so 0.7000; yours is 0.7500. Take each sick patient"),
            "on a coarse grid": (on_a_coarse_grid, "as logits have them"),
            "never below half": (never_below_half, "An AUC can lie below 0.5"),
            "Gini": (gini, "so 0.7000; yours is 0.4000"),
            "ties by place": (ties_by_place, "when every score is the same should be 0.5; yours is 0.4444"),
            "without a start": (without_a_start, "when every score is the same should be 0.5; yours is 0."),
            "in percent points": (in_percent_points, "60 patients whose scores all lie between"),
        },
        alternatives=[in_two_loops, by_ranks, under_the_curve, by_signs],
    )


def test_reference_auc_equals_the_library():
    scores, y = lesson_01.TIED_SCORES, lesson_01.SICK
    assert abs(lesson_01.reference_auc(scores, y) - metrics.auc(scores, y)) < 1e-12


# ---- Cohen's kappa ------------------------------------------------------------------------------------------------


def kappa(a, b):
    observed = (a == b).float().mean().item()
    a_sick, b_sick = a.float().mean().item(), b.float().mean().item()
    by_chance = a_sick * b_sick + (1 - a_sick) * (1 - b_sick)
    return (observed - by_chance) / (1 - by_chance)


def habits(a, b):
    """How often two readers agree, and how often each says sick."""
    return (a == b).float().mean(), a.float().mean(), b.float().mean()


def test_check_kappa_knows_right_from_wrong():
    def from_a_table(a, b):
        table = torch.zeros(2, 2, dtype=torch.float64)
        for first, second in zip(a.tolist(), b.tolist(), strict=True):
            table[first, second] += 1 / len(a)
        chance = (table.sum(0) * table.sum(1)).sum()
        return (table.trace() - chance) / (1 - chance)

    def by_disagreement(a, b):
        p, q = a.double().mean(), b.double().mean()
        return 1 - (a != b).double().mean() / (p * (1 - q) + q * (1 - p))

    def by_counts(a, b):
        both, first, second, neither = (int(((a == i) & (b == j)).sum()) for i in (1, 0) for j in (1, 0))
        chance = (both + first) * (first + neither) + (both + second) * (second + neither)
        return 2 * (both * neither - first * second) / chance

    def agreement(a, b):
        return (a == b).float().mean()

    def not_scaled(a, b):
        observed, p, q = habits(a, b)
        return observed - (p * q + (1 - p) * (1 - q))

    def chance_alone(a, b):
        _, p, q = habits(a, b)
        return p * q + (1 - p) * (1 - q)

    def coin(a, b):
        return ((a == b).float().mean() - 0.5) / 0.5

    def sick_only(a, b):
        observed, p, q = habits(a, b)
        return (observed - p * q) / (1 - p * q)

    def first_readers_habits(a, b):
        observed, p, _ = habits(a, b)
        return (observed - (p**2 + (1 - p) ** 2)) / (1 - (p**2 + (1 - p) ** 2))

    def second_readers_habits(a, b):
        return first_readers_habits(b, a)

    def scotts_pi(a, b):
        observed, p, q = habits(a, b)
        chance = ((p + q) / 2) ** 2 + (1 - (p + q) / 2) ** 2
        return (observed - chance) / (1 - chance)

    def correlation(a, b):
        return torch.corrcoef(torch.stack([a, b]).float())[0, 1]

    def never_negative(a, b):
        return max(kappa(a, b), 0.0)

    def without_a_sign(a, b):
        return abs(kappa(a, b))

    def rounded(a, b):
        return round(kappa(a, b), 2)

    def of_twenty(a, b):
        observed, p, q = (a == b).sum() / 20, a.sum() / 20, b.sum() / 20
        by_chance = p * q + (1 - p) * (1 - q)
        return (observed - by_chance) / (1 - by_chance)

    def overlap(a, b):
        return 2 * (a * b).sum() / (a.sum() + b.sum())

    assert_check_is_sound(
        "kappa",
        solution=kappa,
        mistakes={
            "agreement": (agreement, "That is how often they agree"),
            "not scaled": (not_scaled, "What is the most that it could have been?"),
            "chance alone": (chance_alone, "the agreement by chance alone"),
            "coin": (coin, "You took chance to be 0.5"),
            "sick only": (sick_only, "agree that an image is healthy"),
            "first reader's habits": (first_readers_habits, "the habits of the first reader for both"),
            "second reader's habits": (second_readers_habits, "the habits of the second reader for both"),
            "Scott's pi": (scotts_pi, "Scott's pi"),
            "correlation": (correlation, "yours is 0.3572. First the agreement"),
            "never negative": (never_negative, "should be -1; yours is 0."),
            "without a sign": (without_a_sign, "should be -1; yours is 1."),
            "rounded": (rounded, "yours is 0.3200. First the agreement"),
            "of twenty": (of_twenty, "the kappa of a reader with themselves".capitalize()),
            "overlap": (overlap, "yours is 0.5000. First the agreement"),
        },
        alternatives=[from_a_table, by_disagreement, by_counts],
    )
