"""The healthy eye of a fundus phantom: pigment, choroid, nerve fibres, macula, disc, vessels, as optical density.

No disease and no camera. Lengths are half sides of the image; densities are natural logs in linear light, above 0 where
light is absorbed, below 0 where more comes back; each is three planes, (3, size, size).
"""

from typing import NamedTuple

import numpy as np

from medattack_edu.clinics.phantoms.fundus_vessels import absorption, grow_tree
from medattack_edu.clinics.phantoms.optics import (
    between,
    chance,
    in_colour,
    log_normal,
    noise,
    pixel_grid,
    soft_step,
)

VEIN_BLOOD = np.array([0.50, 1.10, 0.80], np.float32)  # density in the middle of a main vein: dark, bluish red
ARTERY_BLOOD = np.array([0.22, 0.95, 0.78], np.float32)  # oxygenated: brighter, orange-red
PIGMENT = np.array([0.75, 1.00, 1.10], np.float32)  # melanin of the retinal epithelium
MACULAR_PIGMENT = np.array([0.62, 1.00, 1.15], np.float32)
CHOROID = np.array([0.35, 1.00, 1.05], np.float32)
NERVE_FIBRES = np.array([-0.75, -1.00, -1.10], np.float32)  # their sheen is bluish white
NEURAL_RIM = np.array([-0.80, -0.92, -0.90], np.float32)
CUP = np.array([-0.25, -0.75, -0.65], np.float32)  # the pale lamina, on top of the rim
SCLERA = np.array([-0.55, -0.85, -0.85], np.float32)


