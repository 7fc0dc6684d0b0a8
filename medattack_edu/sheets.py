"""Patches on paper and back through a camera: a sheet to print at true size, and a simulated photograph of a scene.

Training a patch for what happens on this way is in `attacks.patches`.
"""

import datetime
import io
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from medattack_edu.attacks._draws import draw
from medattack_edu.attacks._inputs import check_images
from medattack_edu.attacks.patches import check_mask, check_patch, defocused, place, tilted

PAPERS = {"A4": (21.0, 29.7), "Letter": (21.59, 27.94)}  # width and height in cm
MARGIN = 1.0  # cm that few printers need, kept free all round
HEADING, CAPTION, RULER = 1.5, 0.7, 1.7  # cm that these take on a sheet
GAP = 0.9  # cm between patches, for the scissors
DOTS_PER_CM = 150 / 2.54  # the patch itself has fewer pixels
CUT_MARK = 0.35  # cm


# --- On paper -----------------------------------------------------------------------------------------------------------


def print_sheet(patch, path, *, width_cm=(5, 10, 15), target="", mask="disc", paper="A4", date=None):
    """Write a PDF with the patch at true size, once for each width, with cut marks and a ruler to check the printer against.

    Args:
        patch: (3, h, w), float, in [0, 1].
        path: of the PDF.
        width_cm: the patch's longer side in centimetres; one number or several.
        target: what the patch makes a model say, printed on the sheet.
        mask: as in `attacks.place`.
        paper: one of `PAPERS`.
        date: a `datetime.date`; default: today.

    Returns:
        The path, a `Path`.

    Raises:
        ValueError: if a patch doesn't fit the paper, or the inputs aren't as they should be.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    check_patch(patch, torch.zeros(1, 3, 1, 1, device=getattr(patch, "device", None)))
    check_mask(mask)
    if patch.ndim != 3:
        raise ValueError(f"A sheet shows one patch (3, h, w); got the shape {tuple(patch.shape)}.")
    if paper not in PAPERS:
        raise ValueError(f"paper={paper!r}: there are {' and '.join(PAPERS)}.")
    widths = sorted((width_cm if isinstance(width_cm, list | tuple) else [width_cm]), reverse=True)
    sheets = laid_out(widths, *PAPERS[paper])
    date = datetime.date.today() if date is None else date
    path = Path(path).expanduser()
    with PdfPages(path, metadata={"Title": f"Adversarial patch: {target}", "CreationDate": None}) as pdf:
        for sheet in sheets:
            pdf.savefig(_drawn(patch.cpu(), mask, sheet, paper, target, date))
    return path


def laid_out(widths, page_width, page_height):
    """Where the patches go: a list of sheets, each a list of (width, left, bottom) in cm. Widest first, in rows."""
    room, top = page_width - 2 * MARGIN, page_height - MARGIN - HEADING
    most = min(room, top - MARGIN - RULER - CAPTION)
    sheets, left, row_bottom = [], math.inf, -math.inf
    for width in widths:
        if not 0 < width <= most:
            raise ValueError(
                f"A patch {width:g} cm wide doesn't fit this paper: more than 0 and at most {most:.1f} cm do."
            )
        if left + width > page_width - MARGIN:  # a new row, below the one before
            left, row_bottom = MARGIN, row_bottom - GAP - CAPTION - width
        if row_bottom < MARGIN + RULER + CAPTION:  # a new sheet
            sheets.append([])
            left, row_bottom = MARGIN, top - width
        sheets[-1].append((width, left, row_bottom))
        left += width + GAP
    return sheets


def _drawn(patch, mask, sheet, paper, target, date):
    """One sheet as a matplotlib figure whose axes are centimetres."""
    from matplotlib.figure import Figure

    page_width, page_height = PAPERS[paper]
    figure = Figure(figsize=(page_width / 2.54, page_height / 2.54))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page_width), ylim=(0, page_height))
    axes.set_axis_off()
    top = page_height - MARGIN
    axes.text(
        MARGIN,
        top,
        f"Adversarial patch: {target}" if target else "Adversarial patch",
        va="top",
        fontsize=15,
        weight="bold",
    )
    axes.text(MARGIN, top - 0.75, f"Made {date.isoformat()} with medattack, for teaching.", va="top", fontsize=9)
    for width, left, bottom in sheet:
        _draw_patch(axes, patch, mask, width, left, bottom)
    _draw_ruler(axes)
    return figure


def _draw_patch(axes, patch, mask, width, left, bottom):
    """The patch inside its square, which is `width` cm wide, with cut marks at the corners and the width below."""
    dots = max(2, round(width * DOTS_PER_CM))
    seen = place(patch, torch.ones(1, 3, dots, dots), scale=1.0, mask=mask)[0]
    picture = (seen.permute(1, 2, 0) * 255).round().byte().numpy()
    right, top = left + width, bottom + width
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="none", aspect="auto", zorder=1)
    axes.set(xlim=(0, axes.figure.get_figwidth() * 2.54), ylim=(0, axes.figure.get_figheight() * 2.54))
    for x, outward in ((left, -1), (right, 1)):
        for y, upward in ((bottom, -1), (top, 1)):
            axes.plot([x, x], [y, y + upward * CUT_MARK], color="black", linewidth=0.5)
            axes.plot([x, x + outward * CUT_MARK], [y, y], color="black", linewidth=0.5)
    axes.text((left + right) / 2, bottom - 0.15, f"{width:g} cm from mark to mark", ha="center", va="top", fontsize=8)


def _draw_ruler(axes):
    """Ten centimetres, millimetre by millimetre, and what to do if they aren't ten."""
    base = MARGIN + 0.55
    axes.plot([MARGIN, MARGIN + 10], [base, base], color="black", linewidth=0.8, solid_capstyle="butt")
    for tick in range(101):
        length = 0.45 if tick % 10 == 0 else 0.3 if tick % 5 == 0 else 0.18
        axes.plot([MARGIN + tick / 10] * 2, [base, base + length], color="black", linewidth=0.5)
        if tick % 10 == 0:
            axes.text(MARGIN + tick / 10, base + 0.5, f"{tick // 10}", ha="center", va="bottom", fontsize=7)
    axes.text(
        MARGIN, MARGIN, 'Not 10 cm on your own ruler? Print again at 100 % ("actual size").', va="bottom", fontsize=8
    )


