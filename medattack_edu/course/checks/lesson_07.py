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
COLOUR = 0.03  # how far a colour may be off after resampling

# Five placements: location (right, down), angle in degrees counter-clockwise, scale. All lie wholly inside.
PLACEMENTS = (
    (0.50, 0.50, 0.0, 0.6),
    (0.30, 0.60, 90.0, 0.5),
    (0.68, 0.32, 30.0, 0.55),
    (0.35, 0.35, -45.0, 0.4),
    (0.62, 0.70, 200.0, 0.45),
)
MIDDLE_SCALES = torch.tensor([0.45, 0.3, 0.4, 0.25, 0.35])  # in the middle of a scene, where even twice the size would fit


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
    hiding = Trial(0 * _flag(), 1 - black, location, angle, scale)
    _hides_what_is_under_it(call(place, *hiding.given()), hiding)
    _is_turned(out, flags)
    _lets_the_gradient_through(place, *flags.given())
    alone = call(place, _flag(), scenes[1:2], location[1:2], angle[1:2], scale[1:2])
    expect_images(alone, like=scenes[1:2], what="your image, when one is given")
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
        figure, axes = show.picture(2.1 * len(out), 5, 2, len(out), alt="What your function made of the scenes, above what was wanted.", squeeze=False)
        figure.suptitle("The same placements, by your function and as wanted", fontsize=11)
        for row, (name, images) in zip(axes, rows.items(), strict=True):
            row[0].set_ylabel(name, fontsize=11)
            for ax, image in zip(row, images, strict=False):
                ax.imshow(show.pixels(image))
                ax.set(xticks=[], yticks=[])
        for i, ax in enumerate(axes[0]):
            ax.set_title(f"location {_point(self.location[i])}\nangle {self.angle[i]:g}°, scale {self.scale[i]:g}", fontsize=9)
        return figure


def _placements():
    rows = torch.tensor(PLACEMENTS)
    return rows[:, :2].clone(), rows[:, 2].clone(), rows[:, 3].clone()


