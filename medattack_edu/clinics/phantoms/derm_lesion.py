"""What is inside a pigmented lesion: architecture, colours and the signs of malignancy. Skin and camera live elsewhere.

Pigment absorbs: it is an optical density per colour channel, and densities add. Scars and the blue-white veil scatter:
they cover what lies beneath. Every sign's chance and strength follow the patient's malignancy, 0 to 1, which overlaps
between the classes.
"""

import numpy as np

from medattack_edu.clinics.phantoms.derm_outline import outline
from medattack_edu.clinics.phantoms.derm_skin import BLOOD, MELANIN
from medattack_edu.clinics.phantoms.derm_texture import clouds, globules, honeycomb, patches, specks
from medattack_edu.clinics.phantoms.optics import between, blur, chance, log_normal, soft_step

DEEP_MELANIN = np.array([0.80, 1.0, 1.02], np.float32)  # stacked through the epidermis: nearly black
DERMAL_MELANIN = np.array([1.25, 1.0, 0.62], np.float32)  # seen through scattering dermis: blue-grey
VEIL_LIGHT = np.array([0.22, 0.27, 0.38], np.float32)  # light of a blue-white veil, skin = 1
SCAR_LIGHT = np.array([0.98, 0.95, 0.97], np.float32)  # light of scar tissue, skin = 1
LARGEST_DENSITY = 4.6  # surface glare fills in what is darker

# Kumaraswamy's distribution (like a Beta, with a closed quantile): shape of malignancy in nevi and in melanomas.
MALIGNANCY_SHAPE = {0: (1.25, 5.0), 1: (3.4, 1.7)}


def malignancy(rng, label):
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
    scale = log_normal(rng, 1.0, 0.25, 0.7, 1.6)  # magnification of the fine structure

    amount = log_normal(rng, 2.7 - 0.3 * malignancy, 0.65, 0.5, 8.0)
    pattern = architecture(rng, shape, scale, malignancy) * shading(rng, shape, malignancy)
    pattern *= patchiness(rng, shape, malignancy) * shape.inside
    pigment = soften(rng, np.float32(amount) * pattern)
    density = pigment[..., None] * hue(rng, size, malignancy)

    scar = regression(rng, shape, malignancy)
    density *= (1 - scar)[..., None]
    density += blotches(rng, shape, malignancy) + dots(rng, shape, scale, malignancy)
    density += redness(rng, shape, malignancy) + inflammation(rng, shape, malignancy)
    density += tumour_vessels(rng, shape, malignancy) + peppering(rng, shape, scar)
    density += spread_beyond(rng, shape, scale, malignancy)
    density = limit(density)
    veil = blue_veil(rng, shape, malignancy)
    white = np.float32(between(rng, 0.2, 0.8)) * scar
    beneath = light * np.exp(-density)
    local = light.mean(axis=(0, 1))
    beneath += white[..., None] * (SCAR_LIGHT * local - beneath)
    beneath += veil[..., None] * (VEIL_LIGHT * local - beneath)
    return beneath


def soften(rng, pigment):
    """Scatter in the epidermis: pigment is never as sharp as a cut-out."""
    return blur(pigment, log_normal(rng, 0.0035, 0.3, high=0.008))


def limit(density):
    """Soft upper limit of density: LARGEST_DENSITY is approached, not passed."""
    return np.float32(LARGEST_DENSITY) * np.tanh(density / np.float32(LARGEST_DENSITY))


# --- Architecture --------------------------------------------------------------------------------------------------


def architecture(rng, shape, scale, malignancy):
    """Network, globules or plain pigment; a melanoma mixes several in uneven sectors. (size, size), mean about 1."""
    size = shape.inside.shape[0]
    first = single_pattern(rng, size, scale, malignancy)
    if not chance(rng, 0.12 + 0.6 * malignancy):
        return first * grain(rng, size)
    second = single_pattern(rng, size, scale, malignancy)
    share = soft_step(clouds(rng, size) + directed(rng, shape) - np.float32(0.2), 0.6)
    return (first + share * (second - first)) * grain(rng, size)


def single_pattern(rng, size, scale, malignancy):
    """One of the classic patterns, by the frequency it has among pigmented lesions: (size, size), mean about 1."""
    kind = rng.choice(["reticular", "globular", "homogeneous"], p=[0.50 - 0.15 * malignancy, 0.22 - 0.1 * malignancy, 0.28 + 0.25 * malignancy])
    unrest = log_normal(rng, 0.004 + 0.014 * malignancy, 0.3)
    spacing = log_normal(rng, 0.036, 0.15 + 0.1 * malignancy, 0.026, 0.07) * scale
    contrast = np.float32(log_normal(rng, 0.95 - 0.35 * malignancy, 0.4, 0.2, 1.5))
    if kind == "homogeneous":
        return np.ones((size, size), np.float32)
    presence = np.clip(np.float32(0.9 - 0.3 * malignancy) + np.float32(0.25 + 0.5 * malignancy)
                       * patches(rng, size), 0, 1.6)  # fmt: skip
    if kind == "reticular":
        lines = honeycomb(rng, size, spacing=spacing, unrest=unrest)
        return 1 + contrast * presence * (lines - np.float32(0.45))
    nests = globules(rng, size, spacing=1.25 * spacing, unrest=unrest)
    return 1 + contrast * presence * (2 * nests - np.float32(0.55))


