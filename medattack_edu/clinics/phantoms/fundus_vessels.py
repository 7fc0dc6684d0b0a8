"""The retinal vessels of a fundus phantom: how the tree grows out of the disc, and how much light it absorbs.

No other anatomy lives here. Lengths are half sides of the image; the tree grows in the frame of the eye: origin at the
disc's centre, x towards the temple, y up, angles counter-clockwise in radians.
"""

from typing import NamedTuple

import numpy as np

STEPS = 32  # points along one vessel, whatever its length
ARCADE_LEAVES, ARCADE_LEAVES_SPREAD = np.radians(82), np.radians(14)  # heading of an arcade at the disc
ARCADE_ENDS, ARCADE_ENDS_SPREAD = np.radians(-2), np.radians(15)  # and far out, above the macula
VEIN_RADIUS, ARTERY_RADIUS = 0.0200, 0.0150  # at the disc: an artery has about 3/4 of its vein's calibre
TIP_RADIUS = 0.35  # of a vessel's own radius at its origin
CHILD_RADIUS = (0.38, 0.66)  # of the parent's radius at the fork
THINNEST = 0.0022  # capillaries are not seen
AVASCULAR_ZONE = (0.10, 0.30)  # vessels fade between these distances from the fovea
PROFILE_WIDTH = 0.80  # standard deviation of the absorption profile over the radius
PIXEL_WIDTH_PX = 0.38  # standard deviation of one pixel's own aperture
STAMP_SPACING_PX = 1.0
MARGIN_PX = 12  # stamps may reach this far out of the picture
REACH = 2.3  # a stamp ends after so many standard deviations
REFLEX_WIDTH, REFLEX_STRENGTH = 0.28, 0.6  # the bright line on top: its width over the vessel's radius, its strength
REFLEX_RADIUS = 0.010  # thinner vessels show none


class Vessels(NamedTuple):
    """A generation of vessels, N of them."""

    path: np.ndarray  # (N, STEPS, 2)
    heading: np.ndarray  # (N, STEPS)
    radius: np.ndarray  # (N, STEPS)
    length: np.ndarray  # (N,)
    is_vein: np.ndarray  # (N,) bool


def grow_tree(rng, fovea, richness):
    """All vessels of one eye, as a list of generations.

    Args:
        fovea: (x, y) in the frame of the eye.
        richness: mean number of forks of a trunk; the finer generations follow.
    """
    arcades, others = _arcades(rng), _nasal_and_macular_trunks(rng)
    trunks = _join(arcades, others)
    branches = _fork(rng, trunks, rng.poisson(np.where(trunks.length > 1.0, richness, richness * 0.35)), fovea)
    twigs = _fork(rng, branches, rng.poisson(1.3, len(branches.length)), fovea)
    finest = _fork(rng, twigs, rng.poisson(0.5, len(twigs.length)), fovea)
    return [trunks, branches, twigs, finest]


def absorption(generations, fovea, to_image, zoom, size):
    """How much blood lies at each pixel.

    Args:
        generations: from `grow_tree`.
        fovea: (x, y) in the frame of the eye.
        to_image: maps points (..., 2) of the eye's frame to image coordinates x, y in half sides.
        zoom: half sides of the image per unit of the eye's frame.
        size: pixels per side.

    Returns:
        (veins, arteries), each (size, size), float32; 1 in the middle of a main vein.
    """
    everything = _join(*generations)
    pixels = zoom * size / 2  # per unit of the eye's frame
    centre, along, radius, is_vein = _resample(everything, pixels)
    from_fovea = np.hypot(*(centre - fovea).T)
    faded = np.clip((from_fovea - AVASCULAR_ZONE[0]) / (AVASCULAR_ZONE[1] - AVASCULAR_ZONE[0]), 0, 1)
    radius = radius * faded
    pixel, tangent = _to_pixels(centre, along, to_image, size)
    seen = (radius > THINNEST) & np.all((pixel > -2) & (pixel < size + 1), axis=1)
    pixel, tangent, radius, is_vein = pixel[seen], tangent[seen], radius[seen], is_vein[seen]
    return tuple(_stamp_kind(pixel[kind], tangent[kind], radius[kind], pixels, size) for kind in (is_vein, ~is_vein))


