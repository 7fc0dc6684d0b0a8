"""Pieces that the explorers of patients share: what comes in, how it is worded, pixels as they are kept, the model's answer.

How a picture is put together is each explorer's own; lines, words and bars are drawn by `canvas`.
"""

import numpy as np
import torch

from medattack_edu import metrics, show
from medattack_edu.attacks._inputs import check_inputs
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import enlarged
from medattack_edu.models.freeze import freeze

LEVELS = 255  # grey levels between black and white
BYTE = 127  # the largest number in a signed byte


def ready(model, x, y, classes, eps):
    """The model made cheap to attack, after a look at what came in.

    Raises:
        ValueError: if model, images, labels and eps don't fit together, or the classes aren't two.
    """
    check_inputs(model, x, y, eps=eps)
    if not len(x):
        raise ValueError("x holds no image. Give one or more.")
    logits = metrics.logits(model, x[:1]).shape[1]
    if (len(classes), logits) != (2, 2):
        raise ValueError(f"{len(classes)} class names and {logits} logits an image came; explorers show two of each.")
    return frozen(model)


def frozen(model):
    """The model with cheaper answers and gradients, if it is a module."""
    return freeze(model) if isinstance(model, torch.nn.Module) else model


def patients(labels, classes):
    """(label, row) of each patient, for a chooser."""
    return [(f"{row + 1}, truth: {classes[label]}", row) for row, label in enumerate(labels.tolist())]


def class_names(classes):
    """Class names as words: no underscores."""
    return tuple(map(show.readable, classes))


def in_levels(eps):
    """A size in pixel units, as it is written: 2/255."""
    return f"{eps * LEVELS:g}/255"


def percent_range(estimate):
    """The interval of an Estimate in whole per cent."""
    return f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f} %"


def as_levels(change):
    """Perturbations (N, 3, H, W) as arrays (N, H, W, 3) in grey levels."""
    return (change * LEVELS).permute(0, 2, 3, 1).half().cpu().numpy()


def as_rows(x):
    """Images (N, 3, H, W) in [0, 1] as float arrays (N, H, W, 3) in grey levels: bytes would hide a change below one."""
    return (x * LEVELS).permute(0, 2, 3, 1).cpu().numpy()


def packed(change, eps):
    """Perturbations (N, 3, H, W) within eps in one byte a value, (N, H, W, 3): eps itself becomes BYTE."""
    return (change * (BYTE / (eps or 1))).round().to(torch.int8).permute(0, 2, 3, 1).cpu().numpy()


def magnification(eps):
    """How many times a perturbation of size eps is shown as large: a power of two that brings it near black and white."""
    return 2 ** round(np.log2(128 / (LEVELS * eps)))


def as_bytes(levels):
    """Grey levels, rounded and cut to those that a screen has."""
    return np.clip(np.rint(levels), 0, LEVELS).astype(np.uint8)


def magnified(change, factor, side):
    """A perturbation (H, W, 3) in grey levels, `factor` times as large, on grey."""
    return enlarged(as_bytes(128 + factor * change.astype(np.float32)), side, smooth=False)


def draw_answer(canvas, x, y, width, probabilities, classes, truth):
    """The model's answer: a bar for each class, the true one named, and whether it is right."""
    for label, (name, share) in enumerate(zip(classes, probabilities, strict=True)):
        top, true = y + 40 * label, label == truth
        canvas.text(x, top, ink.fitted(name, width - 45, bold=true), bold=true)
        canvas.text(x + width, top, f"{share:.2f}", anchor="ra", bold=True)
        canvas.bar(x, top + 19, width - 60, 12, share, (ink.HEALTHY, ink.SICK)[label])
        if true:
            canvas.text(x + width, top + 25, "◂ truth", ink.SMALL, anchor="rm", bold=True)
    right = int(np.argmax(probabilities)) == truth
    words = "the model is right" if right else "the model is WRONG"
    canvas.text(x, y + 82, words, bold=not right, colour=ink.INK if right else ink.VERMILLION)