class Eye(NamedTuple):
    """Where things are, in image coordinates (x to the right, y down)."""

    zoom: float  # half sides of the image per unit of the eye's frame
    disc: np.ndarray  # (2,)
    disc_radius: float
    fovea_offset: np.ndarray  # (2,) from the disc, in the frame of the eye
    temple: int  # +1: the temple lies to the right of the disc
    tilt: float  # radians

    def to_image(self, points):
        """Maps points (..., 2) of the eye's frame (origin disc, x to the temple, y up) into the image."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        x, y = points[..., 0], points[..., 1]
        return self.disc + self.zoom * np.stack([self.temple * (x * cos - y * sin), -(x * sin + y * cos)], axis=-1)

    @property
    def macula(self):
        """Centre of the fovea, (2,), in image coordinates."""
        return self.to_image(self.fovea_offset)


def draw_eye(rng, zoom, disc_aside):
    """A left or a right eye; its macula lies to the temple of the disc and a little below.

    Args:
        zoom: size of the eye in the image.
        disc_aside: distance of the disc from the middle of the image, sideways.
    """
    temple = 1 if chance(rng, 0.5) else -1
    disc = np.array([-temple * disc_aside, 0.10 * rng.standard_normal()])
    fovea = np.array([between(rng, 0.78, 0.93), -0.07 + 0.05 * rng.standard_normal()])
    radius = zoom * log_normal(rng, 0.157, 0.10, 0.12, 0.21)
    return Eye(zoom, disc, radius, fovea, temple, 0.07 * rng.standard_normal())


def retina_density(rng, eye, size):
    """Everything of a healthy fundus but its mean colour."""
    disc, disc_edge = _disc(rng, eye, size)
    background = _pigment(rng, size) + _choroid(rng, eye, size) + _macula(rng, eye, size)
    background += _nerve_fibres(rng, eye, size)
    density = background * (1 - disc_edge) + disc
    return density + _vessels(rng, eye, size)


def _from(point, size):
    x, y = pixel_grid(size)
    return x - np.float32(point[0]), y - np.float32(point[1])


def _pigment(rng, size):
    """Uneven pigment: clouds, mottling, grain."""
    clouds = abs(0.07 * rng.standard_normal()) * noise(rng, size, slope=1.8, coarsest=0.5)
    mottling = log_normal(rng, 0.035, 0.6) * noise(rng, size, slope=1.0, coarsest=0.12, finest=0.01)
    grain = log_normal(rng, 0.035, 0.4, 0.0, 0.065) * noise(rng, size, slope=0.7, coarsest=0.04, finest=0.006)
    hue = 0.06 * noise(rng, size, slope=1.8, coarsest=0.8)
    tint = np.array([-1.0, 0.0, 0.8], np.float32)
    return in_colour(clouds + mottling + grain, PIGMENT) + in_colour(hue, tint)


def _choroid(rng, eye, size):
    """Choroidal vessels shine through as pale orange bands, strongly in a tessellated fundus, less at the macula."""
    strong = chance(rng, 0.25)
    strength = np.float32(between(rng, 0.12, 0.30) if strong else 0.10 * rng.random())
    field = noise(rng, size, slope=0.6, coarsest=0.10, finest=0.016)
    ridges = 1 - np.minimum(np.abs(field) / np.float32(0.6), 1)
    dx, dy = _from(eye.macula, size)
    away = 1 - np.float32(0.75) * np.exp(-(dx * dx + dy * dy) / np.float32(2 * (0.30 * eye.zoom) ** 2))
    return in_colour(strength * (np.float32(0.4) - ridges) * away, CHOROID)


def _nerve_fibres(rng, eye, size):
    """Striated sheen of the nerve fibre layer, above and below the disc, seen in the young and in dark fundi."""
    strength = np.float32(between(rng, 0.10, 0.45) if chance(rng, 0.4) else 0.10 * rng.random())
    dx, dy = _from(eye.disc, size)
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx * np.float32(eye.temple))
    bundles = np.float32(0.2) + np.sin(angle) ** 2 * soft_step(dx * np.float32(eye.temple) / radius + 0.7, 0.6)
    reach = np.float32(between(rng, 0.25, 0.5))
    stripes = np.float32(0)
    for waves in (31, 53):
        phase = rng.uniform(0, 6.3) + 1.5 * np.sin(2.5 * radius + rng.uniform(0, 6.3))
        stripes = stripes + np.sin(waves * angle + phase.astype(np.float32)) * np.float32(0.12)
    fade = np.exp(-(((radius - np.float32(0.22)) / reach) ** 2)) * soft_step(radius - np.float32(0.1), 0.1)
    return in_colour(strength * fade * bundles * (1 + stripes), NERVE_FIBRES)


def _macula(rng, eye, size):
    """A broad darker area with the small dark dot of the fovea; at times a bright foveal reflex."""
    dx, dy = _from(eye.macula, size)
    squared = (dx * dx + dy * dy) / np.float32(eye.zoom**2)
    broad, width = log_normal(rng, 0.55, 0.5, 0.08, 1.6), between(rng, 0.18, 0.36)
    if chance(rng, 0.25):  # the flash hardly reaches the posterior pole: a large dark, bluish cloud
        broad, width = between(rng, 0.7, 1.9), between(rng, 0.24, 0.45)
    dot, dot_width = log_normal(rng, 0.55, 0.50, 0.08, 1.4), between(rng, 0.06, 0.125)
    density = np.float32(broad) * np.exp(-squared / np.float32(2 * width**2))
    density += np.float32(dot) * np.exp(-squared / np.float32(2 * dot_width**2))
    reflex = between(rng, 0.2, 0.7) if chance(rng, 0.15) else 0.0
    density -= np.float32(reflex) * np.exp(-squared / np.float32(2 * 0.014**2))
    hue = MACULAR_PIGMENT + np.float32(0.10) * rng.standard_normal(3).astype(np.float32)
    return in_colour(density, hue)


def _disc(rng, eye, size):
    """The optic disc: a warm neural rim, a paler cup, fine texture, at times a crescent beside it.

    Returns:
        (density, edge): edge (size, size) is 1 on the disc, 0 off it.
    """
    dx, dy = _from(eye.disc, size)
    radius = np.float32(eye.disc_radius)
    aspect, turn = np.float32(between(rng, 0.82, 1.0)), 0.2 * rng.standard_normal()
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across, upright = (dx * cos + dy * sin) / aspect, dy * cos - dx * sin
    outward = across * np.float32(eye.temple)
    wobble = np.float32(0.03) * noise(rng, size, slope=2.0, coarsest=0.3, finest=0.03)
    distance = np.hypot(across, upright) / radius + wobble
    edge = soft_step(1 - distance, between(rng, 0.12, 0.32))
    cup_size = np.float32(between(rng, 0.30, 0.62))
    from_cup = np.hypot(across - np.float32(0.12 * eye.temple) * radius, upright) / radius + wobble
    cup = soft_step(cup_size - from_cup, between(rng, 0.15, 0.45))
    texture = 1 + np.float32(0.08) * noise(rng, size, slope=1.5, coarsest=0.08, finest=0.02)
    pallor = np.float32(log_normal(rng, 1.35, 0.25, 0.6, 2.2))
    paler_side = 1 + np.float32(0.22) * np.clip(outward / radius, -1, 1)
    density = in_colour(pallor * paler_side * texture * edge, NEURAL_RIM)
    density += in_colour(np.float32(between(rng, 0.4, 1.5)) * texture * cup * edge, CUP)
    return density + _surround(rng, distance, outward / radius, edge), edge


def _surround(rng, distance, outward, edge):
    """What lies around the disc: a glow, at times a temporal crescent, pale (bare sclera) or pigmented."""
    off_disc = 1 - edge
    spread = np.float32(between(rng, 0.4, 2.2))
    glow = np.float32(0.65 * rng.random() ** 1.3) * np.exp(-((np.maximum(distance - 1, 0) / spread) ** 2))
    density = in_colour(glow * off_disc, SCLERA)
    kind = rng.random()
    facing = np.clip(outward / np.maximum(distance, np.float32(0.1)), 0, 1)
    width = np.float32(between(rng, 0.10, 0.32))
    crescent = soft_step(1 + width * facing - distance, 0.12) * off_disc * facing
    if kind < 0.20:
        density += in_colour(np.float32(between(rng, 0.4, 1.0)) * crescent, SCLERA)
    elif kind < 0.35:
        density += in_colour(np.float32(between(rng, 0.4, 1.2)) * crescent, PIGMENT)
    return density


def _vessels(rng, eye, size):
    """Arteries and veins: blood absorbs green most; veins are wider, darker and bluer."""
    tree = grow_tree(rng, eye.fovea_offset, log_normal(rng, 5.5, 0.25, 3.0, 9.0))
    veins, arteries = absorption(tree, eye.fovea_offset, eye.to_image, eye.zoom, size)
    strength = np.float32(log_normal(rng, 0.95, 0.22, 0.5, 1.5))
    return in_colour(veins, strength * VEIN_BLOOD) + in_colour(arteries, strength * ARTERY_BLOOD)
