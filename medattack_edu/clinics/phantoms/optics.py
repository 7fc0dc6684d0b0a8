"""Optics and chance that all phantoms share: noise fields, warps, lens, sensor, file. No anatomy or disease lives here.

Lengths are fractions of the image's side, so that one patient looks the same at 64 and at 256 pixels. Everything random
comes from the caller's generator. Pictures are float32, (size, size) or (size, size, channels), in linear light or in
optical density, until `to_bytes`.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np

NOISE_PERIOD = 2  # a noise pool repeats after this many image sides
NOISE_SPECTRUM_SIDE = 512  # modes per axis of a pool's spectrum: enough for images of 256 pixels
OFFSET_STEPS = 64 * NOISE_PERIOD  # a crop starts on this grid, which images of 64, 128 and 256 pixels all share
FAINTEST_BLUR_PX = 0.15  # a Gaussian narrower than this leaves a pixel grid as it is
BLUR_REACH = 3  # a Gaussian ends after so many standard deviations
JPEG_SUBSAMPLING_420 = 2  # Pillow's code for halved colour resolution, what cameras write


# --- Chance --------------------------------------------------------------------------------------------------------


def log_normal(rng, median, spread, low=0.0, high=np.inf):
    """One log-normal draw: `median` times exp(`spread` * normal), clipped to [`low`, `high`]. Returns a float."""
    return float(np.clip(median * np.exp(spread * rng.standard_normal()), low, high))


def between(rng, low, high):
    """One uniform draw between `low` and `high`, as a float."""
    return float(low + (high - low) * rng.random())


def chance(rng, probability):
    """True with the given probability. Always consumes one draw, so that a later draw doesn't shift."""
    return bool(rng.random() < probability)


# --- Geometry ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def pixel_grid(size):
    """Coordinates of the pixel centres, in half sides: x to the right and y down, each (size, size), from -1 to 1.

    The arrays are cached and read-only.
    """
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)
    x, y = np.ascontiguousarray(np.broadcast_to(axis, (size, size))), np.repeat(axis, size).reshape(size, size)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def soft_step(distance, width):
    """A smooth edge: 0 far below zero, 1 far above, with a transition about `width` wide. Same shape as `distance`."""
    return np.float32(0.5) + np.float32(0.5) * np.tanh(distance * np.float32(2 / width))


# --- Noise fields --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _random_phases():
    """Complex white noise on the modes of a pool. The same in every process: it stands for no patient."""
    rng = np.random.default_rng(20170714)
    half = NOISE_SPECTRUM_SIDE // 2 + 1
    real, imaginary = rng.standard_normal((2, NOISE_SPECTRUM_SIDE, half)).astype(np.float32)
    return real + 1j * imaginary


