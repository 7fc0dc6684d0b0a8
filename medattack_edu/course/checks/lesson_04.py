"""Lesson 04's exercises: the projection, the loop, the target and the smallest eps. The lesson itself is in solutions/."""

import math

import torch
import torch.nn.functional as F

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
    expect_tensor,
    unchanged,
)

SAME = 1e-6  # two pixels this close are the same pixel
ALIKE = 1e-4  # two walks that end this close are the same walk
EPS = 0.1  # a generous box: the toy images below run from 0 to 1
WALK = (EPS, 6, 0.04)  # eps, steps and step_size of the walks: long enough to reach the border of the box
CLASSES = 5  # with two, a softmax too many would not change the sign of a gradient

# ---- the projection ---------------------------------------------------------------------------------------------------

# One row of six pixels: in the middle of the range, near black, near white; moved inside the box and out of it.
CLEAN = torch.tensor([0.50, 0.50, 0.05, 0.95, 0.50, 0.02])
MOVED = torch.tensor([0.75, 0.20, -0.30, 1.40, 0.55, 0.30])


def reference_project(x_adv, x, eps):
    return torch.clamp(x_adv, x - eps, x + eps).clamp(0, 1)


@exercise(
    "project",
    lesson="04",
    title="Back to the allowed set",
    reference=reference_project,
    hints=(
        "Two limits hold at once. No pixel value may be further than `eps` from where it was in `x`, and none may leave 0 to 1.",
        "Write the box as an interval for each pixel value: from `x - eps` to `x + eps`. What is the nearest point of an interval to a "
        "number outside it?",
        "`torch.clamp` takes tensors as limits: clamp `x_adv` between `x - eps` and `x + eps`. Then clamp the result between 0 and 1.",
    ),
)
def check_project(project):
    x, x_adv = _as_image(CLEAN), _as_image(MOVED)
    expected = reference_project(x_adv, x, EPS)
    out = call(project, x_adv, x, EPS)
    expect_tensor(out, shape=tuple(x.shape), what="the projected images")
    for i, (was, moved, came) in enumerate(zip(CLEAN.tolist(), MOVED.tolist(), out[0, 0, 0].tolist(), strict=True)):
        wanted = expected[0, 0, 0, i].item()
        if abs(came - wanted) > SAME:
            raise Mistake(
                f"With eps = {EPS:g}, a pixel was {was:.2f} and has been moved to {moved:.2f}. You sent it to {came:.3g}. "
                + _about_pixel(was, moved, came)
            )
    expect_images(out, like=x, what="the projected images")
    expect_close(out, expected, "the projected images", atol=SAME)
    small = 2 / 255
    expect_close(
        call(project, x_adv, x, small),
        reference_project(x_adv, x, small),
        "with eps = 2/255, the projected images",
        atol=SAME,
    )
    inside = x + 0.5 * (expected - x)
    expect_close(call(project, inside, x, EPS), inside, "images that were inside already", atol=SAME)
    return "Inside the box and inside the pixel range, and moved no further than needed."


def _about_pixel(was, moved, came):
    if came < -SAME or came > 1 + SAME:
        return "A pixel lies between 0, black, and 1, full."
    if abs(came - was) > EPS + SAME:
        return f"That is {abs(came - was):.2f} away from where it was, and {EPS:g} is allowed."
    if abs(moved - was) <= EPS and 0 <= moved <= 1:
        return "It had not left the allowed set: a projection leaves such a point where it is."
    if abs(came - was) < SAME:
        return "That is where it started: a projection goes back only as far as it must, to the border."
    return "The allowed set has a point that is nearer to where it had been moved."


