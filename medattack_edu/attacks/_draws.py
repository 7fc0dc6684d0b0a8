"""Random numbers, drawn where the generator lives and by default on the CPU, so that they are the same on every device."""

import torch


def home(generator):
    """The device that a generator draws on; without one, the CPU."""
    return torch.device("cpu") if generator is None else generator.device


def draw(kind, shape, like, generator=None):
    """Random numbers of a `kind` such as torch.randn, of a shape, with the dtype and on the device of the tensor `like`."""
    return kind(shape, generator=generator, device=home(generator)).to(like)


def coins(shape, like, generator=None):
    """Plus or minus one by the toss of a coin, with the dtype and on the device of `like`."""
    return 2 * torch.randint(0, 2, shape, generator=generator, device=home(generator)).to(like) - 1


def seed(generator=None):
    """A whole number to start another generator from."""
    return int(torch.randint(2**31, (1,), generator=generator, device=home(generator)))
