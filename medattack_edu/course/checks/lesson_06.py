"""Lesson 06's exercises: the antithetic estimator, its variance, a score from labels, an attack on a budget.

The lesson itself is in solutions/. Attackers in these checks have a small oracle and no gradient.
"""

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu import attacks
from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    describe,
    exercise,
    expect_close,
    expect_images,
    expect_in_ball,
    expect_number,
    expect_tensor,
    unchanged,
)

# ---- the antithetic estimator -----------------------------------------------------------------------------------------

SIDE = 3  # toy images have 3 x 3 x 3 numbers: few enough that an estimate comes close to the truth
SIGMA = 0.01
FEW, MANY = 5, 1500  # pairs: to look at each question, and to come close to the truth


def reference_nes_estimate(score, x, pairs, sigma, generator):
    total = torch.zeros_like(x)
    for _ in range(pairs):
        u = torch.randn(x.shape, generator=generator).to(x)
        slope = (score(x + sigma * u) - score(x - sigma * u)) / (2 * sigma)
        total += slope.view(-1, 1, 1, 1) * u
    return total / pairs


class Slope:
    """A score that rises evenly along a direction of each image's own, and remembers what it was asked."""

    def __init__(self, n):
        self.gradient = torch.randn(n, 3, SIDE, SIDE) * torch.arange(1.0, n + 1).view(-1, 1, 1, 1)
        self.asked, self.answers = [], []

    def __call__(self, x):
        if not isinstance(x, torch.Tensor) or x.shape != self.gradient.shape:
            raise Mistake(
                f"`score` takes the {len(self.gradient)} images at once, {tuple(self.gradient.shape)}, each moved along a direction "
                f"of its own; it was asked about {describe(x)}."
            )
        self.asked.append(x.detach().clone())
        self.answers.append(40 + (x.detach() * self.gradient).flatten(1).sum(1))
        return self.answers[-1].clone()


@exercise(
    "nes_estimate",
    lesson="06",
    title="The gradient from pairs of questions",
    reference=reference_nes_estimate,
    hints=(
        "For each pair: draw a random direction `u`, shaped as `x`. Ask a little forward along it and a little backward. The "
        "difference of the two answers, divided by the distance between the two points, is the slope along `u`.",
        "A direction with a steep slope should count more, and one that leads down should count the other way round: multiply `u` by its slope. "
        "Add these up over all pairs and divide by their number.",
        "`u = torch.randn(x.shape, generator=generator).to(x)`; the points are `x` plus and minus `sigma * u`, so they are `2 * sigma` "
        "apart; the slope of each image, a tensor (N,), becomes `slope.view(-1, 1, 1, 1)` before it multiplies `u`.",
    ),
)
def check_nes_estimate(nes_estimate):
    x = 0.3 + 0.4 * torch.rand(3, 3, SIDE, SIDE)
    score = Slope(len(x))
    out = call(nes_estimate, score, x, FEW, SIGMA, torch.Generator().manual_seed(1))
    expect_tensor(out, shape=tuple(x.shape), what="the estimate")
    _asked_in_pairs(score.asked, x)
    again = call(nes_estimate, score, x, FEW, SIGMA, torch.Generator().manual_seed(1))
    other = call(nes_estimate, score, x, FEW, SIGMA, torch.Generator().manual_seed(2))
    if torch.equal(again, other) or not torch.equal(again, out):
        raise Mistake(
            "The same generator should give the same estimate, and another generator another. Draw the directions with `generator`."
        )
    few, score = score, Slope(len(x))
    estimate = call(nes_estimate, score, x, MANY, SIGMA, torch.Generator().manual_seed(3))
    expect_tensor(estimate, shape=tuple(x.shape), what="the estimate")
    _close_to(estimate, score.gradient)
    _is_the_mean(out, few, x)
    return f"From {2 * MANY:,} answers your estimate is the gradient, but for {_error(estimate, score.gradient):.0%} of its length."