def _as_image(row):
    """Images (2, 3, 4, 6) whose rows hold the same values, turned on by so many places that no two images are the same."""
    return torch.stack([row.roll(turn + turn // 12) for turn in range(2 * 3 * 4)]).view(2, 3, 4, -1)


# ---- the loop ---------------------------------------------------------------------------------------------------------


def reference_pgd(model, x, y, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), y)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = reference_project(x_adv + step_size * gradient.sign(), x, eps)
    return x_adv.detach()


@exercise(
    "pgd",
    lesson="04",
    title="Step, project, and again",
    reference=reference_pgd,
    hints=(
        "Start from a copy of `x`. Each round of the loop is the step of lesson 03, of length `step_size`, taken from where you are "
        "*now*, followed by your projection.",
        "The gradient must be new in every round: it is taken at the present `x_adv`, not at `x`. Cut `x_adv` off from the rounds "
        "before with `detach()` and then switch its gradient on with `requires_grad_()`.",
        "In the loop: `x_adv = x_adv.detach().requires_grad_()`, the loss of `model(x_adv)` against `y`, its gradient with "
        "`torch.autograd.grad`, and then `project(...)` of `x_adv` plus `step_size` times the sign, around `x`, with `eps`.",
    ),
)
def check_pgd(pgd):
    model, (x, y) = curved_model(75, CLASSES), _toy_images()
    wrong_way = "these images are easier for the model. You are walking downhill. The attack climbs."
    known = {"You climb the loss of the model's own answers. The truth is in `y`.": slopes(_own_answer_loss(model, x))}
    before, after = _judge_walk(pgd, model, x, y, climbs=True, what="the loss", wrong_way=wrong_way, known=known)
    return f"In {WALK[1]} steps the loss rose from {before:.2f} to {after:.2f}, and no pixel left the box."


DOUBLE_SOFTMAX = "Your loss takes probabilities for logits, and `cross_entropy` makes probabilities of what it gets: that happens twice here."


def _judge_walk(fn, model, x, label, *, climbs, what, wrong_way, known):
    """Raise `Mistake` unless `fn` walks up, or down, the loss against `label`; returns that loss before and after.

    Args:
        what: the loss in words. wrong_way: what to say of a walk that went the other way.
        known: wrong directions of this exercise, as from `slopes`, under what to say of them.
    """
    eps, steps, step_size = WALK
    with unchanged(model):
        out = call(fn, model, x, label, *WALK)
    expect_images(out, like=x, what="your images")
    expect_detached(out, "your images")
    expect_in_ball(out, x, eps, "After every step, bring the images back to the box.")
    expect_close(call(fn, model, x, label, eps, 0, step_size), x, "your images after 0 steps")
    longest = (call(fn, model, x, label, eps, 1, step_size) - x).abs().max().item()
    if abs(longest - step_size) > ALIKE:
        raise Mistake(
            f"A single step should move pixels by step_size = {step_size:g}; the furthest of yours moved by {longest:.3g}. How long "
            "is one step of yours?"
        )

    def direction(answers):
        return slopes(lambda point: (1 if climbs else -1) * F.cross_entropy(answers(point), label))

    asked_for = direction(model)
    known = known | {DOUBLE_SOFTMAX: direction(lambda point: model(point).softmax(1))}
    expected = walk(asked_for, x, *WALK)
    before, after, wanted = (_loss(model, images, label) for images in (x, out, expected))
    if alike(out, expected):
        return before, after
    elsewhere = ((out - expected).abs() > ALIKE).sum().item()
    told = (
        f"{elsewhere} of {out.numel()} pixel values are not where the walk leads: after {steps} steps {what} should be {wanted:.3f}, and "
        f"yours is {after:.3f}. "
    )
    for words, way in known.items():
        if alike(out, walk(way, x, *WALK)):
            raise Mistake(told + words)
    if mistake := usual_mistake(out, asked_for, x, *WALK):
        raise Mistake(told + mistake)
    if (after < before) == climbs:
        raise Mistake(
            f"In {steps} steps {what} {'fell' if climbs else 'rose'} from {before:.3f} to {after:.3f}: {wrong_way}"
        )
    raise Mistake(
        told + "Every step starts where the last one ended, follows the sign of the gradient there, and is projected."
    )


def slopes(loss):
    """The direction of a walk: from images to the signs of the gradient of `loss`, a function from images to a number."""

    def direction(point):
        point = point.detach().requires_grad_()
        return torch.autograd.grad(loss(point), point)[0].sign()

    return direction


def walk(direction, x, eps, steps, step_size, *, back=reference_project):
    """PGD with a direction of one's own, and another way back to the allowed set if need be."""
    point = x
    for _ in range(steps):
        point = back(point + step_size * direction(point), x, eps)
    return point


def alike(images, others):
    return (images - others).abs().max().item() <= ALIKE


def usual_mistake(out, direction, x, eps, steps, step_size):
    """What to say of a walk that went astray in one of the ways that all walks share, or nothing."""
    here = direction(x)
    if alike(out, walk(lambda point: here, x, eps, steps, step_size)):
        return (
            "All your steps go in the same direction: that of the gradient at `x`. Ask the model again where you are."
        )
    for late in (lambda point, x, eps: point, lambda point, x, eps: point.clamp(0, 1)):
        if alike(out, reference_project(walk(direction, x, eps, steps, step_size, back=late), x, eps)):
            return "You project once, at the end. The walk then follows gradients far outside the box, which say little about it."
    in_box = walk(direction, x, eps, steps, step_size, back=lambda point, x, eps: point.clamp(x - eps, x + eps))
    if alike(out, in_box.clamp(0, 1)):
        return "You keep to 0 and 1 only at the end. On the way, the model was asked about pixels darker than black or brighter than full."
    ends = {
        count: walk(direction, x, eps, count, step_size)
        for count in (steps, *range(steps), steps + 1, 2 * steps, 10 * steps)
    }
    taken = [next((count for count, end in ends.items() if alike(out[i], end[i])), None) for i in range(len(x))]
    if None not in taken:
        i = next(i for i, count in enumerate(taken) if count != steps)
        lead = "a single step leads" if taken[i] == 1 else f"{taken[i]} steps lead"
        return f"Image {i} is where {lead}, and {steps} were asked for."
    return ""


# ---- towards a target -------------------------------------------------------------------------------------------------


def reference_targeted(model, x, target, eps, steps, step_size):
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), target)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = reference_project(x_adv - step_size * gradient.sign(), x, eps)
    return x_adv.detach()


