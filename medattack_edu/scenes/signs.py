"""Traffic signs: drawn from lines and arcs, and seen by a camera from some distance and angle, or from a car that drives by.

Everything that a camera does to a sign is differentiable in the sign's colours, so that an attack can look through it.
Which network looks at the pictures is in `models.signs`; attacks are in `attacks`. Distances are feet, angles degrees.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import torch.nn.functional as F

from medattack_edu.scenes import streets
from medattack_edu.scenes.streets import FOCAL_PX, uniform

SIZE = 48  # pixels of the crop that the classifier sees (Eykholt et al. 2018: 32)
TEXTURE = 96  # pixels of a flat sign
SUPERSAMPLING = 8  # a flat sign is drawn this much larger and then averaged
SIGN_FEET = 2.5  # side of a sign's square: 30 inches, the usual American stop sign
ABOVE_CAMERA_FEET = 2.5  # centre of the sign above the camera: about 7 feet above the road
BESIDE_FEET = 10.0  # centre of the sign to the right of a car that drives in the middle of its lane
BLUR_OF_A_PIXEL = 0.45  # standard deviation, in the camera's pixels, of what one pixel averages

RED, YELLOW, GREEN = (176, 28, 40), (245, 188, 28), (30, 120, 70)
WHITE, BLACK = (236, 236, 232), (26, 26, 28)
POST = (0.44, 0.45, 0.46)

CLASSES = (
    "stop",
    "speed limit 25",
    "speed limit 35",
    "speed limit 45",
    "yield",
    "do not enter",
    "keep right",
    "no left turn",
    "pedestrian crossing",
    "signal ahead",
    "curve ahead",
    "priority road",
)


# --- Flat signs ----------------------------------------------------------------------------------------------------


def sign(name, size=TEXTURE):
    """A sign as it leaves the workshop: seen from the front, in even light.

    Args:
        name: one of `CLASSES`. size: pixels of the square that the sign fills.

    Returns:
        colour (3, size, size) in [0, 1], and outline (1, size, size): 1 on the sign, 0 beside it, between on its edge.
    """
    if name not in CLASSES:
        raise ValueError(f"There is no sign {name!r}; there are: {', '.join(CLASSES)}.")
    colour, outline = _drawn(name, int(size))
    return colour.clone(), outline.clone()


@lru_cache(maxsize=64)
def _drawn(name, size):
    from PIL import Image

    sheet = _Sheet(size * SUPERSAMPLING)
    _DRAWINGS[name](sheet)
    colour = _tensor(sheet.picture.resize((size, size), Image.Resampling.BOX))
    return colour, _tensor(sheet.plate.resize((size, size), Image.Resampling.BOX))


def _tensor(picture):
    import numpy as np

    array = torch.from_numpy(np.array(picture, dtype=np.float32) / 255)
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1).contiguous()


class _Sheet:
    """A sheet to draw on, in coordinates from 0 to 1 (x to the right, y down). `plate` grows with the plate's own shapes."""

    def __init__(self, side):
        from PIL import Image, ImageDraw

        self.side = side
        self.picture = Image.new("RGB", (side, side), WHITE)
        self.plate = Image.new("L", (side, side), 0)
        self._draw, self._cut = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.plate)

    def shape(self, points, colour, *, rounding=0.0, plate=False):
        """A polygon whose corners are rounded outwards by `rounding`."""
        for draw, ink in ((self._draw, colour), (self._cut, 255))[: 1 + plate]:
            scaled = [(x * self.side, y * self.side) for x, y in points]
            draw.polygon(scaled, fill=ink)
            if rounding:
                self._line(draw, scaled + scaled[:1], ink, 2 * rounding * self.side, round_ends=True)

    def line(self, points, colour, width, *, round_ends=False):
        """A broken line of that width, with square ends unless told otherwise."""
        self._line(
            self._draw, [(x * self.side, y * self.side) for x, y in points], colour, width * self.side, round_ends
        )

    def disc(self, x, y, radius, colour, *, plate=False):
        for draw, ink in ((self._draw, colour), (self._cut, 255))[: 1 + plate]:
            self._disc(draw, x * self.side, y * self.side, radius * self.side, ink)

    def text(self, words, x, y, height, colour, *, width=0.62, stroke=0.17, gap=0.3):
        """Letters of that height, centred on (x, y). `width`, `stroke` and `gap` are fractions of the height."""
        widths = [(0.3 if letter in " I" else 0.8 if letter == "M" else 1) * width * height for letter in words]
        left = x - (sum(widths) + gap * height * (len(words) - 1)) / 2
        for letter, wide in zip(words, widths, strict=True):
            for part in _LETTERS[letter]:
                points = [(left + px * wide, y + (py - 0.5) * (1 - stroke) * height) for px, py in part]
                self.line(points, colour, stroke * height)
            left += wide + gap * height

    def _line(self, draw, points, ink, width, round_ends):
        draw.line(points, fill=ink, width=round(width), joint="curve")
        for x, y in points if round_ends else points[1:-1]:
            self._disc(draw, x, y, width / 2, ink)

    @staticmethod
    def _disc(draw, x, y, radius, ink):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)


