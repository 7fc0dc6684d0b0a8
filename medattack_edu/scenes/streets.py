"""Streets to stand a sign in: road, sky, trees and houses as a dash camera sees them. No sign is drawn here.

World coordinates are feet: x to the right of the camera, y down from it, z ahead. Everything random comes from a seed.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

HEIGHT, WIDTH = 270, 480  # pixels of a frame
FOCAL_PX = 420.0  # of a camera that sees 60 degrees across
CAMERA_FEET = 4.2  # above the road
LANE_FEET = 12.0  # the camera drives in the middle of the right one of two
DASH_FEET, DASH_PERIOD_FEET = 10.0, 40.0  # of the centre line, as on American roads
STREET_FEET = 420.0  # houses and trees stand as far as this
HAZE_FEET = 900.0  # light from this far has lost 1 - 1/e of its contrast
KINDS = 4  # of trees and of houses in one street
TEXTURE = 256  # pixels of the noise that roughens ground and sky


def uniform(n, low, high, generator):
    """`n` numbers drawn between `low` and `high`, tensor (n,)."""
    return low + (high - low) * torch.rand(n, generator=generator)


def mottle(generator, height, width, coarsest=4, octaves=4):
    """A field of clouds, (height, width), mean about 0, mostly within -1 to 1: each octave is twice finer, half as strong."""
    field = torch.zeros(height, width)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        grid = 2 * torch.rand(1, 1, cells + 1, math.ceil(cells * width / height) + 1, generator=generator) - 1
        field += 0.5**octave * F.interpolate(grid, (height, width), mode="bicubic", align_corners=True)[0, 0]
    return field


@dataclass(frozen=True)
class Thing:
    """A tree or a house: a flat picture (4, h, w) with coverage that stands at (x, z), `width` by `height` feet."""

    picture: torch.Tensor
    x: float
    z: float
    width: float
    height: float


@lru_cache(maxsize=8)
def street(seed=0):
    """The street with this number; the same number is the same street."""
    return Street(seed)


class Street:
    """A straight street of its own colours, trees, houses and weather. `picture` photographs it."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)

        def draw(low, high):
            return uniform(1, low, high, generator).item()

        self.ground = torch.stack([mottle(generator, TEXTURE, TEXTURE, 8, 5) for _ in range(2)])[None]
        self.clouds = mottle(generator, HEIGHT, 2 * WIDTH, 2, 5)
        self.hills = mottle(generator, 8, 2 * WIDTH, 2, 5)[4]
        overcast = draw(0, 1)
        self.zenith = torch.tensor([0.35, 0.55, 0.85]).lerp(torch.tensor([0.68, 0.71, 0.75]), overcast)
        self.horizon = torch.tensor([0.80, 0.87, 0.93]).lerp(torch.tensor([0.82, 0.83, 0.84]), overcast)
        self.asphalt = draw(0.28, 0.48) * torch.tensor([1.0, 0.99, 0.97])
        grass, stone = torch.tensor([0.30, 0.38, 0.17]) * draw(0.7, 1.3), torch.tensor([0.56, 0.54, 0.5])
        self.verge = grass if draw(0, 1) < 0.65 else stone
        self.forest = torch.tensor([0.22, 0.32, 0.2]) * draw(0.7, 1.4)
        self.light = draw(0.75, 1.1)
        self.trees = [tree(generator) for _ in range(KINDS)]
        self.houses = [house(generator) for _ in range(KINDS)]
        self.things = [self._thing(draw) for _ in range(26)]
        self.things.sort(key=lambda thing: -thing.z)

    def _thing(self, draw):
        side, z, kind = (1 if draw(0, 1) < 0.5 else -1), draw(20, STREET_FEET), int(draw(0, KINDS))
        if draw(0, 1) < 0.6:
            height = draw(14, 34)
            return Thing(self.trees[kind], side * draw(24, 60), z, 0.75 * height, height)
        width = draw(28, 55)
        return Thing(self.houses[kind], side * (draw(34, 60) + width / 2), z, width, draw(14, 40))

    def picture(self, position=0.0, *, sway=0.0, pitch=0.0):
        """What a camera sees that has driven `position` feet.

        Args:
            sway: feet to the right of the middle of the lane. pitch: pixels that the horizon sinks by.

        Returns:
            (3, HEIGHT, WIDTH) in [0, 1].
        """
        level = horizon_row(pitch)
        rows, columns = torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5
        high = ((level - rows) / level).clamp(0, 1)[None, :, None]
        sky = self.horizon[:, None, None].lerp(self.zenith[:, None, None], high**0.7)
        sky = sky + 0.1 * self.clouds[None, :, WIDTH // 2 : WIDTH // 2 + WIDTH].clamp(min=0) * high**0.5
        ridge = level - 12 - 9 * self.hills[WIDTH // 2 : WIDTH // 2 + WIDTH]
        forest = (self.forest[:, None, None] * (1 + 0.25 * self.clouds[None, :, :WIDTH])).lerp(
            self.horizon[:, None, None], 0.45
        )
        cover = (rows[:, None] - ridge[None] + 0.5).clamp(0, 1)
        picture = sky.expand(3, HEIGHT, WIDTH).lerp(forest, cover[None])
        first = math.ceil(level)
        depth = CAMERA_FEET * FOCAL_PX / (rows[first:] - level + 0.2)
        x = (columns[None] - WIDTH / 2) * depth[:, None] / FOCAL_PX + sway
        picture[:, first:] = self._ground(x, (depth + position)[:, None].expand_as(x), depth)
        for thing in self.things:
            distance = thing.z - position
            if distance > 10:
                self._stand(picture, thing, distance, level, sway)
        return (self.light * picture).clamp(0, 1)

    def _ground(self, x, z, depth):
        """Colours (3, rows, columns) of the ground at (x, z) feet, `depth` (rows,) feet ahead."""
        wrapped = torch.stack([x / 40 + 0.6, z / 60], -1)
        wrapped = 1 - (wrapped % 2 - 1).abs() * 2  # there and back again, so that the noise has no seam
        fine, coarse = F.grid_sample(self.ground, wrapped[None], align_corners=False)[0]
        near = (60 / depth).clamp(max=1)[:, None]  # far away the roughness averages out
        road = self.asphalt[:, None, None] * (1 + 0.18 * near * fine + 0.06 * coarse)
        verge = self.verge[:, None, None] * (1 + 0.35 * near * fine + 0.15 * coarse)
        feet = (depth / FOCAL_PX)[:, None]  # of one pixel

        def stripe(centre, width):
            return ((width / 2 - (x - centre).abs()) / feet + 0.5).clamp(0, 1) * (feet < 3 * width)

        dash = ((z % DASH_PERIOD_FEET) < DASH_FEET).float()
        white = torch.full((3, 1, 1), 0.8)
        yellow = torch.tensor([0.82, 0.66, 0.2])[:, None, None]
        right, left = LANE_FEET / 2, -1.5 * LANE_FEET
        colours = road.lerp(yellow, stripe(-LANE_FEET / 2, 0.5) * dash)
        colours = colours.lerp(white, stripe(right - 0.6, 0.4)).lerp(white, stripe(left + 0.6, 0.4))
        beside = ((torch.maximum(x - right - 0.5, left - 0.5 - x)) / feet + 0.5).clamp(0, 1)
        haze = 1 - torch.exp(-depth / HAZE_FEET)[:, None]
        return colours.lerp(verge, beside).lerp(self.horizon[:, None, None], haze)

    def _stand(self, picture, thing, distance, level, sway):
        """Draw a thing into the picture, in place, where it is seen from `distance` feet."""
        scale = FOCAL_PX / distance
        left = WIDTH / 2 + (thing.x - sway - thing.width / 2) * scale
        bottom = level + CAMERA_FEET * scale
        box = [round(bottom - thing.height * scale), round(bottom), round(left), round(left + thing.width * scale)]
        top, bottom, left, right = box
        if right <= 0 or left >= WIDTH or right - left < 2 or bottom - top < 2 or bottom - top > 4 * HEIGHT:
            return
        seen = F.interpolate(thing.picture[None], (bottom - top, right - left), mode="bilinear", antialias=True)[0]
        rows, columns = slice(max(top, 0), min(bottom, HEIGHT)), slice(max(left, 0), min(right, WIDTH))
        seen = seen[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        colour = seen[:3].lerp(self.horizon[:, None, None], 1 - math.exp(-distance / HAZE_FEET))
        picture[:, rows, columns] = picture[:, rows, columns].lerp(colour, seen[3:])


def horizon_row(pitch=0.0):
    """Row of the horizon in a frame, in pixels from the top."""
    return 0.46 * HEIGHT + pitch


def tree(generator, side=80, leaves=160):
    """A tree (4, side, side * 3 / 4): a crown of leaves that lie over each other, on a trunk. The last plane is coverage."""
    height, width = side, side * 3 // 4
    picture = torch.zeros(4, height, width)
    bark = torch.tensor([0.25, 0.19, 0.14]) * uniform(1, 0.7, 1.3, generator)
    trunk = slice(int(0.45 * width), int(0.55 * width) + 1)
    picture[:, height // 2 :, trunk] = torch.cat([bark, torch.ones(1)])[:, None, None]
    green = torch.tensor([0.22, 0.36, 0.13]) * uniform(3, 0.75, 1.25, generator) * uniform(1, 0.7, 1.3, generator)
    turn, reach, tone = torch.rand(3, leaves, generator=generator)
    turn, reach = 2 * math.pi * turn, reach.sqrt()
    rows, columns = (0.38 + 0.34 * reach * turn.sin()) * height, (0.5 + 0.42 * reach * turn.cos()) * width
    lit = (0.6 + 0.9 * tone * (1.15 - rows / height))[:, None] * green
    return _discs(
        picture, rows, columns, (0.03 + 0.045 * tone) * height, torch.cat([lit, torch.ones(leaves, 1)], 1)
    ).clamp(0, 1)


def leaves(generator, height=HEIGHT, width=WIDTH, count=600):
    """Discs of random colours that lie over each other, large ones rarer than small ones: (3, height, width).

    Such "dead leaves" have edges and shades at every scale, as natural pictures have, without showing anything.
    """
    ground = torch.rand(3, generator=generator)[:, None, None].expand(3, height, width).clone()
    radius = (
        uniform(count, 0.0, 1.0, generator) * (1 / 4**2 - 1 / 70**2) + 1 / 70**2
    ) ** -0.5  # density r^-3, from 4 to 70
    rows, columns = height * torch.rand(count, generator=generator), width * torch.rand(count, generator=generator)
    colours = torch.rand(count, 3, generator=generator).lerp(torch.rand(count, 1, generator=generator), 0.6)
    return _discs(ground, rows, columns, radius, colours)


def _discs(picture, rows, columns, radii, colours):
    """Discs (k,) drawn one over the other into a picture (c, h, w), in place; colours (k, c). Returns the picture."""
    import numpy as np

    canvas = picture.numpy()  # ten thousand small steps, which NumPy takes faster
    height, width = canvas.shape[1:]
    y, x = np.ogrid[0.5:height, 0.5:width]
    for row, column, radius, colour in zip(
        rows.tolist(), columns.tolist(), radii.tolist(), colours.numpy(), strict=True
    ):
        down = slice(max(int(row - radius), 0), int(row + radius) + 2)
        across = slice(max(int(column - radius), 0), int(column + radius) + 2)
        inside = (y[down] - row) ** 2 + (x[:, across] - column) ** 2 < radius**2
        np.copyto(canvas[:, down, across], colour[:, None, None], where=inside)
    return picture


def house(generator, height=72, width=96):
    """The front of a house (4, height, width) with rows of windows and a roof. The last plane is coverage."""
    wall = torch.tensor([0.62, 0.5, 0.42]).lerp(torch.rand(3, generator=generator), 0.35) * uniform(
        1, 0.7, 1.25, generator
    )
    picture = torch.ones(4, height, width)
    picture[:3] = wall[:, None, None] * (1 + 0.06 * mottle(generator, height, width, 12, 3))
    picture[:3, ::3] *= 0.95  # courses of bricks or boards
    floors, columns = torch.randint(2, 5, (2,), generator=generator).tolist()
    columns += 2
    glass = torch.rand(floors * columns, generator=generator).view(floors, columns)
    tall, wide = height / (floors + 0.6), width / (columns + 0.2)
    for floor in range(floors):
        for column in range(columns):
            top, left = int((floor + 0.75) * tall), int((column + 0.3) * wide)
            bottom, right = int((floor + 1.3) * tall), int((column + 0.9) * wide)
            picture[:3, top - 1 : bottom + 1, left - 1 : right + 1] = 0.8
            pane = (0.12 + 0.35 * glass[floor, column]) * torch.tensor([0.85, 0.95, 1.1])
            picture[:3, top:bottom, left:right] = pane[:, None, None]
    roof = int(0.35 * tall)
    picture[:3, :roof] = torch.tensor([0.3, 0.25, 0.24])[:, None, None] * (0.8 + 0.5 * glass[0, 0])
    return picture.clamp(0, 1)
