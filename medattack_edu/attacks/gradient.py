"""White-box attacks: the attacker knows the model and follows its gradient. Noise, their control, stands first."""

import numbers

import torch
import torch.nn.functional as F

from medattack_edu.attacks import _asking
from medattack_edu.attacks._draws import draw
from medattack_edu.attacks._inputs import check_eps, check_finite, check_images, check_inputs


def random_noise(x, *, eps, generator=None):
    """The control of every L-infinity attack: plus or minus eps at each pixel by the toss of a coin.

    It spends the same budget as `fgs`, without a direction.

    Args:
        x: images (N, C, H, W), float, in [0, 1].
        eps: size of the step in pixel units, e.g. ``2 / 255``; one number or one for each image (N,).
        generator: of the draw.

    Returns:
        Noisy images, same shape, dtype and device as `x`, in [0, 1].
    """
    check_images(x)
    check_eps(eps, x)
    signs = 2 * draw(torch.rand, x.shape, x, generator).round() - 1
    return (x + per_image(eps, x) * signs).clamp(0, 1)


def fgs(model, x, y, *, eps, target=None):
    """The fast gradient sign attack (Goodfellow et al. 2015, arXiv 1412.6572): one step of size eps, up the hill.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: images (N, C, H, W), float, in [0, 1].
        y: true labels (N,), int64.
        eps: size of the step, in pixel units of the [0, 1] scale, e.g. ``2 / 255``; one number or one for each image (N,).
        target: labels (N,) to move towards; default: move away from `y`.

    Returns:
        Adversarial images, same shape, dtype and device as `x`, in [0, 1] and within eps of `x`.

    Raises:
        ValueError: if the inputs don't fit together; the message says what was expected.
    """
    check_inputs(model, x, y, eps=eps, target=target)
    gradient, _ = input_gradient(model, x, y, target)
    return (x + per_image(eps, x) * gradient.sign()).clamp(0, 1)


def pgd(
    model,
    x,
    y,
    *,
    eps,
    steps=10,
    step_size=None,
    norm="inf",
    restarts=1,
    random_start=True,
    momentum=0.0,
    target=None,
    stop_when_fooled=False,
    generator=None,
):
    """Projected gradient descent (Madry et al. 2018, arXiv 1706.06083, eq. 1).

    Walks `steps` times along the input gradient and comes back to the ball around `x` after each step.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: images (N, C, H, W), float, in [0, 1].
        y: true labels (N,), int64.
        eps: radius of the ball, in pixel units of the [0, 1] scale, e.g. ``2 / 255``; one number or one for each image
            (N,). In the L2 norm: the length of the whole perturbation.
        step_size: length of a step, same units; default ``2.5 * eps / steps``.
        norm: ``"inf"`` (no pixel moves by more than eps) or ``"2"`` (the perturbation is no longer than eps).
        restarts: walks from different random starts; each image keeps one that fools the model, if any does, and among equals
            the one with the highest loss.
        random_start: begin at a random point of the ball, else at `x`.
        momentum: share of the past directions that is kept (Dong et al. 2018, arXiv 1710.06081); 0 for none.
        target: labels (N,) to move towards; default: move away from `y`.
        stop_when_fooled: leave an image as soon as the model answers as wanted, and work on the rest only.
        generator: of the random starts.

    Returns:
        Adversarial images, same shape, dtype and device as `x`, in [0, 1] and within eps of `x`.

    Raises:
        ValueError: if the inputs don't fit together; the message says what was expected.
    """
    check_walk(x, steps, step_size, norm, restarts, random_start, momentum)
    check_inputs(model, x, y, eps=eps, norm=norm, target=target)
    eps = per_image(eps, x)
    step_size = 2.5 * eps / max(steps, 1) if step_size is None else per_image(step_size, x)
    best, best_loss = x.clone(), torch.full((len(x),), -float("inf"), device=x.device, dtype=x.dtype)
    best_fools = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(restarts):
        x_adv = random_point_in_ball(x, eps, norm, generator) if random_start else x.clone()
        x_adv = walk(model, x_adv, x, y, eps, steps, step_size, norm, momentum, target, stop_when_fooled)
        if restarts == 1:
            return x_adv  # nothing to compare it with
        logits = _asking.logits(model, x_adv)
        loss, fools = loss_of(logits, y, target), fooled(logits, y, target)
        better = torch.where(fools == best_fools, loss > best_loss, fools)
        best[better], best_loss[better], best_fools[better] = x_adv[better], loss[better], fools[better]
        if stop_when_fooled and best_fools.all():
            break
    return best


