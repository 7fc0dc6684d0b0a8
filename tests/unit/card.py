"""A graphics card where there is none: tensors that say they are on "cuda", and an error wherever devices mix.

The numbers stay in the processor's memory. A tensor is on the card if its storage is; what comes out of an operation is there
if what went in was, and so is what PyTorch makes for itself on the way. As with a real card, a tensor of the processor may join
in only where PyTorch allows it: as a single number, as row numbers or a mask in square brackets, or to be copied from or to.
"""

from contextlib import contextmanager

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD, PROCESSOR = torch.device("cuda", 0), torch.device("cpu")
COPIES = {"copy_", "_to_copy"}
BRACKETS = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
PYTHON_NUMBERS = {torch.Tensor.numpy, torch.Tensor.__array__}


@contextmanager
def card(monkeypatch):
    """Within the block there is a card, and `medattack_edu.runtime.device()` is it. Yields the `Card`."""
    from medattack_edu import runtime

    here = Card()
    with monkeypatch.context() as patch, here.mixing, here.calls:
        patch.setattr(runtime, "device", lambda: CARD)
        patch.setattr(torch.cuda, "get_device_name", lambda *_: "a card that isn't there")
        patch.setattr(torch.cuda, "mem_get_info", lambda *_: (8_000_000_000, 8_000_000_000))  # free, and in all
        yield here


class Card:
    """Which storages are on the card."""

    def __init__(self):
        self._there = {}  # the storage's address -> a reference that keeps the address from being used again
        self.at_work = False  # whether PyTorch is busy with something that is on the card
        self.mixing, self.calls = Mixing(self), Calls(self)

    def holds(self, tensor):
        return _address(tensor) in self._there

    def add(self, tensor):
        with torch._C.DisableTorchFunction():
            storage = tensor.untyped_storage()
            self._there[storage._cdata] = StorageWeakRef(storage)

    def remove(self, tensor):
        self._there.pop(_address(tensor), None)

    def move(self, tensor, device):
        """The tensor on another device, differentiable; itself if it is there."""
        wanted = torch.device(device).type == "cuda"
        return tensor if wanted == self.holds(tensor) else Move.apply(tensor, self, wanted)


def _address(tensor):
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata


class Move(torch.autograd.Function):
    """A copy on the other device; its gradient goes the other way."""

    @staticmethod
    def forward(ctx, tensor, card, there):
        ctx.card, ctx.there = card, there
        moved = tensor.clone()
        (card.add if there else card.remove)(moved)
        return moved

    @staticmethod
    def backward(ctx, gradient):
        back = gradient.clone()
        (ctx.card.remove if ctx.there else ctx.card.add)(back)
        return back, None, None


class Mixing(TorchDispatchMode):
    """Every operation, as PyTorch carries it out, backward passes included."""

    def __init__(self, card):
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        given = args[:1] + args[2:] if name in BRACKETS and not self._indices_astray(args) else args
        tensors = [leaf for leaf in tree_leaves((given, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        there = [self.card.holds(tensor) for tensor in tensors]
        strangers = [tensor for tensor, on in zip(tensors, there, strict=True) if not on and tensor.ndim]
        if any(there) and strangers and name not in COPIES:
            shapes = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in strangers)
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but in {name} these are on the cpu: {shapes}"
            )
        out = func(*args, **(kwargs or {}))
        if (any(there) or (not tensors and self.card.at_work)) and name not in COPIES:
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    self.card.add(leaf)
        elif name == "_to_copy" and any(there):
            self.card.add(out)
        return out

    def _indices_astray(self, args):
        """Whether what is indexed is on the processor and an index on the card, which PyTorch refuses."""
        return not self.card.holds(args[0]) and any(index is not None and self.card.holds(index) for index in args[1])


class Calls(TorchFunctionMode):
    """Every call that names a device or asks for one, as Python sees it."""

    def __init__(self, card):
        super().__init__()
        self.card = card

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return CARD if self.card.holds(args[0]) else PROCESSOR
        if func == torch.Tensor.is_cuda.__get__:
            return self.card.holds(args[0])
        if func == torch.Tensor.is_cpu.__get__:
            return not self.card.holds(args[0])
        if func is torch.Tensor.cpu:
            return self.card.move(args[0], PROCESSOR)
        if func is torch.Tensor.cuda:
            return self.card.move(args[0], CARD)
        if func is torch.Tensor.to:
            return self._to(*args, **kwargs)
        if func in PYTHON_NUMBERS and self.card.holds(args[0]):
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first."
            )
        if kwargs.get("device") is None:
            return self._work(func, args, kwargs)
        device, draw = torch.device(kwargs.pop("device")), kwargs.get("generator")
        if draw is not None and draw.device.type != device.type:
            raise RuntimeError(f"Expected a '{device.type}' device type for generator but found '{draw.device.type}'")
        wanted = kwargs.pop("requires_grad", False)
        made = self.card.move(func(*args, **kwargs), device)
        return made.requires_grad_() if wanted else made

    def _work(self, func, args, kwargs):
        before = self.card.at_work
        given = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
        self.card.at_work = before or any(self.card.holds(tensor) for tensor in given)
        try:
            return func(*args, **kwargs)
        finally:
            self.card.at_work = before

    def _to(self, tensor, *args, device=None, other=None, **kwargs):
        kept = []
        for given in (*args, *([] if other is None else [other])):
            if isinstance(given, torch.Tensor):
                device = CARD if self.card.holds(given) else PROCESSOR
                kept.append(given.dtype)
            elif isinstance(given, str | torch.device):
                device = given
            elif isinstance(given, torch.dtype):
                kept.append(given)
        changed = tensor.to(*kept, **kwargs) if kept or kwargs else tensor
        return changed if device is None else self.card.move(changed, device)
