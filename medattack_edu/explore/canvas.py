"""A white canvas to draw on fast: pixels, text, bars, smooth lines, and static axes with a place for every value.

Only drawing lives here: no model, no widget. matplotlib draws axes once; what moves is drawn over them pixel by pixel,
because a new matplotlib figure takes longer than a slider may.
"""

import io
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito's colours, which colour-blind people tell apart (jfly.uni-koeln.de/color).
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#1A1A1A", "#666666", "#E4E4E4"
HEALTHY, SICK = BLUE, ORANGE  # class 0 and class 1, in every picture
SICK_WORDS = "#9A6A00"  # the orange, dark enough to read on white
# The colours that are too pale for words on white (WCAG asks for a contrast of 4.5), as words have them.
WORDS = {
    ORANGE: SICK_WORDS,
    VERMILLION: "#B84E00",
    PURPLE: "#9C4F80",
    GREEN: "#00734F",
    SKY: "#1F6FA5",
    YELLOW: "#736A00",
}
WARM, COOL, FAINT = "#FBEDE5", "#E6F4EF", "#F6F6F6"  # grounds of what went wrong, what went right, and neither

TITLE, BODY, SMALL = 16, 14, 13  # heights of text in pixels, readable when projected
WIDTH, HEIGHT = 1096, 420  # of every explorer's picture: with its controls it fits a 1280 x 720 projector
TOP = 32  # where panels begin, below their titles
DOTS_PER_INCH = 100
SMOOTH = 4  # a line is drawn this many times larger and shrunk, which softens its edges
COMPRESSION = 1  # zlib level: 6 takes four times as long and saves a tenth


class Canvas:
    """A white picture of `width` by `height` pixels; `.image` is the PIL image. Every method draws in place."""

    def __init__(self, width=WIDTH, height=HEIGHT):
        self.image = Image.new("RGB", (width, height), "white")
        self._pen = ImageDraw.Draw(self.image)

    def text(self, x, y, words, size=BODY, colour=INK, bold=False, anchor="la"):
        """Write `words`; `anchor` says which point of them lies at (x, y), in Pillow's letters ("la": left, top).

        A colour that is too pale to read is darkened.
        """
        self._pen.text((x, y), words, font=font(size, bold), fill=WORDS.get(colour, colour), anchor=anchor)

    def title(self, x, words):
        """What stands below, at the upper edge."""
        self.text(x, 8, words, TITLE, bold=True)

    def paste(self, x, y, image):
        """Put a PIL image with its upper left corner at (x, y)."""
        self.image.paste(image, (round(x), round(y)))

    def box(self, x, y, width, height, fill=None, outline=None):
        """A rectangle, filled, outlined or both."""
        self._pen.rectangle((x, y, x + width - 1, y + height - 1), fill=fill, outline=outline)

    def bar(self, x, y, width, height, share, colour):
        """A bar that is full at `share` = 1, on a pale ground, so that an empty one is seen too."""
        self.box(x, y, width, height, fill=PALE)
        filled = round(width * min(max(float(share), 0.0), 1.0))
        if filled:
            self.box(x, y, filled, height, fill=colour)

    def line(self, points, colour=INK, width=2):
        """A smooth line through `points`, a sequence of (x, y)."""
        self._smooth(points, width, colour, lambda pen, path: pen.line(path, 255, round(width * SMOOTH), joint="curve"))

    def dot(self, x, y, radius=6, colour=INK, ring="white"):
        """A smooth disc with a ring around it, seen on any ground."""
        for size, fill in ((radius + 2, ring), (radius, colour)):
            self._smooth([(x, y)], 2 * size, fill, lambda pen, path, r=size * SMOOTH: pen.circle(path[0], r, 255))

    def dots(self, places, radius, colour):
        """Many smooth discs at once."""
        if places:

            def draw(pen, path):
                for point in path:
                    pen.circle(point, radius * SMOOTH, 255)

            self._smooth(places, radius, colour, draw)

    def sideways(self, x, y, words, size=BODY, colour=INK):
        """Words that run upwards, with their middle at (x, y)."""
        mask = Image.new("L", (round(font(size, True).getlength(words)) + 2, 2 * size))
        ImageDraw.Draw(mask).text((mask.width / 2, size), words, 255, font(size, True), anchor="mm")
        mask = mask.transpose(Image.Transpose.ROTATE_90)
        self.image.paste(WORDS.get(colour, colour), (round(x - mask.width / 2), round(y - mask.height / 2)), mask)

    def _smooth(self, points, margin, colour, draw):
        """Draw a mask SMOOTH times larger than its place, shrink it, and colour through it."""
        points = np.asarray(points, float)
        left, top = (np.floor(points.min(0)) - margin - 1).astype(int)
        right, bottom = (np.ceil(points.max(0)) + margin + 2).astype(int)
        mask = Image.new("L", ((right - left) * SMOOTH, (bottom - top) * SMOOTH))
        # Half a pixel: a value lies at the middle of its pixel.
        draw(ImageDraw.Draw(mask), [tuple((point - (left, top) + 0.5) * SMOOTH) for point in points])
        self.image.paste(colour, (int(left), int(top)), mask.reduce(SMOOTH))


class Plot:
    """Static axes, drawn by matplotlib once. `.image` is the picture, `.pixel(x, y)` where a value lies on it."""

    def __init__(self, width, height, draw):
        """Args:
        width, height: in pixels.
        draw: a function that gets the axes and draws everything that doesn't move.
        """
        look = {"font.family": "DejaVu Sans", "font.size": SMALL * 72 / DOTS_PER_INCH}
        look |= {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "text.color": INK}
        with matplotlib.rc_context(look):
            size = (width / DOTS_PER_INCH, height / DOTS_PER_INCH)
            figure = Figure(size, dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
            axes = figure.add_subplot()
            draw(axes)
            agg = FigureCanvasAgg(figure)
            agg.draw()
        self.image = Image.fromarray(np.asarray(agg.buffer_rgba())[..., :3].copy())
        self._to_pixels, self._height = axes.transData.frozen(), self.image.height

    def pixel(self, x, y):
        """Where the value (x, y) lies on the picture, in pixels from its upper left corner."""
        across, up = self._to_pixels.transform((x, y))
        return across, self._height - up


@lru_cache
def font(size, bold=False):
    """DejaVu Sans, which matplotlib brings along, so that every machine draws the same letters."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def enlarged(pixels, side, smooth=True):
    """An array (H, W, 3) of bytes as a square PIL image; `smooth=False` keeps its pixels visible as squares."""
    fits = side % pixels.shape[0] == 0 and side % pixels.shape[1] == 0
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST if fits else Image.Resampling.BILINEAR
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), how)


def fitted(words, width, size=BODY, bold=False):
    """`words`, shortened with an ellipsis where they are wider than `width` pixels."""
    if font(size, bold).getlength(words) <= width:
        return words
    while words and font(size, bold).getlength(words + "…") > width:
        words = words[:-1]
    return words.rstrip() + "…"


def png(image):
    """A PIL image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
