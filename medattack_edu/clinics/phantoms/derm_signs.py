"""The dermoscopic signs of melanoma, one function each, and how often each is seen. No outline, no plain pigment.

A sign of pigment or blood is an optical density (size, size, 3) that adds to the lesion's. A scar and the blue-white veil
scatter light: they are a coverage (size, size) from 0 to 1. Every sign may occur in a nevus too, as in life.
"""

import numpy as np

from medattack_edu.clinics.phantoms.derm_skin import BLOOD, MELANIN
from medattack_edu.clinics.phantoms.derm_texture import globules, grain, patches, pattern, specks
from medattack_edu.clinics.phantoms.optics import between, blur, chance, log_normal, soft_step

DEEP_MELANIN = np.array([0.80, 1.0, 1.02], np.float32)  # stacked through the epidermis: nearly black
DERMAL_MELANIN = np.array([1.25, 1.0, 0.62], np.float32)  # seen through scattering dermis: blue-grey


def signs_of_pigment_and_blood(rng, shape, scale, malignancy):
    """All the signs that absorb, each present by its own chance: density (size, size, 3).

    Args:
        shape: the lesion's `Outline`.
        scale: magnification of fine structure, 1 on average.
        malignancy: 0 to 1.
    """
    density = np.zeros((*shape.inside.shape, 3), np.float32)
    for sign, in_a_bland_nevus, in_a_full_melanoma in SIGNS:
        if chance(rng, in_a_bland_nevus + (in_a_full_melanoma - in_a_bland_nevus) * malignancy):
            density += sign(rng, shape, scale, malignancy)
    return density


def region(rng, shape, extent, *, eccentric, softness):
    """A part of the lesion with a ragged border: (size, size), 0 to 1.

    Args:
        extent: its radius, in lesion radii.
        eccentric: how far from the centre its middle lies, at most, in lesion radii.
        softness: width of its border, in lesion radii.
    """
    size = shape.inside.shape[0]
    angle, distance = between(rng, 0, 2 * np.pi), between(rng, 0.3, 1) * eccentric
    away = np.hypot(shape.x - np.float32(distance * np.cos(angle)), shape.y - np.float32(distance * np.sin(angle)))
    ragged = np.float32(0.28) * patches(rng, size) + np.float32(0.08) * specks(rng, size)
    return soft_step(np.float32(extent) - away + ragged, softness) * np.minimum(np.float32(1.3) * shape.inside, 1)


def dark_blotch(rng, shape, scale, malignancy):
    """A dark area without structure, the farther off centre the worse."""
    extent, strength = between(rng, 0.2, 0.6), log_normal(rng, 0.9, 0.5, high=2.2)
    where = region(rng, shape, extent, eccentric=0.15 + 0.6 * malignancy, softness=between(rng, 0.15, 0.6))
    colour = MELANIN + np.float32(between(rng, 0.2, 1)) * (DEEP_MELANIN - MELANIN)
    return (np.float32(strength) * where * grain(rng, shape.inside.shape[0]))[..., None] * colour


