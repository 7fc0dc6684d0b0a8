"""Attacks on objects: stickers on a flat one, a new texture for a solid one, made to hold from any view.

What an object looks like from a view is the caller's business: each attack takes a function
``draw(texture, n, generator)`` that returns n random pictures (n, 3, H, W) of the object with that texture (3, h, w), in which
it is differentiable. The mean over its pictures stands for the expectation over views.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from medattack_edu.attacks import _draws
from medattack_edu.attacks._colour import colour_distance
from medattack_edu.attacks._inputs import (
    check_eval,
    check_finite,
    check_images,
    check_logits,
    check_target,
    check_white_box,
)

PRINTABLE = ((0.10, 0.10, 0.11), (0.93, 0.93, 0.91))  # black and white tape in daylight
CLOSEST_TO_THE_END = 0.02  # a sticker starts no nearer to black or white than this, where its gradient would vanish


@dataclass
class Attacked:
    """An object's texture after an attack.

    Attributes:
        texture: (3, h, w), in [0, 1]. mask: (1, h, w), 1 where it was allowed to change.
        target: the class it should be taken for.
        history: mean log-probability of the target over the views of each step.
        interrupted: whether Ctrl-C stopped it before its end.
    """

    texture: torch.Tensor
    mask: torch.Tensor
    target: int
    history: list = field(default_factory=list)
    interrupted: bool = False


# --- Stickers (Eykholt et al. 2018, arXiv 1707.08945) ----------------------------------------------------------------


def find_mask(
    model, texture, draw, target, *, allowed=None, penalty=25.0, cell=6, steps=60, batch=16, step_size=0.25,
    printable=PRINTABLE, generator=None, progress=True,
):  # fmt: skip
    """First step: where stickers would do most. Tape over the whole sign pays for every bit that it changes (L1 penalty).

    Every square of `cell` texels has a tape of its own, somewhere between black and white and between glass and opaque.
    What the penalty leaves opaque lies where the model looks for what decides.

    Args:
        model: maps images in [0, 1] to logits. texture: the object's (3, h, w). draw: see the top of the module.
        target: the class it should be taken for.
        allowed: (1, h, w), 1 where a sticker may be put; default: everywhere.
        penalty: weight of the mean absolute change of a texel against the log-probability.
        cell: side of a square, in texels.
        steps, batch: how often, and over how many views each time. step_size: of Adam, in logits.
        printable: the two colours of the tape, darker one first.
        generator: of the views. progress: show a bar.

    Returns:
        heat (h, w), from 0 to 1: how opaque the tape is that is left.

    Raises:
        KeyboardInterrupt: after Ctrl-C: places that were looked for by half say nothing.
    """
    _check_counts(steps=steps, batch=batch, step_size=step_size)
    _check_weights(penalty=penalty)
    allowed = _check_attack(model, texture, draw, target, allowed)
    grey, opaque = _no_opinion(texture, cell), _no_opinion(texture, cell)

    def heat():
        return _spread(torch.sigmoid(opaque), cell, texture) * allowed[0]

    def taped():
        return apply_mask(texture, _tape(torch.sigmoid(grey), cell, texture, printable), heat())

    def cost(step, *_):
        return penalty * (taped() - texture).abs().mean()

    _, interrupted = _climb(
        model, [grey, opaque], taped, draw, target, cost=cost, steps=steps, batch=batch, step_size=step_size,
        generator=generator, progress=progress, title="looking where stickers would do most",
    )  # fmt: skip
    if interrupted:
        raise KeyboardInterrupt
    return heat().detach()


def rectangles(heat, allowed, *, n=8, sizes=((12, 24), (24, 12)), grid=6):
    """Where to put `n` stickers: one by one, the rectangle that covers most heat and none of those before.

    Args:
        heat: (h, w), as `find_mask` gives it. allowed: (1, h, w); a sticker lies wholly where it is 1.
        sizes: heights and widths to choose from, in texels.
        grid: corners lie on multiples of so many texels, so that stickers can be cut into squares of that side.

    Returns:
        mask (1, h, w) of zeros and ones.

    Raises:
        ValueError: if there is no room for all of them.
    """
    free, mask = (allowed > 0.999)[0], torch.zeros_like(allowed)
    for number in range(n):
        best, place = -1.0, None
        for height, width in sizes:
            if height > heat.shape[0] or width > heat.shape[1]:
                continue
            covered = F.avg_pool2d(torch.stack([heat, free.to(heat)])[None], (height, width), grid)[0]
            score = torch.where(covered[1] > 0.9999, covered[0] * (height * width) ** 0.5, -torch.ones_like(covered[0]))
            at = int(score.argmax())
            if score.flatten()[at] > best:
                best, (row, column) = score.flatten()[at].item(), divmod(at, score.shape[1])
                place = (grid * row, grid * column, height, width)
        if place is None:
            raise ValueError(
                f"There is room for {number} of {n} stickers of the sizes {sizes}. Take fewer or smaller ones."
            )
        top, left, height, width = place
        mask[:, top : top + height, left : left + width] = 1
        free[top : top + height, left : left + width] = False
    return mask


def apply_mask(texture, sticker, mask):
    """The texture with the sticker where `mask` is 1. texture, sticker (3, h, w); mask (1, h, w). Changes neither."""
    return texture * (1 - mask) + sticker * mask


def non_printability(colours, printable=PRINTABLE):
    """How far each texel is from all colours that can be printed (Sharif et al. 2016): the product of the distances.

    Args:
        colours: (3, h, w). printable: k colours (k, 3).

    Returns:
        (h, w), 0 where the colour is one of the printable.
    """
    printable = torch.as_tensor(printable, dtype=colours.dtype, device=colours.device)
    apart = colours[None] - printable[:, :, None, None]
    return apart.square().sum(1).clamp(min=1e-12).sqrt().prod(0)


def sticker_attack(
    model, texture, mask, draw, target, *, cell=6, printability=4.0, penalty=0.0, steps=120, batch=16, step_size=0.25,
    printable=PRINTABLE, start=None, generator=None, progress=True,
):  # fmt: skip
    """Second step: black and white stickers inside a fixed mask that make the object pass for another from any view.

    Every sticker is cut into squares of `cell` texels, each somewhere between black and white. The log-probability of the
    target over random views pulls at them, the non-printability score pushes them to the ends, and at last each takes the
    nearer end.

    Args:
        model, texture, draw, target, steps, batch, generator, progress: as in `find_mask`.
        mask: (1, h, w) of zeros and ones: where stickers are.
        cell: side of a square, in texels. printability: weight of the non-printability score at the end; it grows from 0.
        penalty: weight of the mean absolute change of a texel under the stickers, the paper's norm: with more of it, more
            squares take whichever colour is nearer to the sign's. 0 leaves them free.
        step_size: of Adam, in logits of the grey level.
        printable: the two colours of the tape, darker one first.
        start: a texture (3, h, w) to begin from, e.g. an earlier result; default: grey stickers.

    Returns:
        Attacked: its texture has only printable colours inside the mask and is the original's elsewhere.
    """
    _check_counts(steps=steps, batch=batch, step_size=step_size)
    _check_weights(printability=printability, penalty=penalty)
    _check_attack(model, texture, draw, target, mask)
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("The mask of stickers holds zeros and ones only: a sticker covers or it doesn't.")
    levels = _no_opinion(texture, cell)
    if start is not None:
        grey = _cells(_greys(start, printable), cell)
        levels = torch.logit(grey.clamp(CLOSEST_TO_THE_END, 1 - CLOSEST_TO_THE_END)).requires_grad_()

    def tape():
        return _tape(torch.sigmoid(levels), cell, texture, printable)

    def stickered():
        return apply_mask(texture, tape(), mask)

    def cost(step, *_):
        covered = mask.sum()
        unprintable = (non_printability(tape(), printable) * mask[0]).sum() / covered
        change = (stickered() - texture).abs().sum() / (3 * covered)
        return printability * step / steps * unprintable + penalty * change

    history, interrupted = _climb(
        model, [levels], stickered, draw, target, cost=cost, steps=steps, batch=batch, step_size=step_size,
        generator=generator, progress=progress, title="making the stickers",
    )  # fmt: skip
    nearer = (levels.detach() > 0).to(texture)
    final = apply_mask(texture, _tape(nearer, cell, texture, printable), mask)
    return Attacked(final, mask.clone(), int(target), history, interrupted)


def refine_stickers(
    model, made, draw, *, cell=6, passes=3, views=64, printable=PRINTABLE, generator=None, progress=True,
):  # fmt: skip
    """Third step: each square of the stickers tries the other colour and keeps it if the target becomes likelier.

    A climb through greys ends where no small change helps; a square that turns from black to white is a large one. The
    steps above are the paper's, this one isn't.

    Args:
        model, draw, generator, progress: as in `find_mask`.
        made: Attacked, as `sticker_attack` gives it. cell, printable: as they were there.
        passes: how often each square is tried. views: the same for all squares of one pass, others in the next.

    Returns:
        Attacked: its history is that of `made`, and the mean log-probability after each pass.
    """
    mask, target = made.mask, made.target
    _check_counts(passes=passes, views=views)
    _check_attack(model, made.texture, draw, target, mask)
    share = _cells(mask[0], cell)
    white = (_cells(_greys(made.texture, printable) * mask[0], cell) > share / 2).to(made.texture)
    squares = torch.nonzero(share > 0)
    history, interrupted = list(made.history), made.interrupted

    def stickered():
        return apply_mask(made.texture, _tape(white, cell, made.texture, printable), mask)

    from tqdm.auto import tqdm

    bar = tqdm(total=passes * len(squares), desc="refining the stickers", disable=not progress)
    try:
        for _ in range(passes):
            seed = _draws.seed(generator)
            best = mean_log_probability(model, stickered(), draw, target, views=views, seed=seed)
            order = torch.randperm(len(squares), generator=generator, device=_draws.home(generator))
            for row, column in squares[order.to(squares.device)].tolist():
                before = white[row, column].item()
                white[row, column] = 1 - before
                likely = mean_log_probability(model, stickered(), draw, target, views=views, seed=seed)
                if likely > best:
                    best = likely
                else:
                    white[row, column] = before
                bar.set_postfix(probability=f"{math.exp(best):.2f}", refresh=False)
                bar.update()
            history.append(best)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        bar.close()
    return Attacked(stickered(), mask.clone(), target, history, interrupted)


def mean_log_probability(model, texture, draw, target, *, views=64, seed=0):
    """Mean log-probability of the target over `views` pictures, the same for every texture with the same seed."""
    with torch.no_grad():
        images = draw(texture, views, torch.Generator().manual_seed(seed))
        return F.log_softmax(model(images), 1)[:, target].mean().item()


def _no_opinion(texture, cell):
    """Logits 0 (rows, columns) for each square of `cell` texels of a texture, ready to be climbed with."""
    rows, columns = (math.ceil(side / cell) for side in texture.shape[1:])
    return torch.zeros(rows, columns, dtype=texture.dtype, device=texture.device, requires_grad=True)


def _spread(squares, cell, texture):
    """A value for each square (rows, columns) as one for each texel (h, w)."""
    return squares.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: texture.shape[1], : texture.shape[2]]


def _tape(grey, cell, texture, printable):
    """Colours (3, h, w) of tape that is dark where `grey` (rows, columns) is 0 and light where it is 1."""
    dark, light = torch.as_tensor(printable, dtype=texture.dtype, device=texture.device)[:, :, None, None]
    return dark + (light - dark) * _spread(grey, cell, texture)


def _greys(colours, printable):
    """Where colours (3, h, w) lie between the dark (0) and the light one (1) of the tape, (h, w)."""
    dark, light = (sum(colour) / 3 for colour in printable)
    return (colours.mean(0) - dark) / (light - dark)


def _cells(field, cell):
    """Means over squares of `cell` texels; the last ones may be smaller. (h, w) to (rows, columns)."""
    return F.avg_pool2d(field[None], cell, ceil_mode=True, count_include_pad=False)[0]


# --- Textures (Athalye et al. 2018, arXiv 1707.07397) ----------------------------------------------------------------


def texture_attack(
    model, texture, draw, target, *, mask=None, eps=1.0, colour=0.0, steps=100, batch=12, step_size=0.1, start=None,
    generator=None, progress=True,
):  # fmt: skip
    """A texture that makes a solid object pass for another: expectation over transformation.

    Climbs the mean log-probability of the target over random views, poses, lights and backgrounds, and after each step
    comes back to the ball around the original texture. As in the paper, the climb may also pay for what an eye would see: how
    far the pictures lie in CIELAB from those of the original, seen from the same views.

    Args:
        model, texture, draw, target, steps, batch, generator, progress: as in `find_mask`.
        mask: (1, h, w), 1 where the texture may change; default: everywhere.
        eps: the furthest that a texel may go, in pixel units; 1 leaves it free.
        colour: log-probability to pay for a unit of CIELAB distance (root mean square over a picture). More than 0 draws every
            view twice.
        step_size: of Adam, in pixel units.
        start: a texture to begin from, e.g. an earlier result; default: the original.

    Returns:
        Attacked.
    """
    _check_counts(steps=steps, batch=batch, step_size=step_size)
    _check_weights(colour=colour)
    mask = _check_attack(model, texture, draw, target, mask)
    if not 0 <= eps <= 1:
        raise ValueError(f"eps={eps}: a texel can move by 0 to 1 in pixel units.")
    changed = (texture if start is None else start).detach().clone().requires_grad_()
    low, high = (texture - eps * mask).clamp(0, 1), (texture + eps * mask).clamp(0, 1)

    def project():
        with torch.no_grad():
            changed.copy_(torch.minimum(torch.maximum(changed, low), high))

    def cost(step, images, same_views):
        return colour * colour_distance(images, same_views(texture)).mean()

    project()
    history, interrupted = _climb(
        model, [changed], lambda: changed, draw, target, cost=cost if colour else None, project=project, steps=steps, batch=batch,
        step_size=step_size, generator=generator, progress=progress, title="making the texture",
    )  # fmt: skip
    return Attacked(changed.detach(), mask.clone(), int(target), history, interrupted)


# --- The climb that all of them share --------------------------------------------------------------------------------


def _climb(
    model, free, texture_of, draw, target, *, steps, batch, step_size, generator, progress, title, cost=None, project=None,
):  # fmt: skip
    """Adam on the tensors `free`: up the mean log-probability of the target over fresh views.

    Args:
        free: what may move. texture_of: a function without arguments, from them to the texture.
        cost: what is taken off the log-probability: a function of the number of the step, counted from 1, of the pictures that
            the model sees in it, and of a function that draws another texture from the same views.
        project: a function that brings `free` back to where it is allowed, after each step.

    Returns:
        The mean log-probability of each step, and whether Ctrl-C stopped it.
    """
    from tqdm.auto import tqdm

    optimiser = torch.optim.Adam(free, lr=step_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - 0.8 * step / max(steps, 1))
    history, bar = [], tqdm(total=steps, desc=title, disable=not progress)
    try:
        for step in range(1, steps + 1):
            with torch.enable_grad():
                again = (generator or torch.default_generator).clone_state()
                images = draw(texture_of(), batch, generator)
                likely = F.log_softmax(model(images), 1)[:, target].mean()
                paid = 0 if cost is None else cost(step, images, lambda other, views=again: draw(other, batch, views))
                loss = paid - likely
            check_finite(loss)
            for tensor, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):
                tensor.grad = gradient
            optimiser.step()
            schedule.step()
            if project is not None:
                project()
            history.append(likely.item())
            bar.set_postfix(probability=f"{math.exp(history[-1]):.2f}", refresh=False)
            bar.update()
    except KeyboardInterrupt:
        bar.write(f"{title} stopped after {len(history)} of {steps} steps.")
        return history, True
    finally:
        bar.close()
    return history, False


def _check_weights(**weights):
    """Raise a ValueError unless each is 0 or more."""
    for name, value in weights.items():
        if not value >= 0:
            raise ValueError(f"{name}={value}: what a change costs is 0 or more.")


def _check_counts(step_size=1.0, **counts):
    """Raise a ValueError unless each is a whole number, steps and passes 0 or more and the others 1 or more."""
    for name, value in counts.items():
        least = 0 if name in ("steps", "passes") else 1
        if int(value) != value or value < least:
            raise ValueError(f"{name}={value}: give a whole number, {least} or more.")
    if not step_size > 0:
        raise ValueError(f"step_size={step_size}: a step is longer than 0.")


def _check_attack(model, texture, draw, target, mask):
    """Raise a ValueError unless all fits together. Returns the mask, all ones if it is None."""
    if not isinstance(texture, torch.Tensor) or texture.ndim != 3 or texture.shape[0] != 3:
        shape = tuple(texture.shape) if isinstance(texture, torch.Tensor) else type(texture).__name__
        raise ValueError(f"The texture must be a tensor (3, h, w); got {shape}.")
    check_images(texture[None])
    mask = torch.ones_like(texture[:1]) if mask is None else mask
    if mask.shape != texture[:1].shape:
        raise ValueError(f"The mask must have the shape {tuple(texture[:1].shape)}; got {tuple(mask.shape)}.")
    if not mask.any():
        raise ValueError("The mask is empty: there is no place that the attack may change.")
    check_white_box(model)
    check_eval(model)
    with torch.no_grad():
        images = draw(texture, 1, torch.Generator().manual_seed(0))
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or len(images) != 1:
        shape = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise ValueError(f"draw(texture, n, generator) must return n pictures (n, 3, H, W); for n = 1 it gave {shape}.")
    classes = check_logits(model, images)
    check_target(target, classes)
    return mask