def arc(x, y, across, down, start, end, steps=24):
    """Points on an ellipse around (x, y), from `start` to `end` degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


def polygon(corners, radius, turn=0.0):
    """Corners of a regular polygon around the middle; its first one lies `turn` degrees clockwise from the right."""
    return arc(0.5, 0.5, radius, radius, turn, turn + 360, corners)[:-1]


# Strokes of each letter in a box from 0 to 1, after the narrow letters of American road signs.
_LETTERS = {
    " ": [],
    "D": [
        [
            (0, 0),
            (0.35, 0),
            *arc(0.35, 0.4, 0.65, 0.4, -90, 0),
            *arc(0.35, 0.6, 0.65, 0.4, 0, 90),
            (0, 1),
            (0, 0),
            (0.2, 0),
        ]
    ],
    "E": [[(1, 0), (0, 0), (0, 1), (1, 1)], [(0, 0.5), (0.85, 0.5)]],
    "I": [[(0.5, -0.1), (0.5, 1.1)]],
    "L": [[(0, -0.1), (0, 1), (1, 1)]],
    "M": [[(0, 1.1), (0, 0), (0.5, 0.7), (1, 0), (1, 1.1)]],
    "N": [[(0, 1.1), (0, 0), (1, 1), (1, -0.1)]],
    "O": [[*arc(0.5, 0.35, 0.5, 0.35, -180, 0), *arc(0.5, 0.65, 0.5, 0.35, 0, 180), (0, 0.35), (0.01, 0.3)]],
    "P": [[(0, 1.1), (0, 0), (0.5, 0), *arc(0.5, 0.27, 0.5, 0.27, -90, 90), (0, 0.54)]],
    "R": [[(0, 1.1), (0, 0), (0.5, 0), *arc(0.5, 0.27, 0.5, 0.27, -90, 90), (0, 0.54)], [(0.5, 0.54), (1, 1.1)]],
    "S": [
        [
            *arc(0.5, 0.26, 0.5, 0.26, -20, -180),
            *arc(0.5, 0.26, 0.5, 0.24, -180, -270),
            *arc(0.5, 0.75, 0.5, 0.25, -90, 160),
        ]
    ],
    "T": [[(-0.1, 0), (1.1, 0)], [(0.5, 0), (0.5, 1.1)]],
    "Y": [[(-0.05, -0.1), (0.5, 0.5), (1.05, -0.1)], [(0.5, 0.5), (0.5, 1.1)]],
    "2": [[*arc(0.5, 0.29, 0.5, 0.29, -175, 25), (0, 1), (1.1, 1)]],
    "3": [[*arc(0.48, 0.25, 0.46, 0.25, -165, 90), *arc(0.45, 0.75, 0.55, 0.25, -90, 165)]],
    "4": [[(0.75, 1.1), (0.75, 0), (0, 0.68), (1.1, 0.68)]],
    "5": [[(1, 0), (0.12, 0), (0.05, 0.45), *arc(0.45, 0.69, 0.55, 0.31, -140, 150)]],
}


def _stop(sheet):
    sheet.shape(polygon(8, 0.541, 22.5), WHITE, plate=True)
    sheet.shape(polygon(8, 0.508, 22.5), RED)
    sheet.text("STOP", 0.5, 0.5, 0.34, WHITE, width=0.4, stroke=0.17, gap=0.24)


def _speed_limit(number):
    def draw(sheet):
        _white_board(sheet)
        sheet.text("SPEED", 0.5, 0.16, 0.125, BLACK, width=0.55)
        sheet.text("LIMIT", 0.5, 0.325, 0.125, BLACK, width=0.55)
        sheet.text(str(number), 0.5, 0.675, 0.45, BLACK, width=0.46, stroke=0.19, gap=0.27)

    return draw


def _white_board(sheet, left=0.1, top=0.0, right=0.9, bottom=1.0):
    """A white rectangle with rounded corners and a black line a little inside its edge."""
    for inset, colour, plate in ((0.0, WHITE, True), (0.02, BLACK, False), (0.04, WHITE, False)):
        r = 0.05
        box = (left + inset + r, top + inset + r, right - inset - r, bottom - inset - r)
        sheet.shape([box[:2], (box[2], box[1]), box[2:], (box[0], box[3])], colour, rounding=r, plate=plate)


def _yield(sheet):
    for inset, colour, plate in ((0.0, WHITE, True), (0.015, RED, False), (0.12, WHITE, False)):
        # The corners lie so that each edge is `inset` further in; the triangle is almost equilateral.
        down = [(0.06 + 1.75 * inset, 0.12 + inset), (0.94 - 1.75 * inset, 0.12 + inset), (0.5, 0.88 - 2 * inset)]
        sheet.shape(down, colour, rounding=0.06 if not inset else 0.055 if inset < 0.1 else 0.01, plate=plate)
    sheet.text("YIELD", 0.5, 0.33, 0.085, RED, width=0.42, gap=0.24)


def _do_not_enter(sheet):
    sheet.shape([(0.03, 0.03), (0.97, 0.03), (0.97, 0.97), (0.03, 0.97)], WHITE, rounding=0.03, plate=True)
    sheet.disc(0.5, 0.5, 0.46, RED)
    sheet.shape([(0.14, 0.43), (0.86, 0.43), (0.86, 0.57), (0.14, 0.57)], WHITE)
    sheet.text("DO NOT", 0.5, 0.29, 0.13, WHITE, width=0.5)
    sheet.text("ENTER", 0.5, 0.71, 0.13, WHITE, width=0.5)


def _arrow_head(sheet, tip, along, colour, length=0.16, half=0.13):
    """A filled triangle whose tip points along the direction (dx, dy)."""
    norm = math.hypot(*along)
    dx, dy = along[0] / norm, along[1] / norm
    base = (tip[0] - length * dx, tip[1] - length * dy)
    sheet.shape([tip, (base[0] - half * dy, base[1] + half * dx), (base[0] + half * dy, base[1] - half * dx)], colour)


def _keep_right(sheet):
    _white_board(sheet)
    sheet.shape([(0.24, 0.93), *arc(0.34, 0.66, 0.1, 0.1, 180, 360), (0.44, 0.93)], BLACK)
    sheet.line([(0.34, 0.14), (0.34, 0.34), (0.66, 0.55), (0.66, 0.7)], BLACK, 0.1)
    _arrow_head(sheet, (0.66, 0.87), (0, 1), BLACK, 0.19, 0.14)


def _no_left_turn(sheet):
    _white_board(sheet, 0.02, 0.02, 0.98, 0.98)
    sheet.line([(0.62, 0.8), (0.62, 0.5), *arc(0.56, 0.46, 0.06, 0.08, 0, -90), (0.42, 0.38)], BLACK, 0.11)
    _arrow_head(sheet, (0.25, 0.38), (-1, 0), BLACK, 0.2, 0.15)
    sheet.line(arc(0.5, 0.5, 0.36, 0.36, 0, 360, 72), RED, 0.09)
    sheet.line([(0.25, 0.25), (0.75, 0.75)], RED, 0.09)


def _yellow_diamond(sheet):
    for radius, colour, plate in ((0.45, YELLOW, True), (0.425, BLACK, False), (0.4, YELLOW, False)):
        sheet.shape(polygon(4, radius), colour, rounding=0.045, plate=plate)


def _pedestrian(sheet):
    _yellow_diamond(sheet)
    sheet.disc(0.52, 0.22, 0.06, BLACK)
    sheet.line([(0.5, 0.34), (0.49, 0.55)], BLACK, 0.13, round_ends=True)
    sheet.line([(0.5, 0.55), (0.58, 0.66), (0.62, 0.82)], BLACK, 0.075, round_ends=True)
    sheet.line([(0.48, 0.55), (0.44, 0.68), (0.34, 0.8)], BLACK, 0.075, round_ends=True)
    sheet.line([(0.53, 0.33), (0.62, 0.44), (0.71, 0.46)], BLACK, 0.055, round_ends=True)
    sheet.line([(0.46, 0.33), (0.37, 0.43), (0.36, 0.54)], BLACK, 0.055, round_ends=True)


def _signal(sheet):
    _yellow_diamond(sheet)
    sheet.shape([(0.41, 0.21), (0.59, 0.21), (0.59, 0.79), (0.41, 0.79)], BLACK, rounding=0.03)
    for y, colour in ((0.29, RED), (0.5, YELLOW), (0.71, GREEN)):
        sheet.disc(0.5, y, 0.082, colour)


def _curve(sheet):
    _yellow_diamond(sheet)
    sheet.line([(0.42, 0.8), (0.42, 0.58), *arc(0.57, 0.58, 0.15, 0.18, 180, 250), (0.6, 0.36)], BLACK, 0.1)
    _arrow_head(sheet, (0.71, 0.23), (0.62, -0.72), BLACK, 0.2, 0.13)


def _priority(sheet):
    for radius, colour, plate in (
        (0.46, BLACK, True),
        (0.445, WHITE, False),
        (0.3, BLACK, False),
        (0.285, YELLOW, False),
    ):
        sheet.shape(polygon(4, radius), colour, rounding=0.035 if radius > 0.3 else 0.015, plate=plate)


_DRAWINGS = {
    "stop": _stop,
    "speed limit 25": _speed_limit(25),
    "speed limit 35": _speed_limit(35),
    "speed limit 45": _speed_limit(45),
    "yield": _yield,
    "do not enter": _do_not_enter,
    "keep right": _keep_right,
    "no left turn": _no_left_turn,
    "pedestrian crossing": _pedestrian,
    "signal ahead": _signal,
    "curve ahead": _curve,
    "priority road": _priority,
}


# --- Views ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Views:
    """How n cameras see a sign. All tensors are (n,) unless said otherwise; ``views[rows]`` picks some.

    Attributes:
        distance: feet to the sign's centre. angle: degrees that the sign is turned about its post, positive if the
            camera stands to its right. tilt: degrees that the camera looks up at it. roll: degrees of a crooked post or camera.
        margin: side of the crop over that of the sign. shift (n, 2): the crop's error, in sides of the sign.
        light: factor. warmth: more red, less blue. ramp (n, 2): change of the light across the sign and down it.
        haze: grey light that is added. defocus: standard deviation in pixels of a `SIZE` crop. noise: standard deviation.
        background (n, 4): which picture, where in it (x, y) and how wide a window, all from 0 to 1. grain (n, 2): where in
            the noise, from 0 to 1.
    """

    distance: torch.Tensor
    angle: torch.Tensor
    tilt: torch.Tensor
    roll: torch.Tensor
    margin: torch.Tensor
    shift: torch.Tensor
    light: torch.Tensor
    warmth: torch.Tensor
    ramp: torch.Tensor
    haze: torch.Tensor
    defocus: torch.Tensor
    noise: torch.Tensor
    background: torch.Tensor
    grain: torch.Tensor

    def __len__(self):
        return len(self.distance)

    def __getitem__(self, rows):
        rows = [rows] if isinstance(rows, int) else rows
        return Views(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def random_views(n, *, distances=(5.0, 40.0), angles=45.0, generator=None):
    """Views of a driver's world: any distance and angle within the limits, any weather, a careless crop.

    Args:
        n: how many. distances: nearest and furthest, feet. angles: largest, degrees, to either side.
        generator: of the draw.
    """
    near, far = _check_limits(distances, angles)
    log_distance = torch.exp(uniform(n, math.log(near), math.log(far), generator))
    distance = torch.where(torch.rand(n, generator=generator) < 0.5, uniform(n, near, far, generator), log_distance)
    return Views(
        distance=distance,
        angle=uniform(n, -angles, angles, generator),
        tilt=torch.rad2deg(torch.atan(uniform(n, 0, 1.3 * ABOVE_CAMERA_FEET, generator) / distance)),
        roll=uniform(n, -6, 6, generator),
        margin=uniform(n, 1.05, 1.5, generator),
        shift=0.06 * (2 * torch.rand(n, 2, generator=generator) - 1),
        light=uniform(n, 0.4, 1.15, generator),
        warmth=uniform(n, -0.1, 0.1, generator),
        ramp=0.25 * (2 * torch.rand(n, 2, generator=generator) - 1),
        haze=0.15 * torch.rand(n, generator=generator) ** 2,
        defocus=1.1 * torch.rand(n, generator=generator) ** 2,
        noise=0.04 * torch.rand(n, generator=generator) ** 1.5,
        background=torch.rand(n, 4, generator=generator),
        grain=torch.rand(n, 2, generator=generator),
    )


def lab_views(distances=(5, 10, 15, 20, 25, 30, 40), angles=(-30, -15, 0, 15, 30), generator=None):
    """Still views in good light, as in a laboratory: one for each pair of a distance and an angle.

    Returns:
        Views (len(distances) * len(angles),), the distances in the outer loop.
    """
    if not len(distances) or not len(angles):
        raise ValueError("A laboratory test needs at least one distance and one angle.")
    _check_limits((min(distances), max(distances)), max(abs(angle) for angle in angles))
    pairs = torch.tensor([(distance, angle) for distance in distances for angle in angles], dtype=torch.float32)
    n = len(pairs)
    return Views(
        distance=pairs[:, 0],
        angle=pairs[:, 1],
        tilt=torch.rad2deg(torch.atan(ABOVE_CAMERA_FEET / pairs[:, 0])),
        roll=torch.zeros(n),
        margin=torch.full((n,), 1.25),
        shift=torch.zeros(n, 2),
        light=uniform(n, 0.85, 1.05, generator),
        warmth=uniform(n, -0.03, 0.03, generator),
        ramp=torch.zeros(n, 2),
        haze=torch.zeros(n),
        defocus=torch.zeros(n),
        noise=torch.full((n,), 0.01),
        background=torch.rand(n, 4, generator=generator),
        grain=torch.rand(n, 2, generator=generator),
    )


def _check_limits(distances, angles):
    near, far = (float(limit) for limit in distances)
    if not 2 <= near <= far:
        raise ValueError(f"distances={tuple(distances)}: give the nearest, at least 2 feet, and then the furthest.")
    if not 0 <= angles < 85:
        raise ValueError(
            f"angles={angles}: from 85 degrees on nothing is seen of a sign. Give less, and not less than 0."
        )
    return near, far


def homography(views):
    """The plane of the sign as the camera sees it.

    Returns:
        (n, 3, 3): takes (x, y, 1), with x and y from -1 to 1 across the sign's square, to (X, Y, depth) in feet; X / depth
        and Y / depth are where it is seen, in focal lengths from the middle of the picture.
    """
    yaw, tilt, roll = (torch.deg2rad(angle) for angle in (views.angle, views.tilt, views.roll))
    one, zero = torch.ones_like(yaw), torch.zeros_like(yaw)

    def rotation(rows):
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    about_post = rotation([[yaw.cos(), zero, yaw.sin()], [zero, one, zero], [-yaw.sin(), zero, yaw.cos()]])
    look_up = rotation([[one, zero, zero], [zero, tilt.cos(), -tilt.sin()], [zero, tilt.sin(), tilt.cos()]])
    crooked = rotation([[roll.cos(), -roll.sin(), zero], [roll.sin(), roll.cos(), zero], [zero, zero, one]])
    turned = crooked @ look_up @ about_post
    middle = torch.stack([zero, zero, views.distance], -1)
    return torch.stack([turned[..., 0] * SIGN_FEET / 2, turned[..., 1] * SIGN_FEET / 2, middle], -1)


def corners(plane):
    """Where the four corners of a sign's square are seen, (n, 4, 2), in focal lengths; `plane` as `homography` gives it."""
    square = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    seen = square @ plane.transpose(1, 2)
    return seen[..., :2] / seen[..., 2:]


