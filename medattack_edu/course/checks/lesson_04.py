"""Lesson 04's exercises: the projection, the loop, the target and the smallest eps. The lesson itself is in solutions/."""

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    describe,
    exercise,
    expect_close,
    expect_images,
    expect_tensor,
    unchanged,
)

SAME = 1e-6  # two pixels this close are the same pixel
EPS = 0.1  # a generous box: the toy images below run from 0 to 1
CLASSES = 5

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
                f"With eps = {EPS:g}, a pixel was {was:.2f} and has been moved to {moved:.2f}. You sent it to {came:.2f}. "
                + _about_pixel(was, moved, came)
            )
    inside = x + 0.5 * EPS * torch.tensor([1.0, -1, 1, -1, 1, 1]).view(1, 1, 1, -1)
    expect_close(call(project, inside, x, EPS), inside, "images that were inside already")
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
    return row.view(1, 1, 1, -1).expand(2, 3, 4, -1).clone()


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
    model, x, y = _curved_model(), *_toy_images()
    eps, steps, step_size = 0.1, 6, 0.04
    with unchanged(model):
        out = call(pgd, model, x, y, eps, steps, step_size)
    expect_images(out, like=x, what="your images")
    if out.requires_grad:
        raise Mistake("Your images still hang on the graph, PyTorch's recording of the last step. Hand them out with `.detach()`.")
    _inside_ball(out, x, eps)
    one = call(pgd, model, x, y, eps, 1, step_size)
    _one_step(one, model, x, y, step_size)
    before, after = _loss(model, x, y), _loss(model, out, y)
    if after < before:
        raise Mistake(
            f"After {steps} steps the loss fell from {before:.3f} to {after:.3f}: these images are easier for the model. You are "
            "walking downhill. The attack climbs."
        )
    expected = reference_pgd(model, x, y, eps, steps, step_size)
    if (out - expected).abs().max() > 1e-4:
        raise Mistake(_about_walk(out, expected, model, x, y, eps, steps, step_size))
    none = call(pgd, model, x, y, eps, 0, step_size)
    expect_close(none, x, "your images after 0 steps")
    return f"In {steps} steps the loss rose from {before:.2f} to {after:.2f}, and no pixel left the box."


def _inside_ball(out, x, eps):
    furthest = (out - x).abs().max().item()
    if furthest > eps + 1e-5:
        raise Mistake(
            f"A pixel has moved by {furthest:.3f}, and eps allows {eps:g}. Bring the images back to the box around `x`, the clean "
            "images, after every step."
        )


def _one_step(one, model, x, y, step_size):
    longest = (one - x).abs().max().item()
    if abs(longest - step_size) > 1e-4:
        raise Mistake(
            f"A single step should move pixels by step_size = {step_size:g}; the furthest of yours moved by {longest:.3g}. How long "
            "is one step of yours?"
        )
    if (one - reference_pgd(model, x, y, 1.0, 1, step_size)).abs().max() > 1e-4 and _loss(model, one, y) < _loss(model, x, y):
        raise Mistake(
            f"After one step the loss fell from {_loss(model, x, y):.3f} to {_loss(model, one, y):.3f}. You are walking downhill. "
            "The attack climbs."
        )


def _about_walk(out, expected, model, x, y, eps, steps, step_size):
    told = f"The loss after {steps} steps is {_loss(model, out, y):.3f}, and {_loss(model, expected, y):.3f} was within reach. "
    straight = reference_project(reference_pgd(model, x, y, 1.0, 1, steps * step_size), x, eps)
    if (out - straight).abs().max() < 1e-4:
        return told + "All your steps go in the same direction: that of the gradient at `x`. Ask the model again where you are."
    unprojected = [x, x.clamp(0, 1)]
    for _ in range(steps):
        free, in_range = (point + step_size * _sign_of_gradient(model, point, y) for point in unprojected)
        unprojected = [free, in_range.clamp(0, 1)]
    if any((out - reference_project(point, x, eps)).abs().max() < 1e-4 for point in unprojected):
        return told + "You project once, at the end. The walk then follows gradients far outside the box, which say little about it."
    again = reference_pgd(model, x, y, eps, steps + 1, step_size), reference_pgd(model, x, y, eps, steps - 1, step_size)
    if any((out - other).abs().max() < 1e-4 for other in again):
        return told + f"You take one step more or less than the {steps} asked for."
    return told + "Every step starts where the last one ended, follows the sign of the gradient there, and is projected."


