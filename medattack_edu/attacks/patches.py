"""Adversarial patches (Brown et al. 2017, arXiv 1712.09665): the operator A(p, x, l, t), and the expectation that trains p.

How well a patch does is measured in `metrics`; which patches are made once and kept, `trained_patches` says; printing one and
photographing it is in `sheets`.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from medattack_edu.attacks._draws import draw, home
from medattack_edu.attacks._inputs import (
    check_eval,
    check_finite,
    check_images,
    check_logits,
    check_target,
    check_white_box,
)

ANGLES = 22.5  # degrees either way, as the paper's own code turns its patches
PLASTER = 0.36  # height of a plaster strip, as a share of its length
STEP_SIZE = 0.05  # of the whole pixel range: how far Adam moves a pixel of the patch in one step
INK_TO_PAPER = (0.06, 0.95)  # the darkest and the lightest that an office printer puts on plain paper, and
INK_SATURATION = 0.85  # how much of a screen's colour is left there


# --- The operator A(p, x, l, t) -----------------------------------------------------------------------------------------


def place(patch, x, *, location=(0.5, 0.5), angle=0.0, scale=0.4, mask="disc"):
    """Put a patch on images: the operator A(p, x, l, t) of Brown et al. Differentiable in the patch; `x` stays as it is.

    Each image can have its own location, angle and scale. Pixels outside the mask keep their value to the last bit; those on
    its edge are mixed in proportion to how much of them is covered. What hangs over the border of the image is cut off.

    Args:
        patch: (3, h, w), float, in [0, 1]; or one for each image (N, 3, h, w).
        x: images (N, 3, H, W), float, in [0, 1].
        location: centre (cx, cy) as fractions of width and height from the top left; or a tensor (N, 2).
        angle: degrees, counter-clockwise as you look at the picture; one number or one for each image (N,).
        scale: the patch's longer side over the image's shorter side, more than 0 and at most 1; one number or (N,).
        mask: "disc", "square" (all of the patch), "plaster" (a strip with round ends), or a tensor (h, w) in [0, 1]: 1 where
            the patch is opaque.

    Returns:
        Images, same shape, dtype and device as `x`, in [0, 1].

    Raises:
        ValueError: if the inputs don't fit together; the message says what was expected.
    """
    check_images(x)
    check_patch(patch, x)
    check_mask(mask)
    if not len(x):
        return x.clone()
    return paste(patch, x, *placement(x, location, angle, scale), mask).clamp(0, 1)


def random_placements(n, *, scale=0.4, angles=ANGLES, mask="disc", generator=None):
    """Draw a location, an angle and a scale for each of `n` images, so that every patch lies wholly inside.

    Made to be handed on: ``place(patch, x, **random_placements(len(x)))``. A large square whose corners can't all lie inside at
    its angle stands in the middle.

    Args:
        n: how many.
        scale: of all of them, or a pair (low, high) to draw from uniformly.
        angles: the largest turn either way in degrees, or a pair (low, high); drawn uniformly.
        mask: what has to be inside. The corners of a square reach further than a disc or a plaster of the same scale.
        generator: of the draw.

    Returns:
        {"location": (n, 2), "angle": (n,), "scale": (n,)}, tensors on the CPU.

    Raises:
        ValueError: for a scale that isn't above 0 and at most 1.
    """
    low, high = scale if isinstance(scale, tuple | list) else (scale, scale)
    first, last = angles if isinstance(angles, tuple | list) else (-angles, angles)
    if not 0 < low <= high <= 1:
        raise ValueError(f"scale={scale}: the patch's side over the image's lies above 0 and is at most 1.")
    chances = torch.rand(4, n, generator=generator, device=home(generator)).cpu()
    scales, turns = low + (high - low) * chances[0], first + (last - first) * chances[1]
    reach = scales
    if not (isinstance(mask, str) and mask in ("disc", "plaster")):
        radians = torch.deg2rad(turns)
        reach = scales * (radians.cos().abs() + radians.sin().abs())
    room = (1 - reach).clamp(min=0)  # what doesn't fit at its angle stands in the middle
    return {"location": (0.5 + room * (chances[2:] - 0.5)).T, "angle": turns, "scale": scales}


def paste(patch, x, location, angle, scale, mask):
    """`place` without its checks. location (N, 2), angle in degrees and scale (N,) are tensors on the device of `x`."""
    height, width = x.shape[-2:]
    side = (scale * min(height, width)).view(-1, 1, 1)  # of the patch, in pixels of the image
    # The centre of each pixel, as seen from the middle of the patch, turned back by the angle; in sides of the patch.
    right = torch.arange(width, dtype=x.dtype, device=x.device) + 0.5 - location[:, 0].view(-1, 1, 1) * width
    below = (
        torch.arange(height, dtype=x.dtype, device=x.device).view(-1, 1) + 0.5 - location[:, 1].view(-1, 1, 1) * height
    )
    cos, sin = torch.cos(torch.deg2rad(angle)).view(-1, 1, 1), torch.sin(torch.deg2rad(angle)).view(-1, 1, 1)
    across, down = (right * cos - below * sin) / side, (right * sin + below * cos) / side
    texels = (max(patch.shape[-2:]) / side).flatten()  # pixels of the patch in one pixel of the image
    patch = softened((patch if patch.ndim == 4 else patch[None]).to(x.dtype), texels)
    half_height, half_width = (length / (2 * max(patch.shape[-2:])) for length in patch.shape[-2:])
    grid = torch.stack((across / half_width, down / half_height), -1)
    colours = F.grid_sample(patch, grid, "bilinear", "border", align_corners=False)
    shape = MASKS[mask] if isinstance(mask, str) else square
    outside = shape(across, down, half_width, half_height) * side  # pixels from the edge, negative inside
    cover = (0.5 - outside).clamp(0, 1)[:, None]
    if not isinstance(mask, str):
        mask = softened(mask.to(x)[None, None], max(mask.shape) / side.flatten())
        right, down = (
            grid[:, :1, 1:2] - grid[:, :1, :1],
            grid[:, 1:2, :1] - grid[:, :1, :1],
        )  # from a pixel to its neighbour
        quarters = [
            grid + (i * right + j * down) / 4 for i in (-1, 1) for j in (-1, 1)
        ]  # else an edge could fall between pixels
        cover = (
            cover * sum(F.grid_sample(mask, part, "bilinear", "border", align_corners=False) for part in quarters) / 4
        )
    return torch.lerp(x, colours, cover)  # exactly x where the cover is 0


def softened(texture, texels):
    """A texture (1 or N, C, h, w) for each of the N images, without what is too fine for it to show.

    texels (N,): how many pixels of the texture come to lie in one pixel of the image. From 2 on, `grid_sample` would step over
    some of them, so they are averaged first: by the power of two that leaves between 1 and 2.
    """
    levels = texels.log2().floor().clamp(min=0).long()
    result = texture.expand(len(texels), -1, -1, -1)
    for level in levels.unique().tolist():
        if level:
            size = [math.ceil(length / 2**level) for length in texture.shape[-2:]]
            coarse = F.interpolate(texture, size, mode="bilinear", antialias=True)
            soft = F.interpolate(coarse, texture.shape[-2:], mode="bilinear")
            result = torch.where((levels == level).view(-1, 1, 1, 1), soft, result)
    return result


def disc(across, down, half_width, half_height):
    """How far outside the inscribed disc each point lies (an ellipse, if the patch isn't square), in sides of the patch."""
    inner = torch.hypot(across / half_width, down / half_height)
    slope = torch.hypot(across / half_width**2, down / half_height**2).clamp(min=1e-6)
    return inner * (inner - 1) / slope


def square(across, down, half_width, half_height):
    """How far outside the patch's own rectangle each point lies."""
    return torch.maximum(across.abs() - half_width, down.abs() - half_height)


def plaster(across, down, half_width, half_height):
    """How far outside a strip along the patch's width, with half circles for ends, each point lies."""
    radius = min(half_height, PLASTER * half_width)
    return torch.hypot((across.abs() - (half_width - radius)).clamp(min=0), down) - radius


MASKS = {"disc": disc, "square": square, "plaster": plaster}


# --- The expectation over images, locations and transformations ---------------------------------------------------------


@dataclass
class TrainedPatch:
    """A patch and how it came about. Hand it to ``train_patch(start=...)`` to go on where it stopped.

    Attributes:
        patch: (3, size, size) in [0, 1].
        target: the class that it speaks for. mask: its shape.
        history: mean log probability of the target, at every step so far. steps: how many there were.
        interrupted: whether Ctrl-C ended them.
        state: what the next step needs beyond the patch: Adam's two moments, and where the random draws stand.
    """

    patch: torch.Tensor
    target: int
    mask: object
    history: list = field(default_factory=list)
    interrupted: bool = False
    state: dict = field(default_factory=dict)

    @property
    def steps(self):
        return len(self.history)


def train_patch(
    model,
    images,
    target,
    *,
    steps=200,
    batch=16,
    scale=0.4,
    angles=ANGLES,
    mask="disc",
    size=64,
    step_size=STEP_SIZE,
    objective="log probability",
    light=0.0,
    contrast=0.0,
    blur=0.0,
    perspective=0.0,
    printable=False,
    start=None,
    generator=None,
    progress=True,
    title=None,
):
    """The patch that maximises the expected log probability of the target (Brown et al. 2017, arXiv 1712.09665, eq. 1):
    the expectation over images, locations and transformations of log Pr(target | A(p, x, l, t)).

    Each step draws images and placements, and climbs along the gradient to the patch with Adam (Kingma and Ba 2015, arXiv
    1412.6980). Ctrl-C, or the stop button, ends it and keeps the patch so far.

    Args:
        model: maps images in [0, 1] to logits (N, classes); a list of models is an ensemble, whose log probabilities are
            averaged. A frozen one (`medattack_edu.freeze`) is faster.
        images: to train on (N, 3, H, W), float, in [0, 1]; or a function from (batch, generator) to such images, for a supply
            that never ends.
        target: the class to answer.
        steps: how many, after those of `start`. batch: images a step.
        scale, angles, mask: as in `random_placements`.
        size: side of the patch in its own pixels.
        step_size: how far a step moves a pixel of the patch; a pair (first, last) lets it fall evenly from one to the other.
        objective: "log probability", or "probability" to see why the paper takes the logarithm.
        light, contrast, blur, perspective: how far a camera may change the picture, drawn anew for every image: brightness by
            +- light, contrast by a factor 1 +- contrast, defocus up to blur pixels (standard deviation), and a tilted view in
            which the near side is up to 1 + perspective times as large as the far one, from left to right and from top to bottom.
            0 for none.
        printable: train the patch as a printer would give it, with paler ink and greyer paper.
        start: a TrainedPatch to go on with, or a patch (3, h, w) to begin from; default: grey.
        generator: of the draws; default: one of its own with a fixed seed, or the one of `start` where that stopped.
        progress: show a bar, which says `title`.

    Returns:
        A TrainedPatch on the device of the images.

    Raises:
        ValueError: if the inputs don't fit together; the message says what was expected.
    """
    models = list(model) if isinstance(model, list | tuple) else [model]
    supply = images if callable(images) else endless(images)
    check_training(models, images, supply, target, steps, batch, size, objective, start, mask)
    check_camera(light, contrast, blur, perspective)
    generator = own_generator(start) if generator is None else generator
    placing = {"scale": scale, "angles": angles, "mask": mask}
    device = images.device if isinstance(images, torch.Tensor) else supply(1, torch.Generator()).device
    patch, moments, history = beginning(start, size, device)
    done, interrupted = len(history), False
    first, last = step_size if isinstance(step_size, tuple | list) else (step_size, step_size)
    bar = progress_bar(steps, title or f"training a patch for class {target}", progress)
    try:
        for step in range(done + 1, done + steps + 1):
            x = supply(batch, generator)
            placed = {
                name: value.to(x) for name, value in random_placements(len(x), generator=generator, **placing).items()
            }
            patch.requires_grad_()
            seen = paste(printed(patch) if printable else patch, x, **placed, mask=mask)
            seen = through_camera(seen, light, contrast, blur, perspective, generator)
            log_probability = torch.stack([model(seen).log_softmax(1)[:, target] for model in models])
            value = log_probability if objective == "log probability" else log_probability.exp()
            (gradient,) = torch.autograd.grad(value.mean(), patch)
            check_finite(log_probability)
            history.append(expected := log_probability.mean().item())
            length = first + (last - first) * (step - done - 1) / max(steps - 1, 1)
            patch = (patch.detach() + length * adam(gradient, moments, step)).clamp(0, 1)
            bar.set_postfix(log_probability=f"{expected:.2f}", refresh=False)
            bar.update()
    except KeyboardInterrupt:
        interrupted = True
        bar.write(f"Stopped after {len(history)} steps; the patch is kept as it stands.")
    finally:
        bar.close()
    patch = patch.detach()
    state = moments | {"generator": generator.get_state()}
    return TrainedPatch(patch, int(target), mask, history, interrupted, state)


def endless(images):
    """A supply of images (N, 3, H, W): a function from (batch, generator) to as many of them, drawn with replacement."""

    def some(batch, generator):
        return images[
            torch.randint(len(images), (batch,), generator=generator, device=home(generator)).to(images.device)
        ]

    return some


def adam(gradient, moments, step, decay=(0.9, 0.999)):
    """The direction of Adam's next step, pixels of about length 1. Renews the two `moments`.

    The small number that keeps the division from 0 is a share of the largest slope met, where Kingma and Ba have a fixed 1e-8:
    the gradient of a probability can be smaller than that and point somewhere all the same.
    """
    for name, power, share in (("mean", 1, decay[0]), ("square", 2, decay[1])):
        moments[name] = share * moments[name] + (1 - share) * gradient**power
    mean, square = moments["mean"] / (1 - decay[0] ** step), moments["square"] / (1 - decay[1] ** step)
    return mean / (square.sqrt() + 1e-8 * square.max().sqrt() + 1e-30)


def beginning(start, size, device):
    """The patch, Adam's moments and the history to go on from: those of a TrainedPatch, or new ones."""
    if isinstance(start, TrainedPatch):
        moments = {name: start.state[name].to(device) for name in ("mean", "square")}
        return start.patch.detach().clone().to(device), moments, list(start.history)
    patch = torch.full((3, size, size), 0.5, device=device) if start is None else start.detach().clone().to(device)
    return patch, {"mean": torch.zeros_like(patch), "square": torch.zeros_like(patch)}, []


def same_mask(one, other):
    """Whether two masks, names or tensors, are the same."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one.cpu(), other.cpu())
    return isinstance(one, str) and one == other


def own_generator(start):
    """A generator with a fixed seed, or one that goes on where the draws for `start` stopped."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(start, TrainedPatch):
        generator.set_state(start.state["generator"])
    return generator


def progress_bar(steps, title, shown):
    """A bar that says what is trained."""
    from tqdm.auto import tqdm

    return tqdm(total=steps, desc=title, disable=not shown)


# --- What printer and camera do, in a form that lets the gradient through -----------------------------------------------


def printed(patch):
    """A patch as an office printer gives it: less saturated, from `INK_TO_PAPER`. Differentiable; shape as `patch`."""
    grey = patch.mean(-3, keepdim=True)
    ink, paper = INK_TO_PAPER
    return ink + (paper - ink) * (grey + INK_SATURATION * (patch - grey))


def through_camera(x, light=0.0, contrast=0.0, blur=0.0, perspective=0.0, generator=None):
    """Images (N, 3, H, W) under a light, with a contrast, out of a focus and from a side drawn for each; see `train_patch`.

    Differentiable. `sheets.photograph` does more of it and without a gradient.
    """
    if not (light or contrast or blur or perspective):
        return x
    chances = 2 * draw(torch.rand, (5, len(x)), x, generator) - 1
    if perspective:
        x = tilted(x, *(perspective / (2 + perspective) * chances[3:]))
    if blur:
        x = defocused(x, blur * chances[2].abs())
    if light or contrast:
        factor, offset = (1 + contrast * chances[1]).view(-1, 1, 1, 1), (light * chances[0]).view(-1, 1, 1, 1)
        x = (0.5 + factor * (x - 0.5) + offset).clamp(0, 1)
    return x


def tilted(x, across, down):
    """The view from a side: the scale runs from 1 - across at the left to 1 + across at the right, and likewise down.

    across, down (N,): between -1 and 1, together too.
    """
    height, width = x.shape[-2:]
    u = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, dtype=x.dtype, device=x.device).view(1, 1, -1)
    v = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, dtype=x.dtype, device=x.device).view(1, -1, 1)
    near = 1 + across.view(-1, 1, 1) * u + down.view(-1, 1, 1) * v
    grid = torch.stack((u / near, v / near), -1)
    return F.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)