def _flag():
    """A patch whose upper half is red and whose right half is green, so that one sees how it was turned."""
    flag = torch.full((3, PATCH, PATCH), 0.4)
    flag[0, : PATCH // 2] = 0.9
    flag[1, :, PATCH // 2 :] = 0.9
    return flag


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
        raise Mistake("You put a white patch into the middle of black scenes, and they stayed black. Nothing was placed.", trial.picture(out))
    disc = math.pi / 4 * MIDDLE_SCALES**2
    if covered.min() > 0.99:
        raise Mistake(
            "All scenes are covered wholly, whatever the scale. You go *backwards*, from the scene to the patch: with a small patch, one "
            "step in the scene is a large step in the patch. Did you multiply by the scale?",
            trial.picture(out),
        )
    if (covered - covered[0]).abs().max() < 0.01:
        given = ", ".join(f"{value:g}" for value in MIDDLE_SCALES.tolist())
        raise Mistake(f"All scenes are covered to {covered[0]:.1%}, but each has a scale of its own: {given}.", trial.picture(out))
    known = {
        "That is the square around it. The patch is a disc: in its corners one sees the scene.": MIDDLE_SCALES**2,
        "You have taken the scale as a share of the *area*. It is the patch's side over the scene's side.": math.pi / 4 * MIDDLE_SCALES,
        "You have taken the scale as the disc's radius. It is the whole patch's side, so the disc's diameter.": 4 * disc,
        "The disc is half as wide as it should be. A patch that runs from -1 to 1 has its edge at 1.": disc / 4,
    }
    for i, (came, wanted) in enumerate(zip(covered.tolist(), disc.tolist(), strict=True)):
        if abs(came - wanted) <= COVERED * wanted:
            continue
        hint = next((words for words, area in known.items() if abs(came - float(area[i])) <= COVERED * float(area[i])), "")
        told = f"With scale {MIDDLE_SCALES[i]:g}, in the middle, a disc covers {wanted:.1%} of the scene; yours covers {came:.1%}."
        raise Mistake(f"{told} {hint}".strip(), trial.picture(out))


def _lies_where_it_should(out, trial):
    """A white patch in black scenes: where is the middle of what has become white?"""
    cover, location = out[:, 0], trial.location
    middle = (torch.arange(SIDE) + 0.5) / SIDE
    lies = torch.stack([(cover.sum(1) * middle).sum(1), (cover.sum(2) * middle).sum(1)], 1) / cover.sum((1, 2)).clamp(min=1e-6)[:, None]
    if (lies - lies[:1]).abs().max() < 0.02:
        raise Mistake(f"All {len(lies)} scenes have the patch at {_point(lies[0])}, but each has a location of its own.", trial.picture(out))
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
            "The grid runs from -1 to 1, the location from 0 to 1.": (wanted + 1) / 2,
            "It has gone half of the way from the scene's middle. The grid is 2 wide, from -1 to 1.": (wanted + 0.5) / 2,
        } | _shifts_that_went_astray(wanted, trial.angle[j], trial.scale[j])

    off = [{words: float((lies[j] - point).abs().max()) for words, point in astray(j).items()} for j in range(len(lies))]
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
            f"In all {len(angle)} scenes the patch is turned by {float(red[0]):.0f} degrees, but each has an angle of its own.", trial.picture(out)
        )
    if _apart(red, -angle).max() < TURNED and _apart(green, -angle).max() < TURNED:
        raise Mistake(
            f"{trial.told(1)} the patch was turned clockwise. Angles count counter-clockwise as you see it, and in a picture the second "
            "axis points *down*.",
            trial.picture(out),
        )
    if _apart(red, torch.rad2deg(angle)).max() < TURNED:
        raise Mistake(f"{trial.told(2)} the patch is turned by {float(red[2]):.0f} degrees: you took degrees for radians.", trial.picture(out))
    if _apart(red, green).min() > 90 - TURNED:
        raise Mistake(
            f"{trial.told(0)} the patch comes out as in a mirror: its red half should lie above and its green one to the right.", trial.picture(out)
        )
    worst = int(torch.maximum(_apart(red, angle), _apart(green, angle)).argmax())
    raise Mistake(
        f"{trial.told(worst)} the patch is turned by {float(red[worst]):.0f} degrees (its green half by {float(green[worst]):.0f}).", trial.picture(out)
    )


def _hides_what_is_under_it(out, trial):
    """A black patch in white scenes: nothing of the white may show through."""
    inner = _distance(trial.location) < trial.scale[:, None, None] * SIDE / 2 - RIM
    for i in range(len(out)):
        shows = float(out[i].amax(0)[inner[i]].max())
        if shows > COLOUR:
            raise Mistake(
                f"{trial.told(i)} a black patch lies in a white scene, and under it a pixel still has {shows:.2f}. A sticker hides what is "
                "under it, whatever its own colour.",
                trial.picture(out),
            )


