"""Lesson 01's exercises: an operating point, the AUC, and Cohen's kappa. The lesson itself is in solutions/."""

from collections.abc import Sequence

import numpy as np
import torch

from medattack_edu.course.checks.framework import Mistake, call, describe, exercise, expect_close, expect_number

SAME = 1e-4  # two numbers this close are the same result

# ---- the operating point ------------------------------------------------------------------------------------------

# Ten patients, four of them sick, and their probability of the disease. No two likely slips give the same numbers here.
PROBABILITIES = torch.tensor([0.95, 0.05, 0.80, 0.10, 0.20, 0.60, 0.40, 0.30, 0.55, 0.70])
PATIENTS = torch.tensor([1, 0, 1, 0, 0, 1, 0, 1, 0, 0])
SICK_OF_TEN = 4
# What softmax doesn't see: a number added to both logits of an image. It spoils every threshold on a single logit.
OFFSETS = torch.tensor([-0.5, -2.5, 2.0, 4.0, -3.0, -4.0, 4.0, 1.0, 0.0, -1.5])


def reference_operating_point(logits, y, threshold):
    called = logits.softmax(1)[:, 1] >= threshold
    sick = y == 1
    sensitivity = called[sick].float().mean().item()
    specificity = (~called)[~sick].float().mean().item()
    return sensitivity, specificity


@exercise(
    "operating_point",
    lesson="01",
    title="Sensitivity and specificity at a threshold",
    reference=reference_operating_point,
    hints=(
        (
            "Two steps. First: who is called sick? That needs the probability of class 1, from `logits.softmax(1)`, and the "
            "threshold. Then count, in the sick and in the healthy separately."
        ),
        (
            "A tensor of True and False picks rows: with `sick = y == 1`, `called[sick]` holds the answers of the sick only, "
            "and `called[~sick]` those of the healthy (`~` means not)."
        ),
        (
            "With `called = logits.softmax(1)[:, 1] >= threshold`: the sensitivity is the mean of `called[sick]` as numbers, "
            "and the specificity is the same for those who are not called, among those who are not sick."
        ),
    ),
)
def check_operating_point(operating_point):
    logits = _logits(PROBABILITIES, OFFSETS)
    for threshold in (0.5, 0.75, 0.25):
        came = _two_numbers(call(operating_point, logits, PATIENTS, threshold))
        _compare_operating_points(came, logits, PATIENTS, threshold)
    _compare_operating_points(
        _two_numbers(call(operating_point, logits[:7], PATIENTS[:7], 0.5)), logits[:7], PATIENTS[:7], 0.5
    )
    on_the_line = call(operating_point, torch.zeros(2, 2), torch.tensor([1, 0]), 0.5)
    if any(abs(a - b) > SAME for a, b in zip(_two_numbers(on_the_line), (1.0, 0.0), strict=True)):
        raise Mistake(
            "A sick and a healthy patient both have probability 0.5, and the threshold is 0.5. Whoever reaches the threshold "
            f"is called sick, so (1, 0) was expected; {_pair(_two_numbers(on_the_line))} came."
        )
    return "At 0.25, 0.5 and 0.75, and for a patient exactly on the threshold."


def _compare_operating_points(came, logits, y, threshold):
    expected = reference_operating_point(logits, y, threshold)
    if _alike(came, expected):
        return
    probability = logits.softmax(1)[:, 1]
    called, sick = probability >= threshold, y == 1
    told = (
        f"{int(sick.sum())} of these {len(y)} patients are sick. At the threshold {threshold:g}, {int((called & sick).sum())} of the "
        f"{int(sick.sum())} sick are called sick, and {int((~called & ~sick).sum())} of the {int((~sick).sum())} healthy are called "
        f"healthy. You returned {_pair(came)}. "
    )
    for wrong, meaning in _operating_slips(logits, probability, called, sick, threshold):
        if _alike(came, wrong):
            raise Mistake(told + meaning)
    raise Mistake(told + "Sensitivity looks at the sick only, specificity at the healthy only.")