def defocused(x, sigma):
    """A Gaussian blur with its own standard deviation sigma (N,), in pixels, for each image."""
    reach = max(1, math.ceil(3 * sigma.max().item()))
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    weights = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3).view(-1, 1)) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)  # (N * channels, taps)
    flat = x.reshape(1, -1, *x.shape[-2:])
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), "replicate"), weights[:, None, :, None], groups=flat.shape[1])
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), "replicate"), weights[:, None, None, :], groups=flat.shape[1])
    return flat.view(x.shape)


# --- What comes in ------------------------------------------------------------------------------------------------------


def check_patch(patch, x):
    """A patch (3, h, w) in [0, 1], or one for each image of `x` (N, 3, h, w)."""
    if not isinstance(patch, torch.Tensor):
        hint = " Take its .patch." if isinstance(patch, TrainedPatch) else ""
        raise ValueError(f"patch must be a torch tensor (3, h, w); got {type(patch).__name__}.{hint}")
    fits = patch.ndim == 3 or (patch.ndim == 4 and len(patch) in (1, len(x)))
    if not fits or patch.shape[-3] != x.shape[1] or 0 in patch.shape[-2:]:
        raise ValueError(
            f"patch must have the shape ({x.shape[1]}, h, w), or one for each of the {len(x)} images; got {tuple(patch.shape)}."
        )
    if not patch.is_floating_point():
        raise ValueError(f"patch must hold floats in [0, 1]; got {patch.dtype}. For bytes, patch.float() / 255.")
    if patch.device != x.device:
        raise ValueError(f"x is on {x.device} and patch on {patch.device}. Move one with .to(...).")
    low, high = patch.min().item(), patch.max().item()
    if not (low >= 0 and high <= 1):  # NaN lies nowhere
        raise ValueError(
            f"patch runs from {low:.2f} to {high:.2f}. Its pixels lie in [0, 1]; patch.clamp(0, 1) cuts it."
        )


