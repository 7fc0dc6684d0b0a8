"""Photographs to put a patch on: those that ship in two wheels, the learner's own, and endless varied ones to train with.

Nothing is attacked here.
"""

import importlib.util
import io
import math
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

from medattack_edu import runtime
from medattack_edu.picture_files import to_8_bit

# Where each one lies: the wheel, and the file in it. The README beside them says whose they are.
FILES = {
    "espresso": ("skimage", "data/coffee.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "palace": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "histology": ("skimage", "data/ihc.png"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "cameraman": ("skimage", "data/camera.png"),
    "coins": ("skimage", "data/coins.png"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "moon": ("skimage", "data/moon.png"),
}
SHOWN = (
    "espresso",
    "cat",
    "astronaut",
    "rocket",
    "palace",
    "flower",
)  # what somebody might meet; the rest is for training
MOST_MEGAPIXELS = 120  # more would take over a third of a gigabyte to open
SMALLEST_SIDE = 16  # pixels: less isn't a photograph


def photographs(size=224, names=tuple(FILES)):
    """The photographs of the wheels: the middle of each, as a square.

    Args:
        size: side in pixels. names: which of `FILES`.

    Returns:
        images (N, 3, size, size), float32 in [0, 1], on the device, and their names, a list.
    """
    return torch.stack([read_photo(_path(name), size) for name in names]), list(names)


def _path(name):
    wheel, file = FILES[name]
    found = importlib.util.find_spec(wheel)  # importing it would take a second or more
    path = Path(found.submodule_search_locations[0]) / file if found else None
    if path is None or not path.exists():
        package = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[wheel]
        raise FileNotFoundError(
            f"The photograph {name!r} comes in a wheel that isn't installed as it should be: pip install {package}"
        )
    return path


def read_photo(source, size=224):
    """A photograph as the models take it: upright, in colour, its middle cut out as a square.

    Args:
        source: the bytes of a file (an upload's ``content``), or a path.
        size: side in pixels.

    Returns:
        (3, size, size), float32 in [0, 1], on the device.

    Raises:
        ValueError: if it isn't an image, is damaged, too small or too large; the message says what to do.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, str | Path):
        name, file = Path(source).name, Path(source).expanduser()
        if not file.is_file():
            raise ValueError(f"There is no file {source}.")
    else:
        name, file = "The upload", io.BytesIO(bytes(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # said below, in our own words
            image = Image.open(file)
        _check_size(image, name)
        if getattr(image, "is_animated", False):
            warnings.warn(f"{name} is an animation of {image.n_frames} pictures; the first one is taken.", stacklevel=2)
        image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded no larger than needed
        image = ImageOps.exif_transpose(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        if isinstance(error, Image.DecompressionBombError):
            raise ValueError(f"{name} has far more than {MOST_MEGAPIXELS} megapixels. Make it smaller first.") from None
        raise ValueError(
            f"{name} is no image that can be read here. JPEG, PNG, GIF, BMP, TIFF and WebP can; a phone's HEIC has to be shared as "
            "JPEG first."
        ) from None
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{name} is damaged and can't be read ({error}). Try the original file.") from None
    try:
        image = to_8_bit(image, "white").convert("RGB")
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = image.resize(
        (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side), reducing_gap=3
    )
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(size, size, 3)
    return pixels.permute(2, 0, 1).to(runtime.device()).float() / 255


def _check_size(image, name):
    megapixels = image.width * image.height / 1e6
    if megapixels > MOST_MEGAPIXELS:
        raise ValueError(
            f"{name} has {megapixels:.0f} megapixels; up to {MOST_MEGAPIXELS} are read. Make it smaller first."
        )
    if min(image.size) < SMALLEST_SIDE:
        raise ValueError(
            f"{name} has {image.width} x {image.height} pixels. A photograph has at least {SMALLEST_SIDE} a side."
        )


def toaster_picture(size=112):
    """A drawn toaster with two slices of bread (3, size, size), in [0, 1], on the device: what an honest sticker would show."""
    from PIL import Image, ImageDraw

    unit = 8 * 56  # drawn large and shrunk, for smooth edges
    image = Image.new("RGB", (unit, unit), (214, 198, 170))
    draw = ImageDraw.Draw(image)

    def box(shape, left, top, right, bottom, fill, radius=0.0):
        corners = [edge * unit for edge in (left, top, right, bottom)]
        if shape == "round":
            draw.rounded_rectangle(corners, radius * unit, fill=fill)
        else:
            draw.ellipse(corners, fill=fill)

    draw.rectangle([0, 0.74 * unit, unit, unit], fill=(150, 108, 72))  # the table
    box("ellipse", 0.14, 0.74, 0.88, 0.84, (112, 78, 50))  # its shadow
    for left in (0.27, 0.50):  # the bread
        box("round", left, 0.14, left + 0.22, 0.50, (140, 84, 36), 0.07)
        box("round", left + 0.018, 0.16, left + 0.202, 0.50, (228, 178, 108), 0.06)
    box("round", 0.16, 0.30, 0.84, 0.78, (110, 114, 120), 0.12)  # the body, its shine from top to bottom
    for row in range(24):
        share = row / 23
        level = int(150 + 95 * math.sin(math.pi * (0.15 + 0.8 * share)) ** 2)
        draw.rectangle(
            [0.18 * unit, (0.37 + 0.36 * share) * unit, 0.82 * unit, (0.39 + 0.36 * share) * unit],
            fill=(level, level, level + 6),
        )
    box("round", 0.18, 0.32, 0.82, 0.42, (206, 208, 214), 0.05)
    for left in (0.25, 0.48):  # the slots
        box("round", left, 0.35, left + 0.26, 0.385, (36, 32, 30), 0.015)
    draw.rectangle([0.27 * unit, 0.28 * unit, 0.49 * unit, 0.365 * unit], fill=(228, 178, 108))
    draw.rectangle([0.50 * unit, 0.28 * unit, 0.72 * unit, 0.365 * unit], fill=(228, 178, 108))
    box("round", 0.83, 0.42, 0.91, 0.48, (34, 34, 36), 0.02)  # the lever
    box("ellipse", 0.66, 0.58, 0.76, 0.68, (40, 40, 44))  # the knob
    box("ellipse", 0.685, 0.605, 0.735, 0.655, (190, 192, 196))
    for left in (0.22, 0.70):  # the feet
        box("round", left, 0.77, left + 0.08, 0.81, (30, 30, 32), 0.015)
    small = image.resize((size, size), Image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(size, size, 3)
    return pixels.permute(2, 0, 1).to(runtime.device()).float() / 255


# --- A universe for a universal patch -----------------------------------------------------------------------------------


def dead_leaves(n, size=160, generator=None, leaves=120):
    """Made-up scenes of things before things: leaves of all sizes, each with a colour and a shade of its own, one upon another.

    The dead-leaves model has what photographs have whatever they show: edges, flat parts, and the same look at each zoom (Lee,
    Mumford and Huang 2001, Int J Comput Vis 41:35).

    Args:
        n: how many. size: side in pixels. generator: of the draw. leaves: how many there are in one scene.

    Returns:
        (n, 3, size, size), float32 in [0, 1], on the CPU.
    """
    ticks = (torch.arange(size) + 0.5) / size
    down, across = ticks.view(1, -1, 1), ticks.view(1, 1, -1)
    scenes = torch.rand(n, 3, 1, 1, generator=generator).expand(n, 3, size, size).clone()
    for _ in range(leaves):
        x0, y0, radius, shape, turn, stretch, wave = torch.rand(7, n, 1, 1, generator=generator)
        radius = (
            0.03 / (1 - 0.994 * radius).sqrt()
        )  # many small ones and few large: a density that falls as the radius cubed
        cos, sin, stretch = torch.cos(math.pi * turn), torch.sin(math.pi * turn), 0.4 + 0.6 * stretch
        u = ((across - x0) * cos - (down - y0) * sin) / radius
        v = ((across - x0) * sin + (down - y0) * cos) / (radius * stretch)
        inside = torch.where(shape < 0.5, torch.hypot(u, v), torch.maximum(u.abs(), v.abs())) < 1
        colour, slope, ripple = torch.rand(3, n, 3, 1, 1, generator=generator)
        stripes = torch.sin(u * (2 + 30 * wave**2))[:, None] * (ripple - 0.5).relu()
        leaf = colour + 0.6 * (slope - 0.5) * v[:, None] + 0.5 * stripes
        scenes = torch.where(inside[:, None], leaf, scenes)
    return scenes.clamp(0, 1)


def varied_scenes(images, size=160):
    """An endless supply of scenes for `train_patch`, made from few: crops at any zoom, two mixed or set side by side, recoloured.

    A universal patch needs a universe. Trained on a dozen photographs as they are, it learns those.

    Args:
        images: (N, 3, H, W) in [0, 1]. size: side of the scenes in pixels.

    Returns:
        A function from (batch, generator) to scenes (batch, 3, size, size), on the device of the images.
    """

    def draw(batch, generator):
        one, other = (crops(images, batch, size, generator) for _ in range(2))
        share = share_of_the_other(batch, size, generator).to(images)
        return recoloured(torch.lerp(one, other, share), generator)

    return draw


def crops(images, n, size, generator):
    """`n` square pieces of random images at a random zoom and a small turn, some mirrored: (n, 3, size, size)."""
    rows = torch.randint(len(images), (n,), generator=generator).to(images.device)
    zoom, turn, mirror, x0, y0 = torch.rand(5, n, generator=generator).to(images)
    zoom, turn = 0.25 + 0.75 * zoom, 0.5 * (turn - 0.5)
    cos, sin, mirror = zoom * turn.cos(), zoom * turn.sin(), torch.where(mirror < 0.5, -1.0, 1.0)
    room = 1 - zoom
    rows_of_matrix = (
        torch.stack((mirror * cos, -sin, room * (2 * x0 - 1)), 1),
        torch.stack((mirror * sin, cos, room * (2 * y0 - 1)), 1),
    )
    grid = F.affine_grid(torch.stack(rows_of_matrix, 1), (n, 3, size, size), align_corners=False)
    return F.grid_sample(images[rows], grid, "bilinear", "reflection", align_corners=False)


def share_of_the_other(n, size, generator):
    """How much of a second image each pixel shows (n, 1, size, size): none, an even share, or all beyond a random line."""
    kind, share, turn, offset = torch.rand(4, n, 1, 1, 1, generator=generator)
    ticks = (torch.arange(size) + 0.5) / size - 0.5
    across, down = ticks.view(1, 1, 1, -1), ticks.view(1, 1, -1, 1)
    beyond = across * torch.cos(2 * math.pi * turn) + down * torch.sin(2 * math.pi * turn) > 0.6 * (offset - 0.5)
    return torch.where(kind < 0.4, 0.0, torch.where(kind < 0.7, 0.5 * share, beyond.float()))


def recoloured(x, generator):
    """Images under another light, with other inks: gamma, gain and offset for each channel, channels swapped, colour faded."""
    n = len(x)
    gamma, gain, offset = torch.rand(3, n, 3, 1, 1, generator=generator).to(x)
    swap, fade, common = torch.rand(3, n, 1, 1, 1, generator=generator).to(x)
    order = torch.stack([torch.randperm(3, generator=generator) for _ in range(n)]).to(x.device)
    swapped = x.gather(1, order.view(n, 3, 1, 1).expand_as(x))
    x = torch.where(swap < 0.3, swapped, x)
    x = torch.lerp(x, x.mean(1, keepdim=True), torch.where(fade < 0.3, 1 - fade, 0.0))
    x = x.clamp(min=1e-4) ** (0.6 + 0.8 * common + 0.4 * gamma)
    return ((0.6 + 0.6 * gain) * x + 0.2 * (offset - 0.5)).clamp(0, 1)