def _asked_in_pairs(asked, x):
    if len(asked) != 2 * FEW:
        raise Mistake(f"{FEW} pairs are {2 * FEW} questions about each image; you asked {len(asked)}.")
    steps = [(point - x) / SIGMA for point in asked]
    for step in steps:
        if min((step + other).abs().max().item() for other in steps) > 1e-2:
            raise Mistake(
                f"You asked at a point {step.square().mean().sqrt().item() * SIGMA:.4f} away from `x` (root mean square), and never at its "
                "mirror image on the other side of `x`. Antithetic questions come in pairs."
            )
    length = torch.stack(steps).square().mean().sqrt().item()
    if not 0.8 < length < 1.25:
        raise Mistake(
            f"Your questions lie {length * SIGMA:.4g} away from `x` (root mean square of a pixel's change). With standard normal "
            f"directions and sigma = {SIGMA:g} it should be about {SIGMA:g}."
        )
    for one, other in ((0, 1), (1, 2)):
        if _along_one_line(steps[0][one], steps[0][other]):
            raise Mistake(
                f"Images {one} and {other} were moved along the same direction. Each image needs a draw of its own."
            )
    if all(_along_one_line(steps[0], step) for step in steps):
        raise Mistake(f"All {FEW} pairs went along the same direction. Draw a new one for each pair.")


def _along_one_line(one, other):
    """Whether two steps are the same, forward or backward."""
    return min((one - other).abs().max().item(), (one + other).abs().max().item()) < 1e-2


def _close_to(estimate, truth):
    if _error(estimate, truth) < 0.25:
        return
    size = ((estimate * truth).sum() / truth.square().sum()).item()
    cosine = F.cosine_similarity(estimate.flatten(), truth.flatten(), dim=0).item()
    told = f"On a score with a known gradient, {MANY:,} pairs gave an estimate with a cosine of {cosine:.2f} to it. "
    if cosine < -0.8:
        raise Mistake(told + "It points downhill. Which answer is subtracted from which?")
    if cosine > 0.8:
        raise Mistake(
            told
            + f"The direction is right, but its length is {size:.3g} times the true one. By which distance are the two points of a pair "
            "apart, and how many pairs did you add up?"
        )
    each = F.cosine_similarity(estimate.flatten(1), truth.flatten(1), dim=1)
    listed = ", ".join(f"{value:.2f}" for value in each)
    raise Mistake(
        told
        + f"Image by image: {listed}. Each direction counts by the slope along it, and each image by its own answers alone."
    )


def _is_the_mean(estimate, few, x):
    """From few answers the estimate is far from the truth, but it is known to the last digits: what was asked, and answered, is."""
    answers, points = few.answers[: 2 * FEW], few.asked[: 2 * FEW]
    told = sum(answer.view(-1, 1, 1, 1) * (point - x) for answer, point in zip(answers, points, strict=True))
    mean = told / (2 * SIGMA**2 * FEW)
    if _error(estimate, mean) > 0.02:
        raise Mistake(
            f"From {MANY:,} pairs your estimate is good. But from {FEW} it has {(estimate * mean).sum() / mean.square().sum():.3f} times the "
            f"length of the mean over {FEW} pairs of slope times direction. What do you divide by?"
        )


def _error(estimate, truth):
    """How far an estimate is off, in lengths of the truth."""
    return ((estimate - truth).norm() / truth.norm()).item()


# ---- its variance -----------------------------------------------------------------------------------------------------


def reference_variance_of(estimator, seeds):
    runs = torch.stack([estimator(torch.Generator().manual_seed(seed)) for seed in seeds])
    return runs.var(0).sum().item()


