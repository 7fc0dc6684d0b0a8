"""Healthy skin under a dermatoscope: tone, mottling, lines, freckles, vessels, follicles. No lesion, no camera.

Skin is a colour in linear light times exp(-density): melanin and blood absorb, each in its own colour. Lengths are
fractions of the image's side.
"""

import numpy as np

from medattack_edu.clinics.phantoms.derm_texture import clouds, fade_of_fine_detail, globules, patches, specks
from medattack_edu.clinics.phantoms.optics import between, chance, log_normal, pixel_grid, soft_step

# Optical density per unit of pigment in red, green and blue, green = 1 (natural logarithm of linear light).
MELANIN = np.array([0.37, 1.0, 1.42], np.float32)
BLOOD = np.array([0.20, 1.0, 0.82], np.float32)

# Tone in CIELAB, lamp and white balance included: means and spreads of skin around lesions in public dermoscopy.
LIGHTNESS, LIGHTNESS_SPREAD = 77.0, 7.5
REDNESS, REDNESS_LOG_SPREAD = 13.0, 0.42
YELLOWNESS, YELLOWNESS_SPREAD = -1.5, 7.4
PALER_WHEN_REDDER = -0.35  # lightness lost for each unit of redness above the mean

D65 = np.array([0.9505, 1.0, 1.089], np.float32)  # CIE white point of daylight
XYZ_TO_RGB = np.array(  # IEC 61966-2-1 (sRGB), linear part
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]], np.float32
)


def lab_to_light(lightness, a, b):
    """Linear RGB (3,), clipped to [0, 1], of a CIELAB colour under daylight."""
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200], np.float32)
    xyz = D65 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return np.clip(XYZ_TO_RGB @ xyz, 0.01, 1).astype(np.float32)


def surface(rng, size):
    """One patient's skin, without a lesion: linear light (size, size, 3), float32."""
    melanin = mottling(rng, size, median=0.04) + freckles(rng, size) + sunspots(rng, size) + follicles(rng, size)
    melanin += other_moles(rng, size)
    blood = mottling(rng, size, median=0.05) + flush(rng, size) + small_vessels(rng, size)
    grooves = skin_lines(rng, size)
    density = melanin[..., None] * MELANIN + blood[..., None] * BLOOD + grooves[..., None]
    return tone(rng) * np.exp(-density)


def tone(rng):
    """The patient's skin colour as the lamp shows it: linear RGB (3,)."""
    redness = log_normal(rng, REDNESS, REDNESS_LOG_SPREAD, 2, 34)
    lightness = LIGHTNESS + LIGHTNESS_SPREAD * rng.standard_normal() + PALER_WHEN_REDDER * (redness - REDNESS)
    yellowness = YELLOWNESS + YELLOWNESS_SPREAD * rng.standard_normal() + 0.25 * (redness - REDNESS)
    return lab_to_light(np.clip(lightness, 46, 95), redness, np.clip(yellowness, -16, 26))


def mottling(rng, size, median):
    """Uneven pigment or blood, cloudy, patchy and grainy at once: density (size, size) around 0."""
    broad = log_normal(rng, 0.5 * median, 0.6) * clouds(rng, size)
    middle = log_normal(rng, 0.5 * median, 0.5) * patches(rng, size)
    fine = log_normal(rng, 0.5 * median, 0.4) * specks(rng, size)
    return broad + middle + fine


def freckles(rng, size):
    """Small soft brown patches, here and there, of no fixed shape: density (size, size), 0 in most patients."""
    strength = log_normal(rng, 0.16, 0.6, high=0.6) * chance(rng, 0.4)
    if not strength:
        return np.zeros((size, size), np.float32)
    where = clouds(rng, size)
    spots = specks(rng, size)
    rarity = between(rng, 1.0, 2.2)
    return np.float32(strength) * soft_step(spots + np.float32(0.5) * where - np.float32(rarity), 1.2)


def sunspots(rng, size):
    """Broad tan patches of sun-damaged skin, with ragged edges: density (size, size), 0 in most patients."""
    strength = log_normal(rng, 0.16, 0.5, high=0.5) * chance(rng, 0.3)
    if not strength:
        return np.zeros((size, size), np.float32)
    worn = patches(rng, size)
    return np.float32(strength) * soft_step(worn - np.float32(between(rng, 0.3, 1.3)), 1.8)


def other_moles(rng, size):
    """Small neighbours of the lesion that is being photographed: density (size, size), 0 in most patients."""
    density = np.zeros((size, size), np.float32)
    if not chance(rng, 0.10):
        return density
    x, y = pixel_grid(size)
    ragged = np.float32(0.04) * patches(rng, size)
    for _ in range(1 + rng.poisson(0.8)):
        radius, strength = log_normal(rng, 0.07, 0.6, 0.03, 0.35), log_normal(rng, 0.8, 0.5, high=2)
        away = np.hypot(x - np.float32(between(rng, -1, 1)), y - np.float32(between(rng, -1, 1)))
        density += np.float32(strength) * soft_step(np.float32(radius) - away + ragged, 0.6 * radius + 0.03)
    return density


def flush(rng, size):
    """A pink cast over part of the field: density (size, size)."""
    strength = log_normal(rng, 0.10, 0.6, high=0.4) * chance(rng, 0.4)
    return np.float32(strength) * soft_step(clouds(rng, size), 2.5)


def small_vessels(rng, size):
    """Fine red vessels that meander and branch, in part of the field: density (size, size), 0 in most patients."""
    strength = log_normal(rng, 0.22, 0.6, high=0.8) * chance(rng, 0.35)
    if not strength:
        return np.zeros((size, size), np.float32)
    course = patches(rng, size)
    width = np.float32(log_normal(rng, 0.09, 0.35))  # in units of the field's spread
    where = soft_step(clouds(rng, size) - np.float32(between(rng, -0.5, 1.0)), 1.0)
    return np.float32(strength) * where * np.exp(-((course / width) ** 2))


def skin_lines(rng, size):
    """Two oblique families of shallow grooves that cross in rhombi: density (size, size), grey, darker in a groove."""
    depth = log_normal(rng, 0.025, 0.6, high=0.09)
    angle, opening = between(rng, 0, np.pi), between(rng, 0.8, 1.5)
    lines_per_side = log_normal(rng, 24, 0.35, 12, 45)
    x, y = pixel_grid(size)
    bend = clouds(rng, size)
    presence = np.clip(0.6 + 0.6 * patches(rng, size), 0, 2)
    grooves = np.zeros((size, size), np.float32)
    for direction, share in ((angle, 1.0), (angle + opening, between(rng, 0.2, 0.9))):
        across = x * np.float32(np.cos(direction)) + y * np.float32(np.sin(direction))
        phase = np.float32(np.pi * lines_per_side / 2) * across + np.float32(2.5) * bend
        grooves += np.float32(share) * (np.float32(0.6) - np.abs(np.sin(phase)))
        bend = np.roll(bend, size // 3, axis=0)  # the other family bends elsewhere
    return np.float32(depth * fade_of_fine_detail(lines_per_side, size)) * presence * grooves


def follicles(rng, size):
    """Pale dots around the hair openings of facial skin, in a few patients: melanin taken away (size, size)."""
    strength = log_normal(rng, 0.15, 0.4) * chance(rng, 0.10)
    if not strength:
        return np.zeros((size, size), np.float32)
    openings = globules(rng, size, spacing=between(rng, 0.05, 0.09), unrest=0.02)
    return np.float32(-strength) * openings