def walk(model, x_adv, x, y, eps, steps, step_size, norm, momentum, target, stop_when_fooled):
    """The loop of `pgd`, from the start `x_adv`: step, project, and again."""
    rows = slice(None)  # of the images that are still being attacked
    direction = torch.zeros_like(x) if momentum else None
    for _ in range(steps):
        now = x_adv[rows]
        gradient, logits = input_gradient(model, now, y[rows], None if target is None else target[rows])
        if momentum:
            direction[rows] = momentum * direction[rows] + gradient / length(gradient, "1")
            gradient = direction[rows]
        moved = project(now + step_size[rows] * steepest(gradient, norm), x[rows], eps[rows], norm)
        if not stop_when_fooled:
            x_adv = moved
            continue
        on = ~fooled(logits, y[rows], None if target is None else target[rows])
        rows = torch.arange(len(x), device=x.device)[rows][on]
        if not len(rows):
            break
        x_adv[rows] = moved[on]
    return x_adv


def smallest_eps(model, x, y, *, attack=pgd, largest=16 / 255, halvings=7, target=None, **options):
    """The smallest eps at which an attack fools the model, found for each image by halving an interval.

    Every eps returned is one at which the attack was seen to succeed; the true threshold lies at most
    ``largest / 2 ** halvings`` below, if the attack never fails above it.

    Args:
        model, x, y: as in `pgd`.
        attack: `fgs`, `pgd` or a function called the same way.
        largest: eps at which to give up. halvings: how often the interval is halved.
        target: labels (N,) that the model shall answer; default: any but `y`.
        options: handed to the attack, e.g. ``steps=20``.

    Returns:
        eps (N,), float: 0 where the model answered so before, infinity where even `largest` doesn't suffice.
    """
    check_inputs(model, x, y, eps=largest, norm=options.get("norm", "inf"), target=target)

    def falls(rows, eps):
        """Which of these images fall to the attack of this size (M,)."""
        wanted = {} if target is None else {"target": target[rows]}
        x_adv = attack(model, x[rows], y[rows], eps=eps, **wanted, **options)
        return fooled(_asking.logits(model, x_adv), y[rows], **wanted)

    result = torch.full((len(x),), float("inf"), device=x.device)
    if not len(x):
        return result
    result[fooled(_asking.logits(model, x), y, target)] = 0.0
    rows = torch.nonzero(result > 0).flatten()
    rows = rows[falls(rows, torch.full((len(rows),), largest, device=x.device))] if len(rows) else rows
    low, high = torch.zeros(len(rows), device=x.device), torch.full((len(rows),), largest, device=x.device)
    for _ in range(halvings if len(rows) else 0):
        middle = (low + high) / 2
        success = falls(rows, middle)
        low, high = torch.where(success, low, middle), torch.where(success, middle, high)
    result[rows] = high
    return result


def fooled(logits, y, target=None):
    """Which answers (N, classes) are what the attack wants (N,): not the label, or the target."""
    return logits.argmax(1) != y if target is None else logits.argmax(1) == target