def _operating_slips(logits, probability, called, sick, threshold):
    """Pairs that come out of likely slips, each with what it stands for."""

    def pair(called, sick):
        return _share(called[sick]), _share(~called[~sick])

    right = pair(called, sick)
    return (
        (
            pair(probability >= 1 - threshold, sick),
            f"That is what a threshold of {1 - threshold:g} gives: yours goes down when it should go up.",
        ),
        (right[::-1], "The two numbers are right, in the other order: sensitivity comes first."),
        ((right[0], 1 - right[1]), "Your second number counts the healthy who are called sick: the false alarms."),
        (pair(probability > 0.5, sick), "That is what a threshold of 0.5 gives: yours does not seem to move."),
        (
            (_share(sick[called]), _share(~sick[~called])),
            (
                "Those are shares of the called: how many of those called sick are sick. That is another question, and you "
                "will meet it below. Sensitivity asks how many of the sick are called sick."
            ),
        ),
        (
            (_share(called & sick), _share(~called & ~sick)),
            f"You divided by all {len(sick)} patients. Each number has a group of its own.",
        ),
        (
            (int((called & sick).sum()) / SICK_OF_TEN, int((~called & ~sick).sum()) / (10 - SICK_OF_TEN)),
            "You divided as if there were as many sick and healthy as among the ten patients before. Count them each time.",
        ),
        (
            pair(logits[:, 1] >= threshold, sick),
            "That comes out when the logit is compared with the threshold. A threshold of 0.5 is a probability.",
        ),
        (
            pair(logits[:, 1].sigmoid() >= threshold, sick),
            (
                "That comes out with the sigmoid of one logit alone. The probability of a patient takes both of their logits."
            ),
        ),
        (pair(1 - probability >= threshold, sick), "That comes out with the probability of class 0, the healthy one."),
        (
            pair(logits.softmax(0)[:, 1] >= threshold, sick),
            (
                "That comes out when softmax runs down the patients. The two numbers that must add up to 1 are those of one "
                "patient: a row."
            ),
        ),
    )


# ---- the AUC ------------------------------------------------------------------------------------------------------

# Four sick and five healthy patients without a tie, in no order.
SCORES = torch.tensor([0.9, 0.8, 0.35, 0.4, 0.2, 0.45, 0.1, 0.7, 0.6])
SICK = torch.tensor([1, 0, 1, 0, 0, 1, 0, 1, 0])
TIED_SCORES = torch.tensor([0.9, 0.8, 0.4, 0.4, 0.2, 0.4, 0.1, 0.7, 0.6])


def reference_auc(scores, y):
    sick, healthy = scores[y == 1], scores[y == 0]
    above = (sick[:, None] > healthy[None]).double()
    tied = (sick[:, None] == healthy[None]).double()
    return (above + tied / 2).mean().item()


@exercise(
    "auc",
    lesson="01",
    title="The AUC as the chance of a right ordered pair",
    reference=reference_auc,
    hints=(
        (
            "Split the scores first: those of the sick (`scores[y == 1]`) and those of the healthy. Then form every pair of one "
            "with the other; two loops are fine."
        ),
        (
            "A pair counts 1 if the sick one scores higher, one half if both score the same, 0 otherwise. Divide the sum by the "
            "number of pairs: so many sick times so many healthy."
        ),
        (
            "Without loops: `sick[:, None] > healthy[None]` is a table with a row for each sick and a column for each healthy "
            "patient. Add half of the table of `==`, both as numbers, and take the mean."
        ),
    ),
)
def check_auc(auc):
    _compare_auc(auc, SCORES, SICK, "4 sick and 5 healthy patients, no two scores alike")
    _compare_auc(auc, TIED_SCORES, SICK, "4 sick and 5 healthy patients, one of them level with two of the sick")
    _compare_auc(
        auc, 12 * SCORES - 7, SICK, "the same order as before, with scores from -5.8 to 3.8 as logits have them"
    )
    _compare_auc(
        auc, -SCORES, SICK, "the first 9 patients again, with every score negated, so that the order is upside down"
    )
    generator = torch.Generator().manual_seed(1)
    crowd = torch.rand(60, generator=generator) / 50 + 0.49
    labels = (torch.rand(60, generator=generator) < crowd * 20 - 9.5).long()
    _compare_auc(
        auc, crowd, labels, f"60 patients whose scores all lie between {crowd.min():.3f} and {crowd.max():.3f}"
    )
    level = torch.full((6,), 0.5)
    expect_close(call(auc, level, torch.tensor([1, 0, 1, 0, 0, 1])), 0.5, "the AUC when every score is the same")
    expect_close(
        call(auc, torch.tensor([0.1, 0.9]), torch.tensor([0, 1])), 1.0, "the AUC when the only pair is in order"
    )
    return "With ties, without, on probabilities and on logits: only the order counts."