def _arcades(rng):
    """Superior and inferior temporal arcades: a vein and an artery each, that rise, turn and arch around the macula."""
    up = np.array([1, 1, -1, -1])
    is_vein = np.array([True, False, True, False])
    leaves = ARCADE_LEAVES + ARCADE_LEAVES_SPREAD * np.repeat(rng.standard_normal(2), 2) + 0.20 * rng.standard_normal(4)
    ends = ARCADE_ENDS + ARCADE_ENDS_SPREAD * np.repeat(rng.standard_normal(2), 2) + 0.20 * rng.standard_normal(4)
    start = np.stack([0.03 * rng.standard_normal(4), 0.02 * up + 0.02 * rng.standard_normal(4)], axis=1)
    turning = rng.uniform(0.50, 0.85, 2).repeat(2) + 0.08 * rng.standard_normal(4)
    radius = np.where(is_vein, VEIN_RADIUS, ARTERY_RADIUS) * np.exp(0.14 * rng.standard_normal(4))
    return _walk(rng, start, up * leaves, up * ends, rng.uniform(1.9, 2.6, 4), radius, is_vein, turning)


def _nasal_and_macular_trunks(rng):
    """Nasal vessels run straight and radially; a few thin ones leave the disc towards the macula."""
    pairs, twigs = rng.integers(2, 4), rng.integers(1, 5)
    nasal = np.sign(rng.standard_normal(pairs)) * np.radians(rng.uniform(105, 175, pairs))
    nasal[:2] = np.abs(nasal[:2]) * [1, -1]
    nasal = np.repeat(nasal, 2) + 0.13 * rng.standard_normal(2 * pairs)
    temporal = np.radians(rng.uniform(-48, 48, twigs))
    heading = np.concatenate([nasal, temporal])
    is_vein = np.concatenate([np.tile([True, False], pairs), rng.random(twigs) < 0.5])
    calibre = np.concatenate([rng.uniform(0.45, 0.85, 2 * pairs), rng.uniform(0.22, 0.40, twigs)])
    radius = np.where(is_vein, VEIN_RADIUS, ARTERY_RADIUS) * calibre
    length = np.concatenate([rng.uniform(0.7, 1.3, 2 * pairs), rng.uniform(0.35, 0.75, twigs)])
    upwards = np.sin(heading) > 0
    first = np.where(upwards, 1, -1) * np.radians(rng.uniform(70, 120, len(heading)))  # vessels meet above and below
    start = 0.03 * rng.standard_normal((len(heading), 2))
    leaves = 0.55 * first + 0.45 * heading
    return _walk(rng, start, leaves, heading, length, radius, is_vein, np.full(len(heading), 0.3))


def _fork(rng, parents, forks, fovea):
    """Children of `parents`, `forks` (N,) of each, to either side; those on the side of the macula head there."""
    parent = np.repeat(np.arange(len(forks)), forks)
    count = len(parent)
    at = rng.integers(STEPS // 8, STEPS - 4, count)
    start, heading = parents.path[parent, at], parents.heading[parent, at]
    side = np.where(rng.random(count) < 0.5, 1.0, -1.0)
    leaves = heading + side * np.radians(rng.uniform(22, 55, count))
    ends = heading + side * np.radians(rng.normal(32, 22, count))
    to_fovea = np.arctan2(fovea[1] - start[:, 1], fovea[0] - start[:, 0]) + 0.45 * rng.standard_normal(count)
    aside = np.angle(np.exp(1j * (to_fovea - heading)))
    macular = (aside * side > 0) & (np.abs(aside) < np.radians(125))
    ends = np.where(macular, heading + 0.75 * aside, ends)
    length = np.clip(parents.length[parent] * rng.uniform(0.2, 0.55, count), 0.06, 0.95)
    radius = parents.radius[parent, at] * rng.uniform(*CHILD_RADIUS, count)
    return _walk(rng, start, leaves, ends, length, radius, parents.is_vein[parent], rng.uniform(0.4, 1.0, count))


def _walk(rng, start, leaves, ends, length, radius, is_vein, turning):
    """Integrates a heading that turns smoothly from `leaves` to `ends` within the fraction `turning` of the length."""
    count = len(start)
    t = np.linspace(0, 1, STEPS)
    bend = np.clip(t / np.clip(turning, 0.1, None)[:, None], 0, 1)
    heading = leaves[:, None] + (ends - leaves)[:, None] * (bend * bend * (3 - 2 * bend))
    for waves in (1.5, 4.0, 8.0):  # tortuosity, weaker where finer
        phase, amplitude = rng.uniform(0, 2 * np.pi, count), rng.normal(0, 0.20, count) / np.sqrt(waves)
        heading += amplitude[:, None] * np.sin(waves * 2 * np.pi * t * length[:, None] + phase[:, None])
    step = (length / (STEPS - 1))[:, None, None]
    strides = step * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    path = start[:, None] + np.cumsum(strides, axis=1) - strides[:, :1]
    return Vessels(path, heading, radius[:, None] * (1 - (1 - TIP_RADIUS) * t), length, is_vein)


def _join(*groups):
    return Vessels(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))


