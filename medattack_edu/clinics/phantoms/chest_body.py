"""One child's build, and the soft tissue that the rays pass: trunk, neck, head, arms, abdomen. No bone, no lung.

All lengths are body units (see `chest_view`), all results are path lengths of soft tissue.
"""

from dataclasses import dataclass

import numpy as np

from .chest_view import heights, profile
from .optics import between, chance, noise, soft_step

TRUNK_ROUNDNESS = 3.6  # exponent of the trunk's cross-section: between an ellipse and a box
UPPER_ARM = 1.5  # from shoulder to elbow


@dataclass(frozen=True)
class Build:
    """What stays the same in one child, whatever the exposure.

    Attributes:
        age: 0 for an infant, 1 for a child of five.
        cage: half-width of the rib cage at `heights()`.
        depth: half-depth of the rib cage over its half-width.
        dome: height y of the right diaphragm's top; left_dome: of the left one.
        rib_spacing: from one rib to the next, at the spine.
        rib_drop: how far a rib falls from the spine to its front end.
        spine_bend: sideways swing of the spine; spine_phase: where along it.
        fat: thickness of the chest wall.
        shoulder: height y of the shoulder joints.
        arms: angle of each upper arm from straight down, radians (right, left).
        chin: height y of the chin's tip; chin_side: its x.
    """

    age: float
    cage: np.ndarray
    depth: float
    dome: float
    left_dome: float
    rib_spacing: float
    rib_drop: float
    spine_bend: float
    spine_phase: float
    fat: float
    shoulder: float
    arms: tuple[float, float]
    chin: float
    chin_side: float

    def spine_x(self, y):
        """Where the spine's middle is at heights y."""
        return self.spine_bend * np.sin(np.float32(1.6) * (y - np.float32(self.spine_phase)))

    def cage_at(self, y):
        """Half-width of the rib cage at any heights y."""
        return np.interp(y, heights(), self.cage).astype(np.float32)


def random_build(rng):
    """A child of 0 to 5 years, lying or standing in one of the usual postures."""
    age = float(rng.beta(1.3, 1.3))
    dome = between(rng, 1.22, 1.40) + 0.22 * age
    posture = rng.random()
    if posture < 0.25:  # arms down or a little away from the body
        arms = rng.uniform(0.12, 0.6, 2)
    elif posture < 0.62:  # held out by a parent
        arms = between(rng, 0.7, 1.6) + rng.normal(0, 0.15, 2)
    else:  # lifted beside the head
        arms = between(rng, 1.9, 2.7) + rng.normal(0, 0.15, 2)
    return Build(
        age=age,
        cage=_cage_profile(rng, dome, age),
        depth=between(rng, 0.56, 0.72) - 0.06 * age,
        dome=dome,
        left_dome=dome + float(rng.normal(0.05, 0.05)),
        rib_spacing=(dome - 0.05) / between(rng, 7.7, 9.4),
        rib_drop=between(rng, 0.35, 0.60) + 0.20 * age,
        spine_bend=float(rng.normal(0, 0.035)),
        spine_phase=between(rng, -1, 2),
        fat=between(rng, 0.05, 0.15),
        shoulder=float(rng.normal(-0.04, 0.08)) - 0.05 * float(arms.mean()),
        arms=(float(arms[0]), float(arms[1])),
        chin=float(rng.normal(-0.36, 0.16)),
        chin_side=float(rng.normal(0, 0.10)),
    )


def _cage_profile(rng, dome, age):
    """From the apex a round shoulder, widest low down, then straight or tapering: bells, barrels and domes."""
    y = heights()
    widest = between(rng, 1.05, 1.45) * dome
    shoulder_power, side_power = between(rng, 1.7, 2.5), between(rng, 1.8, 2.4)
    rise = np.clip((y + 0.07) / (widest + 0.07), 0, 1)
    half_width = (1 - (1 - rise) ** shoulder_power) ** (1 / side_power)
    below = np.clip(y - widest, 0, None)
    return (half_width + below * between(rng, -0.10, 0.06) - 0.10 * age * below**2).clip(0).astype(np.float32)


# --- Soft tissue ---------------------------------------------------------------------------------------------------


def soft_tissue(view, build, rng):
    """Everything between the skin in front and the skin behind, lungs not yet taken out: (size, size)."""
    trunk = _trunk(view, build, rng)
    for side, angle in zip((-1, 1), build.arms, strict=True):
        arm = _arm(view, build, side, angle, between(rng, 0.22, 0.32))
        trunk = np.maximum(trunk, arm) + np.float32(0.35) * np.minimum(trunk, arm)  # the arm melts into the shoulder
    neck_and_head = _head(view, build, rng)
    wall = 1 + np.float32(0.02) * noise(rng, view.size, slope=1.6, coarsest=0.25)  # muscle and fat in layers
    return (trunk + neck_and_head) * wall


