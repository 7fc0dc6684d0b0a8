"""Diabetic retinopathy in a fundus phantom: microaneurysms, haemorrhages, exudates, cotton-wool spots, laser scars.

Each function adds to a fundus's optical density in linear light: above 0 absorbs, below 0 is bright. Harmless
look-alikes (drusen) live here too. Places are image coordinates, in half sides; sizes are those of an eye at zoom 1.
"""

from typing import NamedTuple

import numpy as np

from medattack_edu.clinics.phantoms.optics import chance, in_colour, log_normal, pixel_grid

BLOOD = np.array([0.42, 1.15, 0.80], np.float32)  # density of a deep haemorrhage, red, green, blue
LIPID = np.array([-0.80, -1.00, -0.40], np.float32)  # hard exudates: yellow-white
COTTON = np.array([-0.45, -0.62, -0.70], np.float32)  # swollen nerve fibres: greyish white
DRUSEN = np.array([-0.22, -0.30, -0.12], np.float32)
SCAR_RING = np.array([0.5, 0.35, 0.25], np.float32)
PIXEL_WIDTH_PX = 0.38  # standard deviation of one pixel's own aperture

FIELD = 0.95  # lesions lie within this distance of the image's centre
MICROANEURYSM = (0.0075, 0.0135)  # radius: 50 to 100 micrometres
HAEMORRHAGE_MEDIAN, HAEMORRHAGE_SPREAD = 0.019, 0.55
FLAME_SHARE = 0.2


class Fundus(NamedTuple):
    """What lesions are drawn on."""

    density: np.ndarray  # (3, size, size), changed in place
    zoom: float  # size of the eye in the picture


def add_microaneurysms(rng, fundus, count, centres):
    """Tiny round red dots, `count` of them, around `centres` (K, 2)."""
    for x, y in _scatter(rng, fundus.zoom, count, centres, 0.30):
        radius, depth = rng.uniform(*MICROANEURYSM), rng.uniform(0.5, 1.05)
        _dot(fundus, x, y, radius, depth * BLOOD)


def add_haemorrhages(rng, fundus, count, centres, disc):
    """Dots and blots with a ragged margin; one in five lies in the nerve fibres and is flame shaped, along them."""
    for x, y in _scatter(rng, fundus.zoom, count, centres, 0.26):
        radius = log_normal(rng, HAEMORRHAGE_MEDIAN, HAEMORRHAGE_SPREAD, 0.010, 0.085)
        depth = rng.uniform(0.45, 1.05)
        if chance(rng, FLAME_SHARE):
            along = np.arctan2(y - disc[1], x - disc[0]) + 0.25 * rng.standard_normal()
            _blot(rng, fundus, x, y, 1.7 * radius, 0.55 * radius, along, 0.8 * depth * BLOOD, ragged=0.30)
        else:
            stretch = rng.uniform(0.75, 1.25)
            turn = rng.uniform(0, np.pi)
            _blot(rng, fundus, x, y, radius * stretch, radius / stretch, turn, depth * BLOOD, ragged=0.22)


def add_hard_exudates(rng, fundus, clusters, macula, severity):
    """Lipid at the edge of leaking vessels: loose clusters, or rings (circinate) around the leak."""
    for cx, cy in _scatter(rng, fundus.zoom, clusters, macula[None], 0.36):
        count = rng.poisson(5 + 22 * severity) + 3
        spread = fundus.zoom * rng.uniform(0.05, 0.16)
        angle = rng.uniform(0, 2 * np.pi, count)
        if chance(rng, 0.35):
            arc = rng.uniform(2.0, 6.3)
            angle = angle * arc / 6.3 + rng.uniform(0, 6.3)
            radius = spread * (1 + 0.16 * rng.standard_normal(count))
        else:
            radius = spread * np.sqrt(rng.exponential(0.6, count))
        depth = rng.uniform(0.5, 1.15)
        for x, y, size in zip(
            cx + radius * np.cos(angle),
            cy + radius * np.sin(angle),
            np.exp(np.log(0.0105) + 0.45 * rng.standard_normal(count)),
            strict=True,
        ):
            if size < 0.016:
                _dot(fundus, x, y, size, depth * LIPID)
            else:
                _blot(rng, fundus, x, y, 1.2 * size, 0.8 * size, rng.uniform(0, 3.1), depth * LIPID, ragged=0.3)