def look(colour, outline, views, size=SIZE):
    """The sign as n cameras see it, each cropped to about the sign and brought to `size` pixels.

    Differentiable in `colour`. Further away, the camera spends fewer pixels on the sign, and the crop is the blurrier.

    Args:
        colour: (3, h, w), or one for each view (n, 3, h, w), in [0, 1]. outline: (1, h, w), as `sign` gives it.
        views: Views (n,). size: pixels of the crop.

    Returns:
        Images (n, 3, size, size) in [0, 1].
    """
    colour, outline = _check_sign(colour, outline, len(views))
    n = len(views)
    plane = homography(views)
    seen = corners(plane)
    low, high = seen.amin(1), seen.amax(1)
    side = (high - low).amax(1)
    middle = (low + high) / 2 + views.shift * side[:, None]
    side = side * views.margin
    axis = (torch.arange(size) + 0.5) / size - 0.5
    across, down = torch.meshgrid(axis, axis, indexing="xy")
    rays = torch.stack([across, down], -1)[None] * side[:, None, None, None] + middle[:, None, None]
    where = _on_plane(plane, rays)
    sign_pixels = size / 1.25  # about so many pixels of a crop are the sign's
    pictures = _backgrounds(views, size)
    pictures = _composite(pictures, colour, outline, where, sign_pixels)
    ramp = 1 + views.ramp[:, :1, None] * 2 * across + views.ramp[:, 1:, None] * 2 * down
    tint = 1 + views.warmth[:, None] * torch.tensor([1.0, 0.0, -1.0])
    pictures = pictures * (views.light[:, None, None] * ramp)[:, None] * tint[:, :, None, None]
    pictures = pictures + views.haze[:, None, None, None] * (0.8 - pictures)
    of_a_pixel = BLUR_OF_A_PIXEL * size / (side * FOCAL_PX)
    pictures = blur(pictures, torch.sqrt(of_a_pixel**2 + (views.defocus * size / SIZE) ** 2))
    return (pictures + views.noise.view(n, 1, 1, 1) * _grain(views, size)).clamp(0, 1)