def _trunk(view, build, rng):
    """Neck, trapezius, shoulders, axillae, flanks: the half-width at each height, and the depth there."""
    flank, shoulder_width = 1.0 + build.fat, between(rng, 0.95, 1.15)
    neck, lifted = between(rng, 0.30, 0.42), max(build.arms) > 1.7
    top = build.shoulder - (0.34 if lifted else 0.20)
    width = profile(
        [
            (top - 0.45, neck),
            (top - 0.18, neck + 0.08),
            (top, 0.75 * shoulder_width),
            (build.shoulder, shoulder_width),
            (build.shoulder + 0.35, 0.5 * (flank + shoulder_width) - 0.04),
            (0.75, flank),
            (build.dome, flank * between(rng, 0.97, 1.04)),
            (build.dome + 0.8, flank * between(rng, 0.92, 1.1)),
        ]
    )
    chest = 2 * build.depth + build.fat
    depth = profile(
        [(-0.6, 0.75), (0.0, 0.85 * chest), (0.5, chest), (build.dome + 0.5, chest * between(rng, 1, 1.12))]
    )
    x, _ = view.middle
    reach = np.abs(x) / view.along(width)
    return view.along(depth) * np.sqrt(np.maximum(1 - reach ** np.float32(TRUNK_ROUNDNESS), 0))


def arm_ends(build, side, angle):
    """Shoulder joint and elbow, each (x, y), of the arm on `side` (-1 the patient's right)."""
    shoulder = np.array([side * 1.08, build.shoulder + 0.08], np.float32)
    return shoulder, shoulder + UPPER_ARM * np.array([side * np.sin(angle), np.cos(angle)], np.float32)


def _arm(view, build, side, angle, radius):
    """A tapering cylinder of flesh from the shoulder to beyond the elbow."""
    (ax, ay), (bx, by) = arm_ends(build, side, angle)
    x, y = view.middle
    length = np.hypot(bx - ax, by - ay)
    along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length**2, 0, 1.3)
    distance = np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))
    thickness = np.float32(radius) * (1 - np.float32(0.2) * along)
    return 2 * np.sqrt(np.maximum(thickness**2 - distance**2, 0))


def _head(view, build, rng):
    """The lower half of the face: a ball that ends in the chin, above the neck."""
    x, y = view.middle
    width, height = between(rng, 0.55, 0.75), between(rng, 0.6, 0.8)
    x, y = (
        (x - np.float32(build.chin_side)) / np.float32(width),
        (y - np.float32(build.chin - height)) / np.float32(height),
    )
    return np.float32(0.95) * np.sqrt(np.maximum(1 - x * x - y * y, 0))


def abdomen(view, build, below_dome, rng):
    """What the abdomen adds and takes: the liver's bulk, bowel loops, the stomach's bubble: (size, size), +-.

    Args:
        below_dome: height below the diaphragm, (size, size), negative above it.
    """
    x, y = view.middle
    inside = soft_step(below_dome - np.float32(0.12), 0.12)
    bowel = noise(rng, view.size, slope=1.5, coarsest=0.16, finest=0.016)
    amount = between(rng, 0.0, 0.015) + (between(rng, 0.02, 0.07) if chance(rng, 0.2) else 0.0)
    loops = np.minimum(bowel, 0.6) * np.float32(amount) * soft_step(below_dome - np.float32(0.3), 0.3)
    bubble = np.float32(0)
    if chance(rng, 0.55):
        cx, cy = between(rng, 0.25, 0.65), build.left_dome + between(rng, 0.12, 0.32)
        radius, flatness, tilt = between(rng, 0.1, 0.3), between(rng, 0.45, 1.0), between(rng, -0.5, 0.5)
        dx, dy = (x - np.float32(cx)) / np.float32(radius), (y - np.float32(cy)) / np.float32(radius * flatness)
        dx, dy = dx + np.float32(tilt) * dy, dy - np.float32(tilt) * dx
        ball = np.maximum(1 - dx * dx - dy * dy + np.float32(0.25) * bowel, 0)
        bubble = np.float32(between(rng, 0.2, 0.9) * radius) * np.sqrt(ball)
    return (loops - bubble) * inside