def grain(rng, size):
    """The unevenness that every pigment has, at all scales: a factor (size, size) around 1."""
    coarse = log_normal(rng, 0.16, 0.4) * patches(rng, size)
    fine = log_normal(rng, 0.06, 0.4) * specks(rng, size)
    return np.exp(coarse + fine)


def shading(rng, shape, malignancy):
    """Darker or paler centre, and, with malignancy, one half darker than the other: a factor (size, size)."""
    central = np.clip(1 - np.hypot(shape.x, shape.y), -0.5, 1)
    concentric = (0.25 + 0.5 * rng.standard_normal()) * (1 - 0.5 * malignancy)
    lopsided = (0.08 + 0.35 * malignancy) * abs(rng.standard_normal())
    return np.exp(np.float32(concentric) * central + np.float32(lopsided) * np.clip(directed(rng, shape), -1.5, 1.5))


def patchiness(rng, shape, malignancy):
    """Islands of pigment with bare or thin skin between: a factor (size, size) from 0 to 1."""
    size = shape.inside.shape[0]
    depth = between(rng, 0.3, 0.95) * chance(rng, 0.10 + 0.50 * malignancy)
    islands = patches(rng, size) + np.float32(0.5) * clouds(rng, size)
    return 1 - np.float32(depth) * soft_step(islands - np.float32(between(rng, -0.1, 0.9)), 1.6)


def hue(rng, size, malignancy):
    """Colour of the pigment, brown to black to red, one for a nevus, changing from place to place in a melanoma.

    Returns:
        Density per unit of pigment, (size, size, 3).
    """
    black, red = 0.8 * between(rng, 0, 1) ** 2.5, between(rng, 0, 0.85) ** 2.5
    own = MELANIN * np.exp(np.array([0.22, 0, 0.14]) * rng.standard_normal(3)).astype(np.float32)
    variety = log_normal(rng, 0.05 + 0.09 * malignancy, 0.4)
    blacker = np.clip(black + np.float32(0.5 * variety) * patches(rng, size), 0, 1)[..., None]
    redder = np.clip(red + np.float32(0.7 * variety) * clouds(rng, size), 0, 1)[..., None]
    brown = own + blacker * (DEEP_MELANIN - own)
    colour = brown + redder * (BLOOD - brown)
    colour[..., 2] *= np.exp(np.float32(variety) * patches(rng, size))
    return colour


def directed(rng, shape):
    """A slope across the lesion in a random direction: (size, size), about -1 to 1 inside."""
    angle = between(rng, 0, 2 * np.pi)
    return shape.x * np.float32(np.cos(angle)) + shape.y * np.float32(np.sin(angle))


# --- Signs ---------------------------------------------------------------------------------------------------------


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
    ragged = np.float32(0.28) * patches(rng, size)
    ragged += np.float32(0.08) * specks(rng, size)
    return soft_step(np.float32(extent) - away + ragged, softness) * np.clip(1.3 * shape.inside, 0, 1)


def blotches(rng, shape, malignancy):
    """Dark areas without structure; off centre with malignancy. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    total = np.zeros((size, size, 3), np.float32)
    for _ in range(rng.binomial(2, 0.10 + 0.30 * malignancy)):
        extent, strength = between(rng, 0.2, 0.6), log_normal(rng, 0.9, 0.5, high=2.2)
        where = region(rng, shape, extent, eccentric=0.15 + 0.6 * malignancy, softness=between(rng, 0.15, 0.6))
        colour = MELANIN + np.float32(between(rng, 0.2, 1)) * (DEEP_MELANIN - MELANIN)
        total += (np.float32(strength) * where * grain(rng, size))[..., None] * colour
    return total


def dots(rng, shape, scale, malignancy):
    """Dots and globules out of order: clustered, unequal, mostly at one side of the rim. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 1.2, 0.4, high=2.5) * chance(rng, 0.10 + 0.35 * malignancy)
    if not strength:
        return np.zeros((size, size, 3), np.float32)
    nests = globules(rng, size, spacing=scale * log_normal(rng, 0.05, 0.25, 0.03, 0.09), unrest=0.02)
    cluster = region(rng, shape, between(rng, 0.25, 0.6), eccentric=1.0, softness=0.5)
    rim = np.exp(-((shape.depth / np.float32(0.45)) ** 2))
    fewer = soft_step(specks(rng, size) - np.float32(between(rng, -0.6, 0.6)), 0.8)
    colour = MELANIN + np.float32(between(rng, 0, 1)) * (DEEP_MELANIN - MELANIN)
    return (np.float32(strength) * nests * cluster * fewer * (np.float32(0.4) + rim))[..., None] * colour