def irregular_dots(rng, shape, scale, malignancy):
    """Dots and globules out of order: clustered, unequal, mostly at one side of the rim."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 1.2, 0.4, high=2.5)
    nests = globules(rng, size, spacing=scale * log_normal(rng, 0.05, 0.25, 0.03, 0.09), unrest=0.02)
    cluster = region(rng, shape, between(rng, 0.25, 0.6), eccentric=1.0, softness=0.5)
    rim = np.exp(-((shape.depth / np.float32(0.45)) ** 2))
    fewer = soft_step(specks(rng, size) - np.float32(between(rng, -0.6, 0.6)), 0.8)
    colour = MELANIN + np.float32(between(rng, 0, 1)) * (DEEP_MELANIN - MELANIN)
    return (np.float32(strength) * nests * cluster * fewer * (np.float32(0.4) + rim))[..., None] * colour


def milky_red_area(rng, shape, scale, malignancy):
    """Part of the lesion pink from dense fine vessels."""
    where = region(rng, shape, between(rng, 0.4, 1.1), eccentric=0.7, softness=0.8)
    strength = log_normal(rng, 0.40, 0.5, high=1.2)
    return (np.float32(strength) * where * grain(rng, shape.inside.shape[0]))[..., None] * BLOOD


def inflammation(rng, shape, scale, malignancy):
    """A pink cast of widened vessels that fades away from the lesion."""
    strength = log_normal(rng, 0.28, 0.5, high=0.8)
    reach = np.float32(between(rng, 0.4, 1.2) / max(shape.radius, 0.3))
    near = np.exp(-((np.minimum(shape.depth, 0) / reach) ** 2))
    uneven = np.clip(np.float32(0.8) + np.float32(0.5) * patches(rng, shape.inside.shape[0]), 0, 2)
    return (np.float32(strength) * near * uneven)[..., None] * BLOOD


def tumour_vessels(rng, shape, scale, malignancy):
    """Fine irregular vessels, in loops, commas and dots, in and near the lesion."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.5, 0.4, high=1.2)
    lines = np.exp(-((specks(rng, size) / np.float32(between(rng, 0.15, 0.35))) ** 2))
    where = soft_step(patches(rng, size) - np.float32(between(rng, -0.5, 0.8)), 0.8)
    where *= soft_step(shape.depth + np.float32(0.2), 0.5)
    return (np.float32(strength) * lines * where)[..., None] * BLOOD


def spread_beyond(rng, shape, scale, malignancy):
    """Thin pigment that creeps on past the border in patches, with a pattern of its own."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.32, 0.5, high=1.0)
    reach = np.float32(between(rng, 0.4, 1.4))
    near = np.exp(-((np.minimum(shape.depth, 0) / reach) ** 2)) * (1 - shape.inside)
    islands = soft_step(patches(rng, size) + shape.slope(rng) / 2 - np.float32(between(rng, -0.3, 0.8)), 1.0)
    mesh = pattern(rng, size, scale, malignancy) * grain(rng, size)
    return (np.float32(strength) * near * islands * mesh)[..., None] * MELANIN


def regression_scar(rng, shape, malignancy):
    """Where the lesion has gone and left a scar: how completely, (size, size), 0 to 1."""
    size = shape.inside.shape[0]
    if not chance(rng, 0.05 + 0.42 * malignancy):
        return np.zeros((size, size), np.float32)
    where = region(rng, shape, between(rng, 0.2, 0.6), eccentric=0.75, softness=between(rng, 0.6, 1.2))
    uneven = np.clip(np.float32(0.85) + np.float32(0.2) * specks(rng, size), 0, 1)
    return np.float32(between(rng, 0.45, 0.95)) * where * uneven


def peppering(rng, scar):
    """Blue-grey grains of pigment that macrophages carry off, in and around a scar: density (size, size, 3)."""
    if not scar.any() or not chance(rng, 0.7):
        return np.zeros((*scar.shape, 3), np.float32)
    strength = log_normal(rng, 0.5, 0.4, high=1.2)
    grains = soft_step(specks(rng, scar.shape[0]) - np.float32(0.9), 0.8)
    return (np.float32(strength) * blur(scar, 0.02) * grains)[..., None] * DERMAL_MELANIN


def blue_white_veil(rng, shape, malignancy):
    """An uneven bluish film over part of the lesion. How much it covers, (size, size), 0 to 1."""
    size = shape.inside.shape[0]
    if not chance(rng, 0.03 + 0.45 * malignancy):
        return np.zeros((size, size), np.float32)
    where = region(rng, shape, between(rng, 0.25, 0.7), eccentric=0.5, softness=between(rng, 0.5, 1.1))
    uneven = np.float32(0.75) + np.float32(0.25) * patches(rng, size) + np.float32(0.12) * specks(rng, size)
    return np.float32(between(rng, 0.25, 0.85)) * where * np.clip(uneven, 0, 1.15)


SIGNS = (  # sign, how often in the blandest nevus, how often in the worst melanoma
    (dark_blotch, 0.10, 0.40),
    (dark_blotch, 0.10, 0.40),
    (irregular_dots, 0.10, 0.45),
    (milky_red_area, 0.08, 0.58),
    (inflammation, 0.06, 0.50),
    (tumour_vessels, 0.08, 0.33),
    (spread_beyond, 0.08, 0.40),
)
