"""Lesson 05's exercises: counting transfer, the matrix, the ensemble and the choice. The lesson itself is in solutions/."""

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu import metrics
from medattack_edu.attacks.oracle import Oracle, QueriesRefused
from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    curved_model,
    describe,
    exercise,
    expect_close,
    expect_detached,
    expect_images,
    expect_in_ball,
    expect_number,
    unchanged,
)
from medattack_edu.course.checks.lesson_04 import ALIKE, WALK, alike, slopes, usual_mistake, walk

NEAR = 1e-4  # two rates this close are the same rate
MIDDLE = 0.5  # the brightness at which the toy doctors below change their mind

# ---- how often an attack transfers -------------------------------------------------------------------------------------

# Twelve patients: truth, brightness before, brightness after. The toy target calls the bright ones sick.
PATIENTS = (
    (0, 0.2, 0.7),
    (0, 0.3, 0.4),
    (0, 0.8, 0.8),
    (0, 0.7, 0.3),
    (1, 0.9, 0.2),
    (1, 0.8, 0.4),
    (1, 0.7, 0.9),
    (1, 0.6, 0.8),
    (1, 0.1, 0.3),
    (1, 0.9, 0.1),
    (0, 0.9, 0.1),
    (1, 0.2, 0.1),
)
NEVER_RIGHT = [2, 3, 8, 10, 11]  # the rows that the toy target gets wrong before the attack


def reference_transfer_rate(target, x, x_adv, y):
    right = target(x).argmax(1) == y
    turned = right & (target(x_adv).argmax(1) != y)
    return metrics.proportion(turned.sum(), right.sum())


@exercise(
    "transfer_rate",
    lesson="05",
    title="How often an attack transfers",
    reference=reference_transfer_rate,
    hints=(
        "Nobody has to attack a patient whom the target gets wrong anyway. First find those it gets right *before* the attack; count "
        "among them those it gets wrong *after*.",
        "`target(x).argmax(1)` are its answers. Compare them with `y`, not with each other: an attack may also turn a wrong answer "
        "into a right one. `&` joins two bool tensors.",
        "`right` says for each patient whether the answer to `x` is `y`; `turned` is `right &` whether the answer to `x_adv` is not "
        "`y`. Return `metrics.proportion` of the two sums, the hits first.",
    ),
)
def check_transfer_rate(transfer_rate):
    target, (y, x, x_adv) = Doctor(), _patients(PATIENTS)
    with unchanged(target):
        out = call(transfer_rate, target, x, x_adv, y)
    rate = expect_number(out, "the transfer rate", low=0, high=1)
    if abs(rate - 4 / 7) > NEAR:
        raise Mistake(_about_rate(rate))
    if not hasattr(out, "n"):
        raise Mistake(
            f"The rate is right, {rate:.3f}. But it came as {describe(out)}, which doesn't say how many images stand behind it. "
            "`metrics.proportion(hits, n)` makes a number that knows its `n` and its interval."
        )
    if out.n != 7:
        raise Mistake(
            f"The rate is right, {rate:.3f}, but it says that it stands on {out.n} images. The target had 7 right before."
        )
    low, high = getattr(out, "low", math.nan), getattr(out, "high", math.nan)
    interval = metrics.proportion(4, 7)
    if not (abs(low - interval.low) <= NEAR and abs(high - interval.high) <= NEAR):
        raise Mistake(
            f"The rate is right, {rate:.3f}, and so is its n, but its interval runs from {low:.3f} to {high:.3f}. That of 4 hits in 7, as "
            f"`metrics.proportion` has it, runs from {interval.low:.3f} to {interval.high:.3f}."
        )
    nobody = torch.tensor(NEVER_RIGHT)
    try:
        empty = call(transfer_rate, target, x[nobody], x_adv[nobody], y[nobody])
    except ZeroDivisionError as error:
        raise Mistake(
            "With patients none of whom the target had right, your function divides by 0. A weak target and few patients of one "
            "class: that happens. `metrics.proportion(0, 0)` knows what to say."
        ) from error
    if not math.isnan(float(empty)):
        raise Mistake(
            f"With patients none of whom the target had right, you returned {float(empty):.3g}. Nobody was there to be turned: the "
            "rate is not defined, `nan`. A 0 would say that the attack failed."
        )
    return "4 of the 7 that were right before; and where nobody was right, no rate."