@lru_cache(maxsize=64)
def _noise_pool(size, slope, coarsest, finest):
    """Noise for images of `size` pixels, mean 0, variance 1 at full detail: ((NOISE_PERIOD + 1) * size,) * 2, one period and
    as much of the next as a window that starts at its end needs.

    The spectrum is drawn once and cut at the image's own resolution, so a smaller image shows the same field, only
    with its finest detail gone: no aliasing.
    """
    side = NOISE_PERIOD * size
    rows = np.fft.fftfreq(NOISE_SPECTRUM_SIDE, 1 / NOISE_SPECTRUM_SIDE)[:, None]
    columns = np.arange(NOISE_SPECTRUM_SIDE // 2 + 1)[None, :]
    cycles = np.hypot(rows, columns) / NOISE_PERIOD  # per image side
    with np.errstate(divide="ignore"):
        amplitude = np.where(cycles > 0, cycles, np.inf) ** -slope
    amplitude *= 1 - np.exp(-((cycles * coarsest) ** 2))
    amplitude *= np.exp(-((cycles * finest) ** 2) / 2)
    amplitude[NOISE_SPECTRUM_SIDE // 2, :] = amplitude[:, NOISE_SPECTRUM_SIDE // 2] = 0  # modes without a mirror
    spectrum = _random_phases() * amplitude
    full = np.fft.irfft2(spectrum, (NOISE_SPECTRUM_SIDE,) * 2)
    kept = min(side, NOISE_SPECTRUM_SIDE) // 2
    cut = np.zeros((side, side // 2 + 1), np.complex128)
    cut[:kept, :kept], cut[-kept + 1 :, :kept] = spectrum[:kept, :kept], spectrum[-kept + 1 :, :kept]
    to_centres = np.exp(1j * np.pi * np.fft.fftfreq(side))  # sampled at pixel centres, which differ between sizes
    cut *= to_centres[:, None] * to_centres[None, : side // 2 + 1]
    pool = np.fft.irfft2(cut, (side, side)) * (side / NOISE_SPECTRUM_SIDE) ** 2
    pool = np.pad((pool / full.std()).astype(np.float32), (0, size), mode="wrap")
    pool.flags.writeable = False
    return pool


def noise(rng, size, *, slope=1.0, coarsest=1.0, finest=0.0):
    """A random field with the power law of nature: a random window, flipped and turned, of a cached periodic pool.

    Args:
        rng: generator; always five draws, whatever the size.
        size: pixels per side of the field.
        slope: amplitude falls as frequency to the minus `slope`: 0 is white, 1 is 1/f, 2 is clouds.
        coarsest: structures larger than about this fraction of the side are left out.
        finest: structures smaller than about this fraction of the side are smoothed away.

    Returns:
        Writeable float32 (size, size), mean about 0, variance about 1 (less where `size` can't show the finest detail).
    """
    pool = _noise_pool(size, slope, coarsest, finest)
    row, column = rng.integers(0, OFFSET_STEPS, 2)
    flip_rows, flip_columns, turn = rng.integers(0, 2, 3)
    top, left = (round(start * NOISE_PERIOD * size / OFFSET_STEPS) for start in (row, column))
    field = pool[top : top + size, left : left + size]
    field = field[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.array(field.T if turn else field, order="C")


# --- Lens ----------------------------------------------------------------------------------------------------------


def blur(image, sigma):
    """Gaussian blur of the first two axes, `sigma` in fractions of the side. Returns float32, the same shape."""
    from scipy.ndimage import gaussian_filter

    sigma_px = sigma * image.shape[0]
    if sigma_px < FAINTEST_BLUR_PX:
        return image
    if image.ndim == 3:  # channel by channel: scipy is three times faster on contiguous rows
        return np.stack([blur(np.ascontiguousarray(image[..., c]), sigma) for c in range(image.shape[2])], axis=-1)
    return gaussian_filter(image, sigma_px, truncate=BLUR_REACH, mode="nearest")


def vignette(size, strength, *, centre=(0.0, 0.0), power=2.0):
    """Light that falls off around `centre` (x, y, in half sides): 1 there, 1 - `strength` one half side away.

    Returns:
        float32 (size, size), never negative.
    """
    x, y = pixel_grid(size)
    radius = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return np.maximum(1 - np.float32(strength) * radius ** np.float32(power), 0)


def sharpen(image, radius, amount):
    """Unsharp mask, as cameras apply it: adds `amount` of what a blur of `radius` (fraction of the side) takes away."""
    return image + np.float32(amount) * (image - blur(image, radius))


# --- Sensor and file -----------------------------------------------------------------------------------------------


def gamma(image, exponent):
    """Display value of linear light: `image` (clipped at 0) to the power `exponent`, e.g. 1 / 2.2."""
    return np.maximum(image, 0) ** np.float32(exponent)


def sensor_noise(rng, image, *, shot=0.0, read=0.0, grain=None):
    """Adds noise to linear light: `shot` grows as the square root of the light, `read` is the same everywhere.

    Args:
        shot, read: standard deviations at light 1.
        grain: fraction of the side over which noise is smooth (a debayered, shrunken image); None: pixel by pixel.
            Smooth noise keeps the standard deviation asked for.
    """
    white = rng.standard_normal(image.shape, dtype=np.float32)
    if grain is not None:
        white = blur(white, grain)
        white /= max(float(white.std()), 1e-6)
    return image + white * np.sqrt(np.float32(shot**2) * np.maximum(image, 0) + np.float32(read**2))


def to_bytes(image):
    """Rounds [0, 1] to uint8; a (size, size) picture becomes grey RGB. Returns (size, size, 3)."""
    levels = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1) if levels.ndim == 2 else levels


def jpeg_round_trip(image, quality):
    """What is left of a uint8 (size, size, 3) picture after it was saved as JPEG of `quality` 1 to 95."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality), subsampling=JPEG_SUBSAMPLING_420)
    return np.array(Image.open(file))


# --- Colour planes -------------------------------------------------------------------------------------------------


def in_colour(field, colour):
    """Three planes (3, height, width): `field` (height, width) times the red, green and blue of `colour` (3,).

    Arithmetic on planes is some ten times faster than on (height, width, 3); `from_planes` turns them at the end.
    """
    return np.asarray(colour, np.float32)[:, None, None] * field


def from_planes(planes):
    """(3, height, width) to (height, width, 3), contiguous."""
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
