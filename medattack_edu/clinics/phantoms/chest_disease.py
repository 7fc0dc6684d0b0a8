"""Pneumonia: how much of the lung's air is replaced by fluid, pixel by pixel. No normal anatomy and no film live here.

An opacity takes air away, nothing else. That the heart's border fades where it lies against a filled lobe (the
silhouette sign) and that vessels drown in it follows from the path lengths by itself.
"""

from dataclasses import dataclass

import numpy as np

from .chest_lungs import HILUM, USUAL_DOME, branching_tree
from .optics import between, chance, noise, soft_step


@dataclass(frozen=True)
class Lobe:
    """Where a lobe lies in `Lungs` coordinates, and which of its edges is a fissure seen edge-on."""

    left: bool
    across: float
    down: float
    wide: float
    high: float
    sharp_below: bool = False
    sharp_above: bool = False


LOBES = (
    Lobe(left=False, across=0.45, down=0.20, wide=0.75, high=0.30, sharp_below=True),  # right upper
    Lobe(left=False, across=0.35, down=0.72, wide=0.60, high=0.24, sharp_above=True),  # right middle
    Lobe(left=False, across=0.50, down=0.88, wide=0.75, high=0.34),  # right lower
    Lobe(left=True, across=0.45, down=0.25, wide=0.75, high=0.36),  # left upper
    Lobe(left=True, across=0.40, down=0.66, wide=0.60, high=0.26),  # lingula
    Lobe(left=True, across=0.50, down=0.90, wide=0.75, high=0.36),  # left lower
)


def severity(label, rng):
    """0 for clear lungs to 1 for lungs full of it. The classes overlap: colds among the well, mild pneumonia."""
    return float(rng.beta(3.4, 1.7) if label else rng.beta(0.8, 7.0))


def opacity(view, build, lung, label, rng):
    """Share of the lung's air that is lost at every pixel: float32 (size, size), from 0 to 0.97."""
    grade = severity(label, rng)
    pattern = rng.random()
    if pattern < 0.30:
        fields = [_lobar(view, lung, grade, rng), 0.35 * _diffuse(view, lung, grade, rng)]
    elif pattern < 0.55:
        fields = [_patches(view, grade, rng), 0.5 * _perihilar(view, build, lung, grade, rng)]
    elif pattern < 0.80:
        fields = [_perihilar(view, build, lung, grade, rng), 0.5 * _diffuse(view, lung, grade, rng)]
    else:
        fields = [_diffuse(view, lung, grade, rng), 0.4 * _patches(view, grade, rng)]
    if chance(rng, 0.22 * grade):
        fields.append(_effusion(lung, grade, rng))
    air = np.float32(1)
    for field in fields:
        air = air * (1 - field)
    filled = 1 - air
    if chance(rng, 0.5):  # air-filled bronchi stay dark in consolidated lung
        bronchi = branching_tree(view, build, rng, roots=4, radius=0.022, generations=4)
        filled = filled * (1 - np.float32(0.25) * np.minimum(bronchi / np.float32(0.05), 1))
    return np.clip(filled, 0, np.float32(0.97))


def _cloud(view, rng):
    """Texture of inflamed lung, about -1 to 1."""
    return np.clip(noise(rng, view.size, slope=1.4, coarsest=0.3, finest=0.02), -2, 2) * np.float32(0.5)