def _about_rate(rate):
    told = f"Of 12 patients the target has 7 right before the attack, and 4 of these 7 wrong after it. You returned {rate:.3f}. "
    known = {
        4 / 12: "You divide by all 12. Those that were wrong before can't be turned.",
        7 / 12: "That is the share of wrong answers after the attack. 3 of them were wrong before it, too.",
        1.0: "You count all wrong answers after the attack. 3 of them were wrong before it, too.",
        6 / 12: "You count every answer that changed, also the 2 that the attack made right.",
        6 / 7: "You count every answer that changed, also the 2 that the attack made right.",
        3 / 7: "That is the share that withstood. The rate is the share that was turned.",
        5 / 12: "That is the accuracy after the attack. It mixes what was wrong before with what was turned.",
        2 / 12: "That is how far the accuracy fell. The 2 patients whom the attack made right hide 2 whom it turned.",
        2
        / 7: "That is how far the accuracy fell, compared with before. The 2 whom the attack made right hide 2 whom it turned.",
    }
    for value, words in known.items():
        if abs(rate - value) <= NEAR:
            return told + words
    return told + "Who counts, and who of them was turned?"


# ---- the matrix --------------------------------------------------------------------------------------------------------


def reference_transfer_matrix(sources, targets, x, y, attack):
    rates = {}
    for source, model in sources.items():
        x_adv = attack(model, x, y)
        for target, other in targets.items():
            rates[source, target] = reference_transfer_rate(other, x, x_adv, y)
    return rates


@exercise(
    "transfer_matrix",
    lesson="05",
    title="Every attack on every model",
    reference=reference_transfer_matrix,
    hints=(
        "Two loops: over the models that attacks are made on, and within it over those they are tried on. Which line belongs to which "
        "loop? An attack takes seconds, trying it takes none.",
        "The attack needs only the source, so it stands in the outer loop. `your_dict.items()` gives name and model together.",
        "Outer loop over `sources.items()`: make `x_adv` with `attack(model, x, y)`. Inner loop over `targets.items()`: store your "
        "`transfer_rate` of that target under the key `source_name, target_name`.",
    ),
)
def check_transfer_matrix(transfer_matrix):
    sources = {"red": Doctor(0), "green": Doctor(1), "blue": Doctor(2)}
    targets = {"victim": Doctor(0, middle=0.62), "green": sources["green"]}
    patients, truth = _coloured_patients()
    made = []

    def attack(model, x, y):
        if not any(model is source for source in sources.values()):
            raise Mistake(
                "An attack was made on a model that isn't among `sources`. Attacks are made on the sources, and tried on the targets."
            )
        if x.shape != patients.shape or not torch.equal(x, patients):
            raise Mistake(
                "An attack was started from images that had been attacked already. Each begins with the clean `x`."
            )
        if not torch.equal(y, truth):
            raise Mistake("An attack was given other labels than `y`, the truth.")
        made.append(model)
        return _reflect(x, model.channel)

    out = call(transfer_matrix, sources, targets, patients, truth, attack)
    _expect_cells(out, sources, targets)
    expected = reference_transfer_matrix(
        sources, targets, patients, truth, lambda model, x, y: _reflect(x, model.channel)
    )
    for (source, target), rate in expected.items():
        came = expect_number(out[source, target], f"the cell ({source!r}, {target!r})")
        if abs(came - rate) > NEAR:
            raise Mistake(_about_cell(out, expected, source, target, came))
        if not hasattr(out[source, target], "n"):
            raise Mistake(
                f"The cell ({source!r}, {target!r}) is right, {came:.2f}, but it came as {describe(out[source, target])}. A transfer rate "
                f"knows how many images stand behind it, as yours does; here it is {rate.n}."
            )
        if out[source, target].n != rate.n:
            raise Mistake(
                f"The cell ({source!r}, {target!r}) is right, {came:.2f}, but it says that it stands on {out[source, target].n} images. "
                f"{target} had {rate.n} right before."
            )
    if len(made) > len(sources):
        raise Mistake(
            f"All {len(expected)} cells are right, but you made {len(made)} attacks for {len(sources)} sources. An attack doesn't "
            "depend on whom it will be tried on: make each once."
        )
    return f"{len(expected)} cells from {len(made)} attacks."


