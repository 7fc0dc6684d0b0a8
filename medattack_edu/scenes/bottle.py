"""A pill bottle on a table, seen from any side: rays meet cones and a plane, and the label is fetched where they land.

What a pose needs is worked out once (`maps`): where on the label each pixel looks, how bright it is there, and everything
around. After that a picture is linear in the label's colours, so `render` is quick and differentiable. No attack lives here.

Lengths are radii of the bottle's body, angles degrees. The bottle stands upright on the table at z = 0.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import torch.nn.functional as F

from medattack_edu.scenes.streets import mottle, uniform

SIZE = 160  # pixels of a picture
TEXTURE = (112, 176)  # texels of the unrolled bottle: from the cap's edge down to the table, and once round
PILL_BOTTLE = 720  # its class in ImageNet

BODY = (0.1, 3.0)  # the cylinder, from z to z
CAP = (3.26, 4.2)
MIDDLE = 2.1  # height that the camera looks at
HALF_PICTURE = 2.75  # half of a picture's side, in radii at the bottle's distance, at zoom 1
RIBS = 48  # around the cap
SUPERSAMPLING = 2  # rays a pixel, in each direction
PAPER_HEIGHTS, PAPER_COLUMNS = (0.4, 2.6), (0.03, 0.97)  # that the label covers: from z to z, and of the way round

AMBER, CAP_WHITE, PAPER_WHITE = (0.80, 0.36, 0.07), (0.93, 0.93, 0.91), (0.95, 0.95, 0.93)

# Cones that the bottle is made of, from foot to cap: radius and height at the lower end, then at the upper end.
_PARTS = (
    (0.90, 0.0, 1.0, BODY[0]),
    (1.0, BODY[0], 1.0, BODY[1]),
    (1.0, BODY[1], 0.86, 3.18),
    (0.86, 3.18, 0.86, CAP[0]),
    (1.03, CAP[0], 1.05, CAP[1] - 0.1),
    (1.05, CAP[1] - 0.1, 0.95, CAP[1]),
)
_CAP_SIDE, _TOP = 4, 6  # numbers of the ribbed part, and of the cap's flat top, which is no cone


# --- The label -----------------------------------------------------------------------------------------------------


def _row(height):
    """The row of the texture, a fraction of its height, at which a point of that height above the table is."""
    return (CAP[1] - height) / CAP[1]


def paper():
    """The part of the unrolled bottle that is label: (1, h, w), 1 on the paper and 0 on plastic."""
    height, width = TEXTURE
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    inside = (rows > _row(PAPER_HEIGHTS[1])) & (rows < _row(PAPER_HEIGHTS[0]))
    return (inside[:, None] & ((columns > PAPER_COLUMNS[0]) & (columns < PAPER_COLUMNS[1]))[None]).float()[None]


def label(seed=0):
    """The ordinary bottle, unrolled: white cap, amber plastic, a pharmacy's label. (3, h, w) in [0, 1].

    The label's lines stand for text; none can be read.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = TEXTURE
    texture = torch.tensor(AMBER)[:, None, None] * (1 + 0.1 * mottle(generator, height, width, 6, 3))
    texture[:, : round(_row(CAP[0]) * height)] = torch.tensor(CAP_WHITE)[:, None, None]
    on_paper = paper()
    texture = texture.lerp(torch.tensor(PAPER_WHITE)[:, None, None].expand_as(texture), on_paper)
    first, tall = int(_row(PAPER_HEIGHTS[1]) * height) + 1, int((PAPER_HEIGHTS[1] - PAPER_HEIGHTS[0]) / CAP[1] * height)

    def row(share):
        return first + int(share * tall)

    ink = torch.zeros(1, height, width)
    for panel in (0.06, 0.38, 0.70):  # the same on each third, as if printed round
        left = int(panel * width)
        _words(ink, generator, row(0.18), left, int(0.22 * width), 5, 0.9)
        for line in (0.36, 0.45, 0.54, 0.63):
            long = int((0.12 + 0.12 * torch.rand(1, generator=generator).item()) * width)
            _words(ink, generator, row(line), left, long, 2, 0.75)
        bars = torch.rand(int(0.2 * width), generator=generator) < 0.5
        ink[0, row(0.76) : row(0.93), left : left + len(bars)] = 0.85 * bars.float()
    texture = texture.lerp(torch.full_like(texture, 0.12), ink * on_paper)
    band = torch.zeros_like(ink)
    band[:, row(0.03) : row(0.12)] = 1
    texture = texture.lerp(torch.tensor([0.16, 0.32, 0.62])[:, None, None].expand_as(texture), band * on_paper)
    return texture.clamp(0, 1)