def _lets_the_gradient_through(place, patch, scenes, location, angle, scale):
    wanted = patch.clone().requires_grad_()
    out = place(wanted, scenes.clone(), location.clone(), angle.clone(), scale.clone())
    if not out.requires_grad:
        raise Mistake("No gradient reaches the patch: somewhere it was cut off from PyTorch's recording. It is the patch that will be trained.")
    (gradient,) = torch.autograd.grad(out.sum(), wanted)
    reached = float((gradient[:, PATCH // 4 : -PATCH // 4, PATCH // 4 : -PATCH // 4] != 0).float().mean())
    if reached < 0.9:
        raise Mistake(f"The gradient reaches only {reached:.0%} of the patch's middle. Every part of it will have to learn.")


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
    model = Toy()
    patch, x = torch.rand(3, 8, 8), 0.2 + 0.6 * torch.rand(4, 3, 12, 12)
    draws, placed = Draws(), Placing(x)
    with unchanged(model):
        out = call(expected_log_probability, model, patch, x, TARGET, placed, draws, TIMES)
    came = expect_number(out.detach() if isinstance(out, torch.Tensor) else out, "the expectation")
    _drew_enough(draws, placed, x)
    logits = torch.cat([model(scenes) for scenes in placed.scenes]).detach()
    if placed.images == TIMES * len(x):
        _is_the_expectation(came, logits)
    trainable = patch.clone().requires_grad_()
    out = expected_log_probability(model, trainable, x.clone(), TARGET, Placing(x), Draws(), TIMES)
    if not isinstance(out, torch.Tensor) or not out.requires_grad:
        raise Mistake(
            f"The value is right, {came:.3f}, but no gradient leads from it to the patch. Hand out the tensor as it came, so that the "
            "patch can be trained."
        )
    return f"The mean over {len(logits)} scenes, {TIMES} of each image: {came:.3f}. And it can be differentiated."


def _drew_enough(draws, placed, x):
    n = len(x)
    if not placed.images:
        raise Mistake("The patch was never placed. Each scene is made by `place(patch, x, location, angle, scale)`.")
    if placed.shared:
        raise Mistake(f"You stuck the patch on {placed.shared} images with one placement: all of them had it in the same place. Each image gets one of its own.")
    if sum(draws.counts) == n and TIMES > 1:
        raise Mistake(f"You drew {n} placements and used them in every round. New draws in each of the {TIMES} rounds, or the patch learns those few.")
    if placed.images != TIMES * n:
        raise Mistake(f"{TIMES} rounds of {n} images are {TIMES * n} scenes; you made {placed.images}.")
    if sum(draws.counts) < TIMES * n:
        raise Mistake(f"You made {TIMES * n} scenes and drew {sum(draws.counts)} placements. Each image gets one of its own, a new one in each round.")


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
    hint = next((words for words, value in known.items() if abs(came - float(value)) < NEAR * max(1, abs(float(value)))), "")
    raise Mistake(
        f"In the {len(logits)} scenes that you made, the mean log probability of class {TARGET} is {expected:.4f}; you returned "
        f"{came:.4f}. {hint}".strip()
    )


class Toy(nn.Module):
    """A small smooth model of three classes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 8), nn.Tanh(), nn.Linear(8, 3))
        with torch.no_grad():
            self.net[-1].weight.mul_(4)
        self.eval()

    def forward(self, x):
        return self.net(x)


class Draws:
    """`draw(n)` for the check: three tensors, other ones each time, and a memory of how many were asked for."""

    def __init__(self):
        self.counts = []

    def __call__(self, n):
        if not isinstance(n, int):
            raise Mistake(f"`draw` takes the number of images, such as `len(x)`; it was given {describe(n)}.")
        self.counts.append(n)
        return torch.rand(n, 2), 40 * torch.rand(n) - 20, 0.3 + 0.3 * torch.rand(n)


class Placing:
    """`place` for the check: it mixes the patch into a corner, as strongly as the scale says, and remembers the scenes."""

    def __init__(self, x):
        self.clean, self.scenes, self.images = x, [], 0
        self.shared = 0  # images that got one placement together

    def __call__(self, patch, x, location, angle, scale):
        if not isinstance(x, torch.Tensor) or x.ndim != 4:
            raise Mistake(f"`place` takes the patch and then the images (N, 3, H, W); it was given {describe(patch)} and {describe(x)}.")
        known = (x.detach()[:, None] == self.clean[None]).flatten(2).all(2).any(1)
        if not known.all():
            raise Mistake("`place` was given images that already have a patch. Each scene begins with a clean image.")
        if len(scale) not in (1, len(x)):
            raise Mistake(f"`place` was given {len(x)} images and {len(scale)} placements. Each image gets one.")
        self.shared = self.shared or (len(x) if len(scale) < len(x) else 0)
        height, width = patch.shape[-2:]
        strength = scale[:, None, None, None] * (1 + location[:, :1, None, None]) * torch.cos(torch.deg2rad(angle))[:, None, None, None]
        stuck = F.pad(patch * strength, (0, x.shape[-1] - width, 0, x.shape[-2] - height))
        out = x * F.pad(torch.zeros(1, 1, height, width), (0, x.shape[-1] - width, 0, x.shape[-2] - height), value=1.0) + stuck
        self.scenes.append(out.detach())
        self.images += len(x)
        return out


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
        "`model(x).argmax(1) != target` says who counts; index `x`, each of `locations`, and `scale` with it. `torch.full((n,), angle)` turns "
        "all patches alike. Stack the answers of the places to (places, images): the mean over dimension 0 is each image's share.",
        "For each angle: a list over `spots in locations` of `model(place(patch, x[who], spots[who], turned, scale[who])).argmax(1) == "
        "target`; stacked, `.float().mean(0)` is a share for each image. `metrics.proportion(shares.sum(), len(shares))` counts images, "
        "the half-won ones as a half. Collect these in a list.",
    ),
)
def check_success_over_rotations(success_over_rotations):
    table = Scripted()
    x, locations = table.images(), table.locations()
    scale = torch.full((len(CLEAN),), 0.4)
    with unchanged(table):
        out = call(success_over_rotations, table, x, torch.rand(3, 2, 2), WANTED, table.place, list(ANGLES), locations, scale)
    if isinstance(out, torch.Tensor | metrics.Estimate | float):
        raise Mistake(f"A list of {len(ANGLES)} numbers was expected, one for each angle; {describe(out)} came. What happens *between* the angles is the point.")
    if not isinstance(out, list | tuple) or len(out) != len(ANGLES):
        raise Mistake(f"A list of {len(ANGLES)} numbers was expected, one for each angle; {describe(out)} came.")
    shares = _shares()
    for angle, value in zip(ANGLES, out, strict=True):
        rate = expect_number(value, f"the success at {angle:g} degrees", low=0, high=1)
        if abs(rate - float(shares[angle].mean())) > NEAR:
            raise Mistake(_about_success(angle, rate, out))
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
    told = ", ".join(f"{float(value):.2f} at {angle:g}" for angle, value in zip(ANGLES, out, strict=True))
    return f"{images} images of {len(CLEAN)} count; success {told} degrees."


def _hits():
    """{angle: (images, spots), 1 where the target was answered}, for all six images."""
    return {angle: (torch.tensor(rows) == WANTED).float() for angle, rows in ANSWERS.items()}


def _shares():
    who = torch.tensor(CLEAN) != WANTED
    return {angle: hits[who].mean(1) for angle, hits in _hits().items()}


def _about_success(angle, rate, out):
    who, hits, clean = torch.tensor(CLEAN) != WANTED, _hits(), torch.tensor(CLEAN)
    here, answers = hits[angle], torch.tensor(ANSWERS[angle])
    expected = float(here[who].mean())
    told = (
        f"At {angle:g} degrees, {int(who.sum())} images count, each in {SPOTS} places, and {int(here[who].sum())} of the "
        f"{int(who.sum()) * SPOTS} answers are the target: {expected:.3f}. You returned {rate:.3f}. "
    )
    overall = float(torch.stack(list(hits.values()))[:, who].mean())
    known = {
        "You count all 6 images. Two were called by the target's name before there was a patch.": here.mean(),
        "You divide by all 6 images. Two were called by the target's name before, and can't be turned.": here[who].sum() / here.numel(),
        "You count every answer that changed. This attack has a target: another wrong answer is a failure.":
            (answers != clean[:, None])[who].float().mean(),
        "You count every answer that changed, of all 6 images. This attack has a target.": (answers != clean[:, None]).float().mean(),
        "You count an image as soon as one place works. Nobody told the attacker which.": here[who].amax(1).mean(),
        "You count an image only if all places work.": here[who].amin(1).mean(),
        "Only the first place counts.": here[who][:, 0].mean(),
        "Only the last place counts.": here[who][:, -1].mean(),
        "That is the share that withstood.": 1 - here[who].mean(),
        "That is the mean over all angles.": torch.tensor(overall),
        "What you passed on as hits was a share already, so it was divided twice. Hits are a sum over images.": here[who].mean() / who.sum(),
    }  # fmt: skip
    hint = next((words for words, value in known.items() if abs(rate - float(value)) < NEAR), "")
    if not hint and any(abs(rate - float(value)) < NEAR for value in _asked_for_a_half(here, who)):
        hint = "You ask for a probability of one half. The answer is the class that has the *most*; among many classes that can be far less than half."
    first = float(hits[ANGLES[0]][who].mean())
    if angle != ANGLES[0] and all(abs(float(value) - first) < NEAR for value in out):
        hint = "It is the same at every angle: was the patch turned?"
    return told + (hint or "Who counts (which images), and as what (the share of its places)?")


def _asked_for_a_half(hits, who):
    """The success of those who count, or call a hit, or both, by a probability of one half in place of the likeliest class."""
    strong = torch.tensor([i in STRONG for i in range(len(CLEAN))])
    counted, sure_hits = who | ~strong, hits * strong[:, None]
    return hits[counted].mean(), sure_hits[who].mean(), sure_hits[counted].mean()


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

    def place(self, patch, x, location, angle, scale):
        if not isinstance(x, torch.Tensor) or x.ndim != 4 or patch.ndim != 3:
            raise Mistake(f"`place` takes the patch and then the images (N, 3, H, W); it was given {describe(patch)} and {describe(x)}.")
        n = len(x)
        if x[:, 0, 1, 1].any():
            raise Mistake("`place` was given images that already have a patch. Each scene begins with a clean image.")
        for name, value, shape in (("location", location, (n, 2)), ("angle", angle, (n,)), ("scale", scale, (n,))):
            if not isinstance(value, torch.Tensor) or tuple(value.shape) != shape:
                raise Mistake(f"`place` takes one {name} for each of the {n} images, a tensor {shape}; it was given {describe(value)}.")
        if (location[:, 0] - x[:, 0, 0, 0]).abs().max() > 1e-4:
            raise Mistake("An image was given the location of another. Whoever leaves images out leaves out their locations too.")
        x = x.clone()
        x[:, :, 0, 1] = (angle / 100)[:, None]
        x[:, :, 1, 0] = location[:, 1, None]
        x[:, :, 1, 1] = 1
        return x

    def forward(self, x):
        answers = []
        for image in x[:, 0]:
            number, angle, spot = round(100 * float(image[0, 0])), round(100 * float(image[0, 1])), round(10 * float(image[1, 0])) - 1
            if not image[1, 1]:
                answers.append(CLEAN[number])
            elif float(angle) in ANSWERS:
                answers.append(ANSWERS[float(angle)][number][spot])
            else:
                raise Mistake(f"The patch was turned by {angle} degrees, which isn't among the angles {', '.join(f'{a:g}' for a in ANGLES)}.")
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
    back = call(natural_patch, model, x, y, 0, CUT - 2)
    low = (WIDE - CUT + 2) // 2
    if tuple(back.shape) == (3, CUT - 2, CUT - 2) and torch.equal(back, x[3, :, low : low + CUT - 2, low : low + CUT - 2]):
        raise Mistake(
            "For target 1 the patch is right. For target 0 you chose image 3. It is of class 0, but the model calls it class 1, and is sure "
            "of that. Surest of *what*? Compare how probable the model finds the target."
        )
    if tuple(back.shape) != (3, CUT - 2, CUT - 2) or not torch.equal(back, x[2, :, low : low + CUT - 2, low : low + CUT - 2]):
        raise Mistake(f"For target 1 the patch is right. For target 0 and side {CUT - 2} it isn't: is the target, or the side, fixed somewhere?")
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
        raise Mistake("That is a whole image made smaller. Its details have another size than those of the scene. Cut a piece out, as it is.")
    raise Mistake(f"Your patch isn't a piece of {CUT} by {CUT} pixels of any of the images. Cut it out as it is: no mixing, no resizing.")


def _right_piece(i, top, left, low):
    label, other, logit = DOSSIERS[i]
    sure = 1 / (1 + math.exp(other - logit))
    told = f"You chose image {i}, of class {label}; the model gives it {sure:.2f} for the target. "
    if i == 4 and (top, left) != (low, low):
        raise Mistake(f"The image is right, but you cut at row {top} and column {left}. The middle begins at row {low} and column {low}: what the image is about lies there.")
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


def _dossiers():
    x = torch.rand(len(DOSSIERS), 3, WIDE, WIDE)
    x[:, 0, 0, 0] = torch.arange(len(DOSSIERS)) / 100
    return x, torch.tensor([row[0] for row in DOSSIERS])
