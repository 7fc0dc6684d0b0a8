"""Photographs: those of the wheels, whatever a learner uploads, and the endless ones that training draws."""

import io
import tracemalloc
import warnings

import pytest
import torch
from PIL import Image

from medattack_edu.scenes import photographs
from medattack_edu.scenes.photographs import read_photo

RED, BLUE = (220, 30, 30), (20, 40, 210)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(width=90, height=60, mode="RGB"):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image.convert(mode)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_red_then_blue(x, size=32):
    assert x.shape == (3, size, size) and x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1
    for columns, colour in ((slice(2, size // 2 - 3), RED), (slice(size // 2 + 3, -2), BLUE)):
        assert torch.allclose(x[:, 4:-4, columns].mean((1, 2)), torch.tensor(colour) / 255, atol=0.05)


# --- The wheels' --------------------------------------------------------------------------------------------------------


def test_every_photograph_of_the_wheels_is_read_as_a_square_with_contents():
    x, names = photographs.photographs(64)
    assert names == list(photographs.FILES) and len(names) >= 16
    assert x.shape == (len(names), 3, 64, 64) and x.min() >= 0 and x.max() <= 1
    assert (x.flatten(1).std(1) > 0.03).all()
    shown, names = photographs.photographs(32, photographs.SHOWN)
    assert names == ["espresso", "cat", "astronaut", "rocket", "palace", "flower"] and len(shown) == 6


def test_a_wheel_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(photographs.FILES, "espresso", ("sklearn", "datasets/images/nothing.jpg"))
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        photographs.photographs(32, ["espresso"])


# --- An upload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, mode",
    [
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("BMP", "RGB"),
        ("WEBP", "RGB"),
        ("TIFF", "RGB"),
    ],
)
def test_a_file_of_any_kind_is_read_in_its_colours(kind, mode):
    data = saved(picture(mode=mode), kind)
    assert_red_then_blue(read_photo(data, 32))
    assert_red_then_blue(read_photo(memoryview(data), 32))  # what an upload's content is


def test_a_path_is_read_too(tmp_path):
    picture().save(tmp_path / "mine.png")
    assert_red_then_blue(read_photo(tmp_path / "mine.png", 32))
    assert_red_then_blue(read_photo(str(tmp_path / "mine.png"), 32))


def test_the_middle_is_taken_and_nothing_is_stretched():
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (100, 0, 200, 100))
    assert read_photo(saved(wide, "PNG"), 32)[:, 2:-2, 2:-2].min() > 0.95


def test_a_phone_held_sideways_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    stored = picture(60, 60).transpose(Image.Transpose.ROTATE_90)
    assert_red_then_blue(read_photo(saved(stored, "JPEG", exif=exif, quality=95), 32))


def test_greys_and_sixteen_bits_become_colour_and_what_is_transparent_becomes_white():
    grey = read_photo(saved(Image.new("L", (40, 40), 128), "PNG"), 32)
    assert torch.allclose(grey, torch.full((3, 32, 32), 128 / 255), atol=0.01)
    deep = Image.new("I;16", (40, 40), 32768)
    assert torch.allclose(read_photo(saved(deep, "PNG"), 32), torch.full((3, 32, 32), 0.5), atol=0.01)
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    assert read_photo(saved(clear, "PNG"), 32).min() > 0.99


@pytest.mark.parametrize(
    ("deep", "kind", "words"),
    [
        (Image.new("I;16", (40, 40), 4000), "PNG", "The upload is a 16-bit file whose brightest value is 4,000"),
        (Image.new("F", (40, 40), 0.5), "TIFF", "The upload holds floating-point pixels"),
    ],
)
def test_where_white_would_have_to_be_guessed_it_is_said(deep, kind, words):
    with pytest.raises(ValueError, match=words):
        read_photo(saved(deep, kind), 32)


def test_an_animation_gives_its_first_picture_and_says_so():
    frames = [picture(), Image.new("RGB", (90, 60), "black")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="animation of 2 pictures; the first"):
        assert_red_then_blue(read_photo(data, 32))


def test_a_photograph_of_forty_megapixels_is_read_without_filling_the_memory():
    data = saved(picture(8000, 5000), "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        x = read_photo(data, 32)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert_red_then_blue(x)
    assert peak < 20e6


def fake_size(data, width, height):
    """A PNG that says of itself to be that large."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: b"no image at all", "is no image that can be read here.*HEIC"),
        (lambda: b"", "is no image"),
        (lambda: saved(picture(), "PNG")[:120], "damaged"),
        (lambda: saved(picture(900, 600), "JPEG", quality=95)[:3000], "damaged"),
        (lambda: saved(picture(8, 8), "PNG"), "8 x 8 pixels"),
        (lambda: fake_size(saved(picture(), "PNG"), 12_000, 11_000), "132 megapixels"),
        (lambda: fake_size(saved(picture(), "PNG"), 60_000, 60_000), "megapixels"),
        (lambda: "/no/such/photo.jpg", "no file"),
    ],
)
def test_what_is_no_photograph_is_said(make, words):
    with pytest.raises(ValueError, match=words):
        read_photo(make(), 32)


# --- A toaster, and scenes to train on ----------------------------------------------------------------------------------


def test_the_drawn_toaster_is_a_picture_of_the_size_asked_for():
    x = photographs.toaster_picture(48)
    assert x.shape == (3, 48, 48) and x.min() >= 0 and x.max() <= 1 and x.std() > 0.1
    assert torch.equal(x, photographs.toaster_picture(48))


def test_dead_leaves_are_repeated_by_their_generator_and_differ_from_each_other():
    one, two = (photographs.dead_leaves(3, 40, generator(), leaves=40) for _ in range(2))
    assert one.shape == (3, 3, 40, 40) and torch.equal(one, two) and one.min() >= 0 and one.max() <= 1
    assert (one[0] - one[1]).abs().mean() > 0.1
    edges = (one[:, :, 1:] - one[:, :, :-1]).abs().amax(1)
    assert (edges > 0.1).float().mean() < 0.5 and (edges > 0.1).any()  # flat parts, and edges between them


def test_varied_scenes_never_end_never_repeat_and_come_from_the_generator_alone():
    images, _ = photographs.photographs(48, ("grass", "coins", "retina"))
    supply, before, state = photographs.varied_scenes(images, 40), images.clone(), torch.get_rng_state()
    draws = generator()
    first, second = supply(6, draws), supply(6, draws)
    assert first.shape == (6, 3, 40, 40) and first.min() >= 0 and first.max() <= 1
    assert (first - second).abs().mean() > 0.05
    assert torch.equal(first, supply(6, generator()))
    assert torch.equal(images, before) and torch.equal(torch.get_rng_state(), state)
