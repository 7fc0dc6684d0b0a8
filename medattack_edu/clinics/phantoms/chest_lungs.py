"""What fills the rib cage: lungs, heart, great vessels, thymus, diaphragm, lung vessels, airways. No disease, no bone.

Lungs are air: they are described by the length of lung that a ray crosses, of which the heart, the mediastinum and the
diaphragm take their part. A border is seen only where air lies beside it.
"""

from dataclasses import dataclass

import numpy as np

from .chest_view import heights, profile
from .optics import between, chance, soft_step

APEX_X, MEDIAL_X = 0.36, 0.05  # where the lung's tip stands, and how close to the midline the lungs come lower down
LUNG_SQUARENESS = 2.6  # exponent of the lung's cross-section
PLEURA = 0.015  # chest wall inside the ribs
HILUM = (0.27, 0.68)  # |x| and y of the lung's root, in a child whose diaphragm stands at USUAL_DOME
USUAL_DOME = 1.4
TRUNK_LENGTH = 0.26  # of a hilum's tubes; each generation is 0.8 times as long as the last


@dataclass(frozen=True)
class Lungs:
    """Fields of one patient's lungs, each float32 (size, size).

    Attributes:
        depth: length of lung along the ray, after heart, mediastinum and diaphragm took their part.
        across: 0 at the mediastinal side of a lung to 1 at the ribs.
        down: 0 at the apex to 1 at the dome of the diaphragm.
        left: True on the patient's left.
        below_dome: height below the diaphragm's dome, negative above it.
    """

    depth: np.ndarray
    across: np.ndarray
    down: np.ndarray
    left: np.ndarray
    below_dome: np.ndarray


def trachea(view, build, rng):
    """Air in the windpipe, from the neck to its fork, a little to the patient's right: length of air, (size, size)."""
    x, y = view.plane(z=0.05)
    lean, fork, half_width = between(rng, -0.08, 0.02), between(rng, 0.42, 0.6), between(rng, 0.055, 0.085)
    x = x - np.float32(lean) * soft_step(y, 0.8) - build.spine_x(y)
    reach = np.where(y < fork, np.abs(x), np.abs(np.abs(x) - (y - np.float32(fork)) * np.float32(0.8))) / half_width
    tube = np.maximum(1 - reach**2, 0) * soft_step(np.float32(fork + 0.12) - y, 0.12)
    return np.float32(between(rng, 0.6, 1.4) * half_width) * tube * soft_step(y + np.float32(0.35), 0.5)


def lungs(view, build, rng):
    """The air-filled lungs of one patient."""
    x, y = view.middle
    x = x - build.spine_x(y) * np.float32(0.6)
    left = x > 0
    lateral_profile = np.maximum(build.cage - PLEURA, 0)
    near_apex = np.clip(heights() / 0.55, 0, 1)
    medial_profile = MEDIAL_X + (APEX_X - MEDIAL_X) * (1 - np.sqrt(1 - (1 - near_apex) ** 2))
    lateral_profile = np.where(heights() < -0.02, 0, np.maximum(lateral_profile, medial_profile))
    lateral, medial = view.along(lateral_profile), view.along(medial_profile)
    middle, half = (lateral + medial) / 2, np.maximum((lateral - medial) / 2, 1e-3)
    reach = np.abs(np.abs(x) - middle) / half
    section = np.sqrt(np.maximum(1 - reach ** np.float32(LUNG_SQUARENESS), 0))
    depth = np.float32(2 * build.depth) * view.along(_depth_profile(build)) * section * (half > 2e-3)

    below_dome = _below_dome(build, x, y, left, rng)
    depth = depth * _share_above_diaphragm(below_dome, view, rng)
    depth = np.maximum(depth - heart_and_mediastinum(view, build, rng), 0)
    across = np.clip((np.abs(x) - medial) / (2 * half), 0, 1)
    down = np.clip(y / np.float32(build.dome), 0, 1.4)
    return Lungs(depth, across, down, left, below_dome)


def _depth_profile(build):
    """Depth of the lungs at each height, over the cage's half-depth: shallow at the apex, full from the hila down."""
    descent = np.clip((heights() + 0.05) / 0.8, 0, 1)
    return (0.4 + 0.6 * np.sin(np.pi / 2 * descent)) * np.minimum(0.3 + 0.7 * build.cage, 1)


