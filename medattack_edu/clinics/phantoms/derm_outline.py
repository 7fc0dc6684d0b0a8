"""Where a pigmented lesion lies and how its border runs. No pigment, no colour.

The outline is one field: positive inside, negative outside, in units of the lesion's radius. Lobes, notches, streaks
and roughness all add to that field, so borders merge as tissue does.
"""

from dataclasses import dataclass

import numpy as np

from medattack_edu.clinics.phantoms.derm_texture import clouds, patches, specks
from medattack_edu.clinics.phantoms.optics import between, chance, log_normal, pixel_grid

HARMONICS = np.arange(2, 8)
LARGEST_RADIUS = 1.1  # half sides: a lesion may fill the frame and leave it


@dataclass(frozen=True)
class Outline:
    """A lesion's place in the frame.

    Attributes:
        inside: (size, size), 0 to 1, how much of the full pigment a pixel may carry.
        depth: (size, size), distance from the border in radii, positive inside.
        x, y: (size, size), position in the lesion's own frame: centre 0, border near 1, axes along its length.
        radius: half sides, the geometric mean of both half axes.
    """

    inside: np.ndarray
    depth: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radius: float

    def slope(self, rng):
        """A rise across the lesion in a random direction: (size, size), from -1 to 1 inside."""
        angle = between(rng, 0, 2 * np.pi)
        return self.x * np.float32(np.cos(angle)) + self.y * np.float32(np.sin(angle))


def outline(rng, size, malignancy):
    """Draws the outline of one lesion: small, round and calm, or large, lobed and ragged, as `malignancy` grows."""
    radius = log_normal(rng, 0.41 + 0.08 * malignancy, 0.44, 0.10, LARGEST_RADIUS)
    x, y = own_frame(rng, size, radius, malignancy)
    depth = 1 - np.hypot(x, y) * round_wobble(rng, x, y, malignancy)
    depth = with_lobes(rng, depth, x, y, malignancy)
    depth = with_notches(rng, depth, x, y, malignancy)
    depth += streaks(rng, x, y, malignancy)
    depth += roughness(rng, size, malignancy)
    return Outline(edge(rng, depth, x, y, radius, malignancy), depth, x, y, radius)


def own_frame(rng, size, radius, malignancy):
    """Coordinates centred on the lesion, turned along it, stretched so that its border is near 1, and bent by noise."""
    spread = 0.10 + 0.22 * max(radius - 0.45, 0) + 0.05 * malignancy
    centre_x, centre_y = np.clip(spread * rng.standard_normal(2), -0.6, 0.6)
    angle, stretch = between(rng, 0, np.pi), log_normal(rng, 1.13 + 0.12 * malignancy, 0.12, 1, 2.2)
    x, y = pixel_grid(size)
    bend = np.float32(log_normal(rng, 0.06 + 0.08 * malignancy, 0.4) * radius)
    x = x - np.float32(centre_x) + bend * clouds(rng, size)
    y = y - np.float32(centre_y) + bend * clouds(rng, size)
    along, across = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return (c * x + s * y) / np.float32(along), (c * y - s * x) / np.float32(across)


def round_wobble(rng, x, y, malignancy):
    """A factor on the distance from the centre that turns the ellipse into a rounded blot: (size, size) around 1."""
    angle = np.arctan2(y, x)
    sizes = (0.05 + 0.08 * malignancy) * rng.standard_normal(len(HARMONICS)) / HARMONICS**0.8
    phases = rng.uniform(0, 2 * np.pi, len(HARMONICS))
    around = np.linspace(-np.pi, np.pi, 181)
    wobble = sizes @ np.cos(np.outer(HARMONICS, around) + phases[:, None])
    return 1 / np.maximum(1 + at(angle, around, wobble), 0.35)


def with_lobes(rng, depth, x, y, malignancy):
    """Adds rounded outgrowths, a sign of uneven growth, rare in a nevus."""
    for _ in range(rng.poisson(0.15 + 1.4 * malignancy)):
        angle, distance, lobe = between(rng, 0, 2 * np.pi), between(rng, 0.6, 1.15), between(rng, 0.25, 0.7)
        away = np.hypot(x - np.float32(distance * np.cos(angle)), y - np.float32(distance * np.sin(angle)))
        depth = np.maximum(depth, np.float32(lobe) - away)
    return depth


def with_notches(rng, depth, x, y, malignancy):
    """Takes bays out of the border, where the lesion has regressed or never grew."""
    for _ in range(rng.poisson(0.1 + 0.8 * malignancy)):
        angle, distance, bay = between(rng, 0, 2 * np.pi), between(rng, 0.8, 1.2), between(rng, 0.2, 0.55)
        away = np.hypot(x - np.float32(distance * np.cos(angle)), y - np.float32(distance * np.sin(angle)))
        depth = np.minimum(depth, away - np.float32(bay))
    return depth


def streaks(rng, x, y, malignancy):
    """Radial projections in one sector of the rim, of unequal length and spacing: an addition to depth."""
    length = between(rng, 0.15, 0.45) * chance(rng, 0.04 + 0.40 * malignancy)
    size = x.shape[0]
    middle, half_width = between(rng, -np.pi, np.pi), between(rng, 0.3, 1.1)
    if not length:
        return np.zeros_like(x)
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    turned = np.angle(np.exp(1j * (angle - np.float32(middle)))).astype(np.float32)
    sector = np.exp(-((turned / np.float32(half_width)) ** 2))
    rays = noise_along(rng, (turned + np.float32(0.08) * patches(rng, size)) * np.float32(3.2))
    rim = np.exp(-(((distance - 1) / np.float32(0.35)) ** 2))
    return np.float32(length) * sector * rim * rays


def noise_along(rng, position):
    """Smooth noise of one coordinate, a knot every 0.25: mostly -0.6 to 1.5, the same shape as `position`."""
    knots = rng.gamma(1.2, 0.8, 128) - 0.6
    return at(position, (np.arange(128) - 64) * 0.25, knots)


def at(positions, knots, values):
    """Linear interpolation between `knots` (n,): float32, the same shape as `positions`."""
    return np.interp(positions.ravel(), knots, values).reshape(positions.shape).astype(np.float32)


def roughness(rng, size, malignancy):
    """Raggedness of the border at all scales: an addition to depth."""
    coarse = log_normal(rng, 0.03 + 0.035 * malignancy, 0.4) * patches(rng, size)
    fine = log_normal(rng, 0.015 + 0.005 * malignancy, 0.4) * specks(rng, size)
    return coarse + fine


def edge(rng, depth, x, y, radius, malignancy):
    """How pigment ends: everywhere alike in a nevus, here abrupt and there fading in a melanoma. 0 to 1."""
    width = log_normal(rng, 0.24 + 0.04 * malignancy, 0.45, 0.07, 0.7) / max(radius, 0.2)
    side = between(rng, 0, 2 * np.pi)
    lean = np.clip(x * np.float32(np.cos(side)) + y * np.float32(np.sin(side)), -1.5, 1.5)
    widths = np.float32(width) * np.exp(np.float32(0.7 * malignancy) * lean)
    return np.float32(0.5) + np.float32(0.5) * np.tanh(2 * depth / widths)