def _resample(vessels, pixels):
    """Points at even spacing along all vessels: centre (M, 2), unit tangent (M, 2), radius (M,), is_vein (M,)."""
    counts = np.maximum((vessels.length * pixels / STAMP_SPACING_PX).astype(int), 2)
    which = np.repeat(np.arange(len(counts)), counts)
    position = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) / np.repeat(counts, counts)
    position *= STEPS - 1
    low = np.minimum(position.astype(int), STEPS - 2)
    part = (position - low)[:, None]
    centre = vessels.path[which, low] * (1 - part) + vessels.path[which, low + 1] * part
    heading = vessels.heading[which, low]
    return (
        centre,
        np.stack([np.cos(heading), np.sin(heading)], axis=1),
        vessels.radius[which, low],
        vessels.is_vein[which],
    )


def _to_pixels(centre, along, to_image, size):
    """Pixel positions (column, row) and tangents of points of the eye's frame, both float32 (M, 2)."""
    pixel = (to_image(centre) + 1) * (size / 2) - 0.5
    tangent = to_image(centre + 1e-3 * along) - to_image(centre)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    return pixel.astype(np.float32), tangent.astype(np.float32)


def _stamp_kind(pixel, tangent, radius, pixels, size):
    """The absorption of arteries or of veins alone: stamps, thick and thin apart, then the bright line on top."""
    picture = np.zeros((size + 2 * MARGIN_PX,) * 2, np.float32)
    inner = np.s_[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    radius_px = (radius * pixels).astype(np.float32)
    own = PROFILE_WIDTH * radius_px
    sigma = np.hypot(own, np.float32(PIXEL_WIDTH_PX))
    depth = np.sqrt(radius / VEIN_RADIUS).astype(np.float32) * own / sigma  # no thicker than a pixel: paler instead
    reach = np.ceil(REACH * sigma).astype(int)
    for each in np.unique(reach):
        group = reach == each
        _stamp(picture, pixel[group], tangent[group], sigma[group], depth[group], each)
    wide = radius > REFLEX_RADIUS
    if wide.any():
        line = np.zeros_like(picture)
        own = REFLEX_WIDTH * radius_px[wide]
        sigma = np.hypot(own, np.float32(PIXEL_WIDTH_PX))
        _stamp(line, pixel[wide], tangent[wide], sigma, own / sigma, int(np.ceil(REACH * sigma.max())))
        picture *= 1 - np.float32(REFLEX_STRENGTH) * line
    return picture[inner]


def _stamp(picture, pixel, tangent, sigma, depth, reach):
    """Draws short Gaussian rods, `reach` pixels around each centre; the darkest wins, so that overlaps don't add up."""
    offsets = np.arange(-reach, reach + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    nearest = np.rint(pixel)
    x = dx.astype(np.float32) + (nearest[:, :1] - pixel[:, :1])
    y = dy.astype(np.float32) + (nearest[:, 1:] - pixel[:, 1:])
    across = x * tangent[:, 1:] - y * tangent[:, :1]
    along = np.maximum(np.abs(x * tangent[:, :1] + y * tangent[:, 1:]) - np.float32(STAMP_SPACING_PX), 0)
    density = depth[:, None] * np.exp((across * across + along * along) * (-0.5 / sigma**2)[:, None])
    side = picture.shape[0]
    column, row = nearest.astype(np.int64).T + MARGIN_PX
    middle = row * side + column
    np.maximum.at(picture.reshape(-1), (middle[:, None] + (dy * side + dx)).ravel(), density.ravel())