def redness(rng, shape, malignancy):
    """Milky-red areas and inflamed rims. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.40, 0.5, high=1.2) * chance(rng, 0.08 + 0.50 * malignancy)
    if not strength:
        return np.zeros((size, size, 3), np.float32)
    where = region(rng, shape, between(rng, 0.4, 1.1), eccentric=0.7, softness=0.8)
    return (np.float32(strength) * where * grain(rng, size))[..., None] * BLOOD


def inflammation(rng, shape, malignancy):
    """A pink cast of widened vessels around the lesion. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.28, 0.5, high=0.8) * chance(rng, 0.06 + 0.6 * malignancy)
    if not strength:
        return np.zeros((size, size, 3), np.float32)
    reach = np.float32(between(rng, 0.4, 1.2) / max(shape.radius, 0.3))
    near = np.exp(-((np.minimum(shape.depth, 0) / reach) ** 2))
    uneven = np.clip(0.8 + 0.5 * patches(rng, size), 0, 2)
    return (np.float32(strength) * near * uneven)[..., None] * BLOOD


def tumour_vessels(rng, shape, malignancy):
    """Fine irregular vessels, in loops, commas and dots, in and near the lesion. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.5, 0.4, high=1.2) * chance(rng, 0.08 + 0.25 * malignancy)
    if not strength:
        return np.zeros((size, size, 3), np.float32)
    lines = np.exp(-((specks(rng, size) / np.float32(between(rng, 0.15, 0.35))) ** 2))
    where = soft_step(patches(rng, size) - np.float32(between(rng, -0.5, 0.8)), 0.8) * soft_step(shape.depth + 0.2, 0.5)
    return (np.float32(strength) * lines * where)[..., None] * BLOOD


def spread_beyond(rng, shape, scale, malignancy):
    """Thin pigment that creeps on past the border in patches, with a network of its own. Density (size, size, 3)."""
    size = shape.inside.shape[0]
    strength = log_normal(rng, 0.32, 0.5, high=1.0) * chance(rng, 0.08 + 0.32 * malignancy)
    if not strength:
        return np.zeros((size, size, 3), np.float32)
    reach = np.float32(between(rng, 0.4, 1.4))
    near = np.exp(-((np.minimum(shape.depth, 0) / reach) ** 2)) * (1 - shape.inside)
    islands = soft_step(patches(rng, size) + directed(rng, shape) / 2 - np.float32(between(rng, -0.3, 0.8)), 1.0)
    pattern = single_pattern(rng, size, scale, malignancy) * grain(rng, size)
    return (np.float32(strength) * near * islands * pattern)[..., None] * MELANIN


def regression(rng, shape, malignancy):
    """Where the lesion has gone and left a scar: how completely, (size, size), 0 to 1."""
    size = shape.inside.shape[0]
    strength = between(rng, 0.45, 0.95) * chance(rng, 0.04 + 0.55 * malignancy)
    if not strength:
        return np.zeros((size, size), np.float32)
    where = region(rng, shape, between(rng, 0.2, 0.6), eccentric=0.75, softness=between(rng, 0.2, 0.7))
    uneven = np.clip(0.85 + 0.2 * specks(rng, size), 0, 1)
    return np.float32(strength) * where * uneven


def peppering(rng, shape, scar):
    """Blue-grey grains of pigment that macrophages carry off, in and around a scar. Density (size, size, 3)."""
    size = scar.shape[0]
    strength = log_normal(rng, 0.5, 0.4, high=1.2) * chance(rng, 0.7)
    if not strength or not scar.any():
        return np.zeros((size, size, 3), np.float32)
    grains = soft_step(specks(rng, size) - np.float32(0.9), 0.8)
    return (np.float32(strength) * blur(scar, 0.02) * grains)[..., None] * DERMAL_MELANIN


def blue_veil(rng, shape, malignancy):
    """The blue-white veil: an uneven film over part of the lesion. How much it covers, (size, size), 0 to 1."""
    size = shape.inside.shape[0]
    strength = between(rng, 0.25, 0.85) * chance(rng, 0.03 + 0.45 * malignancy)
    if not strength:
        return np.zeros((size, size), np.float32)
    where = region(rng, shape, between(rng, 0.25, 0.7), eccentric=0.5, softness=between(rng, 0.3, 0.9))
    uneven = 0.75 + 0.25 * patches(rng, size) + 0.12 * specks(rng, size)
    return np.float32(strength) * where * np.clip(uneven, 0, 1.2)
