"""A pigmented lesion on skin: its malignancy, plain pigment and colours, and how the layers of light combine.

Pigment absorbs: it is an optical density per colour channel, and densities add. Scars and the blue-white veil scatter:
they cover what lies beneath. The signs of malignancy have a module of their own (derm_signs), the outline too.
"""

import numpy as np

from medattack_edu.clinics.phantoms.derm_outline import outline
from medattack_edu.clinics.phantoms.derm_signs import (
    DEEP_MELANIN,
    blue_white_veil,
    peppering,
    regression_scar,
    signs_of_pigment_and_blood,
)
from medattack_edu.clinics.phantoms.derm_skin import BLOOD, MELANIN
from medattack_edu.clinics.phantoms.derm_texture import clouds, grain, patches, pattern
from medattack_edu.clinics.phantoms.optics import between, blur, chance, log_normal, soft_step

VEIL_LIGHT = np.array([0.22, 0.27, 0.38], np.float32)  # light of a blue-white veil, skin = 1
SCAR_LIGHT = np.array([0.98, 0.95, 0.97], np.float32)  # light of scar tissue, skin = 1
LARGEST_DENSITY = 4.6  # glare of the surface drowns what would be darker

# Kumaraswamy's distribution (like a Beta, with a closed quantile): shape of malignancy in nevi and in melanomas.
MALIGNANCY_SHAPE = {0: (1.25, 5.0), 1: (3.4, 1.7)}


def malignancy_of(rng, label):
    """The patient's place between a bland nevus (0) and a textbook melanoma (1); the classes overlap."""
    a, b = MALIGNANCY_SHAPE[label]
    return float((1 - (1 - rng.random()) ** (1 / b)) ** (1 / a))


def paint(rng, light, malignancy):
    """Adds one lesion to skin.

    Args:
        light: the skin in linear light, (size, size, 3).
        malignancy: 0 to 1.

    Returns:
        Linear light, the same shape.
    """
    size = light.shape[0]
    shape = outline(rng, size, malignancy)
    scale = log_normal(rng, 1.0, 0.25, 0.7, 1.6)
    scar = regression_scar(rng, shape, malignancy)
    pigment = plain_pigment(rng, shape, scale, malignancy) * (1 - scar)
    density = pigment[..., None] * hue(rng, size, malignancy)
    density += signs_of_pigment_and_blood(rng, shape, scale, malignancy) + peppering(rng, scar)
    white, veil = np.float32(between(rng, 0.2, 0.8)) * scar, blue_white_veil(rng, shape, malignancy)
    lit = light * np.exp(-limited(density))
    typical = light.mean(axis=(0, 1))
    lit += white[..., None] * (SCAR_LIGHT * typical - lit)
    lit += veil[..., None] * (VEIL_LIGHT * typical - lit)
    return lit


def limited(density):
    """Soft upper limit of density: LARGEST_DENSITY is approached, not passed."""
    return np.float32(LARGEST_DENSITY) * np.tanh(density / np.float32(LARGEST_DENSITY))


def plain_pigment(rng, shape, scale, malignancy):
    """How much pigment lies where, before any sign of malignancy: (size, size), 0 outside the lesion."""
    amount = log_normal(rng, 2.6 - 0.3 * malignancy, 0.65, 0.5, 8.0)
    tissue = architecture(rng, shape, scale, malignancy) * shading(rng, shape, malignancy)
    pigment = np.float32(amount) * tissue * patchiness(rng, shape, malignancy) * shape.inside
    return blur(pigment, log_normal(rng, 0.0035, 0.3, high=0.008))  # the epidermis scatters: no cut-out edges


def architecture(rng, shape, scale, malignancy):
    """One pattern in a nevus; a melanoma mixes two in uneven sectors. (size, size), mean about 1."""
    size = shape.inside.shape[0]
    first = pattern(rng, size, scale, malignancy)
    if not chance(rng, 0.12 + 0.6 * malignancy):
        return first * grain(rng, size)
    second = pattern(rng, size, scale, malignancy)
    share = soft_step(clouds(rng, size) + shape.slope(rng) - np.float32(0.2), 0.6)
    return (first + share * (second - first)) * grain(rng, size)


def shading(rng, shape, malignancy):
    """A darker or paler centre, and, with malignancy, one half darker than the other: a factor (size, size)."""
    central = np.clip(1 - np.hypot(shape.x, shape.y), -0.5, 1)
    concentric = (0.25 + 0.5 * rng.standard_normal()) * (1 - 0.5 * malignancy)
    lopsided = (0.08 + 0.35 * malignancy) * abs(rng.standard_normal())
    return np.exp(np.float32(concentric) * central + np.float32(lopsided) * np.clip(shape.slope(rng), -1.5, 1.5))


def patchiness(rng, shape, malignancy):
    """Islands of pigment with bare or thin skin between: a factor (size, size) from 0 to 1."""
    size = shape.inside.shape[0]
    if not chance(rng, 0.10 + 0.50 * malignancy):
        return np.ones((size, size), np.float32)
    islands = patches(rng, size) + np.float32(0.5) * clouds(rng, size)
    bare = soft_step(islands - np.float32(between(rng, -0.1, 0.9)), 1.6)
    return 1 - np.float32(between(rng, 0.3, 0.95)) * bare


def hue(rng, size, malignancy):
    """Colour of the pigment, brown to black to red: one for a nevus, changing from place to place in a melanoma.

    Returns:
        Density per unit of pigment, (size, size, 3).
    """
    black, red = 0.8 * between(rng, 0, 1) ** 2.5, 0.75 * between(rng, 0, 1) ** 3
    own = MELANIN * np.exp(np.array([0.22, 0, 0.14]) * rng.standard_normal(3)).astype(np.float32)
    variety = log_normal(rng, 0.05 + 0.09 * malignancy, 0.4)
    blacker = np.clip(np.float32(black) + np.float32(0.5 * variety) * patches(rng, size), 0, 1)[..., None]
    redder = np.clip(np.float32(red) + np.float32(0.7 * variety) * clouds(rng, size), 0, 1)[..., None]
    brown = own + blacker * (DEEP_MELANIN - own)
    colour = brown + redder * (BLOOD - brown)
    colour[..., 2] *= np.exp(np.float32(variety) * patches(rng, size))  # yellower here, bluer there
    return colour