@exercise(
    "variance_of",
    lesson="06",
    title="How much an estimate depends on chance",
    reference=reference_variance_of,
    hints=(
        "Run the estimator once for each seed. Each run gives another estimate. How far are they from each other?",
        "Put the runs into one tensor with `torch.stack`. The first dimension then counts the runs, and each pixel has a variance "
        "along it. Add up those of all pixels.",
        "A fresh `torch.Generator().manual_seed(seed)` goes into each run; `runs.var(0)` is the variance of each pixel (divided by "
        "the runs less one, as for any sample); `.sum()` adds them up.",
    ),
)
def check_variance_of(variance_of):
    seeds, shape, spread = [3, 1, 4, 15, 9], (2, 3, 2), 0.7
    ran = []

    def estimator(generator):
        if not isinstance(generator, torch.Generator):
            raise Mistake(f"`estimator` takes a torch.Generator; it was called with {describe(generator)}.")
        ran.append(generator.initial_seed())  # now: the same generator may come again with another seed
        return 5 + spread * torch.randn(shape, generator=generator)

    out = call(variance_of, estimator, seeds)
    number = expect_number(out, "the variance", low=0)
    if len(ran) != len(seeds):
        raise Mistake(f"There are {len(seeds)} seeds, and you ran the estimator {len(ran)} times. Once for each.")
    if sorted(ran) != sorted(seeds):
        raise Mistake(f"The seeds are {sorted(seeds)}; you ran with generators of the seeds {sorted(ran)}.")
    runs = torch.stack(
        [5 + spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    truth, told = runs.var(0).sum().item(), f"For {len(seeds)} runs of 12 numbers each your variance is {number:.3f}. "
    pitfalls = {
        runs.var(0)
        .mean()
        .item(): "That is the mean over the numbers. The squared distance between two images adds up all of them.",
        runs.var(0, correction=0)
        .sum()
        .item(): f"You divide by {len(seeds)}, the number of runs. Their mean was taken from the "
        "same runs and lies too close to them: divide by one less.",
        runs.std(0).sum().item(): "Those are standard deviations. A variance is in squared units.",
        runs.var().item(): "You put the runs and the numbers of an image into one pot. Each number varies around its own mean.",
        runs.var(0).sum().sqrt().item(): "That is its root, a length. A variance is in squared units.",
        runs.square()
        .mean(0)
        .sum()
        .item(): "That is the squared distance from 0. A variance is measured from the runs' own mean.",
    }
    if abs(number - truth) > 1e-3 * truth:
        nearest = min(pitfalls, key=lambda value: abs(value - number))
        if abs(nearest - number) <= 1e-3 * nearest:
            raise Mistake(told + pitfalls[nearest])
        raise Mistake(
            told + "How far is each run from the mean of all runs, squared and added up over the numbers of the image?"
        )
    return f"{number:.2f}: with each of 12 numbers spread by {spread}, about 12 times {spread} squared."


# ---- a score from labels ----------------------------------------------------------------------------------------------

COPIES = 1500
RADIUS = 0.05


def reference_label_score(tell, x, label, copies, radius, generator):
    kept = torch.zeros(len(x), device=x.device)
    for _ in range(copies):
        noise = radius * (2 * torch.rand(x.shape, generator=generator).to(x) - 1)
        kept += tell((x + noise).clamp(0, 1)) == label
    return kept / copies


class Fence:
    """Tells label 1 where the first pixel of an image is above a fence of that image's own, else label 0."""

    def __init__(self, heights):
        self.heights, self.asked = heights, []

    def __call__(self, x):
        if not isinstance(x, torch.Tensor) or x.shape != (len(self.heights), 3, SIDE, SIDE):
            raise Mistake(
                f"`tell` takes one noisy copy of each of the {len(self.heights)} images at a time; it was asked about {describe(x)}."
            )
        if x.min() < 0 or x.max() > 1:
            raise Mistake(
                f"You asked about an image with a pixel of {(x.min() if x.min() < 0 else x.max()).item():.3f}. An oracle takes images: "
                "pixels between 0 and 1."
            )
        self.asked.append(x.detach().clone())
        return (x[:, 0, 0, 0] > self.heights).long()


@exercise(
    "label_score",
    lesson="06",
    title="A score from labels alone",
    reference=reference_label_score,
    hints=(
        "Make a noisy copy of the images, ask for its labels, and note which images still carry theirs. Do it `copies` times. The "
        "score is the share of copies that did.",
        "Uniform noise between -1 and 1 is `2 * torch.rand(...) - 1`. Scale it by `radius`, add it, and cut the copy to the pixel range.",
        "Start with `torch.zeros(len(x))`. In each round add `tell(copy) == label`, which counts as 1 where it is true, and at the "
        "end divide by `copies`. The noise: `radius * (2 * torch.rand(x.shape, generator=generator).to(x) - 1)`.",
    ),
)
def check_label_score(label_score):
    x = torch.full((5, 3, SIDE, SIDE), 0.5)
    x[..., -1, :] = torch.tensor(
        [0.01, 0.01, 0.99]
    )  # the lowest row is near black and near white, where noise leaves the range
    # The share of copies above the fence is known: the fence lies at this share of the radius from the first pixel.
    offsets = torch.tensor([-0.4, 0.6, 1.2, 0.6, -1.2])
    label = torch.tensor([1, 1, 1, 0, 1])
    above = ((1 - offsets) / 2).clamp(0, 1)
    expected = torch.where(label == 1, above, 1 - above)
    fence = Fence(0.5 + RADIUS * offsets)
    out = call(label_score, fence, x, label, COPIES, RADIUS, torch.Generator().manual_seed(5))
    expect_tensor(out, shape=(len(x),), what="the score")
    if not out.is_floating_point():
        raise Mistake(f"A score is a share, a float for each image; {describe(out)} came.")
    if len(fence.asked) != COPIES:
        raise Mistake(
            f"With copies = {COPIES:,}, each image should be asked about {COPIES:,} times; you asked {len(fence.asked):,} times."
        )
    _is_uniform_noise(torch.stack([copy - x for copy in fence.asked[:50]])[..., :-1, :])
    for i, (score, truth) in enumerate(zip(out.tolist(), expected.tolist(), strict=True)):
        if abs(score - truth) > 0.06:
            told = f"Image {i} should keep label {int(label[i])} under about {truth:.0%} of the noise; your score is {score:.2f}. "
            if abs(score - (1 - truth)) <= 0.06:
                raise Mistake(told + "That is the share of copies that lost it.")
            if score > 1:
                raise Mistake(told + "A share lies between 0 and 1.")
            raise Mistake(
                told
                + f"Is each copy's label compared with the label of its own image? The labels are {label.tolist()}."
            )
    expect_close(out, out.clamp(0, 1), "the score")
    asked = []
    for seed in (6, 6, 7):
        fence = Fence(0.5 + RADIUS * offsets)
        call(label_score, fence, x, label, 20, RADIUS, torch.Generator().manual_seed(seed))
        asked.append(torch.stack(fence.asked))
    if not torch.equal(asked[0], asked[1]) or torch.equal(asked[0], asked[2]):
        raise Mistake(
            "The same generator should give the same noise, and another generator another. Draw the noise with `generator`."
        )
    return "Your score is the share of copies that keep the label, on both sides of the border."


def _is_uniform_noise(changes):
    """`changes` (copies, images, colours, rows, columns), of pixels that noise never takes out of the range."""
    lowest, highest = (value.item() for value in changes.aminmax())
    furthest = max(-lowest, highest)
    if furthest == 0:
        raise Mistake("All your copies are the image itself. The score lives from the noise.")
    same_for = {
        "copies": changes[:1],
        "images of a copy": changes[:, :1],
        "pixels of an image": changes[..., :1, :1],
        "pixels of a row": changes[..., :1],
        "pixels of a column": changes[..., :1, :],
        "colours of a pixel": changes[:, :, :1],
    }
    for what, first in same_for.items():
        if torch.allclose(changes, first.expand_as(changes), atol=1e-6):
            raise Mistake(
                f"You drew one noise for all {what}, such as {first.flatten()[0]:+.4f}. Each value needs a draw of its own, anew for each copy."
            )
    if furthest > 1.01 * RADIUS:
        raise Mistake(
            f"With radius = {RADIUS:g}, one of your copies has a pixel {furthest:.3f} away from the image. Uniform noise ends at the radius."
        )
    if furthest < 0.9 * RADIUS:
        raise Mistake(
            f"With radius = {RADIUS:g}, no pixel of your copies is further than {furthest:.3f} from the image. Uniform noise goes up to the radius."
        )
    if lowest > -0.5 * RADIUS or highest < 0.5 * RADIUS:
        way = "brighter" if lowest > -0.5 * RADIUS else "darker"
        raise Mistake(f"Your noise only makes pixels {way}. It goes both ways, from minus to plus the radius.")
    middle = changes.abs().median().item()
    if abs(middle - 0.5 * RADIUS) > 0.1 * RADIUS:
        raise Mistake(
            f"Half of your pixels are less than {middle:.4f} away from the image, half of them more. Noise that is uniform between minus "
            f"and plus {RADIUS:g} has its middle at {RADIUS / 2:g}."
        )


# ---- spending a budget ------------------------------------------------------------------------------------------------

PATIENTS, IMAGE_SIDE, EPS, BUDGET = 8, 16, 8 / 255, 250
# How far each patient is from the border, in standard deviations of what noise of size eps does to the answer: the best of
# 250 draws reaches about 2.8.
MARGINS = (2.0, 4.0, 5.0, 6.0, 4.0, 5.0, 6.0, 7.0)
LEAST = 4  # patients to turn


def reference_my_attack(oracle, x, y, eps, queries):
    def propose(x_adv, x, done):
        side = round(x.shape[-1] * (0.75 - 0.55 * done))
        top, left = torch.randint(0, x.shape[-1] - side + 1, (2,)).tolist()
        window = (..., slice(top, top + side), slice(left, left + side))
        coins = torch.randint(0, 2, x.shape if torch.rand(()) < 0.5 else (len(x), 3, 1, 1)).to(x)
        x_adv[window] = (x + eps * (2 * coins - 1))[window]
        return x_adv.clamp(0, 1)

    return climb(oracle, x, y, queries, propose)


def lead(told, y):
    """How far the answers are beyond the border (N,), from probabilities (N, 2): positive where the attack is done."""
    logits = told.clamp(min=1e-30).log()
    return (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None]))[:, 0]


