"""Small models and images for tests: quick, deterministic, and with gradients worth following. No clinic is opened."""

import functools

import torch
import torch.nn.functional as F

from medattack_edu.models.small_cnn import SmallCNN


def images(n=8, size=32, seed=0):
    """Images whose class is a faint pattern under noise: (x (n, 3, size, size), y (n,))."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    stripes = torch.sin(torch.arange(size) * 0.9)
    pattern = torch.where(y[:, None, None] == 1, stripes[None, :, None], stripes[None, None, :])
    noise = torch.rand(n, 3, size, size, generator=generator)
    return (0.35 + 0.3 * noise + 0.04 * pattern[:, None]).clamp(0, 1), y


@functools.cache
def model():
    """A SmallCNN that tells the two patterns of `images` apart, trained here in a few seconds. Don't change it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SmallCNN(width=8)
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        for step in range(60):
            x, y = images(32, seed=1000 + step)
            optimiser.zero_grad()
            F.cross_entropy(net.train()(x), y).backward()
            optimiser.step()
    return net.eval().requires_grad_(False)