def _lobar(view, lung, grade, rng):
    """One lobe, seldom two, filled up to a soft border, or up to a fissure."""
    filled = np.float32(0)
    for lobe in (LOBES[i] for i in rng.permutation(len(LOBES))[: 1 + chance(rng, 0.25)]):
        wide, high = lobe.wide * between(rng, 0.7, 1.1), lobe.high * between(rng, 0.7, 1.1)
        across = (lung.across - np.float32(lobe.across)) / np.float32(wide)
        down = (lung.down - np.float32(lobe.down + rng.normal(0, 0.03))) / np.float32(high)
        distance = np.sqrt(across**2 + down**2)
        inside = soft_step(1 - distance + np.float32(0.45) * _cloud(view, rng), 0.7)
        slope = between(rng, -0.15, 0.15)
        fissure = lung.down - np.float32(lobe.down) + np.float32(slope) * (lung.across - np.float32(0.5))
        edge = np.float32(lobe.high * 0.75)
        if lobe.sharp_below and chance(rng, 0.6):
            inside = inside * soft_step(edge - fissure, 0.03)
        if lobe.sharp_above and chance(rng, 0.6):
            inside = inside * soft_step(fissure + edge, 0.03)
        strength = np.float32(min(1.25 * grade * between(rng, 0.7, 1.2), 0.95))
        filled = np.maximum(filled, strength * inside * (lung.left == lobe.left))
    return filled


def _patches(view, grade, rng):
    """Bronchopneumonia: several ill-defined patches, mostly low and near the hila."""
    x, y = view.middle
    cloud = _cloud(view, rng)
    air = np.float32(1)
    for _ in range(2 + rng.poisson(4.5 * grade)):
        side = 1 if chance(rng, 0.5) else -1
        px, py = side * between(rng, 0.15, 0.75), rng.normal(0.9, 0.3)
        radius = between(rng, 0.10, 0.34)
        distance = np.hypot(x - np.float32(px), y - np.float32(py)) / np.float32(radius)
        patch = soft_step(1 - distance + np.float32(0.6) * cloud, 1.3)
        air = air * (1 - np.float32(min(grade * between(rng, 0.4, 1.1), 0.9)) * patch)
    return 1 - air


def _perihilar(view, build, lung, grade, rng):
    """Streaks and haze that fan out from the lung roots: cuffed bronchi of viral and atypical pneumonia."""
    x, y = view.middle
    reach = between(rng, 0.22, 0.5)
    from_hilum = np.abs(x) - np.float32(HILUM[0]), y - np.float32(HILUM[1] * build.dome / USUAL_DOME)
    distance = np.hypot(from_hilum[0], np.float32(0.75) * from_hilum[1])
    haze = np.exp(-((distance / np.float32(reach)) ** 2))
    streaks = branching_tree(view, build, rng, roots=5, radius=0.05, shrink=0.7, generations=4)
    lean = np.where(lung.left, np.float32(between(rng, 0.5, 1.2)), np.float32(between(rng, 0.5, 1.2)))
    texture = np.clip(np.float32(0.55) + np.float32(0.5) * _cloud(view, rng) + np.minimum(streaks * 4, 0.3), 0, 1.2)
    return np.clip(np.float32(1.05 * grade) * lean * haze * texture, 0, 0.9)


def _diffuse(view, lung, grade, rng):
    """Ground glass over both lungs, denser below or above, with a fine net of thickened septa."""
    lean = between(rng, -0.5, 0.9)
    gradient = 1 + np.float32(lean) * (np.clip(lung.down, 0, 1) - np.float32(0.5))
    one_sided = np.where(lung.left, np.float32(between(rng, 0.6, 1.1)), np.float32(between(rng, 0.6, 1.1)))
    net = np.maximum(1 - np.abs(noise(rng, view.size, slope=0.9, coarsest=0.05, finest=0.008)) * np.float32(1.6), 0)
    net_weight = np.float32(between(rng, 0.0, 0.2))
    glass = np.float32(0.55) + np.float32(0.35) * _cloud(view, rng) + net_weight * (net - np.float32(0.3))
    return np.clip(np.float32(grade) * gradient * one_sided * glass, 0, 0.9)


def _effusion(lung, grade, rng):
    """Fluid in one corner: a surface that climbs towards the ribs."""
    level = between(rng, 0.65, 0.98)
    climb = between(rng, 0.2, 0.5)
    surface = np.float32(level) - np.float32(climb) * lung.across**2
    side = lung.left == chance(rng, 0.5)
    return np.float32(min(0.5 + 0.5 * grade, 0.95)) * soft_step(lung.down - surface, 0.12) * side