def _sign_of_gradient(model, x, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y), x)[0].sign()


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
    model, (x, y) = _curved_model(CLASSES), _toy_images()
    target = (y + 2) % CLASSES
    eps, steps, step_size = 0.1, 6, 0.04
    with unchanged(model):
        out = call(targeted, model, x, target, eps, steps, step_size)
    expect_images(out, like=x, what="your images")
    _inside_ball(out, x, eps)
    before, after = _loss(model, x, target), _loss(model, out, target)
    if after > before:
        raise Mistake(
            f"The loss against the target rose from {before:.3f} to {after:.3f}: the model is now further from answering with the "
            "target. Which way leads towards it?"
        )
    expected = reference_targeted(model, x, target, eps, steps, step_size)
    reached = _loss(model, expected, target)
    if after > reached + 0.02:
        raise Mistake(
            f"The loss against the target fell from {before:.3f} to {after:.3f}; {reached:.3f} was within reach in {steps} steps. "
            "Does every step ask for the target's class, at the point where the last step ended?"
        )
    none = call(targeted, model, x, target, eps, 0, step_size)
    expect_close(none, x, "your images after 0 steps")
    return f"The loss against the target fell from {before:.2f} to {after:.2f}."


# ---- the smallest eps -------------------------------------------------------------------------------------------------

# The true thresholds of six patients, of whom the last can't be reached with LARGEST.
THRESHOLDS = torch.tensor([0.003, 0.011, 0.024, 0.049, 0.0610, 0.5])
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
    n = len(THRESHOLDS)
    asked = []

    def fooled(eps):
        eps = torch.as_tensor(eps)
        if eps.shape != (n,):
            raise Mistake(
                f"`fooled` wants one eps for each of the {n} patients, a tensor ({n},); it was asked with the shape "
                f"{tuple(eps.shape)}."
            )
        asked.append(eps.clone())
        if len(asked) > 10 * HALVINGS:
            raise Mistake(f"`fooled` was asked more than {10 * HALVINGS} times. {HALVINGS} halvings need {HALVINGS + 1}.")
        return eps >= THRESHOLDS

    out = call(smallest_eps, fooled, n, LARGEST, HALVINGS)
    if not isinstance(out, torch.Tensor) or out.shape != (n,):
        raise Mistake(f"One eps for each of the {n} patients was expected, a tensor ({n},); {describe(out)} came.")
    if not out[-1].isinf():
        raise Mistake(
            f"The last patient is not fooled even at largest = {LARGEST:.4f}, and you returned {out[-1].item():.4f}. Say infinity "
            "for whoever can't be fooled."
        )
    width = LARGEST / 2**HALVINGS
    for i in range(n - 1):
        truth, came = THRESHOLDS[i].item(), out[i].item()
        if truth <= came <= truth + width + 1e-7:
            continue
        told = f"Patient {i} is fooled from eps = {truth:.4f} on. You returned {came:.4f}. "
        if came < truth:
            raise Mistake(told + "At that eps the attack fails: give the smallest one at which it was seen to succeed.")
        if came - truth < 2.5 * width:
            raise Mistake(told + f"After {HALVINGS} halvings the interval is {width:.5f} wide. Are all of them done?")
        raise Mistake(told + "Which half of the interval holds the border? Each patient has a border of their own.")
    if len(asked) > 2 * HALVINGS + 2:
        raise Mistake(
            f"Right, but you asked `fooled` {len(asked)} times, and each is a whole attack. {HALVINGS} halvings need {HALVINGS + 1}."
        )
    return f"Each within {width:.5f} of the truth, with {len(asked)} attacks."


# ---- toys -------------------------------------------------------------------------------------------------------------


def _curved_model(classes=2):
    """A smooth model whose gradient turns on the way: what tells a walk of several steps from one long step."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(75, 24), nn.Tanh(), nn.Linear(24, classes)).eval()
    with torch.no_grad():
        net[1].weight.mul_(6)
        net[3].weight.mul_(4)
    return net


def _toy_images():
    """Eight images, some with pixels near black or white, and labels."""
    x = torch.rand(8, 3, 5, 5)
    return x, torch.arange(8) % 2


@torch.no_grad()
def _loss(model, x, y):
    return F.cross_entropy(model(x), y).item()
