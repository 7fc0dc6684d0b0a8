"""Lesson 03's exercises: the input gradient, the step, its control, the curve. The lesson itself is in solutions/."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    describe,
    exercise,
    expect_detached,
    expect_images,
    expect_number,
    expect_tensor,
    unchanged,
)
from medattack_edu.metrics import evaluate

SIDE = 8  # pixels of the checks' images
NUDGE = 1e-3  # how far a pixel value is pushed to see what its loss does
UNFAIR = 0.02  # some 20,000 fair coins stray further from half than this less than once in ten million trials
TOGETHER = 0.05  # pairs of independent coins agree as chance has it, to far less than this (ten standard deviations)

# ---- the input gradient -------------------------------------------------------------------------------------------


def reference_input_gradient(model, x, y):
    x = x.detach().clone().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return gradient


@exercise(
    "input_gradient",
    lesson="03",
    title="The gradient of the loss, at the pixels",
    reference=reference_input_gradient,
    hints=(
        (
            "Three things: tell PyTorch to watch the pixels; compute the loss; ask for its gradient at the pixels. "
            "Watch a copy (`x.clone().requires_grad_()`), so that the caller's images stay as they were."
        ),
        (
            "The loss is `F.cross_entropy(model(x), y, ...)`. By default it is the *mean* over the batch, and then "
            "an image's "
            'gradient shrinks when it has neighbours. With `reduction="sum"` each image keeps its own.'
        ),
        (
            "`torch.autograd.grad(loss, x)` gives a tuple with one entry for each thing that you asked about: here "
            "one. (Or `loss.backward()`, after which the gradient lies in `.grad` of your watched copy.)"
        ),
    ),
)
def check_input_gradient(input_gradient):
    model, x, y = _tiny_clinic()
    with unchanged(model):
        out = call(input_gradient, model, x, y)
    expect_tensor(out, shape=x.shape, dtype=x.dtype, what="the gradient, which has an entry for each pixel value,")
    _compare_gradients(out, model, x, y)
    expect_detached(out, "the slopes that you returned")
    alone = call(input_gradient, model, x[:1], y[:1])
    expect_tensor(alone, shape=x[:1].shape, what="the gradient of a single image")
    _compare_gradients(alone, model, x[:1], y[:1])
    return "It foretells what a nudge does to the loss of each image, alone or in a batch of 8."


def _compare_gradients(out, model, x, y):
    out, expected = out.detach(), reference_input_gradient(model, x, y)
    if _alike(out, expected):
        return
    row, place = _steepest(expected)
    before, after = _nudged(model, x[row], y[row], place)
    slope = (after - before) / NUDGE
    told = (
        f"Image {row}: its loss is {before:.4f}. With the value at {place} (colour, row, column) pushed up by "
        f"{NUDGE:g} it is "
        f"{after:.4f}, a slope of {slope:.2f}. Your gradient says {out[row][place]:.2f} there. "
    )
    for wrong, meaning in _gradient_slips(model, x, y, expected):
        if _alike(out, wrong):
            raise Mistake(told + meaning)
    raise Mistake(told + "Is it the loss of the true label, and its gradient at the pixels?")


def _gradient_slips(model, x, y, expected):
    """Tensors that come out of likely slips, each with what it stands for."""
    n = len(x)

    def gradient_of(score, labels=y):
        watched = x.clone().requires_grad_()
        return torch.autograd.grad(score(model(watched), labels).sum(), watched)[0]

    def of_softmax(logits, labels):
        return F.cross_entropy(logits.softmax(1), labels, reduction="sum")

    def chosen(logits, labels):
        return logits.gather(1, labels[:, None])

    answers = model(x).argmax(1)
    twice = (
        "That comes out when softmax runs before `F.cross_entropy`, which does it itself: it wants logits. Done "
        "twice, the slope fades."
    )
    mean = (
        f"That is {n} times too little, and there are {n} images. A mean over the batch makes an image's slope depend "
        "on its neighbours. Each image has a loss of its own."
    )
    logit = (
        "That is the slope of a logit. The loss falls when the true class's logit grows, and it looks at both logits."
    )
    slips = [
        (-expected, "The same size, the other way: that is the direction in which the loss falls."),
        (expected.sign(), "Those are the signs alone. They come later; here the sizes are wanted as well."),
        (expected.abs(), "The size is right, and the direction is lost."),
        (gradient_of(of_softmax), twice),
        (gradient_of(of_softmax) / n, twice),
        (gradient_of(chosen), logit),
        (-gradient_of(chosen), logit),
        (
            gradient_of(lambda logits, labels: chosen(logits.softmax(1), labels)),
            "That is the slope of the true class's probability: it falls where the loss rises.",
        ),
    ]
    by_answer = gradient_of(lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum"), answers)
    told = (
        "That comes out when the model's own answers stand in for the labels: an image that it gets wrong is "
        "pushed back."
    )
    slips += [(by_answer, told), (by_answer / n, told)]
    if n > 1:
        slips.append((expected / n, mean))
    return slips


# ---- the step -----------------------------------------------------------------------------------------------------


def reference_fgs(model, x, y, eps):
    return (x + eps * reference_input_gradient(model, x, y).sign()).clamp(0, 1)


@exercise(
    "fgs",
    lesson="03",
    title="One step of size eps up the hill",
    reference=reference_fgs,
    hints=(
        (
            "You have `input_gradient` already: it points up the hill. What is left: its sign at each pixel value, a "
            "step of `eps`, and a look at the pixel range."
        ),
        "`gradient.sign()` is 1, -1 or 0. A step along it moves each pixel value by `eps`. Up the hill means: add.",
        (
            "`x + eps * signs` may leave the range from 0 to 1 where a pixel was nearly black or white. `.clamp(0, "
            "1)` brings it back. If your images still carry the recording of the gradient, `.detach()` ends it."
        ),
    ),
)
def check_fgs(fgs):
    model, x, y = _tiny_clinic()
    eps = 0.1
    with unchanged(model):
        out = call(fgs, model, x, y, eps)
    expect_tensor(out, shape=x.shape, dtype=x.dtype, what="your images")
    _compare_steps(out.detach(), model, x, y, eps)
    if out.requires_grad:
        raise Mistake(
            "Your images are right, and they still carry the recording of how they came about (`requires_grad` is "
            "on). Each attack would keep a whole pass through the model in memory. Hand back plain images."
        )
    for size in (0.02, 0.0):
        again = call(fgs, model, x, y, size)
        expect_images(again, like=x, what=f"your images at eps = {size:g}")
        _compare_steps(again.detach(), model, x, y, size)
    pale = _pale(x[:1])
    alone = call(fgs, model, pale, y[:1], eps)
    expect_images(alone, like=pale, what="your single image")
    _refuse_its_own_range(alone, pale)
    _compare_steps(alone.detach(), model, pale, y[:1], eps)
    before, after = _losses(model, x, y), _losses(model, out.detach(), y)
    return f"The loss rose on all {len(x)} images, from {before.mean():.2f} to {after.mean():.2f} on average."


def _compare_steps(out, model, x, y, eps):
    expected = reference_fgs(model, x, y, eps)
    if _alike(out, expected, rtol=1e-5):
        return
    before, after = _losses(model, x, y), _losses(model, out, y)
    if after.mean() < before.mean():
        raise Mistake(
            f"Your images are now easier for the model: its loss fell from {before.mean():.2f} to {after.mean():.2f}. "
            "You are walking downhill. The attack climbs."
        )
    _refuse_the_step_alone(out, eps)
    moved = (out - x).abs()
    _refuse_a_wrong_size(moved, x, eps)
    expect_images(out, like=x, what="your images")
    steps, free = (out - x).sign(), (x >= eps) & (x <= 1 - eps)
    if len(x) > 1 and eps and torch.equal(steps[0][free[0] & free[1]], steps[1][free[0] & free[1]]):
        raise Mistake("Images 0 and 1 were changed in the same way. Each image has a hill, and a gradient, of its own.")
    for row in range(len(x)):
        if after[row] < before[row] - 1e-6:
            wrong_before = model(x[row : row + 1]).argmax(1).item() != y[row].item()
            why = " The model had it wrong from the start. Climb the loss of the true label." if wrong_before else ""
            raise Mistake(f"Image {row} became easier: its loss fell from {before[row]:.2f} to {after[row]:.2f}.{why}")
    against = int(((out - expected).abs() > 1e-5).sum())
    raise Mistake(
        f"{against} of {out.numel()} pixel values are not where a step of {eps:g} up their own slope leads. The loss "
        f"rose from {before.mean():.2f} to {after.mean():.2f}; it could have been "
        f"{_losses(model, expected, y).mean():.2f}."
    )


def _refuse_the_step_alone(out, eps):
    if eps and (out.abs() - eps).abs().max() < 1e-6:
        raise Mistake(
            f"Every value that you returned is {-eps:g} or {eps:g}: that is the step alone. Where are the images?"
        )


def _refuse_its_own_range(out, x):
    low, high = x.min().item(), x.max().item()
    if out.min().item() == low and out.max().item() == high:
        raise Mistake(
            f"An image whose values run from {low:.2f} to {high:.2f} came out within just these bounds. Pixels may go down to 0 "
            "and up to 1, whatever the image holds."
        )


def _refuse_a_wrong_size(moved, x, eps):
    """Raise `Mistake` if pixel values moved too far, or kept some of their budget although nothing stood in the way."""
    far = moved.max().item()
    spent = moved[(x >= eps) & (x <= 1 - eps)]
    if not far:
        raise Mistake("No pixel value moved at all: what came back is the image that went in.")
    if len(spent) and spent.max() < eps - 1e-5:
        advice = " It looks divided by 255, and `eps` is in pixel units already." if spent.max() * 200 < eps else ""
        raise Mistake(f"No pixel value moved by more than {spent.max():.4f}, and eps is {eps:g}.{advice}")
    idle = int((spent < eps - 1e-5).sum())
    if idle > len(spent) // 20 and far < 2 * eps:
        raise Mistake(
            f"{idle} of {len(spent)} pixel values kept some of their budget, though they had room on both sides: on "
            f"average they moved by {spent.mean():.4f}, and each may move by {eps:g}. What is not spent is lost."
        )
    if far > eps + 1e-6:
        raise Mistake(f"A pixel value moved by {far:.3f}; the budget is {eps:g} for each.")


# ---- the control --------------------------------------------------------------------------------------------------


def reference_noise(x, eps, generator):
    coins = torch.randint(0, 2, x.shape, generator=generator).to(x)
    return (x + eps * (2 * coins - 1)).clamp(0, 1)


@exercise(
    "noise",
    lesson="03",
    title="The control: the same budget by the toss of a coin",
    reference=reference_noise,
    hints=(
        (
            "You need a 1 or a -1 for each pixel value, by the toss of a coin. Start with coins of 0 and 1, or with "
            "random numbers whose sign you take."
        ),
        (
            "`torch.randint(0, 2, x.shape, generator=generator)` tosses a coin of 0 or 1 for each value. Which sum "
            "turns 0 into -1 and 1 into 1? (`torch.randn` and its `.sign()` do as well.)"
        ),
        (
            "Twice the coins minus one gives the signs. Then it goes on as in `fgs`: a step of `eps` along them, and "
            "the pixel range from 0 to 1. Signs of another type or device: `.to(x)` converts."
        ),
    ),
)
def check_noise(noise):
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(3))  # many coins, so that a false one shows
    x[x < 0.08], x[x > 0.92] = 0.0, 1.0
    eps = 0.1
    torch.rand(1)  # away from the seed that each check starts with, which a learner may set anew
    outside = torch.get_rng_state()
    first = call(noise, x, eps, _coins(1))
    expect_tensor(first, shape=x.shape, dtype=x.dtype, what="your noisy images")
    _refuse_the_step_alone(first, eps)
    expect_images(first, like=x, what="your noisy images")
    _refuse_another_size(first, x, eps)
    _refuse_a_pattern(first, x, eps)
    again, other = call(noise, x, eps, _coins(1)), call(noise, x, eps, _coins(2))
    if not torch.equal(first, again):
        raise Mistake(
            "Two calls with generators of the same seed gave different noise, so nobody could repeat your experiment. "
            "Draw from the `generator` that came in."
        )
    one = _coins(1)
    if torch.equal(first, other) or torch.equal(call(noise, x, eps, one), call(noise, x, eps, one)):
        raise Mistake("Every call gives the same noise, whatever generator comes in. Draw from the one that came in.")
    if not torch.equal(outside, torch.get_rng_state()):
        raise Mistake(
            "Your function draws from PyTorch's global generator or seeds it anew. Leave it alone: draw from "
            "`generator`."
        )
    pale = _pale(x[:1])
    alone = call(noise, pale, eps, _coins(1))
    expect_images(alone, like=pale, what="your single image")
    _refuse_its_own_range(alone, pale)
    _refuse_another_size(alone, pale, eps)
    still = call(noise, x, 0.0, _coins(1))
    if not torch.equal(still, x):
        raise Mistake(f"At eps = 0 nothing may move; a pixel value moved by {(still - x).abs().max():.3f}.")
    return (
        "Every value spends its budget, up or down by a fair coin of its own, and the same seed tosses the same coins."
    )


def _refuse_another_size(out, x, eps):
    moved, free = (out - x).abs(), (x >= eps) & (x <= 1 - eps)
    if moved.max() > eps + 1e-6:
        raise Mistake(f"A pixel value moved by {moved.max():.3f}; the budget is {eps:g} for each.")
    spent = moved[free]
    idle = int((spent < eps - 1e-5).sum())
    if idle:
        raise Mistake(
            f"{idle} of {len(spent)} pixel values with room on both sides moved by less than eps = {eps:g}; on "
            f"average they moved by {spent.mean():.3f}. The attack spends all of its budget, so a fair control does "
            f"too."
        )


def _refuse_a_pattern(out, x, eps):
    free = (x >= eps) & (x <= 1 - eps)
    signs = (out - x).sign()
    up = (signs[free] > 0).double().mean().item()
    unfair = Mistake(
        f"{100 * up:.0f} % of the pixel values went up. With a fair coin it is about half: a shift of most of them "
        "one way is another brightness, and no noise."
    )
    if not 0.1 < up < 0.9:
        raise unfair
    for name, axis in (("rows", 2), ("columns", 3), ("colours", 1), ("images", 0)):
        for shift in (1, x.shape[axis] // 2):
            alike = (signs == signs.roll(shift, axis))[free & free.roll(shift, axis)].double().mean().item()
            by_chance = up**2 + (1 - up) ** 2
            if abs(alike - by_chance) > TOGETHER:
                who = f"Neighbouring {name}" if shift == 1 else f"{name.capitalize()} at a distance of {shift}"
                raise Mistake(
                    f"{who} got {'the same' if alike > by_chance else 'opposite'} coins ({100 * alike:.0f} % of them agree; chance "
                    f"gives {100 * by_chance:.0f} %). Toss one for each value."
                )
    if abs(up - 0.5) > UNFAIR:
        raise unfair


def _coins(seed):
    return torch.Generator().manual_seed(seed)


# ---- accuracy against eps -----------------------------------------------------------------------------------------

CURVE_SIZES = (0.15, 0.0, 0.3, 0.06)  # in no order, so that a curve that builds on the size before gives itself away


def reference_accuracy_curve(model, x, y, attack, sizes):
    return [evaluate(model, attack(x, eps), y).accuracy for eps in sizes]


@exercise(
    "accuracy_curve",
    lesson="03",
    title="Accuracy against eps",
    reference=reference_accuracy_curve,
    hints=(
        "For each size in `sizes`: attack the images, then measure. Collect the accuracies in a list, and return it "
        "at the end.",
        (
            "`attack(x, eps)` gives the attacked images for one size. Start from the clean `x` each time, and keep "
            "the result under another name. `evaluate(model, images, y)` measures; `.accuracy` of what it returns is "
            "what you want."
        ),
        (
            "An empty list, a loop `for eps in sizes`, and in it one `append` of `evaluate(...).accuracy`. Leave the "
            "accuracy as it is: `float()` would throw its interval away."
        ),
    ),
)
def check_accuracy_curve(accuracy_curve):
    model, x, y = _BrightnessClinic().eval(), *_brightness_images()
    asked = []

    def darken(images, eps):
        if not (isinstance(images, torch.Tensor) and images.shape == x.shape):
            raise Mistake(f"`attack` takes the whole batch of images, {tuple(x.shape)}; {describe(images)} came.")
        size = expect_number(eps, "the size that `attack` was given")
        asked.append((images.detach().clone(), size))
        return (images - size).clamp(0, 1)

    with unchanged(model):
        out = call(accuracy_curve, model, x, y, darken, list(CURVE_SIZES))
    _look_at_the_calls(asked, x)
    if not isinstance(out, list | tuple | torch.Tensor) or len(out) != len(CURVE_SIZES):
        raise Mistake(
            f"A list with an accuracy for each of the {len(CURVE_SIZES)} sizes was expected; {describe(out)} came."
        )
    expected = reference_accuracy_curve(model, x, y, lambda images, eps: (images - eps).clamp(0, 1), CURVE_SIZES)
    _compare_curves(out, expected, model, x, y)
    if not all(hasattr(value, "low") and hasattr(value, "n") for value in out):
        raise Mistake(
            "The accuracies are right, and they came without their intervals, which the picture draws as bands. "
            "`evaluate` gives an accuracy that carries its own; hand it on as it is."
        )
    return "One accuracy for each size, each attack from the clean images, and each number with its interval."


def _look_at_the_calls(asked, x):
    if not asked:
        raise Mistake("`attack` was never called, so the accuracies can't depend on it.")
    for images, size in asked:
        if not torch.equal(images, x):
            off = (images - x).abs().max()
            raise Mistake(
                f"For the size {size:g}, `attack` was handed images that had already been changed, by up to "
                f"{off:.2f}. Then the "
                "budgets add up. Each size starts from the clean images."
            )
        if not any(abs(size - wanted) < 1e-6 for wanted in CURVE_SIZES):
            raise Mistake(
                f"`attack` was called with the size {size:g}; asked for were "
                f"{', '.join(f'{s:g}' for s in CURVE_SIZES)}, in pixel "
                "units, as they are."
            )
    for wanted in CURVE_SIZES:
        if not any(abs(size - wanted) < 1e-6 for _, size in asked):
            raise Mistake(f"`attack` was never called with the size {wanted:g}.")


def _compare_curves(out, expected, model, x, y):
    values = [expect_number(v, f"accuracy number {i}", low=0, high=1) for i, v in enumerate(out)]
    wanted = [float(value) for value in expected]
    if _same_numbers(values, wanted):
        return
    told = f"For the sizes {_list(CURVE_SIZES)} the accuracies are {_list(wanted)}; yours are {_list(values)}. "
    right = model(x).argmax(1) == y
    still = [((model((x - eps).clamp(0, 1)).argmax(1) == y) & right).double() for eps in CURVE_SIZES]
    for wrong, meaning in (
        ([1 - v for v in wanted], "Those are the shares of wrong answers."),
        (
            [wanted[1]] * len(wanted),
            "That is the accuracy on the clean images, for every size. Is it the attacked ones that you measure?",
        ),
        (sorted(wanted, reverse=True), "The numbers are right, in another order. They belong in the order of `sizes`."),
        (sorted(wanted), "The numbers are right, in another order. They belong in the order of `sizes`."),
        (
            [s.sum().item() / int(right.sum()) for s in still],
            "You left out the images that were wrong before. Accuracy counts them all.",
        ),
        (
            [s.mean().item() for s in still],
            "An image that was wrong before and is right now counts as right: accuracy asks about now.",
        ),
        (
            [1 - s.sum().item() / int(right.sum()) for s in still],
            "Those are success rates of the attack. Asked for is the accuracy.",
        ),
    ):
        if _same_numbers(values, wrong):
            raise Mistake(told + meaning)
    raise Mistake(told + "Each is the share of right answers on the attacked images.")


class _BrightnessClinic(nn.Module):
    """Calls an image sick when it is brighter than half, so that its accuracy under attack can be done in one's head."""

    def forward(self, x):
        score = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-score, score], 1)