def climb(oracle, x, y, queries, propose):
    """Random search, as the lesson gives it: ask about a proposal, keep it where the answer came closer to the border."""
    x_adv, best = x.clone(), lead(oracle(x), y)
    for k in range(1, queries):
        going = (best <= 0).nonzero().flatten()
        if not len(going):
            break
        proposal = propose(x_adv[going], x[going], k / queries)
        told = lead(oracle(proposal, going), y[going])
        better = told > best[going]
        x_adv[going[better]], best[going[better]] = proposal[better], told[better]
    return x_adv


@exercise(
    "my_attack",
    lesson="06",
    title="Your own attack, its queries spent well",
    reference=reference_my_attack,
    hints=(
        "Start from `climb`: it asks, keeps what helps, and leaves turned patients alone. What is left to you is `propose`. Noise redraws "
        "all pixels each time and forgets what it had found. Which part of the image would you change at a time, and how large should it be?",
        "A pixel alone moves the answer too little to be worth a query. Change a whole window by the full eps: all its pixels "
        "together, by a coin for each colour, or each by a coin of its own. Begin with windows of most of the image's side, and let them shrink as "
        "`done` grows.",
        "In `propose`: a `side` that falls from about 0.75 to 0.2 of the image's; a random corner with `torch.randint`; "
        "`window = (..., slice(top, top + side), slice(left, left + side))`; into `x_adv[window]` goes the same window of `x` plus eps times a sign "
        "for each image and colour, `(len(x), 3, 1, 1)`, or in every other question a sign for each pixel. Cut to 0 to 1, and give it to `climb`.",
    ),
    limit_s=60,
)
def check_my_attack(my_attack):
    model, x, y = _guarded_patients()
    oracle = attacks.Oracle(model, budget=BUDGET)
    with unchanged(model):
        try:
            out = call(my_attack, oracle, x, y, EPS, BUDGET)
        except attacks.QueriesRefused as refusal:
            raise Mistake(
                f"The oracle stopped answering: {refusal} Each patient has {BUDGET} queries, and the first question counts too. "
                "`oracle.left(ids)` tells what is left."
            ) from None
    expect_images(out, like=x, what="your images")
    expect_in_ball(out, x, EPS)
    if oracle.total == 0:
        raise Mistake("You asked the oracle nothing. Whatever you attacked, it wasn't this model.")
    others = attacks.Oracle(model, budget=BUDGET)
    by_noise = _turned(model, climb(others, x, y, BUDGET, lambda x_adv, x, done: attacks.random_noise(x, eps=EPS)), y)
    mine = _turned(model, out, y)
    told = f"Of {PATIENTS} patients you turned {mine}, with {oracle.total:,} queries; {BUDGET} tries of random noise turn {by_noise}. "
    if mine <= by_noise:
        raise Mistake(told + _about_gains(model, x, out, y))
    idle = int((oracle.spent(range(PATIENTS)) == 0).sum())
    if mine < LEAST and idle:
        raise Mistake(told + f"{LEAST} are within reach. About {idle} of the patients you never asked.")
    if mine < LEAST:
        raise Mistake(
            told + f"{LEAST} are within reach. Spend the questions on larger parts of the image, and keep every gain."
        )
    return told + "All within eps and the budget."