def _on_plane(plane, rays):
    """Where rays (n, h, w, 2) in focal lengths meet the sign's plane: (n, h, w, 2), -1 to 1 across the square."""
    ones = torch.ones_like(rays[..., :1])
    back = torch.linalg.inv(plane).transpose(1, 2)[:, None]
    hit = torch.cat([rays, ones], -1) @ back
    return hit[..., :2] / hit[..., 2:]


def _composite(pictures, colour, outline, where, sign_pixels):
    """The sign on its post in front of `pictures` (n, 3, h, w)."""
    n = len(pictures)
    shrink = max(1, int(colour.shape[-1] / sign_pixels))  # averaged first, or the fetch would skip texels
    colour = F.avg_pool2d(colour, shrink)
    outline = F.avg_pool2d(outline[None], shrink)
    fetched = F.grid_sample(colour.expand(n, -1, -1, -1), where, padding_mode="border", align_corners=False)
    cover = F.grid_sample(outline.expand(n, -1, -1, -1), where, padding_mode="zeros", align_corners=False)
    soft = 2 / sign_pixels
    post = ((0.05 - where[..., 0].abs()) / soft + 0.5).clamp(0, 1) * (where[..., 1] > 0)
    pictures = pictures.lerp(torch.tensor(POST).view(1, 3, 1, 1).expand_as(pictures), post[:, None])
    return pictures.lerp(fetched, cover)