def _compare_auc(auc, scores, y, who):
    came = expect_number(call(auc, scores, y), f"the AUC of {who}")
    expected = reference_auc(scores, y)
    if abs(came - expected) <= SAME:
        return
    pairs = int((y == 1).sum()) * int((y == 0).sum())
    told = f"On {who}: {expected * pairs:g} of {pairs} pairs are in order (a tie counts half), so {expected:.4f}; yours is {came:.4f}. "
    for wrong, meaning in _auc_slips(scores, y, expected, pairs):
        if abs(came - wrong) <= SAME:
            raise Mistake(told + meaning)
    raise Mistake(told + "Take each sick patient with each healthy one, and nobody else.")


def _auc_slips(scores, y, expected, pairs):
    """Numbers that come out of likely slips, each with what it stands for."""
    sick, healthy = scores[y == 1], scores[y == 0]
    above = int((sick[:, None] > healthy[None]).sum())
    tied = int((sick[:, None] == healthy[None]).sum())
    patients = len(scores)
    turned = "That is the share of pairs in the wrong order: the sick one should score higher."
    if expected < 0.5:
        turned = "An AUC can lie below 0.5: then the scores put the healthy ahead of the sick. Don't hide that by turning it round."
    return (
        (1 - expected, turned),
        (
            above / pairs,
            f"You left out the {tied} tied pairs. Nobody can say who of a tied pair is sicker, so each counts half.",
        ),
        ((above + tied) / pairs, f"You counted the {tied} tied pairs as in order. Each counts half."),
        (
            above / max(pairs - tied, 1),
            f"You took the {tied} tied pairs out of the count. They stay in, and count half.",
        ),
        (expected * pairs, "That is how many pairs are in order. The AUC is their share."),
        (
            expected * pairs / patients**2,
            "You divided by all pairs of all patients. Only a sick one with a healthy one counts.",
        ),
        (
            expected * pairs / (patients * (patients - 1) / 2),
            "You divided by all pairs of two patients. Two sick ones have no order.",
        ),
        (
            _share((scores >= 0.5) == (y == 1)),
            "That is the accuracy at the threshold 0.5. The AUC needs no threshold.",
        ),
    )


# ---- Cohen's kappa ------------------------------------------------------------------------------------------------

# Two readers of 20 images: both say sick on 3, the first alone on 5, the second alone on 1, neither on 11.
FIRST_READER = torch.tensor([1] * 3 + [1] * 5 + [0] * 1 + [0] * 11)
SECOND_READER = torch.tensor([1] * 3 + [0] * 5 + [1] * 1 + [0] * 11)


def reference_kappa(a, b):
    observed = (a == b).double().mean().item()
    a_sick, b_sick = a.double().mean().item(), b.double().mean().item()
    by_chance = a_sick * b_sick + (1 - a_sick) * (1 - b_sick)
    return (observed - by_chance) / (1 - by_chance)