def _about_gains(model, x, out, y):
    if torch.equal(out, x):
        return "What you returned are the clean images. Return those that the answers led to."
    with torch.no_grad():
        before, after = (lead(model(images).softmax(1), y).mean().item() for images in (x, out))
    told = f"On average the lead of the wrong answer went from {before:.1f} to {after:.1f}: "
    if after < before - 0.5:
        return told + "away from the border. Which proposals do you keep?"
    if after < before + 0.5:
        return told + "hardly anything of what the oracle told you is left in the images that you returned."
    return told + "noise alone gets as far. Does each question build on what the last ones brought?"


def _turned(model, images, y):
    with torch.no_grad():
        return int((model(images).argmax(1) != y).sum())


def _guarded_patients():
    """Patients at known distances from the border of a model that looks at coarse structure more than at fine."""
    coarse = F.interpolate(torch.randn(1, 3, 4, 4), size=(IMAGE_SIDE, IMAGE_SIDE))
    weight = (coarse + 0.5 * torch.randn(1, 3, IMAGE_SIDE, IMAGE_SIDE)).flatten()
    weight /= EPS * weight.norm()  # noise of size eps moves the answer by 1 (standard deviation)
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).eval()
    with torch.no_grad():
        model[1].weight[0], model[1].weight[1] = -weight / 2, weight / 2
        model[1].bias.zero_()
    x, y = 0.3 + 0.4 * torch.rand(PATIENTS, len(weight)), torch.arange(PATIENTS) % 2
    wanted = (2 * y - 1) * torch.tensor(MARGINS)
    x += ((wanted - x @ weight) / weight.square().sum())[:, None] * weight
    return model, x.view(PATIENTS, 3, IMAGE_SIDE, IMAGE_SIDE).clamp(0, 1), y