@exercise(
    "targeted",
    lesson="04",
    title="Towards a class of your choice",
    reference=reference_targeted,
    hints=(
        "Two things change from your `pgd`: which label the loss is measured against, and whether you want that loss high or low.",
        "The loss against the target is small when the model answers with the target. So this walk goes *down* that hill.",
        "Take your loop; put `target` where `y` was in the cross-entropy, and subtract the step instead of adding it.",
    ),
)
def check_targeted(targeted):
    model, (x, y) = curved_model(75, CLASSES), _toy_images()
    target = (y + 2) % CLASSES
    what = "the loss against the target"
    wrong_way = "the model is now further from answering with the target. Which way leads towards it?"
    known = {
        "You walk away from the model's answer, wherever that leads. A target is one place to go to.": slopes(
            _own_answer_loss(model, x)
        )
    }
    before, after = _judge_walk(targeted, model, x, target, climbs=False, what=what, wrong_way=wrong_way, known=known)
    return f"The loss against the target fell from {before:.2f} to {after:.2f}."


# ---- the smallest eps -------------------------------------------------------------------------------------------------

# The true thresholds of six patients: the last but one is fooled hardly below LARGEST, and the last can't be.
THRESHOLDS = torch.tensor([0.003, 0.011, 0.024, 0.049, 0.0626, 0.5])
LARGEST, HALVINGS = 16 / 255, 8


def reference_smallest_eps(fooled, n, largest, halvings):
    low, high = torch.zeros(n), torch.full((n,), float(largest))
    never = ~fooled(high)
    for _ in range(halvings):
        middle = (low + high) / 2
        success = fooled(middle)
        low = torch.where(success, low, middle)
        high = torch.where(success, middle, high)
    high[never] = float("inf")
    return high


