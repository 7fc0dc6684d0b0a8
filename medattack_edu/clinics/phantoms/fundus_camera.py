"""The fundus camera: which part of the eye is seen, how it is lit, what the media scatter, what the file keeps.

No anatomy and no disease: everything here is drawn from the same distribution for both classes. Light is linear, in
three planes, (3, size, size). Lengths are half sides.
"""

from typing import NamedTuple

import numpy as np

from medattack_edu.clinics.phantoms.optics import (
    between,
    blur,
    chance,
    from_planes,
    gamma,
    in_colour,
    jpeg_round_trip,
    log_normal,
    noise,
    pixel_grid,
    sensor_noise,
    sharpen,
    soft_step,
    to_bytes,
)

DISPLAY_GAMMA = 2.2
WHOLE_CIRCLES = 0.46  # share of photographs that show the whole field stop
NOTCHED = 0.72  # share with the orientation mark
MISEXPOSED = 0.05  # share far too dark or far too bright
EDGE_WIDTH = 0.016  # of the field stop, in half sides
SHOULDER = np.float32(0.75)  # display value from which the camera compresses highlights
SURROUND_LEVEL = 0.012  # display value of the black around the field, at most
# Hues of haze and flare in linear light: bluish lens haze, teal, milky, warm.
SCATTER_COLOURS = np.array([[0.62, 0.80, 0.90], [0.55, 0.85, 0.78], [0.92, 0.90, 0.86], [1.00, 0.72, 0.42]], np.float32)


class Field(NamedTuple):
    """The round window of the camera, and what the photographer aimed at."""

    zoom: float  # size of the eye in the picture; 1: disc and fovea 0.85 half sides apart
    disc_aside: float  # distance of the disc from the middle, sideways
    radius: float
    mask: np.ndarray  # (size, size), 0 outside, 1 inside
    from_edge: np.ndarray  # (size, size), depth inside the field, in half sides


def draw_field(rng, size):
    """The field stop: a whole circle, or a crop of it, at times cut flat above and below; most have a notch."""
    x, y = pixel_grid(size)
    whole = chance(rng, WHOLE_CIRCLES)
    zoom, disc_aside = _aim(rng, whole)
    radius = between(rng, 0.925, 0.985) if whole else log_normal(rng, 1.09, 0.07, 1.0, 1.35)
    shift = (1 - radius) * rng.uniform(-1, 1, 2) if whole else (0.04, 0.02) * rng.standard_normal(2)
    dx, dy = x - np.float32(shift[0]), y - np.float32(shift[1])
    flat = between(rng, 0.93, 0.99) if not whole and chance(rng, 0.35) else 1.0
    from_edge = np.minimum(np.float32(radius) - np.hypot(dx, dy), np.float32(flat) - np.abs(y))
    opening = np.maximum(from_edge, _notch(rng, dx, dy, radius)) if chance(rng, NOTCHED) else from_edge
    return Field(zoom, disc_aside, radius, soft_step(opening, EDGE_WIDTH), from_edge)


def _aim(rng, whole):
    """What the photographer aims at: (zoom, distance of the disc from the middle).

    A whole circle has disc and fovea on either side of the middle; a crop is enlarged, often with the fovea there.
    """
    zoom = log_normal(rng, 0.83 if whole else 0.99, 0.07, 0.7, 1.2)
    between_both = whole or chance(rng, 0.35)
    disc_aside = between(rng, 0.36, 0.62) if between_both else between(rng, 0.66, 0.86)
    if chance(rng, 0.04):  # at the disc, or far to the temple
        disc_aside = between(rng, 0.0, 0.35) if chance(rng, 0.6) else between(rng, 0.86, 1.0)
    return zoom, zoom * disc_aside


def _notch(rng, dx, dy, radius):
    """Depth inside the orientation mark on the rim, mostly up and to the right: a square, a disc or a blunt wedge."""
    angle = np.radians(between(rng, -52, -36)) if chance(rng, 0.85) else np.radians(between(rng, 20, 45))
    out, along = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    radial, across = dx * out + dy * along - np.float32(radius), np.abs(dy * out - dx * along)
    width = np.float32(between(rng, 0.028, 0.048))
    kind = rng.integers(0, 3)
    if kind == 0:
        return np.minimum(width - across, np.float32(0.9) * width - np.abs(radial))
    if kind == 1:
        return np.float32(1.15) * width - np.hypot(radial, across)
    sides = np.float32(1.4) * width - np.float32(0.8) * radial - across
    return np.minimum(sides, np.float32(0.75) * width - np.abs(radial))