def _below_dome(build, x, y, left, rng):
    """How far below the diaphragm's surface a pixel lies: two domes that fall away steeply towards the ribs."""
    surfaces = []
    for side, top in ((-1, build.dome), (1, build.left_dome)):
        peak, flat = between(rng, 0.36, 0.52), between(rng, 0.28, 0.55)
        outwards = side * x - np.float32(peak)
        lateral = flat * np.maximum(outwards, 0) ** np.float32(2.4) * np.float32(1.9)
        medial = np.float32(between(rng, 0.25, 0.7)) * np.minimum(outwards, 0) ** 2
        surfaces.append(np.float32(top) + lateral + medial)
    return y - np.where(left, surfaces[1], surfaces[0])


def _share_above_diaphragm(below_dome, view, rng):
    """A ray below the top of the dome still meets lung in front of it and behind it, ever less."""
    pixel = 1 / (view.unit[1] * view.size)
    edge = np.clip(np.float32(0.5) - below_dome / np.float32(1.5 * pixel), 0, 1)
    recess = np.float32(between(rng, 0.12, 0.35)) * np.maximum(1 - np.maximum(below_dome, 0) / np.float32(0.45), 0)
    return edge + (1 - edge) * recess


# --- Heart and mediastinum -----------------------------------------------------------------------------------------


def heart_and_mediastinum(view, build, rng):
    """Length of heart, great vessels, thymus and spine's soft parts along the ray: (size, size)."""
    x, y = view.plane(z=0.25)  # the heart lies in front, so it swings aside when the body turns
    x = x - np.float32(rng.normal(0.0, 0.025))
    dome, young = build.dome, 1 - build.age
    apex = between(rng, 0.48, 0.66) + 0.06 * young
    right = between(rng, 0.24, 0.36) + 0.03 * young
    vessels = between(rng, 0.15, 0.24) + 0.06 * young
    left_border = profile(
        [
            (-0.6, 0.10),
            (0.05, 0.13),
            (0.25, vessels),
            (0.45, vessels + between(rng, -0.02, 0.06)),
            (0.62, 0.5 * (vessels + apex) - between(rng, 0.0, 0.06)),
            (dome - 0.28, apex),
            (dome - 0.02, apex * 0.97),
            (dome + 0.25, apex * 0.7),
            (dome + 0.6, 0.2),
        ]
    )
    right_border = profile(
        [
            (-0.6, 0.10),
            (0.05, 0.13),
            (0.25, vessels * 0.95),
            (0.55, vessels),
            (0.75, 0.75 * right + 0.25 * vessels),
            (dome - 0.30, right),
            (dome - 0.05, right * 0.8),
            (dome + 0.25, right * 0.55),
            (dome + 0.6, 0.15),
        ]
    )
    thickness = profile([(-0.6, 0.5), (0.2, 0.8), (0.5, 0.85), (0.8, 1.1), (dome, 1.15), (dome + 0.5, 0.9)])
    left, right = view.along(left_border), view.along(right_border)
    reach = np.where(x > 0, x / left, -x / right)
    length = view.along(thickness) * np.maximum(1 - np.abs(reach) ** np.float32(2.6), 0) ** np.float32(0.45)
    if chance(rng, 0.25 + 0.35 * young):
        length = np.maximum(length, _thymus(x, y, rng))
    return length + _paraspinal(view, build)


def _thymus(x, y, rng):
    """The sail of the young: a soft angular shadow beside the upper mediastinum, on one side or both."""
    side = 1 if chance(rng, 0.5) else -1
    reach = between(rng, 0.28, 0.52)
    x = np.where(side * x > 0, np.abs(x) / reach, np.abs(x) / between(rng, 0.22, 0.34))
    bottom = between(rng, 0.5, 0.85)
    along = np.clip(y / bottom, 0, 1.05)
    width = np.float32(0.35) + np.float32(0.65) * along
    inside = np.maximum(1 - (x / width) ** 2, 0) * soft_step(bottom - y, 0.10) * soft_step(y, 0.2)
    return np.float32(between(rng, 0.35, 0.6)) * np.sqrt(inside)


