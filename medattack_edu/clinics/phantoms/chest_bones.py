"""The skeleton of the chest as the rays see it: path lengths of bone, projected from curves in space. No soft tissue.

Bones are laid out as many small lumps and projected, so that a rib is bright where the rays run along it, at the edges
of the cage, without being told so. The lumps hold dense bone; spongy bone counts as the little dense bone in it.
"""

from functools import lru_cache

import numpy as np

from .chest_body import arm_ends
from .optics import between

RIBS = 12
RIB_START = -82.0  # degrees along the hoop: -90 is the middle of the back, 0 the flank, 90 the breastbone
RIB_ENDS = (68, 62, 58, 56, 54, 52, 46, 40, 18, -5, -25, -42)  # where bone gives way to cartilage, or ends
FULL_HOOP = 150.0  # degrees from the start to the longest rib's end
RIB_WALL = 0.020  # thickness of dense bone
LOW_FADES = 0.4  # the lowest ribs are slighter, by this share
FRONT_FADES = 0.6  # a rib is thinner in front, by this share
LIMB_WALL = 0.018
BLADE = 0.012  # thickness of the shoulder blade's dense bone
TUBE_STEPS = 72  # lumps along a tubular bone at 128 pixels
TUBE_AROUND = 11  # lumps around a tubular bone at 128 pixels


def skeleton(view, build, rng):
    """All bones of the field, path length of dense bone: (size, size)."""
    blades, tubes = [], [_mandible(build, rng)]
    for side, arm in zip((-1, 1), build.arms, strict=True):
        blade, borders = _scapula(view, build, side, arm, rng)
        blades.append(blade)
        tubes += [*borders, _clavicle(build, side, arm, rng), _humerus(build, side, arm, rng)]
    lumps = [_ribs(view, build, rng), _tubes(view, *map(np.stack, zip(*tubes, strict=True))), *blades]
    points, volumes = map(np.concatenate, zip(*lumps, strict=True))
    return view.shadow(points, volumes) + _spine(view, build, rng)


def _detail(view, at_128):
    """Samples that keep lumps closer than a pixel: `at_128` up to 128 pixels, more in proportion above."""
    return int(np.ceil(at_128 * max(view.size, 128) / 128))


SHARE = np.linspace(0, 1, 48, dtype=np.float32)  # a bone's course, from one end to the other


def _tubes(view, paths, radii, walls):
    """Hollow bones, all at once: lumps (m, 3) and their volumes (m,).

    Args:
        paths: (bones, len(SHARE), 3); radii: (bones, len(SHARE)); walls: (bones,), thickness of dense bone.
    """
    steps, around = _detail(view, TUBE_STEPS), _detail(view, TUBE_AROUND)
    at = np.linspace(0, len(SHARE) - 1.001, steps)
    before = at.astype(int)
    part = (at - before).astype(np.float32)[:, None]
    curve = paths[:, before] * (1 - part) + paths[:, before + 1] * part
    radius = radii[:, before] * (1 - part[:, 0]) + radii[:, before + 1] * part[:, 0]
    tangent = np.gradient(curve, axis=1)
    step = np.sqrt((tangent**2).sum(-1))
    flat = np.hypot(tangent[..., 0], tangent[..., 1]) + 1e-6
    across = np.stack([tangent[..., 1] / flat, -tangent[..., 0] / flat], axis=-1)  # in the film's plane
    turn = np.linspace(0, np.pi, around, dtype=np.float32)  # front and back walls fall on one another
    points = np.empty((*curve.shape[:2], around, 3), np.float32)
    points[..., :2] = curve[..., None, :2] + across[..., None, :] * (radius[..., None] * np.cos(turn))[..., None]
    points[..., 2] = curve[..., None, 2]
    volume = (step * radius * walls[:, None] * (2 * np.pi / around)).astype(np.float32)
    return points.reshape(-1, 3), np.repeat(volume.ravel(), around)


# --- Ribs ----------------------------------------------------------------------------------------------------------