def blur(pictures, sigma):
    """Each picture (n, c, s, s) blurred by its own Gaussian; `sigma` (n,) in pixels. Edges are repeated."""
    side = pictures.shape[-1]
    near = torch.arange(side, dtype=torch.float32)
    weight = torch.exp(-((near[:, None] - near) ** 2) / (2 * sigma.clamp(min=0.05) ** 2).view(-1, 1, 1))
    weight = (weight / weight.sum(-1, keepdim=True))[:, None]
    return weight @ pictures @ weight.transpose(2, 3)


@lru_cache(maxsize=1)
def _scenery():
    """Pictures behind signs: streets, and leaves that lie over each other. A tensor of bytes (k, 3, HEIGHT, WIDTH)."""
    roads = [streets.Street(1000 + number) for number in range(10)]
    pictures = [road.picture(position) for road in roads for position in (0.0, 150.0)]
    pictures += [streets.leaves(torch.Generator().manual_seed(number)) for number in range(6)]
    return (255 * torch.stack(pictures)).round().byte()


def _backgrounds(views, size):
    """A window of the scenery for each view, (n, 3, size, size)."""
    scenery = _scenery()
    windows = []
    for which, x, y, wide in views.background.tolist():
        side = int(40 + 160 * wide)
        top, left = int(y * (streets.HEIGHT - side)), int(x * (streets.WIDTH - side))
        window = scenery[int(which * len(scenery)) % len(scenery), :, top : top + side, left : left + side]
        windows.append(F.interpolate(window[None].float() / 255, (size, size), mode="bilinear", antialias=True))
    return torch.cat(windows) if windows else torch.zeros(0, 3, size, size)


