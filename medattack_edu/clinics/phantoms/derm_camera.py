"""What lies between a lesion and its picture: hairs, gel bubbles, rulers, glints, the dermatoscope and its sensor.

All of it is drawn from the same distribution for every patient, whatever the diagnosis. Lengths are fractions of the
image's side.
"""

import numpy as np

from medattack_edu.clinics.phantoms.derm_texture import clouds, patches, specks
from medattack_edu.clinics.phantoms.optics import (
    between,
    blur,
    chance,
    gamma,
    log_normal,
    pixel_grid,
    sensor_noise,
    sharpen,
    soft_step,
    to_bytes,
    vignette,
)

COLOUR_BLUR = 1.7  # debayering and JPEG leave colour less sharp than brightness, and without noise
INK_FINENESS = 3  # lines are drawn this many times finer than the image, then averaged
SKIN_LIGHT = 0.4  # linear light of average skin: the unit of glints and bubbles


# --- Hairs and rulers ----------------------------------------------------------------------------------------------


def hairs(rng, light):
    """Lays hairs over the skin: curved, tapering, mostly dark, sometimes pale; about half of the patients have any."""
    size = light.shape[0]
    hairy = chance(rng, 0.45)
    count = 1 + rng.poisson(log_normal(rng, 5, 0.9, high=35)) if hairy else 0
    if not count:
        return light
    width, direction = log_normal(rng, 0.0045, 0.3, 0.0025, 0.009), between(rng, 0, 2 * np.pi)
    pale = chance(rng, 0.25)
    ink = blur(drawn_lines(size, [hair(rng, width, direction) for _ in range(count)]), 0.0015)
    strength = np.float32(between(rng, 0.35, 0.95)) * ink[..., None]
    colour = np.array([1.5, 1.4, 1.25] if pale else [0.22, 0.15, 0.12], np.float32) * np.float32(SKIN_LIGHT)
    return light + strength * (np.minimum(colour, 0.9) - light)


def hair(rng, width, direction):
    """One hair: points (n, 2) along a bent course, in fractions of the side, and the width at each."""
    steps = np.linspace(0, 1, 24)
    start, length = between(rng, -0.1, 1.1) + 1j * between(rng, -0.1, 1.1), log_normal(rng, 0.45, 0.5, 0.08, 1.4)
    heading = direction + 0.45 * rng.standard_normal()
    curl, twist = 0.9 * rng.standard_normal(), 0.8 * rng.standard_normal()
    course = start + length * np.cumsum(np.exp(1j * (heading + curl * (steps - 0.5) + twist * (steps - 0.5) ** 2))) / 24
    taper = width * np.minimum(1, 2.5 * (1 - steps) + 0.25) * between(rng, 0.6, 1.3)
    return np.stack([course.real, course.imag], axis=1), taper


def ruler(rng, light):
    """Millimetre marks of the contact plate along one edge, in few patients."""
    size = light.shape[0]
    if not chance(rng, 0.025):
        return light
    pitch, edge, tilt = between(rng, 0.03, 0.07), between(rng, 0.02, 0.10), between(rng, -0.06, 0.06)
    marks = []
    for k, at in enumerate(np.arange(-0.1, 1.1, pitch)):
        foot = np.array([at, edge + tilt * at])
        marks.append((np.stack([foot, foot + [-tilt * 0.05, 0.05 if k % 5 == 0 else 0.03]]), np.full(2, 0.005)))
    ink = np.rot90(drawn_lines(size, marks), int(rng.integers(4)))[..., None]
    return light * (1 - np.float32(between(rng, 0.3, 0.8)) * ink)


def ink_dots(rng, light):
    """Violet dots or strokes of a skin marker near the edge of the field, in few patients."""
    size = light.shape[0]
    if not chance(rng, 0.02):
        return light
    x, y = pixel_grid(size)
    angle, distance = between(rng, 0, 2 * np.pi), between(rng, 0.75, 1.05)
    away = np.hypot(x - np.float32(distance * np.cos(angle)), y - np.float32(distance * np.sin(angle)))
    ragged = np.float32(0.06) * patches(rng, size)
    stain = np.float32(between(rng, 0.6, 1.6)) * soft_step(np.float32(between(rng, 0.08, 0.2)) - away + ragged, 0.08)
    return light * np.exp(-stain[..., None] * np.array([1.0, 1.3, 0.35], np.float32))