def _ribs(view, build, rng):
    """Twelve pairs of flat hoops: back along the spine's sides, round the flank, down and forward to the cartilage."""
    steps, around = _detail(view, 100), _detail(view, 8)
    number = np.arange(RIBS, dtype=np.float32)[None, :, None]
    side = np.array([-1, 1], np.float32)[:, None, None]
    end = np.array(RIB_ENDS, np.float32)[None, :, None] + rng.normal(0, 5, (2, RIBS, 1)).astype(np.float32)
    angle = RIB_START + np.linspace(0, 1, steps, dtype=np.float32) * (end - RIB_START)
    hoop = (angle - np.float32(RIB_START)) / np.float32(FULL_HOOP)
    angle = np.deg2rad(angle)
    cos, sin = np.cos(angle), np.sin(angle)

    at_spine = 0.03 + build.rib_spacing * number + rng.normal(0, 0.008, (2, RIBS, 1)).astype(np.float32)
    drop = build.rib_drop * (0.62 + 0.085 * number) * (1 + rng.normal(0, 0.05, (2, 1, 1)))
    hump, bow = between(rng, 0.0, 0.045), between(rng, 0.85, 1.25)
    y = at_spine + drop * hoop**bow - hump * np.sin(np.pi * np.clip(hoop * 2.2, 0, 1))
    at_flank = (at_spine + drop * (-RIB_START / FULL_HOOP) ** bow)[..., 0]
    width = build.cage_at(at_flank)[..., None]
    x = side * width * cos ** np.float32(0.85) + build.spine_x(y)
    z = build.depth * (0.35 + 0.65 * width) * sin

    height = between(rng, 0.033, 0.044) * (0.85 + 0.3 * np.sin(np.pi * hoop.clip(0, 1)))
    thickness = between(rng, 0.012, 0.018)
    curve = np.stack([x, y, z], axis=-1).astype(np.float32)
    length = np.sqrt((np.gradient(curve, axis=2) ** 2).sum(-1))
    across = np.linspace(-1, 1, around, dtype=np.float32) * np.float32(1 - 1 / around)
    wall_share = 0.8 + 0.7 * across**4  # a hollow bone is densest along its rims
    wall_side = np.where(np.arange(around) % 2, thickness, -thickness) * np.sqrt(1 - across**2)
    points = np.empty((*curve.shape[:3], around, 3), np.float32)
    points[..., 0] = curve[..., None, 0] + (side * cos)[..., None] * wall_side.astype(np.float32)
    points[..., 1] = curve[..., None, 1] + height.astype(np.float32)[..., None] * across
    points[..., 2] = curve[..., None, 2]
    wall = RIB_WALL * between(rng, 0.75, 1.35)
    volume = (length * 4 * height * (wall / around)).astype(np.float32)  # 4 heights: a flat ellipse's perimeter
    volume *= 1 - LOW_FADES * np.clip((number - 7) / 3, 0, 1).astype(np.float32)
    volume *= 1 - FRONT_FADES * np.clip(hoop * 2 - 1, 0, 1).astype(np.float32)
    return points.reshape(-1, 3), (volume[..., None] * wall_share).ravel()


# --- Spine ---------------------------------------------------------------------------------------------------------


def _spine(view, build, rng):
    """Vertebral bodies with their end plates, gaps of disc, two pedicles each and a spinous process: (size, size)."""
    x, y = view.plane(z=-0.55 * build.depth)
    x = x - build.spine_x(y)
    half_width = between(rng, 0.13, 0.165)
    crispness, dense = between(rng, 0.3, 1.0), between(rng, 0.02, 0.05)
    beat = y / np.float32(build.rib_spacing) + np.float32(0.3)
    phase = beat - np.floor(beat) - np.float32(0.5)  # -0.5 to 0.5 within one vertebra
    across = np.abs(x) / (np.float32(half_width) * (1 + np.float32(0.12) * y))
    body = np.sqrt(np.maximum(1 - across**4, 0))
    block = 1 / (1 + np.exp((np.abs(phase) - np.float32(0.38)) * 28))
    plates = np.exp(-(((np.abs(phase) - np.float32(0.36)) / np.float32(0.06)) ** 2))
    pedicles = np.exp(-(((across - np.float32(0.62)) / 0.2) ** 2) - ((phase + np.float32(0.1)) / 0.17) ** 2)
    process = np.exp(-((across / np.float32(0.16)) ** 2) - ((phase - np.float32(0.2)) / np.float32(0.26)) ** 2)
    detail = (block - 0.7) * 0.6 + 0.25 * plates + 0.45 * pedicles + 0.35 * process
    return np.float32(dense) * body * (1 + np.float32(1.5 * crispness) * detail)


