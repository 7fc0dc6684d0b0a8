"""Patches on paper, measured on the rendered page, and back through a simulated camera."""

import datetime
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medattack_edu import sheets
from medattack_edu.sheets import photograph, print_sheet

DPI = 127  # 50 dots a centimetre
PER_CM = DPI / 2.54
BLUE = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 16, 16)
needs_renderer = pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="pdftoppm (poppler-utils) isn't installed")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rendered(path):
    """The pages of a PDF as arrays (H, W, 3)."""
    subprocess.run(["pdftoppm", "-r", str(DPI), "-png", str(path), str(path.with_suffix(""))], check=True)
    return [np.asarray(Image.open(page).convert("RGB")).astype(int) for page in sorted(path.parent.glob("*.png"))]


def blue_parts(page):
    """Width, height and area in cm of each blue thing on a page, from left to right."""
    from skimage.measure import label, regionprops

    blue = (page[..., 2] > 150) & (page[..., 0] < 100)
    parts = [part for part in regionprops(label(blue)) if part.area > 100]
    sizes = [((p.bbox[3] - p.bbox[1]) / PER_CM, (p.bbox[2] - p.bbox[0]) / PER_CM, p.area / PER_CM**2) for p in parts]
    return [size for _, size in sorted(zip([p.bbox[1] for p in parts], sizes, strict=True))]


@needs_renderer
def test_each_patch_measures_on_the_page_what_was_asked_for(tmp_path):
    path = print_sheet(BLUE, tmp_path / "sheet.pdf", width_cm=[5, 10, 15], target="toaster", mask="square")
    pages = rendered(path)
    assert all(
        page.shape[:2] == (pytest.approx(29.7 * PER_CM, abs=1), pytest.approx(21 * PER_CM, abs=1)) for page in pages
    )
    sizes = sorted(size for page in pages for size in blue_parts(page))
    assert len(sizes) == 3
    for (width, height, area), asked in zip(sizes, (5, 10, 15), strict=True):
        assert (width, height) == (pytest.approx(asked, abs=0.05), pytest.approx(asked, abs=0.05))
        assert area == pytest.approx(asked**2, rel=0.01)


@needs_renderer
@pytest.mark.parametrize(
    "mask, share",
    [("disc", np.pi / 4), ("plaster", 0.36 * 0.64 + np.pi / 4 * 0.36**2), (torch.ones(8, 8).tril(), 36 / 64)],
)
def test_the_mask_is_printed(tmp_path, mask, share):
    (page,) = rendered(print_sheet(BLUE, tmp_path / "sheet.pdf", width_cm=8, mask=mask))
    ((_, _, area),) = blue_parts(page)
    assert area == pytest.approx(share * 64, rel=0.04)


@needs_renderer
def test_ruler_and_cut_marks_are_where_they_say(tmp_path):
    (page,) = rendered(print_sheet(BLUE, tmp_path / "sheet.pdf", width_cm=6, mask="disc"))
    dark = page.max(2) < 100
    row = round((29.7 - sheets.MARGIN - 0.55) * PER_CM)
    line = np.nonzero(dark[row - 3 : row + 4].any(0))[0]
    assert (line.max() - line.min()) / PER_CM == pytest.approx(10, abs=0.05)
    ticks = dark[row - round(0.1 * PER_CM)]  # above the line, below the tips of the shortest
    assert ((np.diff(ticks.astype(int)) == 1).sum()) == 101
    top = sheets.MARGIN + sheets.HEADING
    for x, y in ((1, top), (7, top), (1, top + 6), (7, top + 6)):
        around = dark[
            round((y - 0.3) * PER_CM) : round((y + 0.3) * PER_CM), round((x - 0.3) * PER_CM) : round((x + 0.3) * PER_CM)
        ]
        assert around.any(0).sum() > 0.25 * PER_CM and around.any(1).sum() > 0.25 * PER_CM


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) isn't installed")
def test_target_date_and_widths_are_written_on_it(tmp_path):
    path = print_sheet(
        BLUE, tmp_path / "sheet.pdf", width_cm=[3, 4.5], target="toaster", date=datetime.date(2027, 3, 1)
    )
    text = subprocess.run(["pdftotext", str(path), "-"], check=True, capture_output=True, text=True).stdout
    for words in ("toaster", "2027-03-01", "3 cm", "4.5 cm", "100 %"):
        assert words in text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 18), min_size=1, max_size=12), st.sampled_from(list(sheets.PAPERS)))