def _words(ink, generator, top, left, length, tall, dark):
    """A line of words, as grey blocks, drawn into `ink` (1, h, w) in place."""
    at = left
    while at < left + length:
        wide = int(3 + 6 * torch.rand(1, generator=generator).item())
        letters = 0.55 + 0.45 * (torch.rand(tall, wide, generator=generator) < 0.7)
        part = ink[0, top : top + tall, at : min(at + wide, left + length)]
        part.copy_(dark * letters[:, : part.shape[1]])
        at += wide + 2


# --- Poses ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Poses:
    """How a camera sees the bottle, and in what surroundings. All tensors are (n,); ``poses[rows]`` picks some.

    Attributes:
        spin: degrees that the bottle is turned about its axis. elevation: degrees that the camera stands above the table.
        roll: degrees that the camera is tilted to one side, counter-clockwise. distance: radii from the bottle's middle.
        zoom: more than 1 shows the bottle smaller. right, up: radii that the camera looks beside it.
        lamp: degrees around the bottle where the light stands; 0 is behind the camera, 90 to its right.
        light: factor. warmth: more red, less blue. noise: standard deviation. room: which table and wall, a whole number.
    """

    spin: torch.Tensor
    elevation: torch.Tensor
    roll: torch.Tensor
    distance: torch.Tensor
    zoom: torch.Tensor
    right: torch.Tensor
    up: torch.Tensor
    lamp: torch.Tensor
    light: torch.Tensor
    warmth: torch.Tensor
    noise: torch.Tensor
    room: torch.Tensor

    def __len__(self):
        return len(self.spin)

    def __getitem__(self, rows):
        rows = [rows] if isinstance(rows, int) else rows
        return Poses(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def random_poses(n, *, elevation=(3.0, 40.0), roll=20.0, generator=None):
    """Poses from all round, in rooms and light of all kinds.

    Args:
        n: how many. elevation: lowest and highest, degrees. roll: largest, degrees, to either side.
        generator: of the draw.
    """
    _check_angles(elevation[0], elevation[1], roll)
    return Poses(
        spin=uniform(n, 0, 360, generator),
        elevation=uniform(n, *elevation, generator),
        roll=uniform(n, -roll, roll, generator),
        distance=uniform(n, 8, 16, generator),
        zoom=uniform(n, 0.85, 1.2, generator),
        right=uniform(n, -0.4, 0.4, generator),
        up=uniform(n, -0.3, 0.3, generator),
        lamp=uniform(n, -80, 80, generator),
        light=uniform(n, 0.75, 1.15, generator),
        warmth=uniform(n, -0.08, 0.08, generator),
        noise=0.03 * torch.rand(n, generator=generator),
        room=torch.randint(0, 10_000, (n,), generator=generator),
    )


def turntable_poses(n=36, *, elevation=15.0, roll=0.0, room=11):
    """`n` poses once round, always from the same place: spin 0, 360 / n, ... degrees."""
    _check_angles(elevation, elevation, roll)
    same = torch.ones(n)
    return Poses(
        spin=torch.arange(n) * 360.0 / n, elevation=elevation * same, roll=roll * same, distance=11 * same, zoom=1.0 * same,
        right=0 * same, up=0 * same, lamp=-45 * same, light=same, warmth=0 * same, noise=0 * same,
        room=torch.full((n,), room, dtype=torch.int64),
    )  # fmt: skip


def _check_angles(low, high, roll):
    if not 0 <= low <= high <= 85:
        raise ValueError(f"elevation from {low} to {high}: the camera stands between 0 and 85 degrees above the table.")
    if not 0 <= abs(roll) <= 180:
        raise ValueError(f"roll={roll}: give at most 180 degrees.")


# --- Maps and pictures ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maps:
    """What n poses need to be drawn, whatever the label: a picture is ``rest + sight * label[where]``.

    Attributes:
        where: (n, size, size, 2), u from 0 to 1 once round the bottle and v from 0 at the cap's edge to 1 at the table.
        sight: (n, 3, size, size), how bright each colour of the texture is seen, 0 beside the bottle.
        rest: (n, 3, size, size), all that has no texture: the cap's flat top, gleam, table, wall, noise.
    """

    where: torch.Tensor
    sight: torch.Tensor
    rest: torch.Tensor

    def __len__(self):
        return len(self.where)

    def __getitem__(self, rows):
        rows = [rows] if isinstance(rows, int) else rows
        return Maps(self.where[rows], self.sight[rows], self.rest[rows])

    def spun(self, degrees):
        """The same poses with the bottle turned further by `degrees`, one number or (n,)."""
        turn = torch.as_tensor(degrees, dtype=torch.float32).reshape(-1, 1, 1).expand(len(self), 1, 1) / 360
        u = (self.where[..., 0] - turn) % 1
        return Maps(torch.stack([u, self.where[..., 1]], -1), self.sight, self.rest)


def maps(poses, size=SIZE):
    """Work out what `n` poses need (about 30 ms each), to draw any label from them later. Returns Maps."""
    if not len(poses):
        empty = torch.zeros(0, 3, size, size)
        return Maps(torch.zeros(0, size, size, 2), empty, empty)
    seen = [_seen(size, *(getattr(poses, name)[row].item() for name in _SEEN_FROM)) for row in range(len(poses))]
    where, sight, rest = (torch.stack(part) for part in zip(*seen, strict=True))
    return Maps(where, sight, rest).spun(poses.spin)


def render(texture, seen):
    """The bottle with a label, as pictures.

    Args:
        texture: (3, h, w), or one for each picture (n, 3, h, w), in [0, 1]: the bottle unrolled, as `label` gives it.
        seen: Maps (n,).

    Returns:
        Images (n, 3, size, size) in [0, 1], differentiable in `texture`.
    """
    if texture.ndim == 3:
        texture = texture[None]
    if texture.ndim != 4 or texture.shape[1] != 3 or len(texture) not in (1, len(seen)):
        raise ValueError(
            f"A label has the shape (3, h, w), or ({len(seen)}, 3, h, w) for {len(seen)} pictures; got {tuple(texture.shape)}."
        )
    width = texture.shape[-1]
    round_body = torch.cat([texture[..., -1:], texture, texture[..., :1]], -1)  # so that the seam is smooth
    across = 2 * (seen.where[..., 0] * width + 1) / (width + 2) - 1
    places = torch.stack([across, 2 * seen.where[..., 1] - 1], -1)
    fetched = F.grid_sample(
        round_body.expand(len(seen), -1, -1, -1), places, padding_mode="border", align_corners=False
    )
    return (seen.rest + seen.sight * fetched).clamp(0, 1)


def turntable(texture, poses, size=224):
    """Pictures (n, 3, size, size) of the bottle with that label. Poses that differ in their spin alone cost 5 ms each."""
    rows = [tuple(getattr(poses, name)[row].item() for name in _SEEN_FROM) for row in range(len(poses))]
    pictures = []
    for row, place in enumerate(rows):
        where, sight, rest = _seen_before(size, *place)
        pictures.append(render(texture, Maps(where[None], sight[None], rest[None]).spun(poses.spin[row])))
    return torch.cat(pictures) if pictures else torch.zeros(0, 3, size, size)


_SEEN_FROM = tuple(field.name for field in fields(Poses) if field.name != "spin")


@torch.no_grad()
def _seen(size, elevation, roll, distance, zoom, right, up, lamp, light, warmth, noise, room):
    """One pose at spin 0: where (size, size, 2), sight (3, size, size), rest (3, size, size), as in `Maps`."""
    eye, rays = _rays(size * SUPERSAMPLING, elevation, roll, distance, zoom, right, up)
    depth, normal, part, round_axis, height = _hit_bottle(eye, rays)
    lamp_at = math.radians(lamp)
    to_lamp = torch.tensor([math.sin(lamp_at) * 0.75, -math.cos(lamp_at) * 0.75, 0.66])
    shade, gleam = _shading(normal, rays, to_lamp)
    on_side, on_top = (part >= 0) & (part != _TOP), part == _TOP
    gleam = gleam * torch.where(part == 1, 0.18, torch.where(part >= _CAP_SIDE, 0.1, 0.4))
    bottle = torch.tensor(CAP_WHITE)[:, None, None] * shade * on_top + gleam
    rest = torch.where((part >= 0)[None], bottle, _room(eye, rays, to_lamp, int(room)))
    tint = light * (1 + warmth * torch.tensor([1.0, 0.0, -1.0]))[:, None, None]
    grain = torch.randn(3, size, size, generator=torch.Generator().manual_seed(int(room)))
    rest = _averaged(rest) * tint + noise * grain
    sight = _averaged((shade * on_side)[None]) * tint
    u = torch.atan2(round_axis[0], -round_axis[1]) / (2 * math.pi) % 1
    v = _row(height).clamp(0, 1)
    return _first_that_hits(torch.stack([u, v], -1), on_side), sight, rest


_seen_before = lru_cache(maxsize=64)(_seen)  # a slider comes back to the same places


def _rays(side, elevation, roll, distance, zoom, right, up):
    """Where the camera is (3,), and the direction of each ray (3, side, side), not of length 1."""
    tilt, turn = math.radians(elevation), math.radians(roll)
    forward = torch.tensor([0.0, math.cos(tilt), -math.sin(tilt)])
    upward = torch.tensor([0.0, math.sin(tilt), math.cos(tilt)])
    sideways = torch.tensor([1.0, 0.0, 0.0])
    eye = torch.tensor([0.0, 0.0, MIDDLE]) - distance * forward + right * sideways + up * upward
    axis = ((torch.arange(side) + 0.5) / side * 2 - 1) * HALF_PICTURE * zoom / distance
    x, y = torch.meshgrid(axis, -axis, indexing="xy")
    x, y = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return eye, forward[:, None, None] + x * sideways[:, None, None] + y * upward[:, None, None]


def _hit_bottle(eye, rays):
    """Where rays first meet the bottle.

    Returns:
        depth (s, s) along the ray, infinite for a miss; normal (3, s, s); part (s, s): row of `_PARTS`, `_TOP` for the top of the
        cap, -1 for a miss; the point's direction from the axis (2, s, s) and its height (s, s).
    """
    depth = torch.full(rays.shape[1:], float("inf"))
    part = torch.full(rays.shape[1:], -1)
    slope = torch.zeros(rays.shape[1:])
    for number, (low_radius, low, high_radius, high) in enumerate(_PARTS):
        lean = (high_radius - low_radius) / (high - low)
        radius_at_eye = low_radius + lean * (eye[2] - low)
        a = rays[0] ** 2 + rays[1] ** 2 - (lean * rays[2]) ** 2
        b = eye[0] * rays[0] + eye[1] * rays[1] - lean * radius_at_eye * rays[2]
        c = eye[0] ** 2 + eye[1] ** 2 - radius_at_eye**2
        root = b * b - a * c
        at = (-b - root.clamp(min=0).sqrt()) / a
        height = eye[2] + at * rays[2]
        nearer = (root > 0) & (at > 0) & (height >= low) & (height <= high) & (at < depth)
        depth, part = torch.where(nearer, at, depth), torch.where(nearer, number, part)
        slope = torch.where(nearer, lean, slope)
    at = (CAP[1] - eye[2]) / rays[2]
    beside = (eye[0] + at * rays[0]) ** 2 + (eye[1] + at * rays[1]) ** 2
    top = (at > 0) & (beside < _PARTS[-1][2] ** 2) & (at < depth)
    depth, part = torch.where(top, at, depth), torch.where(top, _TOP, part)
    x, y = eye[0] + depth * rays[0], eye[1] + depth * rays[1]
    angle = torch.atan2(y, x).nan_to_num()
    ribbed = torch.where(part == _CAP_SIDE, angle + 0.35 * torch.sin(RIBS * angle), angle)
    steep = 1 / (1 + slope**2).sqrt()
    normal = torch.stack([ribbed.cos() * steep, ribbed.sin() * steep, -slope * steep])
    normal = torch.where(top, torch.tensor([0.0, 0.0, 1.0])[:, None, None], normal)
    return (
        depth,
        normal,
        part,
        torch.stack([angle.cos(), angle.sin()]),
        (eye[2] + depth * rays[2]).nan_to_num(posinf=0, neginf=0),
    )


def _shading(normal, rays, to_lamp):
    """Diffuse light (s, s), about 1 where the lamp shines straight on, and the lamp's gleam (s, s), from 0 to 1."""
    view = -rays / rays.norm(dim=0)
    facing = torch.einsum("c,chw->hw", to_lamp / to_lamp.norm(), normal).clamp(min=0)
    half = to_lamp[:, None, None] / to_lamp.norm() + view
    gleam = (normal * half / half.norm(dim=0)).sum(0).clamp(min=0) ** 40
    rim = (normal * view).sum(0).clamp(0, 1) ** 0.5  # plastic is thicker, and darker, where one looks along it
    return (0.42 + 0.62 * facing) * (0.55 + 0.45 * rim), gleam


def _room(eye, rays, to_lamp, number):
    """Table and wall with the bottle's shadow, (3, s, s)."""
    generator = torch.Generator().manual_seed(number)
    table, wall, paint = (torch.rand(3, generator=generator) for _ in range(3))
    wood = torch.tensor([0.62, 0.45, 0.30]).lerp(torch.tensor([0.86, 0.85, 0.83]), table[0]) * (0.55 + 0.5 * table[1])
    colour = torch.tensor([0.75, 0.76, 0.78]).lerp(paint, 0.45) * (0.5 + 0.6 * wall[0])
    field = torch.stack([mottle(generator, 96, 96, 3, 5), mottle(generator, 96, 96, 3, 3)])[None]
    down = -eye[2] / rays[2]
    on_table = (down > 0) & (eye[1] + down * rays[1] < WALL)
    far = (WALL - eye[1]) / rays[1]
    x, y = eye[0] + down * rays[0], eye[1] + down * rays[1]
    grain = _fetched(
        field, torch.stack([x / 3 if table[2] < 0.5 else x / 16, y / 14 if table[2] < 0.5 else y / 16], -1)
    )[0]
    shadow = torch.hypot(x, y)
    along = -to_lamp[:2] / to_lamp[2]
    reach = ((x * along[0] + y * along[1]) / along.square().sum()).clamp(0, CAP[1])
    stretched = torch.hypot(x - reach * along[0], y - reach * along[1])
    dark = 0.45 * torch.sigmoid((1.0 - stretched) / (0.1 + 0.06 * reach)) + 0.35 * torch.sigmoid((1.05 - shadow) / 0.12)
    table_seen = wood[:, None, None] * (1 + 0.22 * grain) * (1 - dark)
    places = torch.stack([(eye[0] + far * rays[0]) / 14, (eye[2] + far * rays[2]) / 14], -1)
    wall_seen = colour[:, None, None] * (1 + 0.25 * _fetched(field, places)[1])
    return torch.where(on_table, table_seen, wall_seen)


WALL = 14.0  # radii behind the bottle


def _fetched(field, places):
    """Values (k, s, s) of a field (1, k, h, w) at `places` (s, s, 2), mirrored at its ends so that it goes on for ever."""
    mirrored = 1 - ((places.nan_to_num(0, 0, 0) + 1) % 4 - 2).abs()
    return F.grid_sample(field, mirrored[None], align_corners=True)[0]


def _averaged(pictures):
    """Means over the rays of each pixel, (c, s, s) to (c, size, size)."""
    return F.avg_pool2d(pictures[None], SUPERSAMPLING)[0]


def _first_that_hits(places, hit):
    """For each pixel the place (s, s, 2) of the first of its rays that hit; of its very first if none did."""
    size = hit.shape[0] // SUPERSAMPLING
    rays = hit.view(size, SUPERSAMPLING, size, SUPERSAMPLING).transpose(1, 2).reshape(size, size, -1)
    places = places.view(size, SUPERSAMPLING, size, SUPERSAMPLING, 2).transpose(1, 2).reshape(size, size, -1, 2)
    first = rays.float().argmax(-1)
    return places.gather(2, first[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