def add_cotton_wool_spots(rng, fundus, count, disc):
    """Pale, fluffy, without a sharp margin, near the disc and the arcades."""
    for x, y in _scatter(rng, fundus.zoom, count, disc[None], 0.50):
        radius, turn = rng.uniform(0.030, 0.070), rng.uniform(0, np.pi)
        depth = rng.uniform(0.4, 1.0)
        _blot(rng, fundus, x, y, 1.25 * radius, 0.8 * radius, turn, depth * COTTON, ragged=0.35, edge=0.9)


def add_laser_scars(rng, fundus, macula):
    """Panretinal coagulation: rows of burns in the periphery, pale with a dark rim, none near the macula."""
    radius, pitch = rng.uniform(0.022, 0.034), fundus.zoom * rng.uniform(0.10, 0.15)
    nearest, depth = fundus.zoom * rng.uniform(0.60, 0.85), rng.uniform(0.35, 0.9)
    grid = np.stack(np.meshgrid(np.arange(-1.1, 1.1, pitch), np.arange(-1.1, 1.1, pitch)), axis=-1).reshape(-1, 2)
    grid = grid + 0.3 * pitch * rng.standard_normal(grid.shape)
    kept = (np.hypot(*(grid - macula).T) > nearest) & (rng.random(len(grid)) < 0.7)
    for x, y in grid[kept]:
        _dot(fundus, x, y, 1.5 * radius, depth * rng.uniform(0.3, 1.2) * SCAR_RING)
        _dot(fundus, x, y, radius, depth * rng.uniform(0.2, 1.2) * COTTON)


def add_drusen(rng, fundus, count, macula):
    """Small soft yellow dots around the macula: age, not diabetes; they occur in both classes."""
    for x, y in _scatter(rng, fundus.zoom, count, macula[None], 0.32):
        _dot(fundus, x, y, rng.uniform(0.008, 0.022), rng.uniform(0.4, 1.3) * DRUSEN)


def _scatter(rng, zoom, count, centres, spread):
    """Positions of `count` lesions, clustered around randomly chosen `centres`, inside the field. (M, 2)."""
    if count == 0:
        return np.zeros((0, 2))
    around = centres[rng.integers(0, len(centres), count)]
    spots = around + zoom * spread * rng.standard_normal((count, 2))
    return spots[np.hypot(*spots.T) < FIELD]


def _window(density, x, y, reach):
    """The part of the picture within `reach` of (x, y), and its coordinates relative to that point."""
    size = density.shape[-1]
    low_x, low_y = (max(int((c - reach + 1) * size / 2) - 1, 0) for c in (x, y))
    high_x, high_y = (max(int((c + reach + 1) * size / 2) + 2, 0) for c in (x, y))
    where = np.s_[..., low_y:high_y, low_x:high_x]
    grid_x, grid_y = pixel_grid(size)
    return density[where], grid_x[where] - np.float32(x), grid_y[where] - np.float32(y)


def _dot(fundus, x, y, radius, colour):
    """A round soft spot; one that is smaller than a pixel keeps its total absorption, not its depth."""
    pixel = PIXEL_WIDTH_PX * 2 / fundus.density.shape[-1]
    own = 0.7 * radius * fundus.zoom
    sigma = np.hypot(own, pixel)
    part, dx, dy = _window(fundus.density, x, y, 3 * sigma)
    profile = np.exp(-(dx * dx + dy * dy) / np.float32(2 * sigma**2)) * np.float32((own / sigma) ** 2)
    part += in_colour(profile, colour)


def _blot(rng, fundus, x, y, half_length, half_width, turn, colour, *, ragged, edge=0.35):
    """An ellipse with a wavy outline; `edge` is the width of its soft margin over its radius."""
    half_length, half_width = half_length * fundus.zoom, half_width * fundus.zoom
    phases, amplitudes = rng.uniform(0, 2 * np.pi, 4), ragged * rng.standard_normal(4) / np.arange(2, 6)
    part, dx, dy = _window(fundus.density, x, y, 2.2 * max(half_length, half_width))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along, across = (dx * cos + dy * sin) / np.float32(half_length), (dy * cos - dx * sin) / np.float32(half_width)
    radius, angle = np.hypot(along, across), np.arctan2(across, along)
    outline = 1 + sum(a * np.sin(k * angle + p) for k, a, p in zip(range(2, 6), amplitudes, phases, strict=True))
    margin = np.hypot(edge, PIXEL_WIDTH_PX * 2 / fundus.density.shape[-1] / half_width)
    inside = 1 / (1 + np.exp(np.clip((radius - outline) * 4 / margin, -30, 30)))
    part += in_colour(inside.astype(np.float32), colour)