def draw_tint(rng):
    """The picture's middle colour on the display, (3,): from orange to grey-green, from dark to overexposed."""
    if chance(rng, 0.28):
        green_over_red = np.clip(rng.normal(0.54, 0.08), 0.25, 0.75)
        blue_over_green = np.clip(rng.normal(0.40, 0.14), 0.05, 0.75)
    else:
        green_over_red = np.clip(rng.normal(0.705, 0.075), 0.4, 1.05)
        blue_over_green = np.clip(0.685 + 0.9 * (green_over_red - 0.705) + 0.085 * rng.standard_normal(), 0.3, 1.1)
    red = log_normal(rng, 0.78, 0.33, 0.22, 1.08)
    if chance(rng, MISEXPOSED):
        red *= between(rng, 0.3, 0.5) if chance(rng, 0.5) else between(rng, 1.2, 1.6)
    return np.array([red, red * green_over_red, red * green_over_red * blue_over_green], np.float32)


def illuminate(rng, size, field):
    """How the flash lights the fundus, (3, size, size): brightest off centre, less to the rim, some with a cloud."""
    x, y = pixel_grid(size)
    cx, cy = (np.float32(0.30 * rng.standard_normal()) for _ in range(2))
    distance = np.hypot(x - cx, y - cy) / np.float32(field.radius)
    fall = log_normal(rng, 0.95, 0.50, 0.1, 2.6)
    power = np.float32(between(rng, 1.3, 2.8))
    depth = np.float32(fall) * np.minimum(distance, 1.6) ** power
    depth += np.float32(between(rng, 0.0, 0.6)) * np.exp(-np.clip(field.from_edge, 0, None) / np.float32(0.12))
    depth += np.float32(abs(0.20 * rng.standard_normal())) * noise(rng, size, slope=2.5, coarsest=1.5)
    if chance(rng, 0.40):
        depth += _shadow(rng, x, y)
    cooler, greener = 0.12 + 0.14 * rng.standard_normal(), 0.05 * rng.standard_normal()
    return np.exp(-in_colour(depth, (1 + cooler + greener, 1, 1 - cooler + greener)))


def _shadow(rng, x, y):
    """A small pupil or a lid keeps the light from a part of the fundus: a large dark cloud."""
    cx, cy = 0.45 * rng.standard_normal(2).astype(np.float32)
    width = np.float32(between(rng, 0.22, 0.5))
    squared = ((x - cx) ** 2 + np.float32(between(rng, 0.6, 1.6)) * (y - cy) ** 2) / width**2
    return np.float32(between(rng, 0.3, 1.2)) * np.exp(-np.float32(0.5) * squared)


def scatter(rng, light, field, level):
    """Haze of lens and vitreous: light is lost and comes back as a veil, thicker towards the rim."""
    size = light.shape[-1]
    amount = between(rng, 0.18, 0.5) if chance(rng, 0.17) else 0.16 * rng.random() ** 1.5
    colour = _scatter_colour(rng) * np.float32(level)
    depth = np.clip(field.from_edge, 0, None) / np.float32(field.radius)
    rim = np.exp(-depth / np.float32(between(rng, 0.08, 0.3)))
    thickness = 0.8 + np.float32(between(rng, 0.0, 0.5)) * rim + np.float32(0.2) * noise(rng, size, slope=2.0)
    veil = np.clip(np.float32(amount) * thickness, 0, 0.92)
    return light * (1 - veil) + in_colour(veil, colour)


def add_flare(rng, light, field, level):
    """Stray light: a crescent at the rim, a lid below, ghosts of the lens. Few pictures have any."""
    if chance(rng, 0.14):
        _add_rim_flare(rng, light, field)
    if chance(rng, 0.05):
        _add_lid(rng, light)
    if chance(rng, 0.20):
        for _ in range(rng.integers(1, 4)):
            _add_ghost(rng, light, level)
    return light


