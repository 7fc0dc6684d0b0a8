"""Textures of pigmented skin: clouds, patches and specks of noise, the honeycomb of rete ridges, globules. No colour.

Honeycomb and globules come from one periodic tissue of jittered cells, drawn once per process and cut at the image's
resolution. Lengths are fractions of the image's side.
"""

from functools import lru_cache

import numpy as np

from medattack_edu.clinics.phantoms.optics import between, log_normal, noise, pixel_grid

KINDS = ("reticular", "globular", "homogeneous")
TISSUE_PERIOD = 2  # image sides after which the tissue repeats, at its own spacing
TISSUE_SIDE = 512  # pixels per period: full detail for images of 256 pixels
CELLS_PER_ROW, ROWS = 48, 56  # nearly a regular triangular lattice
TISSUE_SPACING = TISSUE_PERIOD / CELLS_PER_ROW
JITTER = 0.22  # of the spacing; more and the honeycomb turns into cobblestones


def clouds(rng, size):
    """Noise as broad as a lesion: (size, size), mean about 0, spread about 1."""
    return noise(rng, size, slope=2.2, coarsest=0.6)


def patches(rng, size):
    """Noise with patches a fraction of a lesion wide and soft: (size, size), mean about 0, spread about 1."""
    return noise(rng, size, slope=2.2, coarsest=0.2)


def specks(rng, size):
    """Noise as fine as the network's meshes: (size, size), mean about 0, spread about 1."""
    return noise(rng, size, slope=1.2, coarsest=0.07)


def grain(rng, size):
    """The unevenness that every pigment has, at two scales: a factor (size, size) around 1."""
    coarse = log_normal(rng, 0.16, 0.4) * patches(rng, size)
    fine = log_normal(rng, 0.06, 0.4) * specks(rng, size)
    return np.exp(coarse + fine)


def pattern(rng, size, scale, malignancy):
    """One of the classic patterns of a pigmented lesion, reticular, globular or homogeneous: (size, size), mean about 1.

    Args:
        scale: magnification, 1 on average.
        malignancy: 0 to 1; distorts the mesh, thins it in places, and leaves more lesions without structure.
    """
    kind = rng.choice(KINDS, p=[0.50 - 0.15 * malignancy, 0.22 - 0.1 * malignancy, 0.28 + 0.25 * malignancy])
    unrest = log_normal(rng, 0.004 + 0.014 * malignancy, 0.3)
    spacing = scale * log_normal(rng, 0.032, 0.15 + 0.1 * malignancy, 0.024, 0.06)
    contrast = log_normal(rng, 0.8 - 0.4 * malignancy, 0.4, 0.15, 1.3)
    if kind == "homogeneous":
        return np.ones((size, size), np.float32)
    fading = np.float32(0.9 - 0.3 * malignancy) + np.float32(0.25 + 0.5 * malignancy) * patches(rng, size)
    strength = np.float32(contrast) * np.clip(fading, 0, 1.6)
    if kind == "reticular":
        return 1 + strength * (honeycomb(rng, size, spacing=spacing, unrest=unrest) - np.float32(0.45))
    return 1 + strength * (2 * globules(rng, size, spacing=1.25 * spacing, unrest=unrest) - np.float32(0.55))


@lru_cache(maxsize=1)
def _tissue():
    """Walls and cells at full detail: two (TISSUE_SIDE, TISSUE_SIDE) arrays from 0 to 1."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(20180814)
    column, row = np.meshgrid(np.arange(CELLS_PER_ROW), np.arange(ROWS))
    centres = np.stack([(column + 0.5 * (row % 2)) / CELLS_PER_ROW, (row + 0.5) / ROWS], axis=-1).reshape(-1, 2)
    centres = (centres * TISSUE_PERIOD + JITTER * TISSUE_SPACING * rng.standard_normal(centres.shape)) % TISSUE_PERIOD
    axis = (np.arange(TISSUE_SIDE) + 0.5) * TISSUE_PERIOD / TISSUE_SIDE
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(centres, boxsize=TISSUE_PERIOD).query(pixels, k=2)
    distance /= TISSUE_SPACING
    walls = np.exp(-(((distance[:, 1] - distance[:, 0]) / 0.30) ** 2))
    fullness = rng.uniform(0.25, 1.0, len(centres))[nearest[:, 0]]  # a globule may be large and dark or hardly there
    cells = fullness * np.exp(-((distance[:, 0] / (0.28 + 0.14 * fullness)) ** 4))
    return walls.reshape(TISSUE_SIDE, -1), cells.reshape(TISSUE_SIDE, -1)


@lru_cache(maxsize=16)
def _tissue_at(size, layer):
    """The tissue as an image of `size` pixels resolves it: (TISSUE_PERIOD * size,) * 2, float32."""
    side = TISSUE_PERIOD * size
    spectrum = np.fft.fftshift(np.fft.fft2(_tissue()[layer]))
    cut = np.zeros((side, side), complex)
    kept = min(side, TISSUE_SIDE) // 2
    frequencies = np.arange(-kept + 1, kept)
    source, goal = TISSUE_SIDE // 2 + frequencies, side // 2 + frequencies
    to_centres = np.exp(1j * np.pi * frequencies * (1 / side - 1 / TISSUE_SIDE))  # pixel centres differ between sizes
    cut[np.ix_(goal, goal)] = spectrum[np.ix_(source, source)] * to_centres[:, None] * to_centres
    pool = np.fft.ifft2(np.fft.ifftshift(cut)).real * (side / TISSUE_SIDE) ** 2
    return np.clip(pool, 0, 1).astype(np.float32)


def _view(rng, size, layer, spacing, unrest):
    """The tissue turned, shifted, scaled to `spacing` and bent by noise: (size, size)."""
    from scipy.ndimage import map_coordinates

    angle = between(rng, 0, 2 * np.pi)
    shift = TISSUE_PERIOD * rng.random(2)
    x, y = pixel_grid(size)
    scale = TISSUE_SPACING / spacing / 2  # half sides to periods of the tissue
    bend_x = np.float32(unrest) * patches(rng, size)
    bend_y = np.float32(unrest) * patches(rng, size)
    c, s = np.float32(scale * np.cos(angle)), np.float32(scale * np.sin(angle))
    columns = (c * x - s * y + bend_x + np.float32(shift[0])) * np.float32(size) - np.float32(0.5)
    rows = (s * x + c * y + bend_y + np.float32(shift[1])) * np.float32(size) - np.float32(0.5)
    return map_coordinates(_tissue_at(size, layer), np.stack([rows, columns]), order=1, mode="grid-wrap")


def honeycomb(rng, size, *, spacing, unrest):
    """A pigment network: 1 on the lines, 0 in the holes, (size, size) float32.

    Args:
        spacing: from hole to hole.
        unrest: how far noise bends the lines, same unit; 0.01 is a typical nevus, 0.04 an atypical network.
    """
    return _view(rng, size, 0, spacing, unrest)


def globules(rng, size, *, spacing, unrest):
    """Round nests of pigment of unequal size: 1 inside, 0 between, (size, size) float32. Arguments as `honeycomb`."""
    return _view(rng, size, 1, spacing, unrest)


def fade_of_fine_detail(cycles_per_side, size):
    """How much contrast is left of a regular pattern at this image size: 1 if coarse, 0 beyond the pixel grid."""
    return float(np.exp(-((cycles_per_side / (0.38 * size)) ** 4)))