def _brightness_images():
    """Twelve plain grey images; of the healthy one is too bright, of the sick one too dark to be recognised."""
    healthy, sick = (0.2, 0.3, 0.4, 0.45, 0.58), (0.52, 0.55, 0.6, 0.64, 0.7, 0.85, 0.35)
    levels = torch.tensor([*healthy, *sick])
    y = torch.tensor([0] * len(healthy) + [1] * len(sick))
    return levels[:, None, None, None].expand(-1, 3, 4, 4).clone(), y


# ---- small helpers ------------------------------------------------------------------------------------------------


def _tiny_clinic():
    """A small frozen model and 8 images with labels, 2 of which it gets wrong; some pixels are black or white."""
    n = 8
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * SIDE * SIDE, 2))
    x = torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    x[x < 0.1], x[x > 0.9] = 0.0, 1.0
    with torch.no_grad():
        logits = net(x)
        gap = logits[:, 1] - logits[:, 0]
        steep = 1.5 / gap.std()  # sure of some images and unsure of others, as a real classifier is
        net[-1].weight.mul_(steep)
        net[-1].bias.mul_(steep)
        net[-1].bias[1] -= steep * gap.median()
        y = net(x).argmax(1)
    y[[2, 5]] = 1 - y[[2, 5]]
    return net.eval().requires_grad_(False), x, y


def _pale(x):
    """Images without black or white, so that there is room for `eps` on both sides of every value."""
    return 0.2 + 0.6 * x


@torch.no_grad()
def _losses(model, x, y):
    """The loss of each image (N,)."""
    return F.cross_entropy(model(x), y, reduction="none")


def _steepest(gradient):
    """Image and (colour, row, column) of the largest slope."""
    row, *place = torch.unravel_index(gradient.abs().argmax(), gradient.shape)
    return int(row), tuple(int(i) for i in place)


def _nudged(model, image, label, place):
    """The loss of one image, and with one value pushed up by `NUDGE`."""
    pushed = image.clone()
    pushed[place] += NUDGE
    exact = copy.deepcopy(model).double()  # in single precision the difference of two losses is mostly rounding
    return tuple(_losses(exact, torch.stack([image, pushed]).double(), label.repeat(2)).tolist())


def _alike(a, b, rtol=1e-3):
    scale = b.abs().max().item()
    return (a - b).abs().max().item() <= rtol * scale + 1e-7


def _same_numbers(a, b):
    return all(abs(left - right) < 1e-6 for left, right in zip(a, b, strict=True))


def _list(values):
    return ", ".join(f"{float(value):.3g}" for value in values)