# --- Shoulder girdle, arms, jaw: each (path, radius, wall) for `_tubes` ------------------------------------------


def _line(start, stop):
    return (np.asarray(start) + (np.asarray(stop) - np.asarray(start)) * SHARE[:, None]).astype(np.float32)


def _clavicle(build, side, arm, rng):
    """From the breastbone's top to the shoulder: an S that sags, rises or lies flat with the arm's posture."""
    rise = between(rng, -0.04, 0.10) + 0.12 * max(arm - 0.9, 0)
    path = _line(
        [0.12, between(rng, 0.08, 0.24), 0.5 * build.depth], [between(rng, 0.84, 1.0), build.shoulder - rise, -0.05]
    )
    path[:, 1] -= between(rng, -0.03, 0.12) * np.sin(np.pi * SHARE) + between(rng, 0.0, 0.07) * np.sin(
        2 * np.pi * SHARE
    )
    path[:, 0] *= side
    radius = between(rng, 0.032, 0.045) * (1 + 0.5 * (2 * SHARE - 1) ** 4)
    return path, radius, LIMB_WALL


@lru_cache(maxsize=8)
def _triangle(n):
    """n * n points spread over a triangle, as shares of two of its sides: each (n * n, 1)."""
    a, b = np.meshgrid((np.arange(n) + 0.5) / n, (np.arange(n) + 0.5) / n)
    folded = a + b > 1
    return np.where(folded, 1 - a, a).reshape(-1, 1), np.where(folded, 1 - b, b).reshape(-1, 1)


def _scapula(view, build, side, arm, rng):
    """A thin triangle with a thick outer border, its spine with the acromion: lumps of the blade, tubes of the rims."""
    swing = 0.09 * max(arm - 0.4, 0)  # the lower angle swings outwards with the arm
    socket = np.array([1.0, build.shoulder + 0.10, -0.25])
    inner = np.array([between(rng, 0.66, 0.80), build.shoulder - 0.02, -0.5])
    tip = np.array([between(rng, 0.74, 0.88) + swing, build.shoulder + between(rng, 0.62, 0.82), -0.5])
    share_in, share_down = _triangle(_detail(view, 34))
    blade = (socket + share_in * (inner - socket) + share_down * (tip - socket)) * [side, 1, 1]
    area = 0.5 * np.linalg.norm(np.cross(inner - socket, tip - socket))
    tubes = []
    rims = [(socket, tip, 0.022, 0.05), (inner, tip, 0.010, -0.05), (inner, socket + [0.06, -0.17, 0.0], 0.018, 0.0)]
    for start, stop, radius, bulge in rims:
        path = _line(start, stop)
        path[:, 0] -= bulge * np.sin(np.pi * SHARE)
        path[:, 0] *= side
        tubes.append((path, np.full_like(SHARE, radius), LIMB_WALL * 0.8))
    return (blade.astype(np.float32), np.full(len(blade), area * BLADE / len(blade), np.float32)), tubes


def _humerus(build, side, arm, rng):
    """A round head in the socket, and the shaft."""
    start, stop = arm_ends(build, side, arm)
    path = _line([*start, -0.15], [*stop, -0.15])
    head, shaft = between(rng, 0.085, 0.115), between(rng, 0.05, 0.062)
    radius = shaft + (head - shaft) * np.exp(-((SHARE / 0.10) ** 2))
    radius[0] *= 0.6
    return path, radius, LIMB_WALL


def _mandible(build, rng):
    """The lower jaw's horseshoe, seen from the front."""
    turn = 2.5 * SHARE - 1.25
    width, height = between(rng, 0.40, 0.55), between(rng, 0.35, 0.5)
    thick = between(rng, 0.06, 0.10)
    x, y = build.chin_side + width * np.sin(turn), build.chin - 0.06 - height * (1 - np.cos(turn))
    path = np.stack([x, y, 0.35 + 0.3 * np.cos(turn)], axis=1).astype(np.float32)
    return path, np.full_like(SHARE, thick), 0.016
