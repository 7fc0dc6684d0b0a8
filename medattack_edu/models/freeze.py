"""Turn a trained model into one that is made for being attacked: same answers, cheaper gradients. No training."""

import torch
from torch.fx.experimental.optimization import fuse


def freeze(model):
    """An attack-ready copy of `model`.

    Eval mode; no gradients for parameters, which an attack never needs; batch norm folded into the convolution before it;
    channels-last memory. Logits stay the same to 1e-4. A model that can't be traced (control flow that depends on the
    data) keeps its batch norms and gains the rest.

    Args:
        model: maps images in [0, 1] to logits; it is not changed.

    Returns:
        A new module on the same device.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        frozen = _folded(model.eval())
    finally:
        for module, mode in modes.items():
            module.training = mode
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen.eval().to(memory_format=torch.channels_last)


def _folded(model):
    import copy

    try:
        return fuse(model)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError):
        return copy.deepcopy(model)
