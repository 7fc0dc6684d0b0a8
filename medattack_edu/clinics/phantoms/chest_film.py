"""From path lengths to a radiograph: X-rays, scatter, grain, collimator, display, markers and tubes. No anatomy here.

Nothing in this module knows the diagnosis: every draw is from the same distribution for the sick and for the well.
"""

import numpy as np

from .chest_view import splat
from .optics import between, blur, chance, log_normal, noise, pixel_grid, soft_step

SOFT_ATTENUATION = 1.9  # of water at 60 to 70 kV, per body unit of 9 cm
BONE_ATTENUATION = 7.5  # what dense bone adds
BEAM_HARDENING = 0.22  # bone path beyond which more bone hardly darkens the beam further
GRAIN_SIZES = (0.002, 0.004, 0.006)  # fractions of the side
WINDOW_SAMPLES = 32  # the display looks at this many points per side to choose its window, whatever the size
LETTERS = {  # strokes of a marker's letters in a unit square, y down
    "R": [[(0, 1), (0, 0), (0.5, 0), (0.75, 0.12), (0.75, 0.38), (0.5, 0.5), (0, 0.5)], [(0.4, 0.5), (0.8, 1)]],
    "L": [[(0, 0), (0, 1), (0.7, 1)]],
    "A": [[(0, 1), (0.4, 0), (0.8, 1)], [(0.15, 0.65), (0.65, 0.65)]],
    "P": [[(0, 1), (0, 0), (0.5, 0), (0.75, 0.14), (0.75, 0.4), (0.5, 0.55), (0, 0.55)]],
    "-": [[(0.2, 0.55), (0.6, 0.55)]],
}


def expose(soft, bone, rng):
    """X-rays through `soft` and `bone` path lengths: the detector's signal as optical density, (size, size).

    Beer and Lambert's law, then scatter, which veils, then quantum noise, which is worst behind the abdomen.
    """
    size = soft.shape[0]
    hardness = between(rng, 0.93, 1.07)
    bone = bone / (1 + bone / np.float32(BEAM_HARDENING))
    primary = np.exp(-np.float32(SOFT_ATTENUATION * hardness) * soft - np.float32(BONE_ATTENUATION / hardness) * bone)
    primary = blur(primary, log_normal(rng, 0.0028, 0.12, 0.002, 0.005))
    scatter = _veil(np.minimum(primary, 0.5), between(rng, 0.05, 0.12))
    signal = primary + np.float32(between(rng, 0.45, 0.8)) * scatter
    photons = log_normal(rng, 8.0e4, 0.3, 3e4, 2e5)
    grain = noise(rng, size, slope=0.0, finest=GRAIN_SIZES[rng.integers(0, len(GRAIN_SIZES))])
    signal = signal + grain * np.sqrt(signal / np.float32(photons)) * np.float32(np.sqrt(0.3))
    return -np.log(np.maximum(signal, 1e-4))


def develop(density, rng):
    """The display: large structures held back, edges lifted, then a window and a curve: [0, 1], bone is white.

    The curve is film's: steep in the dark lung, flat in the bright abdomen. An automatic window, as on a workstation,
    gives every picture about the same mean and spread.
    """
    radius = between(rng, 0.04, 0.12)
    density = density + np.float32(between(rng, 0.25, 0.5)) * (density - _veil(density, radius))
    density = density + np.float32(between(rng, 0.7, 1.0)) * (density - blur(density, 0.012))
    mean = float(np.clip(rng.normal(0.483, 0.055), 0.33, 0.62))
    spread = float(np.clip(rng.normal(0.235, 0.018), 0.16, 0.29))
    shoulder, white = between(rng, 1.4, 1.9), between(rng, 0.88, 1.03)

    def curve(value, shoulder):
        return np.float32(white) * (1 - (1 - np.clip(value, 0, 1)) ** np.float32(shoulder))

    at = (np.arange(WINDOW_SAMPLES) + 0.5) * density.shape[0] // WINDOW_SAMPLES
    few = blur(density, 0.5 / WINDOW_SAMPLES)[np.ix_(at.astype(int), at.astype(int))]
    open_air, low, high = np.percentile(few, [1.5, 8, 99.5])
    gain, shift = 0.9 / (high - low), -low
    for _ in range(8):
        shown = curve((few + shift) * gain, shoulder)
        gain *= np.clip(spread / max(float(shown.std()), 0.02), 0.8, 1.2) ** 0.7
        shift += np.clip(mean - float(shown.mean()), -0.15, 0.15) / gain
        if shift > -open_air:  # open air stays black: the curve lifts the middle instead
            shift, shoulder = -open_air, np.clip(shoulder + 2 * (mean - float(shown.mean())), 1, 3)
    return curve((density + np.float32(shift)) * np.float32(gain), shoulder)