def drawn_lines(size, lines):
    """Coverage (size, size), 0 to 1, of tapering lines: points (n, 2) and widths (n,), in fractions of the side, each."""
    from PIL import Image, ImageDraw

    fine = INK_FINENESS * size
    canvas = Image.new("L", (fine, fine))
    pen = ImageDraw.Draw(canvas)
    for points, widths in lines:
        corners = [tuple(p) for p in (points * fine)]
        for start, end, width in zip(corners[:-1], corners[1:], widths[1:], strict=True):
            pen.line([start, end], fill=255, width=max(1, round(float(width) * fine)))
    small = canvas.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


# --- Gel -----------------------------------------------------------------------------------------------------------


def bubbles(rng, light):
    """Air bubbles in the gel: a dark ring with a bright crescent, in one patient of eight."""
    size = light.shape[0]
    if not chance(rng, 0.13):
        return light
    x, y = pixel_grid(size)
    for _ in range(1 + rng.poisson(2.0)):
        radius = log_normal(rng, 0.035, 0.5, 0.015, 0.16)
        dx, dy = x - np.float32(between(rng, -1, 1)), y - np.float32(between(rng, -1, 1))
        away = np.hypot(dx, dy)
        ring = np.exp(-(((away - np.float32(radius)) / np.float32(0.012)) ** 2))
        lit = np.float32(0.5) + np.float32(0.5) * np.cos(np.arctan2(dy, dx) - np.float32(between(rng, 0, 6.28)))
        light = light * (1 - np.float32(0.35) * ring * (1 - lit))[..., None]
        light = light + (np.float32(0.45 * SKIN_LIGHT) * ring * lit**6)[..., None]
    return light


def glints(rng, light):
    """Specks of lamp light on scales and dry spots, in loose clusters, in one patient of four."""
    size = light.shape[0]
    if not chance(rng, 0.18):
        return light
    x, y = pixel_grid(size)
    middle_x, middle_y = 0.5 * rng.standard_normal(2)
    distance2 = (x - np.float32(middle_x)) ** 2 + (y - np.float32(middle_y)) ** 2
    cluster = np.exp(-distance2 / np.float32(between(rng, 0.02, 0.4)))
    lit = specks(rng, size) + 2 * cluster - np.float32(between(rng, 3.4, 4.6))
    return light + np.float32(between(rng, 0.2, 0.7)) * soft_step(lit, 0.5)[..., None]


# --- Dermatoscope --------------------------------------------------------------------------------------------------


def dermatoscope(rng, light):
    """The lamp and the tube: light falls off to the edge and leans to one side. Linear light in and out."""
    size = light.shape[0]
    x, y = pixel_grid(size)
    centre = 0.25 * rng.standard_normal(2)
    light = light * vignette(size, log_normal(rng, 0.08, 0.8, high=0.30), centre=centre)[..., None]
    lean = 0.06 * rng.standard_normal(2)
    light = light * np.exp(np.float32(lean[0]) * x + np.float32(lean[1]) * y)[..., None]
    return light * (1 - dark_corners(rng, size))[..., None]


def dark_corners(rng, size):
    """The shadow of the tube: oval, off centre, soft or hard, in one patient of twelve. 0 to 1, (size, size)."""
    if not chance(rng, 0.06):
        return np.zeros((size, size), np.float32)
    x, y = pixel_grid(size)
    radius, oval = between(rng, 0.98, 1.32), log_normal(rng, 1.0, 0.06)
    centre = 0.08 * rng.standard_normal(2)
    away = np.hypot((x - np.float32(centre[0])) * np.float32(oval), (y - np.float32(centre[1])) / np.float32(oval))
    unround = np.float32(0.012) * clouds(rng, size)
    return np.float32(0.985) * soft_step(away + unround - np.float32(radius), log_normal(rng, 0.14, 0.7, 0.03, 0.5))


def photograph(rng, light):
    """Focus, sensor and sharpening: linear light (size, size, 3) in, uint8 out."""
    focus = log_normal(rng, 0.0042, 0.14, high=0.009)
    grey = blur(light.mean(axis=-1), focus)
    grey = sensor_noise(rng, grey, shot=log_normal(rng, 0.0028, 0.4), read=0.0005, grain=0.005)
    colour = blur(light, COLOUR_BLUR * focus)
    light = colour + (grey - colour.mean(axis=-1))[..., None]
    display = gamma(light + np.float32(between(rng, 0.001, 0.008)), 1 / 2.2)
    display = sharpen(display, between(rng, 0.006, 0.014), between(rng, 0, 0.5))
    return to_bytes(display)