@lru_cache(maxsize=1)
def _noise():
    return torch.randn(3, 512, 512, generator=torch.Generator().manual_seed(20180618))


def _grain(views, size):
    """The noise of each view, (n, 3, size, size), standard deviation 1: a window of one large field."""
    field = _noise()
    starts = (views.grain * (512 - size)).long().tolist()
    windows = [field[:, top : top + size, left : left + size] for top, left in starts]
    return torch.stack(windows) if windows else torch.zeros(0, 3, size, size)


def _check_sign(colour, outline, n):
    if colour.ndim == 3:
        colour = colour[None]
    if colour.ndim != 4 or colour.shape[1] != 3 or len(colour) not in (1, n):
        raise ValueError(
            f"A sign's colours have the shape (3, h, w), or ({n}, 3, h, w) for {n} views; got {tuple(colour.shape)}."
        )
    if outline.shape != (1, *colour.shape[2:]):
        raise ValueError(
            f"The outline must have the shape (1, h, w) = {(1, *colour.shape[2:])}; got {tuple(outline.shape)}."
        )
    return colour, outline


# --- Drive-by ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Approach:
    """What a camera in a car records as it drives by a sign.

    Attributes:
        frames: (T, 3, HEIGHT, WIDTH), the whole pictures. crops: (T, 3, size, size), the sign cut out of them.
        distance: (T,), feet along the road to the sign. box: (T, 4), the crop in the frame: left, top, right, bottom, pixels.
    """

    frames: torch.Tensor
    crops: torch.Tensor
    distance: torch.Tensor
    box: torch.Tensor


