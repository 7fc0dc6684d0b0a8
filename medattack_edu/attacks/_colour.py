"""How different two pictures look to an eye: distance in CIELAB, differentiable."""

import torch

# Linear sRGB to the light that the eye's three kinds of receptors are described by (CIE XYZ, daylight D65); each row is
# divided by white, so that white is (1, 1, 1).
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
DARK = 0.008856  # below this share of white the cube root becomes a straight line
FAINT = 1e-6  # beneath a root, so that two equal pictures have a gradient, which is 0


def to_lab(images):
    """sRGB images (N, 3, H, W) in [0, 1] as CIELAB: lightness from 0 to 100, green to red, blue to yellow."""
    linear = torch.where(images > 0.04045, ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, images / 12.92)
    matrix = torch.tensor(TO_XYZ, dtype=images.dtype, device=images.device)
    white = torch.tensor(WHITE, dtype=images.dtype, device=images.device)[:, None, None]
    share = torch.einsum("ij,njhw->nihw", matrix, linear) / white
    x, y, z = torch.where(share > DARK, share.clamp(min=DARK) ** (1 / 3), 7.787 * share + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def colour_distance(images, others):
    """Root mean square over the pixels of the CIELAB distance between images (N, 3, H, W) and others: (N,).

    A distance of 2 or 3 is about what an eye just notices.
    """
    apart = (to_lab(images) - to_lab(others)).square().sum(1).mean((1, 2))
    return (apart + FAINT).sqrt()