def test_patches_never_overlap_nor_leave_the_paper(widths, paper):
    page_width, page_height = sheets.PAPERS[paper]
    laid = sheets.laid_out(sorted(widths, reverse=True), page_width, page_height)
    assert sorted(width for sheet in laid for width, _, _ in sheet) == sorted(widths)
    for sheet in laid:
        for i, (width, left, bottom) in enumerate(sheet):
            assert left >= sheets.MARGIN - 1e-9 and left + width <= page_width - sheets.MARGIN + 1e-9
            assert bottom >= sheets.MARGIN + sheets.RULER - 1e-9
            assert bottom + width <= page_height - sheets.MARGIN - sheets.HEADING + 1e-9
            for other, other_left, other_bottom in sheet[:i]:
                beside = other_left + other <= left + 1e-9 or left + width <= other_left + 1e-9
                assert beside or bottom + width < other_bottom or other_bottom + other < bottom


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"width_cm": 25}, "at most 19.0 cm"),
        ({"width_cm": [5, 0]}, "0 cm wide doesn't fit"),
        ({"paper": "A3"}, "A4 and Letter"),
        ({"patch": torch.ones(4, 4)}, "must have the shape"),
        ({"patch": torch.ones(1, 3, 4, 4)}, "one patch"),
        ({"patch": 2 * torch.ones(3, 4, 4)}, "2.00"),
        ({"mask": "star"}, "'star'"),
    ],
)
def test_bad_sheets_are_named_and_nothing_is_written(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        print_sheet(**{"patch": BLUE, "path": tmp_path / "sheet.pdf"} | changes)
    assert not list(tmp_path.iterdir())


# --- The camera ---------------------------------------------------------------------------------------------------------

NOTHING = {"perspective": 0, "light": 0, "white_balance": 0, "defocus": 0, "motion": 0, "noise": 0, "jpeg": None}


def scene(n=4, size=48):
    ticks = torch.linspace(0, 1, size)
    one = torch.stack([ticks.expand(size, size), ticks[:, None].expand(size, size), torch.full((size, size), 0.4)])
    x = (0.2 + 0.6 * one).expand(n, -1, -1, -1).clone()
    x[:, :, 18:30, 18:30] = torch.tensor([0.9, 0.1, 0.2])[:, None, None]
    return x


def test_a_camera_without_faults_changes_nothing():
    assert torch.allclose(photograph(scene(), **NOTHING), scene(), atol=1e-5)


def test_a_photograph_keeps_shape_range_and_original_and_is_repeated_by_its_generator():
    x = scene()
    before, state = x.clone(), torch.get_rng_state()
    one, two = photograph(x, generator=generator(1)), photograph(x, generator=generator(1))
    assert torch.equal(one, two) and one.shape == x.shape and one.min() >= 0 and one.max() <= 1
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)
    assert 0.01 < (one - x).abs().mean() < 0.2 and (one[0] - one[1]).abs().mean() > 0.01
    assert photograph(x[0], generator=generator(1)).shape == x[0].shape
    assert photograph(x[:0]).shape == x[:0].shape


@pytest.mark.parametrize(
    "name, weak, strong",
    [
        ("perspective", 0.1, 0.6),
        ("light", 0.1, 0.5),
        ("white_balance", 0.05, 0.3),
        ("defocus", 0.7, 3),
        ("motion", 3, 10),
        ("noise", 0.01, 0.1),
        ("jpeg", 90, 10),
    ],
)
def test_each_fault_alone_grows_with_its_strength(name, weak, strong):
    x = scene(16)
    changes = [
        (photograph(x, **NOTHING | {name: value}, generator=generator()) - x).abs().mean() for value in (weak, strong)
    ]
    assert 1e-4 < changes[0] < changes[1]


def test_light_brightens_one_side_and_darkens_the_other_and_white_balance_moves_red_against_blue():
    grey = torch.full((8, 3, 32, 32), 0.5)
    lit = photograph(grey, **NOTHING | {"light": 0.4}, generator=generator())
    assert torch.allclose(lit.mean((1, 2, 3)), torch.full((8,), 0.5), atol=1e-4)
    assert (lit.amax((1, 2, 3)) - lit.amin((1, 2, 3)) > 0.02).any() and torch.allclose(lit[:, 0], lit[:, 2])
    tinted = photograph(grey, **NOTHING | {"white_balance": 0.2}, generator=generator()).mean((2, 3))
    assert torch.allclose(tinted[:, 0] - 0.5, 0.5 - tinted[:, 2], atol=1e-5) and torch.allclose(
        tinted[:, 1], grey[:, 1, 0, 0]
    )


def test_a_shake_spreads_a_point_along_its_line_and_keeps_its_light():
    x = torch.zeros(2, 3, 31, 31)
    x[:, :, 15, 15] = 1
    blurred = sheets.shaken(x, torch.tensor([9.0, 9.0]), torch.tensor([0.0, torch.pi / 2]))
    assert torch.allclose(blurred.sum((2, 3)), torch.ones(2, 3), atol=1e-5)
    offsets = torch.arange(31) - 15.0
    spread = (blurred[0, 0].sum(0) * offsets**2).sum().sqrt()
    assert spread.item() == pytest.approx(9 / 12**0.5, rel=0.1) and blurred[0, 0, 14].sum() < 1e-6
    assert torch.allclose(blurred[1], blurred[0].transpose(1, 2), atol=1e-6)


def test_there_is_less_noise_in_the_dark():
    for level, expected in ((0.81, 0.09), (0.16, 0.04)):
        noisy = photograph(torch.full((1, 3, 64, 64), level), **NOTHING | {"noise": 0.1}, generator=generator())
        assert noisy.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    "changes, words",
    [({"noise": -1}, "noise=-1"), ({"jpeg": 100}, "jpeg=100"), ({"image": 255 * scene()}, "Divide by 255")],
)
def test_bad_photographs_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        photograph(**{"image": scene()} | changes)
