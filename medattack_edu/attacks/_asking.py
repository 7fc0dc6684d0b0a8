"""Asking a model about more images than fit into memory at once: they take turns. No attack lives here."""

import torch

from medattack_edu import runtime
from medattack_edu.attacks._inputs import check_finite

BATCH = 16  # images that are asked about at once where no gradient is needed: more are no faster on a CPU


def at_once(x, gradient=True):
    """How many of the images x (N, C, H, W) a model can take at once in the memory that is free; see `runtime.images_at_once`."""
    return runtime.images_at_once(x, gradient)


@torch.no_grad()
def logits(model, x, largest=BATCH):
    """The model's answers (N, classes) to x (N, C, H, W), without a gradient, on x's device.

    Args:
        largest: how many are asked about at once; fewer where memory is short.

    Raises:
        ValueError: if the model answers with NaN or infinity.
    """
    turns = x.split(min(largest, at_once(x, gradient=False))) if len(x) else [x]
    answers = torch.cat([model(turn) for turn in turns])
    check_finite(answers)
    return answers