def input_gradient(model, x, y, target=None):
    """The direction in which the attack's loss grows, and the model's answer at `x`.

    The loss is the cross-entropy of the true label, or minus that of the target.

    Returns:
        gradient, shaped as `x`, and logits (N, classes), both detached. Parameters' gradients are left alone. Images that
        don't fit into memory together take turns.
    """
    fitting = _asking.at_once(x)
    if len(x) > fitting:
        targets = [None] * len(x) if target is None else target.split(fitting)
        turns = [
            input_gradient(model, *turn) for turn in zip(x.split(fitting), y.split(fitting), targets, strict=False)
        ]
        return tuple(torch.cat(parts) for parts in zip(*turns, strict=True))
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        loss = loss_of(logits, y, target).sum()
        (gradient,) = torch.autograd.grad(loss, x)
    check_finite(loss)
    return gradient, logits.detach()


def loss_of(logits, y, target=None):
    """The loss of each answer (N,) that an attack drives up: the label's cross-entropy, or minus the target's."""
    return (
        F.cross_entropy(logits, y, reduction="none")
        if target is None
        else -F.cross_entropy(logits, target, reduction="none")
    )


def loss_to_climb(model, x, y, target=None):
    """The loss of each image (N,) that an attack drives up, without a gradient; see `loss_of`."""
    return loss_of(_asking.logits(model, x), y, target)


def steepest(gradient, norm):
    """The step of length 1, measured in `norm`, that climbs most: the signs, or the gradient itself shortened to 1."""
    return gradient.sign() if norm == "inf" else gradient / length(gradient, "2")


def project(x_adv, x, eps, norm="inf"):
    """`x_adv`, brought back into the ball of radius `eps` around `x` and into the pixel range.

    In the L-infinity norm that is the nearest such point. In L2 it is first the nearest one of the ball and then of the range,
    which only brings it closer to `x`; where the range cuts it, a nearer point may exist.
    """
    if norm == "inf":
        return torch.clamp(x_adv, x - eps, x + eps).clamp(0, 1)
    step = x_adv - x
    return (x + step * (eps / length(step, "2")).clamp(max=1)).clamp(0, 1)


def random_point_in_ball(x, eps, norm="inf", generator=None):
    """A point drawn uniformly from the ball of radius `eps` around `x`, then cut to the pixel range."""
    if norm == "inf":
        return (x + eps * (2 * draw(torch.rand, x.shape, x, generator) - 1)).clamp(0, 1)
    direction = draw(torch.randn, x.shape, x, generator)
    radius = draw(torch.rand, (len(x), 1, 1, 1), x, generator) ** (1 / max(1, x.shape[1:].numel()))
    return (x + eps * radius * direction / length(direction, "2")).clamp(0, 1)


def per_image(value, x):
    """A number, or one for each image (N,), as a tensor (N, 1, 1, 1) of x's dtype and device."""
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1).expand(len(x), 1, 1, 1)


def length(x, norm):
    """Length of each image's vector in the norm "1" or "2", (N, 1, 1, 1), never 0, so that it can be divided by."""
    return x.flatten(1).norm(p=float(norm), dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)


def check_walk(x, steps, step_size, norm, restarts, random_start, momentum):
    """Raise a ValueError for options that `pgd` can't follow."""
    if norm not in ("inf", "2"):
        raise ValueError(f'norm={norm!r}: "inf" and "2" are the norms that pgd knows.')
    if not isinstance(steps, numbers.Real) or steps < 0 or int(steps) != steps:
        raise ValueError(f"steps={steps!r}: give a whole number, 0 or more.")
    if not isinstance(restarts, numbers.Integral) or restarts < 1:
        raise ValueError(f"restarts={restarts!r}: a whole number, there must be at least one walk.")
    if restarts > 1 and not random_start:
        raise ValueError(f"restarts={restarts} without random_start would walk the same way each time.")
    if step_size is not None and torch.as_tensor(step_size).numel() not in (1, len(x)):
        raise ValueError(
            f"step_size must be one number, or one for each of the {len(x)} images; got {tuple(torch.as_tensor(step_size).shape)}."
        )
    if step_size is not None and not (torch.as_tensor(step_size) > 0).all():
        raise ValueError(f"step_size={step_size}: a step is longer than 0. For the default leave it out.")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum={momentum}: a share lies between 0 and 1.")