def _expect_cells(out, sources, targets):
    wanted = {(source, target) for source in sources for target in targets}
    if not isinstance(out, dict):
        raise Mistake(f"A dictionary {{(source, target): rate}} was expected; {describe(out)} came.")
    if set(out) == {(target, source) for source, target in wanted}:
        raise Mistake(
            "Your keys are (target, source). The source comes first: where it was made, then where it was tried."
        )
    missing, extra = sorted(wanted - set(out), key=str), sorted(set(out) - wanted, key=str)
    if missing or extra:
        told = [f"the cell {cell!r} is missing" for cell in missing[:1]] + [
            f"the key {key!r} is none" for key in extra[:1]
        ]
        raise Mistake(
            f"With the sources {', '.join(sources)} and the targets {', '.join(targets)}, {len(wanted)} cells were expected, with keys "
            f"such as ('red', 'victim'); yours has {len(out)}: {', and '.join(told)}."
        )


def _about_cell(out, expected, source, target, came):
    told = f"The attack made on {source} turns {float(expected[source, target]):.2f} of what {target} had right; you found {came:.2f}. "
    last = list(dict.fromkeys(name for name, _ in expected))[-1]
    columns = dict.fromkeys(name for _, name in expected)
    if all(abs(float(out[s, t]) - expected[last, t]) < NEAR for s, t in expected):
        return told + f"Every row of yours is that of {last}: which images does each cell try?"
    if all(abs(float(out[source, t]) - float(out[source, target])) < NEAR for t in columns):
        return told + "Your row says the same for every target: each target has to answer for itself."
    return told + "Whose attack is it, and who answers?"


def _coloured_patients():
    """Eight patients, each with a brightness of its own in each of the three channels, and their labels."""
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    levels = torch.tensor([
        [0.1, 0.2, 0.3], [0.2, 0.3, 0.7], [0.6, 0.1, 0.2], [0.3, 0.6, 0.4],
        [0.9, 0.8, 0.7], [0.8, 0.9, 0.2], [0.6, 0.7, 0.9], [0.7, 0.4, 0.8],
    ])  # fmt: skip
    return levels[:, :, None, None].expand(8, 3, 4, 4).clone(), y


def _reflect(x, channel):
    """An attack for the check: it turns one channel around, and for every third patient also the channel before it."""
    x = x.clone()
    x[:, channel] = 1 - x[:, channel]
    x[::3, channel - 1] = 1 - x[::3, channel - 1]
    return x


# ---- the ensemble ------------------------------------------------------------------------------------------------------

SIDE = 6  # of the toy images, in pixels


