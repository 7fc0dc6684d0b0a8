"""Turn a trained model into one that is made for being attacked: same answers, cheaper gradients. No training."""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.optimization import fuse

from medattack_edu.models.efficientnet_lite import same_pad


def freeze(model):
    """An attack-ready copy of `model`.

    Eval mode; no gradients for parameters, which an attack never needs; batch norm folded into the convolution before it;
    no copy of what is padded or clipped; channels-last memory. Logits stay the same to 1e-4, and so do gradients of any
    order. A model that can't be traced (control flow that depends on the data) keeps its batch norms and its padding, and
    gains the rest.

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
    _clip_in_place(frozen)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen.eval().to(memory_format=torch.channels_last)


def _folded(model):
    try:
        graph = fuse(model)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError):
        return copy.deepcopy(model)
    return _pad_by_kernel(graph)


def _pad_by_kernel(graph):
    """Replace each `same_pad` and the strided convolution behind it by one `WideConv`, in place; returns the graph."""
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target is same_pad and len(node.users) == 1:
            (user,) = node.users
            conv = modules.get(user.target) if user.op == "call_module" else None
            if isinstance(conv, nn.Conv2d) and WideConv.can_stand_for(conv, *node.args[1:]):
                graph.set_submodule(user.target, WideConv(conv))
                user.replace_input_with(node, node.args[0])
                graph.graph.erase_node(node)
    graph.recompile()
    return graph


def _clip_in_place(model):
    """Replace every ReLU6 that works in place by `Clip`."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU6) and module.inplace and name:
            model.set_submodule(name, Clip())


class WideConv(nn.Module):
    """A convolution of stride 2 with TensorFlow's "same" padding, without a padded copy of its input.

    On even sides that padding is a row and a column more below and to the right than above and to the left. A kernel that is
    as much larger, with zeros for its first row and column, gives the same sums with the same padding on all sides.
    """

    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        self.wide = nn.Parameter(F.pad(conv.weight.detach(), (1, 0, 1, 0)), requires_grad=False)

    @staticmethod
    def can_stand_for(conv, kernel, stride):
        """Whether this convolution, behind ``same_pad(x, kernel, stride)``, is one that the class is made for."""
        return (
            stride == 2
            and kernel % 2 == 1
            and (conv.kernel_size, conv.stride, conv.padding) == ((kernel,) * 2, (stride,) * 2, (0, 0))
            and conv.dilation == (1, 1)
        )

    def forward(self, x):
        (kernel, _), conv = self.conv.kernel_size, self.conv
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            return conv(same_pad(x, kernel, 2))
        return F.conv2d(x, self.wide, conv.bias, stride=2, padding=kernel // 2, groups=conv.groups)


class Clip(nn.Module):
    """ReLU6 in place. PyTorch's own keeps a copy of its input for the gradient, which the output tells as well."""

    def forward(self, x):
        return _ClipInPlace.apply(x)


class _ClipInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.clamp_(0, 6)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        (clipped,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, clipped, 0.0, 6.0)
