"""Lesson 07's exercises: the operator, the expectation, success over rotations, the natural patch. The lesson is in solutions/."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu import attacks, metrics
from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    curved_model,
    describe,
    exercise,
    expect_images,
    expect_number,
    expect_tensor,
    unchanged,
)

# ---- the operator ------------------------------------------------------------------------------------------------------

SIDE = 64  # of the toy scenes, in pixels
PATCH = 32  # side of the toy patch, in pixels
RIM = 2.0  # pixels around the edge of the disc that may be mixed, however the edge is drawn
COVERED = 0.08  # how far the covered area may be from the nominal one: a hard edge on few pixels is rough
TURNED = 6.0  # degrees by which a measured angle may be off
COLOUR = 0.01  # how far a colour may be off after resampling, well inside an area of one colour

# Five placements: location (right, down), angle in degrees counter-clockwise, scale. All lie wholly inside.
PLACEMENTS = (
    (0.50, 0.50, 0.0, 0.6),
    (0.30, 0.60, 90.0, 0.5),
    (0.68, 0.32, 30.0, 0.55),
    (0.35, 0.35, -45.0, 0.4),
    (0.62, 0.70, 200.0, 0.45),
)
MIDDLE_SCALES = torch.tensor(
    [0.45, 0.3, 0.4, 0.25, 0.35]
)  # in the middle of a scene, where even twice the size would fit


def reference_place(patch, x, location, angle, scale):
    return attacks.place(patch, x, location=location, angle=angle, scale=scale)


@exercise(
    "place",
    lesson="07",
    title="The operator: a patch into a scene",
    reference=reference_place,
    hints=(
        "Work backwards. `F.affine_grid(matrix, x.shape, align_corners=False)` wants a matrix (N, 2, 3), one for each image, that says "
        "for a pixel of the *scene* where it looks in the *patch*. Both are measured from -1 to 1, so first write the location on that "
        "scale: 0 becomes -1, and 1 becomes 1.",
        "Move back, turn back, undo the scale: from a pixel u one sees the patch at R (u - centre) / scale. So the left part of the matrix is "
        "R / scale, and its last column is minus that, times the centre. With the grid in hand, `F.grid_sample` looks the colours up "
        "(the patch, expanded to N), and a pixel lies under the disc where its place in the patch is at most 1 from the middle.",
        "`turn` is `torch.stack` of the rows (cos, -sin) and (sin, cos) at `torch.deg2rad(angle)`, shape (N, 2, 2), divided by `scale[:, "
        "None, None]`; `shift = -turn @ centre[:, :, None]`; the matrix is the two joined along the last dimension. Then "
        "`F.grid_sample(..., padding_mode='border', align_corners=False)`, and `torch.where(under[:, None], stuck, x)` with `under` from "
        "`grid.norm(dim=-1) <= 1`.",
    ),
)
def check_place(place):
    location, angle, scale = _placements()
    black, white = torch.zeros(len(angle), 3, SIDE, SIDE), torch.ones(3, PATCH, PATCH)
    middle = Trial(white, black, torch.full_like(location, 0.5), 0 * angle, MIDDLE_SCALES)
    out = call(place, *middle.given())
    expect_images(out, like=black, what="your images")
    _covers_what_it_should(out, middle)
    anywhere = Trial(white, black, location, angle, scale)
    _lies_where_it_should(call(place, *anywhere.given()), anywhere)

    scenes = torch.rand(len(angle), 3, SIDE, SIDE)
    flags = Trial(_flag(), scenes, location, angle, scale)
    out = call(place, *flags.given())
    expect_images(out, like=scenes, what="your images")
    _rest_stays(out, flags)
    for shade in (0.5, 0.0):
        hiding = Trial(torch.full_like(_flag(), shade), 1 - black, location, angle, scale)
        _hides_what_is_under_it(call(place, *hiding.given()), hiding)
    _is_turned(out, flags)
    _keeps_its_colours(out, flags)
    _lets_the_gradient_through(place, *flags.given())
    alone = call(place, _flag(), scenes[1:2], location[1:2], angle[1:2], scale[1:2])
    expect_images(alone, like=scenes[1:2], what="your image, when one is given")
    off = (alone - out[1:2]).abs().mean().item()
    if off > 1e-3:  # a pixel at the edge may fall to either side, depending on how the processor adds
        raise Mistake(
            f"A scene that comes alone is treated otherwise than the same scene among {len(out)}: on average its pixels are {off:.3f} apart."
        )
    return f"{len(angle)} scenes, {len(angle)} placements, and the rest of each scene is as it was."


@dataclass
class Trial:
    """What a learner's `place` was given."""

    patch: torch.Tensor
    scenes: torch.Tensor
    location: torch.Tensor
    angle: torch.Tensor
    scale: torch.Tensor

    def given(self):
        return self.patch, self.scenes, self.location, self.angle, self.scale

    def told(self, i):
        """The i-th placement in words."""
        return f"With location {_point(self.location[i])}, angle {self.angle[i]:g} and scale {self.scale[i]:g}"

    def picture(self, out):
        """What the learner's function made, above what was wanted."""
        from medattack_edu import show

        rows = {"yours": out.detach().clamp(0, 1), "wanted": reference_place(*self.given())}
        figure, axes = show.picture(
            2.1 * len(out),
            5,
            2,
            len(out),
            alt="What your function made of the scenes, above what was wanted.",
            squeeze=False,
        )
        figure.suptitle("The same placements, by your function and as wanted", fontsize=11)
        for row, (name, images) in zip(axes, rows.items(), strict=True):
            row[0].set_ylabel(name, fontsize=11)
            for ax, image in zip(row, images, strict=False):
                ax.imshow(show.pixels(image))
                ax.set(xticks=[], yticks=[])
        for i, ax in enumerate(axes[0]):
            ax.set_title(
                f"location {_point(self.location[i])}\nangle {self.angle[i]:g}°, scale {self.scale[i]:g}", fontsize=9
            )
        return figure