# --- And back through a camera ------------------------------------------------------------------------------------------


def photograph(
    image,
    *,
    perspective=0.25,
    light=0.25,
    white_balance=0.1,
    defocus=0.6,
    motion=2.0,
    noise=0.02,
    jpeg=75,
    generator=None,
):
    """A scene as a hand-held camera gives it. What each value bounds is drawn anew for every image.

    In the order of the light's way: seen from a side, lit unevenly, out of focus and shaken, recorded with a wrong white
    balance and noise, and saved as a JPEG.

    Args:
        image: (3, H, W), or (N, 3, H, W), float, in [0, 1].
        perspective: the near side is up to 1 + perspective times as large as the far one, from left to right and from top to
            bottom.
        light: one side is up to this much brighter than the middle, and the other as much darker.
        white_balance: how far red and blue are multiplied up or down.
        defocus: standard deviation of the blur, up to this many pixels. motion: length of the shake, up to this many pixels.
        noise: standard deviation of the noise at full white; in the dark there is less of it.
        jpeg: quality, 1 to 95, or None to leave it out; not drawn.
        generator: of the draws.

    Returns:
        The photograph, same shape, dtype and device, in [0, 1].

    Raises:
        ValueError: if it isn't an image, or a strength is negative.
    """
    x = image if image.ndim == 4 else image[None]
    check_images(x)
    if x.shape[1] != 3:
        raise ValueError(
            f"A photograph has 3 colours; got {tuple(image.shape)}. For a grey image, image.expand(3, -1, -1)."
        )
    strengths = {"perspective": perspective, "light": light, "white_balance": white_balance, "defocus": defocus}
    strengths |= {"motion": motion, "noise": noise}
    for name, strength in strengths.items():
        if not strength >= 0:
            raise ValueError(f"{name}={strength}: a strength is 0, for none, or more.")
    if perspective >= 2:
        raise ValueError(
            f"perspective={perspective}: the near side can be less than 1 + 2 times as large as the far one here."
        )
    if jpeg is not None and not 1 <= jpeg <= 95:
        raise ValueError(f"jpeg={jpeg}: a quality runs from 1 to 95; None leaves it out.")
    if not len(x):
        return image.clone()
    with torch.no_grad():
        chances = 2 * draw(torch.rand, (8, len(x)), x, generator) - 1
        grain = draw(torch.randn, x.shape, x, generator)
        seen = tilted(x, *(perspective / (2 + perspective) * chances[:2]))
        seen = lit_from_a_side(seen, light * chances[2], math.pi * chances[3])
        seen = shaken(defocused(seen, defocus * chances[4].abs()), motion * chances[5].abs(), math.pi * chances[6])
        redder = white_balance * chances[7]
        gains = torch.stack((1 + redder, torch.ones_like(redder), 1 - redder), 1)
        seen = seen.clamp(0, 1) * gains[:, :, None, None]
        seen = (
            seen + noise * seen.clamp(min=0.05).sqrt() * grain
        )  # light comes in grains: their scatter grows as the root
        seen = as_jpeg(seen.clamp(0, 1), jpeg) if jpeg else seen.clamp(0, 1)
    return seen if image.ndim == 4 else seen[0]