def check_mask(mask):
    """One of `MASKS`, or a tensor (h, w) in [0, 1]."""
    if isinstance(mask, str):
        if mask not in MASKS:
            raise ValueError(f"mask={mask!r}: {', '.join(map(repr, MASKS))}, or a tensor (h, w), are what place knows.")
    elif not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        came = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise ValueError(f"mask must be one of {', '.join(map(repr, MASKS))}, or a tensor (h, w); got {came}.")
    elif not (mask.float().min() >= 0 and mask.float().max() <= 1):
        raise ValueError("A mask holds values from 0 (see-through) to 1 (opaque); this one leaves that range.")


def placement(x, location, angle, scale):
    """Location (N, 2), angle (N,) and scale (N,) as tensors of x's dtype and device, if they can be followed."""

    def one_for_each(value, name, shape, example):
        try:
            value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
            return value.expand(len(x), *shape)
        except (TypeError, ValueError, RuntimeError):
            each = (len(x), *shape)
            raise ValueError(
                f"{name} must be {example}, or a tensor {each}, one for each image; got {value!r}."
            ) from None

    location = one_for_each(location, "location", (2,), "a pair (cx, cy) such as (0.5, 0.5)")
    angle = one_for_each(angle, "angle", (), "a number of degrees")
    scale = one_for_each(scale, "scale", (), "a number such as 0.4")
    if not ((location >= 0) & (location <= 1)).all():
        worst = location[((location < 0) | (location > 1) | location.isnan()).any(1)][0].tolist()
        hint = " Pixels divided by width and height give fractions." if max(worst) > 1 else ""
        raise ValueError(
            f"location ({worst[0]:.3g}, {worst[1]:.3g}) lies outside the image. It is a pair of fractions of width and height, "
            f"0 to 1 from the top left.{hint}"
        )
    if not (scale > 0).all():
        raise ValueError(f"scale={scale.min().item():g}: the patch's side over the image's is more than 0.")
    if (scale > 1).any():
        raise ValueError(
            f"scale={scale.max().item():g}: the patch would be larger than the image. The scale is its side over the image's side, "
            "at most 1."
        )
    if not angle.isfinite().all():
        raise ValueError("angle must be a finite number of degrees.")
    return location, angle, scale