def _paraspinal(view, build):
    """Vertebral bodies and muscle behind the lungs, which no ray near the midline avoids."""
    x, y = view.plane(z=-0.4)
    reach = (x - build.spine_x(y)) / np.float32(0.2)
    return np.float32(0.5) * np.sqrt(np.maximum(1 - reach**4, 0))


# --- Vessels and airways -------------------------------------------------------------------------------------------


def branching_tree(view, build, rng, roots=7, radius=0.034, shrink=0.76, generations=5):
    """Tubes that leave both hila and fork: path length of what fills them, (size, size).

    Args:
        roots: trunks at each hilum.
        radius: of a trunk; each fork's children are `shrink` times as thick.
        generations: how often the tubes fork, counting the trunks.
    """
    count, length = 2 * roots, TRUNK_LENGTH
    side = np.repeat(np.array([-1, 1], np.float32), roots)
    heading = _normal(rng, count, 0.25) + np.tile(np.linspace(-1.25, 1.35, roots, dtype=np.float32), 2)  # 0: outwards
    x = side * (HILUM[0] + _normal(rng, count, 0.02))
    y = np.float32(HILUM[1] * build.dome / USUAL_DOME) + np.float32(0.06) * np.sin(heading)
    y -= np.float32(0.04) * (side > 0)  # the left hilum stands a little higher
    z, climb = _normal(rng, count, 0.08), _normal(rng, count, 0.35)
    thick = np.float32(radius) * np.exp(_normal(rng, count, 0.22))
    lumps = []
    for _generation in range(generations):
        steps = max(int(np.ceil(length * view.unit[0] * view.size)), 4)
        share = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
        step = (np.float32(length / steps) * np.exp(_normal(rng, len(x), 0.2)))[:, None]
        bend = _normal(rng, len(x), 0.55) + np.float32(0.12) * np.sin(heading)
        course = heading[:, None] + bend[:, None] * share
        cos, sin, flat = np.cos(course), np.sin(course), step * np.cos(climb)[:, None]
        path_x = x[:, None] + side[:, None] * np.cumsum(cos * flat, axis=1)
        path_y = y[:, None] + np.cumsum(sin * flat, axis=1)
        path_z = z[:, None] + np.sin(climb)[:, None] * step * np.arange(1, steps + 1, dtype=np.float32)
        taper = thick[:, None] * (1 - np.float32(0.25) * share)
        lumps.append(_solid(view, (path_x, path_y, path_z), (-side[:, None] * sin, cos), taper, step))
        x, y, z, heading = (np.repeat(path[:, -1], 2) for path in (path_x, path_y, path_z, course))
        side, climb = np.repeat(side, 2), np.repeat(climb, 2) + _normal(rng, 2 * len(climb), 0.25)
        apart = np.array([-1, 1], np.float32)
        heading += rng.uniform(0.1, 0.75, len(x)).astype(np.float32) * np.tile(apart, len(x) // 2)
        thick = np.repeat(thick, 2) * np.float32(shrink) * np.exp(_normal(rng, len(x), 0.15))
        length *= 0.8
    return view.shadow(np.concatenate([p for p, _ in lumps]), np.concatenate([v for _, v in lumps]))


def _normal(rng, count, spread):
    return rng.standard_normal(count, dtype=np.float32) * np.float32(spread)


def _solid(view, path, across, radius, step):
    """Strands along tubes, weighed like the chords of a circle: lumps (m, 3) and volumes (m,).

    Args:
        path: x, y, z, each (tubes, steps); across: the direction across each, x and y.
        radius: (tubes, steps); step: (tubes, 1), length of a step.
    """
    pixels_across = 2 * float(radius.max()) * view.unit[0] * view.size
    strands = max(int(np.ceil(1.2 * pixels_across)), 2)
    offset = ((2 * np.arange(strands) + 1) / strands - 1).astype(np.float32)
    weight = np.sqrt(1 - offset**2)
    points = np.empty((*radius.shape, strands, 3), np.float32)
    points[..., 0] = path[0][..., None] + (across[0] * radius)[..., None] * offset
    points[..., 1] = path[1][..., None] + (across[1] * radius)[..., None] * offset
    points[..., 2] = path[2][..., None]
    volume = (np.float32(np.pi) * radius**2 * step)[..., None] * (weight / weight.sum())
    return points.reshape(-1, 3), volume.reshape(-1)