def _placements():
    rows = torch.tensor(PLACEMENTS)
    return rows[:, :2].clone(), rows[:, 2].clone(), rows[:, 3].clone()


def _flag():
    """A patch whose upper half is red and whose right half is green, so that one sees how it was turned. Its middle is blue."""
    flag = torch.full((3, PATCH, PATCH), 0.4)
    flag[0, : PATCH // 2] = 0.9
    flag[1, :, PATCH // 2 :] = 0.9
    flag[2][_in_the_middle()] = 0.7
    return flag


def _in_the_middle():
    """The pixels (h, h) of the patch in the disc of half its width."""
    axis = (torch.arange(PATCH) + 0.5) * 2 / PATCH - 1
    return axis.square() + axis.square()[:, None] < 0.25


def _areas():
    """{what it is called: pixels (h, h) of the patch}: the areas of one colour of the flag."""
    upper, left = torch.arange(PATCH)[:, None] < PATCH // 2, torch.arange(PATCH)[None] < PATCH // 2
    quarters = {
        "upper left": upper & left,
        "upper right": upper & ~left,
        "lower left": ~upper & left,
        "lower right": ~upper & ~left,
    }
    parts = {"": ~_in_the_middle(), ", near the middle": _in_the_middle()}
    return {where + part: quarter & pixels for where, quarter in quarters.items() for part, pixels in parts.items()}


def _from_centre(location):
    """How far each pixel of each scene lies to the right of and below the patch's centre, in pixels: (N, H, W) twice."""
    middle = torch.arange(SIDE) + 0.5
    right = middle[None, None, :] - SIDE * location[:, 0, None, None]
    below = middle[None, :, None] - SIDE * location[:, 1, None, None]
    return torch.broadcast_tensors(right, below)


def _distance(location):
    right, below = _from_centre(location)
    return (right.square() + below.square()).sqrt()


def _covers_what_it_should(out, trial):
    """A white patch in the middle of black scenes: how white has each scene become?"""
    covered = out[:, 0].mean((1, 2))
    if covered.max() < 1e-3:
        raise Mistake(
            "You put a white patch into the middle of black scenes, and they stayed black. Nothing was placed.",
            trial.picture(out),
        )
    disc = math.pi / 4 * MIDDLE_SCALES**2
    if covered.min() > 0.99:
        raise Mistake(
            "All scenes are covered wholly, whatever the scale. You go *backwards*, from the scene to the patch: with a small patch, one "
            "step in the scene is a large step in the patch. Did you multiply by the scale?",
            trial.picture(out),
        )
    if (covered - covered[0]).abs().max() < 0.01:
        given = ", ".join(f"{value:g}" for value in MIDDLE_SCALES.tolist())
        raise Mistake(
            f"All scenes are covered to {covered[0]:.1%}, but each has a scale of its own: {given}.", trial.picture(out)
        )
    known = {
        "That is the square around it. The patch is a disc: in its corners one sees the scene.": MIDDLE_SCALES**2,
        "You have taken the scale as a share of the *area*. It is the patch's side over the scene's side.": math.pi
        / 4
        * MIDDLE_SCALES,
        "You have taken the scale as the disc's radius. It is the whole patch's side, so the disc's diameter.": 4
        * disc,
        "The disc is half as wide as it should be. A patch that runs from -1 to 1 has its edge at 1.": disc / 4,
    }
    for i, (came, wanted) in enumerate(zip(covered.tolist(), disc.tolist(), strict=True)):
        if abs(came - wanted) <= COVERED * wanted:
            continue
        hint = next(
            (words for words, area in known.items() if abs(came - float(area[i])) <= COVERED * float(area[i])), ""
        )
        told = f"With scale {MIDDLE_SCALES[i]:g}, in the middle, a disc covers {wanted:.1%} of the scene; yours covers {came:.1%}."
        raise Mistake(f"{told} {hint}".strip(), trial.picture(out))


def _lies_where_it_should(out, trial):
    """A white patch in black scenes: where is the middle of what has become white?"""
    cover, location = out[:, 0], trial.location
    middle = (torch.arange(SIDE) + 0.5) / SIDE
    lies = (
        torch.stack([(cover.sum(1) * middle).sum(1), (cover.sum(2) * middle).sum(1)], 1)
        / cover.sum((1, 2)).clamp(min=1e-6)[:, None]
    )
    if (lies - lies[:1]).abs().max() < 0.02:
        raise Mistake(
            f"All {len(lies)} scenes have the patch at {_point(lies[0])}, but each has a location of its own.",
            trial.picture(out),
        )
    for i, (came, wanted) in enumerate(zip(lies, location, strict=True)):
        if (came - wanted).abs().max() < 1.5 / SIDE:
            continue
        hint = _where_it_went(lies, i, trial)
        if not hint and (wanted - 0.5).norm() > 0.1:
            hint = f"It lies {(came - 0.5).norm() / (wanted - 0.5).norm():.2f} times as far from the scene's middle as it should."
        told = f"{trial.told(i)} the patch's middle should lie at {_point(wanted)} and lies at {_point(came)}: first to the right, then down."
        raise Mistake(f"{told} {hint}".strip(), trial.picture(out))


def _where_it_went(lies, i, trial):
    """What puts the i-th patch where it lies. Of several, the mistake that explains the other placements best too; "" if none does."""

    def astray(j):
        wanted = trial.location[j]
        return {
            "You have taken the location as (down, right).": wanted.flip(0),
            "It went to the opposite side of the scene's middle.": 1 - wanted,
            "The second number of a location counts from the upper edge, downwards.": torch.stack(
                [wanted[0], 1 - wanted[1]]
            ),
            "The grid runs from -1 to 1, the location from 0 to 1.": (wanted + 1) / 2,
            "It has gone half of the way from the scene's middle. The grid is 2 wide, from -1 to 1.": (wanted + 0.5)
            / 2,
        } | _shifts_that_went_astray(wanted, trial.angle[j], trial.scale[j])

    off = [
        {words: float((lies[j] - point).abs().max()) for words, point in astray(j).items()} for j in range(len(lies))
    ]
    near = [words for words, error in off[i].items() if error < 2 / SIDE]
    return min(near, key=lambda words: sum(min(errors[words], 2 / SIDE) for errors in off), default="")


def _shifts_that_went_astray(wanted, angle, scale):
    """{what was forgotten: where the patch then lies}, for a shift that doesn't go through the same turn and scale as the pixel."""
    centre, a = 2 * wanted - 1, torch.deg2rad(angle)
    turned = torch.stack([a.cos() * centre[0] + a.sin() * centre[1], a.cos() * centre[1] - a.sin() * centre[0]])
    forgotten = {"turned and scaled": scale * turned, "turned": turned, "scaled": scale * centre}
    words = "The shift wasn't {} as the pixel was. Everything in the bracket, the pixel *and* the centre, goes through the same matrix."
    return {words.format(what): (point + 1) / 2 for what, point in forgotten.items()}


def _rest_stays(out, trial):
    outside = _distance(trial.location) > trial.scale[:, None, None] * SIDE / 2 + RIM
    moved = (out - trial.scenes).abs().amax(1) * outside
    for i in range(len(out)):
        n, largest = int((moved[i] > 0).sum()), float(moved[i].max())
        if n:
            raise Mistake(
                f"{trial.told(i)} {n:,} pixels that the patch doesn't cover have changed, by up to {largest:.3g}. What isn't covered stays "
                "as it was, to the last bit.",
                trial.picture(out),
            )


def _is_turned(out, trial):
    location, angle, scale = trial.location, trial.angle, trial.scale
    right, below = _from_centre(location)
    inner = (_distance(location) < 0.8 * scale[:, None, None] * SIDE / 2).float()
    came = []
    for channel, straight in ((0, 90.0), (1, 0.0)):  # red shows up in the patch, green to the right
        pull = out[:, channel] * inner
        across, up = (pull * right).sum((1, 2)), -(pull * below).sum((1, 2))
        came.append(torch.rad2deg(torch.atan2(up, across)) - straight)
    red, green = (_within_half_a_turn(values) for values in came)
    if _apart(red, angle).max() < TURNED and _apart(green, angle).max() < TURNED:
        return
    if _apart(red, red[:1]).max() < TURNED and _apart(red, green).max() < TURNED:
        raise Mistake(
            f"In all {len(angle)} scenes the patch is turned by {float(red[0]):.0f} degrees, but each has an angle of its own.",
            trial.picture(out),
        )
    if _apart(red, -angle).max() < TURNED and _apart(green, -angle).max() < TURNED:
        raise Mistake(
            f"{trial.told(1)} the patch was turned clockwise. Angles count counter-clockwise as you see it, and in a picture the second "
            "axis points *down*.",
            trial.picture(out),
        )
    if _apart(red, torch.rad2deg(angle)).max() < TURNED:
        raise Mistake(
            f"{trial.told(2)} the patch is turned by {float(red[2]):.0f} degrees: you took degrees for radians.",
            trial.picture(out),
        )
    if _apart(red, green).min() > 90 - TURNED and (_apart(red + 90, green) - 90).abs().max() < TURNED:
        sides = ("to the right", "above", "to the left", "below")
        lies = [sides[round(float(degrees) / 90) % 4] for degrees in (red[0] + 90, green[0])]
        raise Mistake(
            f"{trial.told(0)} the patch comes out as in a mirror: its red half should lie above and its green one to the right. The red one "
            f"lies {lies[0]}, the green one {lies[1]}.",
            trial.picture(out),
        )
    if _apart(red, green).max() > TURNED:
        _keeps_its_colours(out, trial)
    worst = int(torch.maximum(_apart(red, angle), _apart(green, angle)).argmax())
    raise Mistake(
        f"{trial.told(worst)} the patch is turned by {float(red[worst]):.0f} degrees (its green half by {float(green[worst]):.0f}).",
        trial.picture(out),
    )


def _keeps_its_colours(out, trial):
    """The flag: is each area, well inside, of the colour that it has in the patch?"""
    for where, pixels in _areas().items():
        wanted = trial.patch[:, pixels].mean(1)
        seen = (
            reference_place(
                pixels.float().expand(3, -1, -1), 0 * trial.scenes, trial.location, trial.angle, trial.scale
            )[:, 0]
            > 0.99
        )
        for i in range(len(out)):
            came = out[i][:, seen[i]].median(1).values
            if (came - wanted).abs().max() > COLOUR:
                raise Mistake(
                    f"{trial.told(i)} a part of the patch (its {where}) should have the colour {_colour(wanted)}, as it was given, and has {_colour(came)}.",
                    trial.picture(out),
                )


def _colour(rgb):
    return "(" + ", ".join(f"{value:.2f}" for value in rgb.tolist()) + ")"


def _hides_what_is_under_it(out, trial):
    """A patch of one shade in white scenes: nothing of the white may show through."""
    inner = _distance(trial.location) < trial.scale[:, None, None] * SIDE / 2 - RIM
    shade = float(trial.patch.max())
    for i in range(len(out)):
        shows = float(out[i].amax(0)[inner[i]].max())
        if shows > shade + COLOUR:
            raise Mistake(
                f"{trial.told(i)} a {'grey' if shade else 'black'} patch of {shade:g} lies in a white scene, and under it a pixel has {shows:.2f}. A sticker "
                "hides what is under it, whatever its own colour.",
                trial.picture(out),
            )


def _lets_the_gradient_through(place, patch, scenes, location, angle, scale):
    wanted = patch.clone().requires_grad_()
    out = place(wanted, scenes.clone(), location.clone(), angle.clone(), scale.clone())
    if not out.requires_grad:
        raise Mistake(
            "No gradient reaches the patch: somewhere it was cut off from PyTorch's recording. It is the patch that will be trained."
        )
    (gradient,) = torch.autograd.grad(out.sum(), wanted)
    reached = float((gradient[:, PATCH // 4 : -PATCH // 4, PATCH // 4 : -PATCH // 4] != 0).float().mean())
    if reached < 0.9:
        raise Mistake(
            f"The gradient reaches only {reached:.0%} of the patch's middle. Every part of it will have to learn."
        )


def _within_half_a_turn(degrees):
    return (degrees + 180) % 360 - 180


def _apart(one, other):
    return _within_half_a_turn(one - other).abs()


def _point(place):
    return f"({float(place[0]):.2f}, {float(place[1]):.2f})"


# ---- the expectation ---------------------------------------------------------------------------------------------------

TARGET = 2  # of the toy model's three classes
TIMES = 3
NEAR = 1e-4


def reference_expected_log_probability(model, patch, x, target, place, draw, times):
    logits = torch.cat([model(place(patch, x, *draw(len(x)))) for _ in range(times)])
    return F.log_softmax(logits, 1)[:, target].mean()


@exercise(
    "expected_log_probability",
    lesson="07",
    title="The expectation over images and placements",
    reference=reference_expected_log_probability,
    hints=(
        "An expectation over everything that may happen is estimated by a mean over some of it. Draw, place, ask the model, keep the "
        "log probability of the target; do that `times` times, with new draws each time.",
        "`draw(len(x))` gives location, angle and scale for every image of the batch, which `place` takes after the patch and the images. "
        "`F.log_softmax(logits, 1)` has a column for each class. Sum up over the rounds, then divide.",
        "In a loop of `times` rounds: `scenes = place(patch, x, *draw(len(x)))`, and add the mean of column `target` of the log-softmax "
        "of `model(scenes)` to a total. Return the total divided by `times`, still a tensor that PyTorch can differentiate.",
    ),
)
def check_expected_log_probability(expected_log_probability):
    model = curved_model(3 * 12 * 12, 3)
    patch, x = torch.rand(3, 8, 8), 0.2 + 0.6 * torch.rand(4, 3, 12, 12)
    draws = Draws()
    placed = Placing(x, draws)
    with unchanged(model):
        first = call(expected_log_probability, model, patch, x, TARGET, placed, draws, TIMES)
    came = _number(first)
    _drew_enough(draws, placed, TIMES)
    logits = torch.cat([model(scenes) for scenes in placed.again(patch)])
    _is_the_expectation(came, logits)

    draws, trainable, others = Draws(), patch.clone().requires_grad_(), (0, TIMES - 1)
    placed = Placing(x, draws)
    out = expected_log_probability(model, trainable, x.clone(), others[0], placed, draws, others[1])
    _drew_enough(draws, placed, others[1])
    came, wanted = (
        _number(out),
        torch.cat([F.log_softmax(model(scenes), 1)[:, others[0]] for scenes in placed.again(trainable)]).mean(),
    )
    if abs(came - wanted.item()) > NEAR * max(1, abs(wanted.item())):
        raise Mistake(
            f"For class {TARGET} and {TIMES} rounds the value is right. For class {others[0]} and {others[1]} rounds it should be "
            f"{wanted.item():.4f}, and is {came:.4f}. Is the class fixed somewhere?"
        )
    _leads_to_the_patch(out, came, wanted, trainable)
    return f"The mean over {len(logits)} scenes, {TIMES} of each image: {_number(first):.3f}. And it can be differentiated."


def _number(out):
    return expect_number(out.detach() if isinstance(out, torch.Tensor) else out, "the expectation")


def _leads_to_the_patch(out, came, wanted, patch):
    gradient = None
    if isinstance(out, torch.Tensor) and out.requires_grad:
        (gradient,) = torch.autograd.grad(out, patch, allow_unused=True)
    if gradient is None:
        raise Mistake(
            f"The value is right, {came:.3f}, but no gradient leads from it to the patch. Hand out the tensor as it came, so that the "
            "patch can be trained."
        )
    (right,) = torch.autograd.grad(wanted, patch)
    if (gradient - right).norm() > 1e-3 * right.norm():
        cosine = F.cosine_similarity(gradient.flatten(), right.flatten(), dim=0)
        raise Mistake(
            f"The value is right, {came:.3f}, but its gradient at the patch isn't that of the mean over all scenes that you made: it has "
            f"a cosine of {cosine:.2f} with it, and {gradient.norm() / right.norm():.2f} times its length. In every scene of every round the patch has "
            "to learn."
        )


def _drew_enough(draws, placed, times):
    n = len(placed.clean)
    if not sum(placed.scenes):
        raise Mistake("The patch was never placed. Each scene is made by `place(patch, x, location, angle, scale)`.")
    if placed.shared:
        raise Mistake(
            f"You stuck the patch on {placed.shared} images with one placement: all of them had it in the same place. Each image gets one of its own."
        )
    if sum(placed.scenes) != times * n:
        raise Mistake(f"{times} rounds of {n} images are {times * n} scenes; you made {sum(placed.scenes)}.")
    if min(placed.scenes) < times:
        raise Mistake(
            f"Each of the {n} images belongs into {times} scenes, one in each round. Yours were in {placed.scenes}."
        )
    if sum(draws.counts) == n:
        raise Mistake(
            f"You drew {n} placements and used them in every round. New draws in each of the {times} rounds, or the patch learns those few."
        )
    if sum(draws.counts) < times * n:
        raise Mistake(
            f"You made {times * n} scenes and drew {sum(draws.counts)} placements. Each image gets one of its own, a new one in each round."
        )
    if placed.repeated:
        raise Mistake(
            f"You drew {sum(draws.counts)} placements, but {placed.repeated} of your {times * n} scenes have one that was used before. Each image gets "
            "one of its own, a new one in each round."
        )


def _is_the_expectation(came, logits):
    log_probability, probability = F.log_softmax(logits, 1), logits.softmax(1)
    expected = float(log_probability[:, TARGET].mean())
    if abs(came - expected) < NEAR * max(1, abs(expected)):
        return
    rows = log_probability[:, TARGET].view(TIMES, -1)
    known = {
        "That is the mean *probability*, without the logarithm.": probability[:, TARGET].mean(),
        "You took the logarithm of the mean probability. Expected is the mean of the logarithms: then a scene in which the patch fails weighs most.":
            probability[:, TARGET].mean().log(),
        "You took the logarithm of each round's mean probability. Expected is the mean of the logarithms, image by image: then a scene in which "
        "the patch fails weighs most.": probability[:, TARGET].view(TIMES, -1).mean(1).log().mean(),
        "Only the first image of each round counts.": rows[:, 0].mean(),
        "The sign is turned: this grows when the patch gets worse. The attack climbs.": -log_probability[:, TARGET].mean(),
        "You added up the rounds and didn't divide by their number.": rows.mean(1).sum(),
        "You added up the images and didn't divide by their number.": rows.sum(1).mean(),
        "That is the sum over all scenes, not their mean.": rows.sum(),
        "Only the last round counts.": rows[-1].mean(),
        "That is the target's logit. What the other classes have must count too.": logits[:, TARGET].mean(),
        "The softmax runs over the images of a batch. It belongs over the classes, dimension 1.":
            torch.stack([F.log_softmax(part, 0)[:, TARGET].mean() for part in logits.chunk(TIMES)]).mean(),
        "That is the mean over all classes, not the target's.": log_probability.mean(),
    }  # fmt: skip
    hint = next(
        (words for words, value in known.items() if abs(came - float(value)) < NEAR * max(1, abs(float(value)))), ""
    )
    raise Mistake(
        f"In the {len(logits)} scenes that you made, the mean log probability of class {TARGET} is {expected:.4f}; you returned "
        f"{came:.4f}. {hint}".strip()
    )


class Draws:
    """`draw(n)` for the check: three tensors, other ones each time, and a memory of what was drawn."""

    def __init__(self):
        self.counts, self.rows = [], torch.zeros(0, 4)

    def __call__(self, n):
        if not isinstance(n, int):
            raise Mistake(f"`draw` takes the number of images, such as `len(x)`; it was given {describe(n)}.")
        self.counts.append(n)
        location, angle, scale = torch.rand(n, 2), 40 * torch.rand(n) - 20, 0.3 + 0.3 * torch.rand(n)
        self.rows = torch.cat([self.rows, _row(location, angle, scale)])
        return location, angle, scale


class Placing:
    """`place` for the check: it mixes the patch into a corner, as strongly as the placement says, and remembers what it was given."""

    def __init__(self, x, draws):
        self.clean, self.draws, self.given = x, draws, []
        self.scenes = [0] * len(x)  # of each image
        self.shared = 0  # images that got one placement together
        self.used = set()
        self.repeated = 0  # images that got a placement that was used before

    def __call__(self, patch, x, location, angle, scale):
        if not isinstance(x, torch.Tensor) or x.ndim != 4:
            raise Mistake(
                f"`place` takes the patch and then the images (N, 3, H, W); it was given {describe(patch)} and {describe(x)}."
            )
        known = (x.detach()[:, None] == self.clean[None]).flatten(2).all(2)
        if not known.any(1).all():
            raise Mistake("`place` was given images that already have a patch. Each scene begins with a clean image.")
        if len(scale) not in (1, len(x)):
            raise Mistake(f"`place` was given {len(x)} images and {len(scale)} placements. Each image gets one.")
        for image in known.int().argmax(1).tolist():
            self.scenes[image] += 1
        self.shared = self.shared or (len(x) if len(scale) < len(x) else 0)
        self._was_drawn(location, angle, scale)
        self.given.append((x.detach(), location, angle, scale))
        return _mixed_in(patch, x, location, angle, scale)

    def _was_drawn(self, location, angle, scale):
        n = len(scale)
        if tuple(location.shape) != (n, 2) or tuple(angle.shape) != (n,) or tuple(scale.shape) != (n,):
            raise Mistake(
                f"`place` takes location ({n}, 2), angle ({n},) and scale ({n},), in this order; it was given {describe(location)}, "
                f"{describe(angle)} and {describe(scale)}."
            )
        for row in _row(location, angle, scale):
            same = (self.draws.rows - row).abs().amax(1) < 1e-4
            if not same.any():
                raise Mistake(
                    f"`place` was given location {_point(row)}, angle {row[2] + 0:.2f} and scale {row[3]:.2f}. `draw` never returned these three "
                    "together, in this order. Place the patch where it was drawn."
                )
            which = int(same.int().argmax())
            self.repeated += which in self.used
            self.used.add(which)

    def again(self, patch):
        """The scenes that were made, with this patch."""
        return [_mixed_in(patch, *given) for given in self.given]


def _row(location, angle, scale):
    return torch.cat([location, angle[:, None], scale[:, None]], 1)


def _mixed_in(patch, x, location, angle, scale):
    height, width = patch.shape[-2:]
    rest = (0, x.shape[-1] - width, 0, x.shape[-2] - height)
    strength = (
        scale[:, None, None, None]
        * (1 + location[:, :1, None, None])
        * torch.cos(torch.deg2rad(angle))[:, None, None, None]
    )
    return x * F.pad(torch.zeros(1, 1, height, width), rest, value=1.0) + F.pad(patch * strength, rest)


# ---- success over rotations --------------------------------------------------------------------------------------------

ANGLES = (0.0, 20.0, 45.0)
SPOTS = 4  # placements of the patch on each image
# Rows: six images. What the toy model answers clean, then at each angle for each of the four spots. Class 1 is the target.
CLEAN = (0, 1, 2, 0, 1, 2)
ANSWERS = {
    0.0: ((2, 2, 1, 2), (0, 1, 1, 1), (0, 1, 1, 1), (1, 1, 1, 0), (1, 1, 1, 2), (1, 1, 0, 0)),
    20.0: ((1, 1, 1, 0), (1, 1, 1, 1), (1, 0, 2, 0), (1, 2, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)),
    45.0: ((0, 0, 0, 0), (1, 1, 0, 1), (2, 0, 2, 2), (0, 0, 1, 0), (1, 1, 1, 2), (2, 2, 0, 2)),
}
WANTED = 1
STRONG = (0, 1, 5)  # images whose answer has more than half of the probability; the others' wins with less
WEAK_LOGIT = 0.3  # of the answer; the two others have 0, so it wins with 40 %


def reference_success_over_rotations(model, x, patch, target, place, angles, locations, scale):
    unlike = model(x).argmax(1) != target
    x, curve = x[unlike], []
    for angle in angles:
        turned = torch.full((len(x),), float(angle), device=x.device)
        hits = [model(place(patch, x, spots[unlike], turned, scale[unlike])).argmax(1) == target for spots in locations]
        shares = torch.stack(hits).float().mean(0)
        curve.append(metrics.proportion(shares.sum(), len(shares)))
    return curve


@exercise(
    "success_over_rotations",
    lesson="07",
    title="Success at each angle",
    reference=reference_success_over_rotations,
    hints=(
        "An image that the model calls by the target's name anyway proves nothing: leave those out first. Then, for each angle, each "
        "image is tried in several places. What is the share of one image? And what is the mean of the shares?",
        "`model(x).argmax(1) != target` says who counts; index `x`, each of `locations`, and `scale` with it. `torch.full_like(scale[who], "
        "angle)` turns all patches alike, on the device of the scale. Stack the answers of the places to (places, images): the mean over dimension 0 is each image's share.",
        "For each angle: a list over `spots in locations` of `model(place(patch, x[who], spots[who], turned, scale[who])).argmax(1) == "
        "target`; stacked, `.float().mean(0)` is a share for each image. `metrics.proportion(shares.sum(), len(shares))` counts images, "
        "the half-won ones as a half. Collect these in a list.",
    ),
)
def check_success_over_rotations(success_over_rotations):
    table = Scripted()
    x, locations = table.images(), table.locations()
    scale = table.scales()
    with unchanged(table):
        out = call(
            success_over_rotations, table, x, torch.rand(3, 2, 2), WANTED, table.place, list(ANGLES), locations, scale
        )
    if isinstance(out, torch.Tensor | metrics.Estimate | float):
        raise Mistake(
            f"A list of {len(ANGLES)} numbers was expected, one for each angle; {describe(out)} came. What happens *between* the angles is the point."
        )
    if not isinstance(out, list | tuple) or len(out) != len(ANGLES):
        raise Mistake(f"A list of {len(ANGLES)} numbers was expected, one for each angle; {describe(out)} came.")
    shares = _shares()
    rates = {
        angle: expect_number(value, f"the success at {angle:g} degrees", low=0, high=1)
        for angle, value in zip(ANGLES, out, strict=True)
    }
    for angle, rate in rates.items():
        if abs(rate - float(shares[angle].mean())) > NEAR:
            raise Mistake(_about_success(angle, rates))
    n = getattr(out[0], "n", None)
    images, trials = len(shares[0.0]), len(shares[0.0]) * SPOTS
    if n is None:
        raise Mistake(
            f"The numbers are right. But the first came as {describe(out[0])}, which doesn't say how many images stand behind it. "
            "`metrics.proportion(hits, n)` makes a number that knows its `n` and its interval; hits need not be whole."
        )
    if n != images:
        raise Mistake(
            f"The numbers are right, but the interval stands on n = {n}. "
            + ("These are placements. " if n == trials else "")
            + f"{SPOTS} placements on one image are not {SPOTS} images: they go well or badly together. {images} images count here."
        )
    expected = metrics.proportion(shares[0.0].sum(), images)
    if abs(out[0].low - expected.low) > 0.02 or abs(out[0].high - expected.high) > 0.02:
        raise Mistake(
            f"The number is right, {float(out[0]):.3f}, and n is {n}. But its interval, {out[0].low:.3f} to {out[0].high:.3f}, is not that of "
            f"`metrics.proportion` for these {n} images, {expected.low:.3f} to {expected.high:.3f}."
        )
    other = 2
    again = call(
        success_over_rotations, table, x, torch.rand(3, 2, 2), other, table.place, [ANGLES[0]], locations, scale
    )
    rate = expect_number(again[0], f"the success at {ANGLES[0]:g} degrees", low=0, high=1)
    expected = float(_shares(other)[ANGLES[0]].mean())
    if abs(rate - expected) > NEAR:
        raise Mistake(
            f"For target {WANTED} the numbers are right. For target {other} it should be {expected:.3f} at {ANGLES[0]:g} degrees; you returned "
            f"{rate:.3f}. Is the target fixed somewhere?"
        )
    told = ", ".join(f"{float(value):.2f} at {angle:g}" for angle, value in zip(ANGLES, out, strict=True))
    return f"{images} images of {len(CLEAN)} count; success {told} degrees."


def _hits(target=WANTED):
    """{angle: (images, spots), 1 where the target was answered}, for all six images."""
    return {angle: (torch.tensor(rows) == target).float() for angle, rows in ANSWERS.items()}


def _shares(target=WANTED):
    who = torch.tensor(CLEAN) != target
    return {angle: hits[who].mean(1) for angle, hits in _hits(target).items()}


def _about_success(angle, rates):
    who, here = torch.tensor(CLEAN) != WANTED, _hits()[angle][torch.tensor(CLEAN) != WANTED]
    told = (
        f"At {angle:g} degrees, {int(who.sum())} images count, each in {SPOTS} places, and {int(here.sum())} of the "
        f"{here.numel()} answers are the target: {float(here.mean()):.3f}. You returned {rates[angle]:.3f}. "
    )
    if angle != ANGLES[0] and max(rates.values()) - min(rates.values()) < NEAR:
        return told + "It is the same at every angle: was the patch turned?"
    pitfalls = {a: _pitfalls(a, who) for a in ANGLES}
    for words in pitfalls[angle]:
        if all(min(abs(rate - value) for value in pitfalls[a][words]) < NEAR for a, rate in rates.items()):
            return told + words
    return told + "Who counts (which images), and as what (the share of its places)?"


def _pitfalls(angle, who):
    """{what may have been done: the values that it gives at this angle}."""
    hits, clean = _hits(), torch.tensor(CLEAN)
    here, answers = hits[angle], torch.tensor(ANSWERS[angle])
    strong = torch.tensor([i in STRONG for i in range(len(CLEAN))])  # images whose answers have more than one half
    sure_hits = here * strong[:, None]
    values = {
        "You count all 6 images. Two were called by the target's name before there was a patch.": [here],
        "You divide by all 6 images. Two were called by the target's name before, and can't be turned.": [here * who[:, None]],
        "You count every answer that changed. This attack has a target: another wrong answer is a failure.": [(answers != clean[:, None])[who]],
        "You count every answer that changed, of all 6 images. This attack has a target.": [answers != clean[:, None]],
        "You count an image as soon as one place works. Nobody told the attacker which.": [here[who].amax(1)],
        "You count an image only if all places work.": [here[who].amin(1)],
        "You count an image if most of its places work. It counts by their share.": [here[who].mean(1) > 0.5, here[who].mean(1) >= 0.5],
        "Only the first place counts.": [here[who][:, 0]],
        "Only the last place counts.": [here[who][:, -1]],
        "That is the share that withstood.": [1 - here[who]],
        "That is the mean over all angles.": [torch.stack(list(hits.values()))[:, who]],
        "What you passed on as hits was a share already, so it was divided twice. Hits are a sum over images.": [here[who] / who.sum()],
        "You ask for a probability of one half. The answer is the class that has the *most*; among many classes that can be far less than half.":
            [here[who | ~strong], sure_hits[who], sure_hits[who | ~strong]],
    }  # fmt: skip
    return {words: [float(value.float().mean()) for value in given] for words, given in values.items()}


class Scripted(nn.Module):
    """A toy model and its `place`: the patch writes angle and place into the picture, and the model looks its answer up.

    Images are (N, 3, 2, 2): the first pixel holds the image's number, the others the angle, the place, and whether a patch is there.
    """

    def __init__(self):
        super().__init__()
        self.eval()

    def images(self):
        x = torch.zeros(len(CLEAN), 3, 2, 2)
        x[:, :, 0, 0] = torch.arange(len(CLEAN))[:, None] / 100
        return x

    def locations(self):
        """(spots, images, 2): the first coordinate holds the image's number, the second the spot's."""
        spot = (torch.arange(SPOTS) + 1)[:, None].expand(SPOTS, len(CLEAN)) / 10
        image = torch.arange(len(CLEAN))[None].expand(SPOTS, len(CLEAN)) / 100
        return torch.stack([image, spot], -1)

    def scales(self):
        return 0.4 + torch.arange(len(CLEAN)) / 100

    def place(self, patch, x, location, angle, scale):
        if not isinstance(x, torch.Tensor) or x.ndim != 4 or patch.ndim != 3:
            raise Mistake(
                f"`place` takes the patch and then the images (N, 3, H, W); it was given {describe(patch)} and {describe(x)}."
            )
        n = len(x)
        if x[:, 0, 1, 1].any():
            raise Mistake("`place` was given images that already have a patch. Each scene begins with a clean image.")
        for name, value, shape in (("location", location, (n, 2)), ("angle", angle, (n,)), ("scale", scale, (n,))):
            if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape:
                raise Mistake(
                    f"`place` takes one {name} for each of the {n} images, a tensor {shape}; it was given {describe(value)}."
                )
        if (location[:, 0] - x[:, 0, 0, 0]).abs().max() > 1e-4:
            raise Mistake(
                "An image was given the location of another. Whoever leaves images out leaves out their locations too."
            )
        if (scale - 0.4 - x[:, 0, 0, 0]).abs().max() > 1e-4:
            raise Mistake(
                "An image was given the scale of another. Whoever leaves images out leaves out their scales too."
            )
        x = x.clone()
        x[:, :, 0, 1] = (angle / 100)[:, None]
        x[:, :, 1, 0] = location[:, 1, None]
        x[:, :, 1, 1] = 1
        return x

    def forward(self, x):
        answers = []
        for image in x[:, 0]:
            number, angle, spot = (
                round(100 * float(image[0, 0])),
                round(100 * float(image[0, 1])),
                round(10 * float(image[1, 0])) - 1,
            )
            if not image[1, 1]:
                answers.append(CLEAN[number])
            elif float(angle) in ANSWERS:
                answers.append(ANSWERS[float(angle)][number][spot])
            else:
                raise Mistake(
                    f"The patch was turned by {angle} degrees, which isn't among the angles {', '.join(f'{a:g}' for a in ANGLES)}."
                )
        if not answers:
            return x.new_zeros(0, 3)
        strength = [1.0 if round(100 * float(number)) in STRONG else WEAK_LOGIT for number in x[:, 0, 0, 0]]
        return F.one_hot(torch.tensor(answers, dtype=torch.int64), 3) * torch.tensor(strength)[:, None]


# ---- the natural patch -------------------------------------------------------------------------------------------------

WIDE = 12  # side of the toy images
CUT = 6  # side of the piece to cut
# Each image's label and the two logits that the toy model gives it. Probability of class 1 is highest in image 3, among those
# labelled 1 in image 4; the largest logit for class 1 has image 5.
DOSSIERS = ((0, 2.0, 1.0), (1, 1.0, 1.5), (0, 3.0, -1.0), (0, -2.0, 4.0), (1, 0.0, 3.0), (1, 4.5, 5.0), (1, 2.0, 0.0))


def reference_natural_patch(model, x, y, target, side):
    mine = x[y == target]
    image = mine[model(mine).softmax(1)[:, target].argmax()]
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side].clone()


@exercise(
    "natural_patch",
    lesson="07",
    title="The control: a natural patch",
    reference=reference_natural_patch,
    hints=(
        "Two questions: which image, and which part of it? The *label* says which images may be cut from at all. The *model* says, of each of "
        "these, how probable it finds the target; the highest wins.",
        "First keep the images whose *label* is the target, `x[y == target]`. Among these, `model(...).softmax(1)[:, target].argmax()` is the row. "
        "Then cut: the middle `side` pixels of the rows and of the columns.",
        "`top = (image.shape[1] - side) // 2`, and `left` likewise with the width; the piece is `image[:, top : top + side, left : left + "
        "side]`. Mind that the row number you found counts within the images that you kept.",
    ),
)
def check_natural_patch(natural_patch):
    model, (x, y) = Dossiers(), _dossiers()
    with unchanged(model):
        out = call(natural_patch, model, x, y, 1, CUT)
    if isinstance(out, torch.Tensor) and out.ndim == 4 and len(out) == 1:
        raise Mistake(f"The shape is {tuple(out.shape)}: a batch of one. A patch is (3, {CUT}, {CUT}), one image.")
    expect_tensor(out, shape=(3, CUT, CUT), dtype=x.dtype, what="the patch")
    _is_cut_from(out, x, y)
    x, y = _dossiers(WIDE - 1)
    side = CUT - 3
    back = call(natural_patch, model, x, y, 0, side)
    low = (WIDE - 1 - side) // 2
    told = f"For target 1, images {WIDE} wide and side {CUT} the patch is right. For target 0, images {WIDE - 1} wide and side {side} "
    if isinstance(back, torch.Tensor) and tuple(back.shape) != (3, side, side):
        raise Mistake(
            f"{told}its shape is {tuple(back.shape)}; (3, {side}, {side}) was expected. Is the side fixed somewhere, or an odd one halved?"
        )
    expect_tensor(back, dtype=x.dtype, what=f"the patch of side {side}")
    chosen = [i for i in range(len(x)) if torch.equal(back, x[i, :, low : low + side, low : low + side])]
    if chosen == [3]:
        raise Mistake(
            f"{told}you chose image 3. It is of class 0, but the model calls it class 1, and is sure "
            "of that. Surest of *what*? Compare how probable the model finds the target."
        )
    if chosen and chosen != [2]:
        raise Mistake(
            f"{told}you chose image {chosen[0]}, of class {DOSSIERS[chosen[0]][0]}. Is the target fixed somewhere?"
        )
    if not chosen:
        raise Mistake(f"{told}it isn't the middle of any image. Where does the middle begin, at row and column {low}?")
    return "The middle of the image of which the model is surest, out of those that are really of that class."


def _is_cut_from(out, x, y):
    low = (WIDE - CUT) // 2
    for i in range(len(x)):
        for top in range(WIDE - CUT + 1):
            for left in range(WIDE - CUT + 1):
                if torch.allclose(out, x[i, :, top : top + CUT, left : left + CUT], rtol=0, atol=1e-6):
                    _right_piece(i, top, left, low)
                    return
    shrunk = F.interpolate(x, (CUT, CUT), mode="bilinear", antialias=True)
    if (out - shrunk).abs().flatten(1).mean(1).min() < 0.1 and out.std() < x.std():
        raise Mistake(
            "That is a whole image made smaller. Its details have another size than those of the scene. Cut a piece out, as it is."
        )
    raise Mistake(
        f"Your patch isn't a piece of {CUT} by {CUT} pixels of any of the images. Cut it out as it is: no mixing, no resizing."
    )


def _right_piece(i, top, left, low):
    label, other, logit = DOSSIERS[i]
    sure = 1 / (1 + math.exp(other - logit))
    told = f"You chose image {i}, of class {label}; the model gives it {sure:.2f} for the target. "
    if i == 4 and (top, left) != (low, low):
        raise Mistake(
            f"The image is right, but you cut at row {top} and column {left}. The middle begins at row {low} and column {low}: what the image is about lies there."
        )
    if i == 4:
        return
    known = {
        3: "The model is surest of it, and it is wrong: the image is of the other class. A control is cut from an image that really shows the target.",
        5: "Its *logit* for the target is the largest, but the logit of the other class is large too. Compare probabilities.",
        6: "That is the image of which the model is least sure. A control that is weak on purpose proves nothing.",
        1: "A row number that was found among the images of the class was used on all of them.",
    }
    raise Mistake(told + known.get(i, "Image 4 is of the target class, and the model is surest of it."))


class Dossiers(nn.Module):
    """A toy model that reads an image's number from its first pixel and looks its logits up."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        numbers = (100 * x[:, 0, 0, 0]).round().long()
        return torch.tensor([DOSSIERS[k][1:] for k in numbers.tolist()]).view(-1, 2)


def _dossiers(wide=WIDE):
    x = torch.rand(len(DOSSIERS), 3, wide, wide)
    x[:, 0, 0, 0] = torch.arange(len(DOSSIERS)) / 100
    return x, torch.tensor([row[0] for row in DOSSIERS])