def check_camera(light, contrast, blur, perspective):
    """Strengths of 0 or more, and a view that isn't from behind."""
    for name, strength in {"light": light, "contrast": contrast, "blur": blur, "perspective": perspective}.items():
        if not strength >= 0:
            raise ValueError(f"{name}={strength}: a strength is 0, for none, or more.")
    if perspective >= 2:
        raise ValueError(
            f"perspective={perspective}: near things can be less than 1 + 2 times as large as far ones here."
        )


def check_training(models, images, supply, target, steps, batch, size, objective, start, mask):
    """Raise a ValueError for what `train_patch` can't work with. Each model answers for one image."""
    if steps < 0 or int(steps) != steps:
        raise ValueError(f"steps={steps}: give a whole number, 0 or more.")
    if batch < 1 or size < 1:
        raise ValueError(f"batch={batch}, size={size}: both are 1 or more.")
    if objective not in ("log probability", "probability"):
        raise ValueError(f"objective={objective!r}: 'log probability' and 'probability' are the two.")
    check_mask(mask)
    if not models:
        raise ValueError("An ensemble needs a model or more.")
    if isinstance(images, torch.Tensor) and images.ndim == 4 and not len(images):
        raise ValueError("There are no images to train on.")
    x = images if not callable(images) else supply(1, torch.Generator())
    check_images(x)
    if start is not None:
        check_patch(start.patch.to(x.device) if isinstance(start, TrainedPatch) else start, x)
        if isinstance(start, TrainedPatch) and start.target != target:
            raise ValueError(
                f"start is a patch for class {start.target}, not for {target}. Hand over its .patch to begin from it."
            )
        if isinstance(start, TrainedPatch) and not same_mask(start.mask, mask):
            raise ValueError(
                "start is a patch of another shape than mask says. Give it the same mask, or hand over its .patch to begin from it."
            )
    for model in models:
        check_white_box(model)
        check_eval(model)
        check_target(target, check_logits(model, x[:1]))