@exercise(
    "kappa",
    lesson="01",
    title="Cohen's kappa of two readers",
    reference=reference_kappa,
    hints=(
        (
            "Three numbers: how often the two agree; how often they would agree by chance; and from both the kappa. The first "
            "is the mean of `a == b`."
        ),
        (
            "By chance they agree in two ways: both say 1, or both say 0. If `a` says 1 in 40 % of images and `b` in 20 %, both "
            "say 1 by chance in 0.4 * 0.2 of them, and both say 0 in 0.6 * 0.8."
        ),
        (
            "With `observed` and `by_chance`: kappa is the agreement beyond chance, `observed - by_chance`, divided by the most "
            "that it could be, which is what is left between `by_chance` and 1."
        ),
    ),
)
def check_kappa(kappa):
    _compare_kappa(kappa, FIRST_READER, SECOND_READER)
    _compare_kappa(kappa, SECOND_READER, FIRST_READER)
    same, other = torch.tensor([1, 0, 1, 0]), torch.tensor([0, 1, 0, 1])
    expect_close(call(kappa, same, same), 1.0, "the kappa of a reader with themselves")
    expect_close(call(kappa, same, other), -1.0, "the kappa of two readers who always contradict each other")
    unrelated = call(kappa, torch.tensor([1, 1, 0, 0, 0, 0]), torch.tensor([1, 0, 1, 1, 0, 0]))
    expect_close(unrelated, 0.0, "the kappa of two readers who agree exactly as often as chance would have it")
    return "1 for full agreement, 0 for what chance gives, -1 for full contradiction; and the order of the readers is all one."


def _compare_kappa(kappa, a, b):
    came = expect_number(call(kappa, a, b), "the kappa of two readers")
    expected = reference_kappa(a, b)
    if abs(came - expected) <= SAME:
        return
    told = (
        f"Two readers agree on {int((a == b).sum())} of {len(a)} images. One calls {int(a.sum())} sick, the other "
        f"{int(b.sum())}. Their kappa is {expected:.4f}; yours is {came:.4f}. "
    )
    for wrong, meaning in _kappa_slips(a, b):
        if abs(came - wrong) <= SAME:
            raise Mistake(told + meaning)
    raise Mistake(
        told + "First the agreement, then the agreement by chance, then the kappa: which of the three is off?"
    )


def _kappa_slips(a, b):
    """Numbers that come out of likely slips, each with what it stands for."""
    observed, p, q = _share(a == b), _share(a), _share(b)
    by_chance = p * q + (1 - p) * (1 - q)

    def beyond(chance):
        return (observed - chance) / (1 - chance)

    middle = (p + q) / 2
    return (
        (observed, "That is how often they agree. How often would they if both guessed?"),
        (observed - by_chance, "That is the agreement beyond chance. What is the most that it could have been?"),
        (by_chance, "That is the agreement by chance alone."),
        (beyond(0.5), "You took chance to be 0.5. These two call few images sick: chance makes them agree more often."),
        (beyond(p * q), "By chance, they can also agree that an image is healthy."),
        (beyond(p * p + (1 - p) ** 2), "You used the habits of the first reader for both."),
        (beyond(q * q + (1 - q) ** 2), "You used the habits of the second reader for both."),
        (
            beyond(middle**2 + (1 - middle) ** 2),
            (
                "You used the mean habit of the two for both: that is another coefficient, Scott's pi. Cohen's kappa lets each "
                "reader have their own."
            ),
        ),
    )


# ---- small helpers ------------------------------------------------------------------------------------------------


def _logits(probabilities, offsets):
    """Logits (N, 2) whose softmax gives these probabilities of class 1."""
    return torch.stack([offsets, offsets + torch.logit(probabilities)], 1)


def _two_numbers(out):
    """The sensitivity and the specificity out of whatever pair a learner returned, as floats."""
    pair = out.flatten() if isinstance(out, torch.Tensor | np.ndarray) else out
    if isinstance(pair, str) or not isinstance(pair, Sequence | torch.Tensor | np.ndarray) or len(pair) != 2:
        raise Mistake(f"Two numbers were expected, the sensitivity and the specificity; {describe(out)} came.")
    return tuple(
        expect_number(number, what, low=0, high=1)
        for number, what in zip(pair, ("sensitivity", "specificity"), strict=True)
    )


def _share(flags):
    """The mean of True and False as a float; NaN, which equals nothing, where there are none."""
    return flags.double().mean().item()


def _alike(pair, other):
    return all(abs(a - b) <= SAME for a, b in zip(pair, other, strict=True))


def _pair(numbers):
    return f"({numbers[0]:.3g}, {numbers[1]:.3g})"