def lit_from_a_side(x, strength, direction):
    """Images under a light that changes evenly from one side to the other. strength, direction (N,), the latter in radians."""
    height, width = x.shape[-2:]
    across = torch.linspace(-1, 1, width, dtype=x.dtype, device=x.device).view(1, 1, -1)
    down = torch.linspace(-1, 1, height, dtype=x.dtype, device=x.device).view(1, -1, 1)
    cos, sin = direction.cos().view(-1, 1, 1), direction.sin().view(-1, 1, 1)
    slope = (across * cos + down * sin) / (cos.abs() + sin.abs())  # 1 in the brightest corner
    return x * (1 + strength.view(-1, 1, 1) * slope)[:, None]


def shaken(x, length, direction):
    """Images as they move along a straight line while the shutter is open. length (N,) in pixels, direction (N,) in radians."""
    reach = max(1, math.ceil(length.max().item() / 2))
    ticks = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    moments = torch.linspace(-0.5, 0.5, 4 * reach + 1, dtype=x.dtype, device=x.device)
    here = (length[:, None] * moments)[:, :, None]  # on the line, at each moment
    across, down = here * direction.cos().view(-1, 1, 1), here * direction.sin().view(-1, 1, 1)
    # At each moment the point falls on the four pixels around it, the more on the nearer ones.
    on_column, on_row = (1 - (ticks - across).abs()).clamp(min=0), (1 - (ticks - down).abs()).clamp(min=0)
    kernels = torch.einsum("ntr,ntc->nrc", on_row, on_column) / len(moments)
    kernels = kernels.repeat_interleave(x.shape[1], 0)[:, None]
    flat = F.pad(x.reshape(1, -1, *x.shape[-2:]), (reach,) * 4, "replicate")
    return F.conv2d(flat, kernels, groups=len(kernels)).view(x.shape)


def as_jpeg(x, quality):
    """Images as they come back from a JPEG file. Same shape, dtype and device."""
    from PIL import Image

    saved = []
    for picture in (x * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        opened = Image.open(buffer).convert("RGB")
        saved.append(torch.frombuffer(bytearray(opened.tobytes()), dtype=torch.uint8).view(picture.shape))
    return torch.stack(saved).permute(0, 3, 1, 2).to(x) / 255