def drive_by(colour, outline, *, every=10, seed=0, size=SIZE, start=80.0, end=20.0):
    """A car that drives up to a sign and brakes, filmed at 30 frames a second (Eykholt et al. 2018, their field test).

    The street, its light, the car's speed (at most 20 miles an hour), its sway and bounce are drawn from `seed`. The sign
    is drawn into each frame and cut out again by somebody who isn't quite exact.

    Args:
        colour: (3, h, w). outline: (1, h, w). every: keep every so manieth frame (theirs: 10).
        seed: one number is one street and one drive. size: pixels of a crop.
        start, end: feet along the road to the sign in the first frame and, at the latest, in the last.

    Returns:
        An Approach.
    """
    colour, outline = _check_sign(colour, outline, 1)
    if int(every) != every or every < 1:
        raise ValueError(f"every={every}: every how many frames one is kept, 1 or more.")
    if not 15 <= end < start:
        raise ValueError(
            f"start={start}, end={end}: the car comes nearer; nearer than 15 feet the sign leaves the picture."
        )
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return uniform(1, low, high, generator).item()

    road, sign_at = streets.street(seed), 120.0 + draw(0, 120)
    distances = _braking(start, end, draw(14, 20), draw(4, 9))[:: int(every)]
    turned, crooked, sideways = draw(-12, 12), draw(-4, 4), draw(-1.5, 1.5)
    exposure, warmth, defocus, grain = draw(0.8, 1.1), draw(-0.05, 0.05), draw(0, 0.5), draw(0.005, 0.02)
    frames, crops, boxes = [], [], []
    for distance in distances:
        sway, bounce, roll = draw(-0.4, 0.4), draw(-5, 5), draw(-1.5, 1.5)
        frame = road.picture(sign_at - distance, sway=sway, pitch=bounce)[None]
        plane = _beside_road(distance, BESIDE_FEET + sideways - sway, turned, crooked + roll)
        seen = corners(plane)[0] * FOCAL_PX + torch.tensor([streets.WIDTH / 2, streets.horizon_row(bounce)])
        frame = _paint(frame, colour, outline, plane, bounce, (seen.amax(0) - seen.amin(0)).max().item())
        frame = frame * exposure * (1 + warmth * torch.tensor([1.0, 0.0, -1.0])).view(1, 3, 1, 1)
        frame = _defocus(frame, defocus)
        frame = (frame + grain * torch.randn(frame.shape, generator=generator)).clamp(0, 1)
        box = _careless_box(seen, generator)
        left, top, right, bottom = box
        crops.append(F.interpolate(frame[..., top:bottom, left:right], (size, size), mode="bilinear", antialias=True))
        frames.append(frame)
        boxes.append(box)
    return Approach(torch.cat(frames), torch.cat(crops).clamp(0, 1), torch.tensor(distances), torch.tensor(boxes))


