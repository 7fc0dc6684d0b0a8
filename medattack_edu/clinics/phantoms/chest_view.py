"""The geometry of a chest exposure: from a body in space to the pixels of a film. No anatomy and no light live here.

The body's unit of length is half the width of the rib cage (about 9 cm in a child of three). Its axes: x towards the
patient's left, which is the picture's right; y down, 0 at the top of the lungs; z towards the patient's front.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .optics import pixel_grid

TABLE_TOP, TABLE_BOTTOM, TABLE_STEPS = -3.0, 5.0, 2048  # heights y over which a profile is tabulated
SMOOTHING = 100  # steps, 0.4 body units: no kink where two knots of a profile meet


@dataclass(frozen=True)
class View:
    """How the body stands before the detector.

    Attributes:
        size: pixels per side of the picture.
        centre: where the body's origin lands, (x, y) in fractions of the side.
        unit: length of the body's unit on the film, across and down, in fractions of the side (a picture squashed to a
            square has two different ones).
        roll: turn within the film, radians.
        yaw: turn of the body about its long axis, radians; the front goes to the picture's right when positive.
        pitch: tilt forwards or backwards: how far down a thing moves on the film for each unit in front of the spine.
        magnification: growth with each unit in front of the body's middle (negative: the film is in front).
    """

    size: int
    centre: tuple[float, float]
    unit: tuple[float, float]
    roll: float
    yaw: float
    pitch: float
    magnification: float

    def plane(self, z=0.0):
        """Body coordinates (x, y) seen by every pixel in the plane at depth `z`; each float32 (size, size)."""
        grid_x, grid_y = pixel_grid(self.size)
        right = grid_x * np.float32(0.5) + np.float32(0.5 - self.centre[0])
        down = grid_y * np.float32(0.5) + np.float32(0.5 - self.centre[1])
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        growth = 1 + self.magnification * z
        across, along = self.unit[0] * growth, self.unit[1] * growth
        x = right * np.float32(cos / across) + down * np.float32(sin / across) - np.float32(z * np.sin(self.yaw))
        y = down * np.float32(cos / along) - right * np.float32(sin / along) - np.float32(z * self.pitch)
        return x, y

    @cached_property
    def middle(self):
        """`plane()` at the body's middle."""
        return self.plane()

    @cached_property
    def _table_rows(self):
        rows = (self.middle[1] - np.float32(TABLE_TOP)) * np.float32(TABLE_STEPS / (TABLE_BOTTOM - TABLE_TOP))
        return np.clip(rows, 0, TABLE_STEPS - 1).astype(np.int32)

    def along(self, profile):
        """A function of height, given at `heights()`, looked up at every pixel: float32 (size, size)."""
        return np.asarray(profile, np.float32)[self._table_rows]

    def project(self, points):
        """Where points (..., 3) of the body land on the film: (column, row), each (...,), in pixels."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        growth = 1 + self.magnification * z
        right = (x + z * np.float32(np.sin(self.yaw))) * np.float32(self.unit[0]) * growth
        down = (y + z * np.float32(self.pitch)) * np.float32(self.unit[1]) * growth
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        column = (right * cos - down * sin + np.float32(self.centre[0])) * np.float32(self.size)
        row = (down * cos + right * sin + np.float32(self.centre[1])) * np.float32(self.size)
        return column, row

    def shadow(self, points, volume):
        """Path length of matter given as small lumps: float32 (size, size), in body units.

        Args:
            points: (..., 3), lumps of matter, closer together than a pixel.
            volume: (...,), how much each lump holds, in cubic body units.
        """
        column, row = self.project(points)
        per_pixel = np.float32(self.size**2 * self.unit[0] * self.unit[1])
        return splat(column, row, volume * per_pixel, self.size)


@lru_cache(maxsize=1)
def heights():
    """The heights y at which profiles are tabulated: (TABLE_STEPS,)."""
    return np.linspace(TABLE_TOP, TABLE_BOTTOM, TABLE_STEPS, dtype=np.float32)


@lru_cache(maxsize=1)
def _bell():
    bell = np.hanning(SMOOTHING)
    return (bell / bell.sum()).astype(np.float32)


def profile(knots):
    """A smooth function of height through ((y, value), ...), constant beyond its ends: (TABLE_STEPS,)."""
    y, value = np.array(knots, np.float32).T
    kinked = np.interp(heights(), y, value)
    padded = np.pad(kinked, SMOOTHING // 2, mode="edge").astype(np.float32)
    return np.convolve(padded, _bell(), mode="valid")[:TABLE_STEPS]


def splat(column, row, weight, size):
    """Sums weights into the four pixels around each point: float32 (size, size). Points off the film are dropped.

    Args:
        column, row: positions in pixels, 0 at the film's edge, so that a pixel's centre is at a half.
        weight: same shape.
    """
    column, row, weight = column.ravel() - np.float32(0.5), row.ravel() - np.float32(0.5), weight.ravel()
    inside = np.flatnonzero((column > -1) & (column < size) & (row > -1) & (row < size))
    column, row, weight = column[inside], row[inside], weight[inside]
    left, top = np.floor(column), np.floor(row)
    right_share, bottom_share = column - left, row - top
    side = size + 2
    corner = (top.astype(np.int64) + 1) * side + left.astype(np.int64) + 1
    upper, lower = weight * (1 - bottom_share), weight * bottom_share
    cells = np.concatenate([corner, corner + 1, corner + side, corner + side + 1])
    shares = np.concatenate(
        [upper * (1 - right_share), upper * right_share, lower * (1 - right_share), lower * right_share]
    )
    film = np.bincount(cells, shares, side * side).reshape(side, side)
    return film[1:-1, 1:-1].astype(np.float32)