def _veil(image, sigma):
    """A wide, cheap blur: two running means, about a Gaussian of `sigma` (fraction of the side)."""
    from scipy.ndimage import uniform_filter

    width = 2 * round(np.sqrt(1.5) * sigma * image.shape[0]) + 1  # the variance of a running mean is its width^2 / 12
    return uniform_filter(uniform_filter(image, width, mode="nearest"), width, mode="nearest")


def collimate(picture, rng):
    """Darkens what the collimator's blades shut out, on no side, one or two."""
    size = picture.shape[0]
    x, y = pixel_grid(size)
    angle = rng.normal(0, 0.02)
    x, y = x + np.float32(angle) * y, y - np.float32(angle) * x
    open_field = np.float32(1)
    for distance, probability in ((x, 0.12), (-x, 0.12), (y, 0.06), (-y, 0.05)):
        if chance(rng, probability):
            open_field = open_field * soft_step(np.float32(between(rng, 0.86, 0.99)) - distance, 0.01)
    return picture * open_field


# --- Things that lie on the patient --------------------------------------------------------------------------------


def hardware(size, rng):
    """Leads and tubes as bone path length: (size, size). None on most films, the same chance for everyone."""
    if not chance(rng, 0.14):
        return np.float32(0)
    film = np.zeros((size, size), np.float32)
    for _ in range(1 + rng.poisson(0.8)):
        start = np.array([between(rng, 0.05, 0.95), between(rng, -0.05, 0.5)])
        heading, bend = between(rng, 0, 2 * np.pi), rng.normal(0, 1.5)
        share = np.linspace(0, 1, 300)
        course = heading + bend * share + 0.8 * np.sin(between(rng, 2, 7) * share)
        path = start + np.cumsum(np.stack([np.cos(course), np.sin(course)], 1), axis=0) * (between(rng, 0.2, 0.9) / 300)
        film += _stroke(path, between(rng, 0.004, 0.007), size) * np.float32(between(rng, 0.05, 0.25))
        if chance(rng, 0.6):
            x, y = pixel_grid(size)
            radius, ring = between(rng, 0.03, 0.06), between(rng, 0.0, 0.7)
            reach = np.hypot(x + 1 - np.float32(2 * start[0]), y + 1 - np.float32(2 * start[1])) / np.float32(radius)
            disc = np.clip((1 - reach) * 8, 0, 1) - np.float32(ring) * np.clip((0.6 - reach) * 8, 0, 1)
            film += np.float32(between(rng, 0.05, 0.3)) * disc
    return film


def mark(picture, rng):
    """Lays the radiographer's letters over the finished picture, near an edge, on most films."""
    if not chance(rng, 0.78):
        return picture
    size = picture.shape[0]
    text = ("R", "R", "R", "R", "L", "A-P")[rng.integers(0, 6)]
    height = log_normal(rng, 0.045, 0.35, 0.03, 0.13)
    width = height * between(rng, 0.6, 1.0)
    left = between(rng, 0.0, 0.14) if text != "L" else between(rng, 0.86, 0.94)
    top = between(rng, 0.0, 0.62)
    letters = np.zeros((size, size), np.float32)
    for place, letter in enumerate(text):
        for stroke in LETTERS[letter]:
            corners = np.array(stroke) * [width, height] + [left + 1.15 * width * place, top]
            at = np.linspace(0, len(corners) - 1, 90)
            path = np.stack([np.interp(at, np.arange(len(corners)), corners[:, i]) for i in (0, 1)], axis=1)
            letters += _stroke(path, max(height * 0.13, 0.006), size)
    ink = np.clip(letters, 0, 1) * np.float32(between(rng, 0.6, 1.0))
    return picture + (1 - picture) * ink


def _stroke(path, width, size):
    """A line about `width` wide along a path (n, 2) in fractions of the side: about 1 on the line, (size, size)."""
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    dots = splat(
        (path[:, 0] * size).astype(np.float32),
        (path[:, 1] * size).astype(np.float32),
        np.full(len(path), length * size / len(path), np.float32),
        size,
    )
    sigma = max(width / 2.5, 0.4 / size)
    return np.minimum(blur(dots, sigma) * np.float32(sigma * size * 2.5), 1.2)