def _add_rim_flare(rng, light, field):
    """A bright crescent where the flash meets the iris, with a coloured fringe; rarely all the way round."""
    x, y = pixel_grid(light.shape[-1])
    towards = rng.uniform(0, 2 * np.pi)
    from_middle = np.maximum(np.hypot(x, y), np.float32(1e-6))  # an odd side has a pixel right there
    facing = (x * np.float32(np.cos(towards)) + y * np.float32(np.sin(towards))) / from_middle
    one_sided = 0.02 if chance(rng, 0.1) else between(rng, 0.1, 0.5)
    depth = np.clip(field.from_edge, 0, None) + np.float32(one_sided) * (1 - facing)
    width, strength = between(rng, 0.03, 0.16), log_normal(rng, 0.55, 0.6, 0.1, 2.0)
    fringe = 0.08 + 0.10 * rng.standard_normal()  # red mostly reaches further in than blue
    for channel, colour in enumerate(_scatter_colour(rng)):
        reach = np.float32(width * (1 + fringe * (1 - channel)))
        light[channel] += np.float32(strength) * colour * np.exp(-((depth / reach) ** 2))


def _add_lid(rng, light):
    """A blink: the lower lid glows, out of focus."""
    x, y = pixel_grid(light.shape[-1])
    lid = np.float32(between(rng, 0.75, 1.1)) + np.float32(0.15 * rng.standard_normal()) * x
    glow = np.exp(np.minimum((y - lid) / np.float32(between(rng, 0.08, 0.25)), 0.5))
    light += in_colour(np.float32(between(rng, 0.4, 1.2)) * glow, _scatter_colour(rng))


def _add_ghost(rng, light, level):
    """A reflection inside the lens: a faint disc, or a small bright ring."""
    x, y = pixel_grid(light.shape[-1])
    cx, cy = 0.4 * rng.standard_normal(2).astype(np.float32)
    radius = np.float32(between(rng, 0.025, 0.07))
    distance = np.hypot(x - cx, y - cy)
    ring = chance(rng, 0.35)
    shape = np.exp(-(((distance - radius) / np.float32(0.012)) ** 2)) if ring else soft_step(radius - distance, 0.03)
    light += in_colour(np.float32(level * between(rng, 0.08, 0.5)) * shape, _scatter_colour(rng))


def add_dust(rng, light, field):
    """Dark specks on the sensor's window, sharp and few."""
    size = light.shape[-1]
    x, y = pixel_grid(size)
    for _ in range(rng.poisson(1.5) if chance(rng, 0.18) else 0):
        cx, cy = (field.radius * 0.85 * rng.uniform(-1, 1, 2)).astype(np.float32)
        width = np.float32(np.hypot(between(rng, 0.004, 0.010), 0.7 / size))
        speck = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
        light *= 1 - np.float32(between(rng, 0.15, 0.6)) * speck
    return light


def expose(rng, light, field):
    """From light to file: focus, field stop, sensor noise, display curve, sharpening, JPEG. Returns uint8."""
    focus = log_normal(rng, 0.0028, 0.45, 0.0010, 0.006)
    if chance(rng, 0.06):
        focus = between(rng, 0.007, 0.018)
    shot_noise = log_normal(rng, 0.006, 0.5, 0.002, 0.03)
    sharpness = between(rng, 0.2, 0.6) if chance(rng, 0.35) else 0.0
    halo = between(rng, 0.005, 0.012)
    floor = np.float32(SURROUND_LEVEL * rng.random() ** 2)
    quality = between(rng, 72, 95)
    light = from_planes(np.stack([blur(plane, focus) for plane in light]) * field.mask)
    light = sensor_noise(rng, light, shot=shot_noise)  # the last draw: how many numbers it takes depends on the size
    picture = _shoulder(gamma(light, 1 / DISPLAY_GAMMA))
    if sharpness:
        picture = sharpen(picture, halo, sharpness)
    return jpeg_round_trip(to_bytes(picture * (1 - floor) + floor), quality)


def _shoulder(picture):
    """Highlights roll off instead of clipping, so that an overexposed disc still shows its vessels."""
    above = np.float32(1 - SHOULDER)
    return np.where(picture > SHOULDER, SHOULDER + above * np.tanh((picture - SHOULDER) / above), picture)


def _scatter_colour(rng):
    """One of the hues of stray light, mixed a little with another."""
    one, other = SCATTER_COLOURS[rng.integers(0, len(SCATTER_COLOURS), 2)]
    share = np.float32(between(rng, 0.0, 0.4))
    return one * (1 - share) + other * share