def reference_ensemble_attack(models, x, y, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        logits = torch.stack([model(x_adv) for model in models]).mean(0)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y), x_adv)
        x_adv = (x_adv + step_size * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return x_adv.detach()


@exercise(
    "ensemble_attack",
    lesson="05",
    title="One attack on several models",
    reference=reference_ensemble_attack,
    hints=(
        "It is PGD with one thing exchanged: the loss that it climbs. It has to grow for all models together, so ask every model in "
        "every step.",
        "Make one number out of the answers of all models at the present `x_adv`: the mean of their losses, or the loss of their mean "
        "logits. Then one gradient, one sign, one step.",
        "In the loop: `logits = torch.stack([model(x_adv) for model in models]).mean(0)`, the cross-entropy of these against `y`, its "
        "gradient at `x_adv`, a step of `step_size` along the sign, and the projection as in lesson 04.",
    ),
)
def check_ensemble_attack(ensemble_attack):
    models = [HalfSighted(first) for first in range(3)]
    x, y = torch.rand(8, 3, SIDE, SIDE), torch.arange(8) % 2
    eps, steps, step_size = WALK
    out = _ask_all(ensemble_attack, models, x, y, steps)
    expect_images(out, like=x, what="your images")
    expect_detached(out, "your images")
    expect_in_ball(out, x, eps, "There is one budget for the whole ensemble, not one for each model.")
    expect_close(call(ensemble_attack, models, x, y, eps, 0, step_size), x, "your images after 0 steps")
    _one_step_for_all(_ask_all(ensemble_attack, models, x, y, 1), models, x, y, step_size)
    _expect_a_walk(out, models, x, y)
    _expect_a_walk(call(ensemble_attack, models[:1], x, y, *WALK), models[:1], x, y, "With a list of one model: ")
    rises = ", ".join(f"{_loss(model, x, y):.2f} to {_loss(model, out, y):.2f}" for model in models)
    return f"One perturbation, and the loss of all {len(models)} models rose: {rises}."


def _ask_all(ensemble_attack, models, x, y, steps):
    """What the attack returns after so many steps; `Mistake` if a model was left out."""
    eps, _, step_size = WALK
    with contextlib.ExitStack() as stack:
        for model in models:
            stack.enter_context(unchanged(model))
            model.asked = 0
        out = call(ensemble_attack, models, x, y, eps, steps, step_size)
    for i, model in enumerate(models):
        if not model.asked:
            walked = "In a walk of a single step" if steps == 1 else f"In a walk of {steps} steps"
            raise Mistake(f"{walked}, model {i} was not asked. All {len(models)} models have a say in every step.")
    return out


def _one_step_for_all(one, models, x, y, step_size):
    before, after = (sum(_loss(model, images, y) for model in models) / len(models) for images in (x, one))
    if after < before:
        raise Mistake(
            f"After one step the loss of the models fell from {before:.3f} to {after:.3f}, on average. You are walking downhill. "
            "The attack climbs."
        )
    room = (x >= step_size) & (x <= 1 - step_size)
    lengths = (one - x).abs()[room]
    odd = lengths[(lengths - step_size).abs() > ALIKE]
    if len(odd) > 0.01 * len(lengths):
        told = f"A single step should move a pixel by step_size = {step_size:g}. Of {len(lengths)} pixel values that had room for it, "
        if odd.max() > step_size:
            raise Mistake(
                f"{told}{len(odd)} moved by something else, the furthest by {odd.max():.3g}. Is that one step, or one for each model?"
            )
        if len(odd) == len(lengths):
            raise Mistake(f"{told}not one did; the furthest moved by {odd.max():.3g}. How long is one step of yours?")
        raise Mistake(
            f"{told}{len(odd)} moved by less, {(odd <= ALIKE).sum()} of them not at all. Where models disagree, or look elsewhere, a mean of "
            "their *steps* thins out. Join the models before you take the gradient and its sign."
        )
    ways = torch.stack([direction(x) for direction in _directions(models, y)])
    agreed = room & (ways == ways[0]).all(0)
    against = (agreed & ((one - x).sign() != ways[0])).sum().item()
    if against > 0.03 * agreed.sum().item():
        raise Mistake(
            f"At {against} of {agreed.sum().item()} pixel values your first step goes against the slope of all models together. Is it the slope "
            "of the loss of `y`, and has each model a say in it as far as the pixel matters to that model?"
        )


def _expect_a_walk(out, models, x, y, told=""):
    """Raise `Mistake` unless `out` is where one of the ways to join the models leads."""
    directions = _directions(models, y)
    ends = [walk(direction, x, *WALK) for direction in directions]
    if any(alike(out, end) for end in ends):
        return
    elsewhere = min(((out - end).abs() > ALIKE).sum().item() for end in ends)
    mistakes = filter(None, (usual_mistake(out, direction, x, *WALK) for direction in directions))
    raise Mistake(
        f"{told}{elsewhere} of {out.numel()} pixel values are not where {WALK[1]} steps lead, be it with the mean of the models' losses, of "
        "their logits or of their probabilities. "
        + next(
            mistakes,
            "Every step asks all models about the images as they are by then, and follows one slope of them all.",
        )
    )


def _directions(models, y):
    """The right directions, for there are several: one for each way to make one loss of all the models' answers."""
    count = len(models)
    joinings = (
        lambda logits: F.cross_entropy(logits.mean(0), y),
        lambda logits: F.cross_entropy(logits.flatten(0, 1), y.repeat(count)),
        lambda logits: F.nll_loss(logits.softmax(2).mean(0).log(), y),
    )
    return [
        slopes(lambda point, joined=joined: joined(torch.stack([model(point) for model in models])))
        for joined in joinings
    ]


# ---- the choice --------------------------------------------------------------------------------------------------------

# Who of ten patients is wrong after each surrogate's attack. The victim has six of them right before.
RIGHT_BEFORE = (1, 2, 4, 6, 7, 9)
AFTER = {
    "scratch": (0, 1, 3, 5),
    "twin": (6, 7, 9),
    "relative": (1, 2, 4, 5, 6, 8),
    "small": (0, 1, 2, 3, 4, 5, 8),
}
RATES = {"scratch": 1 / 6, "twin": 3 / 6, "relative": 4 / 6, "small": 3 / 6}


def reference_find_surrogate(oracle, x, y, attacked):
    right = (oracle(x) == y).nonzero().flatten()
    rates = {name: (oracle(x_adv[right], right) != y[right]).float().mean().item() for name, x_adv in attacked.items()}
    return max(rates, key=rates.get), rates


@exercise(
    "find_surrogate",
    lesson="05",
    title="The surrogate that betrays the victim",
    reference=reference_find_surrogate,
    hints=(
        "It is your transfer rate again, but the target is an oracle now: it answers with labels, and every image costs a query. Which "
        "question is the same for all surrogates?",
        "Ask about the clean images once, before the loop. Then each surrogate's attack needs one question about each patient whom the "
        "victim had right. `rates` is a dictionary; `max(rates, key=rates.get)` is the name with the largest value.",
        "`right = (oracle(x) == y).nonzero().flatten()`, the rows that count. For each name and its images: the mean of "
        "`oracle(x_adv[right], right) != y[right]` as a float, stored under the name. Return the best name and the dictionary.",
    ),
)
def check_find_surrogate(find_surrogate):
    y = torch.arange(10) % 2
    x = _seen_as(y, wrong=set(range(10)) - set(RIGHT_BEFORE))
    attacked = {name: _seen_as(y, wrong) for name, wrong in AFTER.items()}
    budget = 1 + len(attacked)
    oracle = Oracle(Doctor(), "label", budget=budget)
    try:
        out = call(find_surrogate, oracle, x, y, attacked)
    except QueriesRefused as error:
        told = (
            f"The victim stopped answering: a patient may be asked about {budget} times, once as they are and once for each of the "
            f"{len(attacked)} attacks. "
        )
        if error.ids == (0,):
            last = len(x) - 1
            raise Mistake(
                f"{told}{oracle.asked[0]} questions are booked on patient 0, and {oracle.asked[last]} on patient {last}. Whose image was it "
                "each time?"
            ) from error
        raise Mistake(told + "You asked more often. What doesn't need to be asked again?") from error
    if not (isinstance(out, tuple | list) and len(out) == 2 and isinstance(out[1], dict)):
        raise Mistake(f"Two things were expected, the best name and {{name: rate}}; {describe(out)} came.")
    best, rates = out
    if set(rates) != set(attacked):
        raise Mistake(
            f"Rates for {', '.join(attacked)} were expected; yours are for {', '.join(map(str, rates)) or 'nobody'}."
        )
    if not oracle.total:
        raise Mistake("You didn't ask the victim. How would you know what it falls for?")
    for name, rate in RATES.items():
        came = expect_number(rates[name], f"the rate of {name}")
        if abs(came - rate) > NEAR:
            raise Mistake(_about_choice(name, rate, came))
    _look_at_the_bookings(oracle, budget)
    if best != "relative":
        raise Mistake(
            f"The rates are right, but you chose {best!r}, with {rates.get(best, float('nan')):.2f}. The attack of 'relative' turns "
            f"{RATES['relative']:.2f}: the best surrogate is the one whose attacks turn most."
        )
    return f"'relative' it is, found with {oracle.total} queries."


def _look_at_the_bookings(oracle, questions):
    spent = oracle.spent(RIGHT_BEFORE).tolist()
    for patient, count in zip(RIGHT_BEFORE, spent, strict=True):
        if count != questions:
            raise Mistake(
                f"The rates are right, but questions were booked on other patients: the oracle counts {count} about patient {patient}, whom "
                f"the victim had right, and {questions} were due. Which patient is meant by the first image of a smaller batch?"
            )


def _about_choice(name, rate, came):
    wrong, right_before = set(AFTER[name]), set(RIGHT_BEFORE)
    turned, corrected = len(wrong & right_before), len(set(range(10)) - right_before - wrong)
    told = f"Of the 6 patients whom the victim had right, the attack of {name!r} turns {turned}: a rate of {rate:.3f}. Yours is {came:.3f}. "
    known = {
        len(wrong) / 10: "You count wrong answers among all 10. Some were wrong before.",
        (turned + corrected) / 10: "You count every answer that changed, also those that became right.",
        turned / 10: "You divide by all 10. Those that were wrong before can't be turned.",
        1 - rate: "That is the share that withstood.",
        1 - len(wrong) / 10: "That is the share of right answers after the attack.",
    }
    for value, words in known.items():
        if abs(came - value) <= NEAR:
            return told + words
    return told + "Who counts, and who of them was turned?"


# ---- toys --------------------------------------------------------------------------------------------------------------


class Doctor(nn.Module):
    """A toy target: it calls an image sick if one of its channels is bright on average."""

    def __init__(self, channel=0, middle=MIDDLE):
        super().__init__()
        self.channel, self.middle = channel, middle
        self.eval()

    def forward(self, x):
        brightness = x[:, self.channel].mean((1, 2))
        return torch.stack([self.middle - brightness, brightness - self.middle], 1)


class HalfSighted(nn.Module):
    """A small frozen model that looks at four columns of six, so that several of them see some pixels and disagree."""

    def __init__(self, first):
        super().__init__()
        mask = torch.zeros(1, 1, 1, SIDE)
        mask[..., first : first + 4] = 1
        self.register_buffer("mask", mask)
        self.net = curved_model(3 * SIDE * SIDE)
        self.asked = 0
        self.eval()

    def forward(self, x):
        self.asked += 1
        return self.net(x * self.mask)


def _patients(rows):
    """Labels (N,), and uniform grey images (N, 3, 4, 4) before and after."""
    truth, before, after = (torch.tensor(column) for column in zip(*rows, strict=True))
    return truth, *(levels[:, None, None, None].expand(len(rows), 3, 4, 4).clone() for levels in (before, after))


def _seen_as(y, wrong):
    """Images that `Doctor` answers rightly, but for the rows `wrong`."""
    answer = y.clone()
    answer[list(wrong)] = 1 - answer[list(wrong)]
    return (0.25 + 0.5 * answer.float())[:, None, None, None].expand(len(y), 3, 4, 4).clone()


@torch.no_grad()
def _loss(model, x, y):
    return F.cross_entropy(model(x), y).item()