@exercise(
    "smallest_eps",
    lesson="04",
    title="The smallest eps of each patient",
    reference=reference_smallest_eps,
    hints=(
        "Keep two numbers for each patient: `low`, at which the attack failed (0 to begin with), and `high`, at which it succeeded "
        "(`largest`, if it did). Look in the middle, and keep the half that holds the border.",
        "All patients at once: `middle = (low + high) / 2` is a tensor, `fooled(middle)` says for each whether the attack succeeded. "
        "`torch.where(success, a, b)` picks from `a` or `b` for each patient.",
        "Where it succeeded, `high` becomes `middle`; where it failed, `low` does. In the end return `high`, with infinity for those "
        "whom not even `largest` fooled.",
    ),
)
def check_smallest_eps(smallest_eps):
    attacks = _look_for_borders(smallest_eps, LARGEST, HALVINGS)
    _look_for_borders(smallest_eps, 0.04, 3)
    return f"Each within {LARGEST / 2**HALVINGS:.5f} of the truth, with {attacks} attacks."


def _look_for_borders(smallest_eps, largest, halvings):
    """Raise `Mistake` unless the borders are found as finely as the halvings allow; returns how many attacks it took."""
    n = len(THRESHOLDS)
    asked = []

    def fooled(eps):
        eps = torch.as_tensor(eps)
        if eps.shape != (n,):
            raise Mistake(
                f"`fooled` wants one eps for each of the {n} patients, a tensor ({n},); it was asked with the shape "
                f"{tuple(eps.shape)}."
            )
        asked.append(eps)
        if len(asked) > 10 * HALVINGS:
            raise Mistake(
                f"`fooled` was asked more than {10 * HALVINGS} times. {halvings} halvings need {halvings + 1}."
            )
        return eps >= THRESHOLDS

    out = call(smallest_eps, fooled, n, largest, halvings)
    if not isinstance(out, torch.Tensor) or out.shape != (n,) or not out.is_floating_point():
        raise Mistake(
            f"One eps for each of the {n} patients was expected, a float tensor ({n},); {describe(out)} came."
        )
    for i, (truth, came) in enumerate(zip(THRESHOLDS.tolist(), out.tolist(), strict=True)):
        if truth > largest and came != math.inf:
            raise Mistake(
                f"Patient {i} is not fooled even at largest = {largest:.4f}, and you returned {came:.4f}. Say infinity for whoever can't be "
                "fooled."
            )
        if truth <= largest:
            _judge_border(i, truth, out.tolist(), largest, halvings)
    if len(asked) > 2 * halvings + 2:
        raise Mistake(
            f"Right, but you asked `fooled` {len(asked)} times, and each is a whole attack. {halvings} halvings need {halvings + 1}."
        )
    return len(asked)


def _judge_border(i, truth, found, largest, halvings):
    came, width = found[i], largest / 2**halvings
    wanted = math.ceil(truth / width) * width
    if abs(came - wanted) <= SAME:
        return
    told = f"Patient {i} is fooled from eps = {truth:.4f} on, and largest is {largest:.4f}. You returned {came:.5f}. "
    if came == math.inf:
        raise Mistake(told + "Infinity is for those whom an attack with `largest` doesn't fool. Did you see one fail?")
    if came < truth:
        raise Mistake(told + "At that eps the attack fails: give the smallest one at which it was seen to succeed.")
    if came < wanted:
        apart = f"After {halvings} halvings the sizes that were tried are {width:.5f} apart; yours is between two. "
        raise Mistake(told + apart + "How often do you halve?")
    if came - wanted < 1.5 * width:
        raise Mistake(told + f"After {halvings} halvings the interval is {width:.5f} wide. Are all of them done?")
    if len(set(found) - {math.inf}) == 1:
        raise Mistake(told + "So did you for everybody who can be fooled. Each patient has a border of their own.")
    raise Mistake(told + "Which half of the interval holds the border?")


# ---- toys -------------------------------------------------------------------------------------------------------------


def _toy_images():
    """Eight images, some with pixels near black or white, and labels."""
    x = torch.rand(8, 3, 5, 5)
    return x, torch.arange(8) % CLASSES


@torch.no_grad()
def _loss(model, x, y):
    return F.cross_entropy(model(x), y).item()


def _own_answer_loss(model, x):
    """The loss against what the model answers before the attack."""
    answers = model(x).argmax(1)
    return lambda point: F.cross_entropy(model(point), answers)