def _braking(start, end, fastest, slowest, frames_a_second=30, feet_a_mile=5280):
    """Feet to the sign in each frame of a car that slows evenly (in space) from `fastest` to `slowest` miles an hour."""
    distances, here = [], start
    while here >= end:
        distances.append(here)
        share = (here - end) / (start - end)
        here -= (slowest + (fastest - slowest) * share) * feet_a_mile / 3600 / frames_a_second
    return distances


def _beside_road(distance, sideways, turned, roll):
    """`homography` (1, 3, 3) of a sign `sideways` feet to the right of the camera and `distance` ahead, in its frame."""
    one = torch.ones(1)
    facing = Views(
        **{field.name: one for field in fields(Views)}
        | {
            "distance": one * distance,
            "angle": one * turned,
            "tilt": 0 * one,
            "roll": one * roll,
        }
    )
    plane = homography(facing)
    plane[..., 2] = torch.tensor([[sideways, -ABOVE_CAMERA_FEET, distance]])
    return plane


def _paint(frame, colour, outline, plane, bounce, sign_pixels):
    """The sign on its post in front of a frame (1, 3, HEIGHT, WIDTH)."""
    rows = torch.arange(streets.HEIGHT) + 0.5 - streets.horizon_row(bounce)
    columns = torch.arange(streets.WIDTH) + 0.5 - streets.WIDTH / 2
    across, down = torch.meshgrid(columns / FOCAL_PX, rows / FOCAL_PX, indexing="xy")
    where = _on_plane(plane, torch.stack([across, down], -1)[None])
    foot = (streets.CAMERA_FEET + ABOVE_CAMERA_FEET) / (SIGN_FEET / 2)  # the post stands on the road's level
    above_ground = torch.where(where[..., 1:] < foot, where, torch.full_like(where, 9.0))
    return _composite(frame, colour, outline, above_ground, max(sign_pixels, 4.0))


def _defocus(frame, sigma):
    """A frame blurred by a Gaussian of `sigma` pixels."""
    if sigma < 0.15:
        return frame
    near = torch.arange(-2, 3, dtype=torch.float32)
    weight = torch.exp(-(near**2) / (2 * sigma**2))
    weight = (weight / weight.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    padded = F.pad(frame, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, weight, groups=3), weight.transpose(2, 3), groups=3)


def _careless_box(seen, generator):
    """A square box about the corners (4, 2) seen, in pixels, a little off and never beyond the frame."""
    low, high = seen.amin(0), seen.amax(0)
    side = (high - low).max().item()
    margin = uniform(1, 1.1, 1.4, generator).item()
    shift = 0.05 * side * (2 * torch.rand(2, generator=generator) - 1)
    x, y = ((low + high) / 2 + shift).tolist()
    half = max(margin * side / 2, 3.0)
    left, right = max(round(x - half), 0), min(round(x + half), streets.WIDTH)
    top, bottom = max(round(y - half), 0), min(round(y + half), streets.HEIGHT)
    return [left, top, max(right, left + 2), max(bottom, top + 2)]
