"""Folders of your own images: what is found, how each file is decoded, what is refused, and that the second time is fast."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medattack_edu import runtime
from medattack_edu.clinics import folder
from medattack_edu.clinics.tasks import CLASSES

SIZE = 16
GREY_RAMP = Image.fromarray(np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1)))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "folders"


@pytest.fixture
def root(tmp_path):
    """A small tree of chest images, each of another grey: 6 and 4 to train, 3 and 2 to test."""
    root = tmp_path / "my chest"
    add(root, "train/normal", 6, first=0)
    add(root, "train/pneumonia", 4, first=10)
    add(root, "test/normal", 3, first=20)
    add(root, "test/pneumonia", 2, first=30)
    return root


def add(root, where, count, first=0, ending="png"):
    """Save `count` images of grey `first`, `first + 1`, ... there."""
    (root / where).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("L", (20, 20), number).save(root / where / f"{number:03}.{ending}")


def greys(images):
    return images.images[:, 0, 0, 0].tolist()


def only_image(root, image, name="only.png", size=SIZE, **options):
    """What comes of one image, (3, size, size), when it is the first of the test set."""
    path = root / "test" / "normal" / f"000_{name}"
    image.save(path, **options) if isinstance(image, Image.Image) else path.write_bytes(image)
    return folder.load(root, size).test.images[0]


def test_a_tree_becomes_splits_with_the_disease_as_class_1(root):
    splits = folder.load(root, SIZE)
    assert splits.test.classes == splits.train.classes == ("normal", "pneumonia")
    assert greys(splits.test) == [20, 21, 22, 30, 31]
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1]
    assert splits.test.images.shape == (5, 3, SIZE, SIZE)
    assert splits.train.images.dtype == torch.uint8


def test_without_val_the_attacker_gets_half_of_each_class_of_train_and_that_is_said(root):
    splits = folder.load(root, SIZE)
    assert sorted(greys(splits.train) + greys(splits.attacker)) == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13]
    assert splits.attacker.labels.tolist() == [0, 0, 0, 1, 1]
    assert "a random half of train" in splits.source and "my chest" in splits.source


@pytest.mark.parametrize("name", ["val", "attacker"])
def test_a_val_or_attacker_folder_is_the_attackers(root, name):
    add(root, f"{name}/normal", 1, first=40)
    add(root, f"{name}/pneumonia", 1, first=50)
    splits = folder.load(root, SIZE)
    assert greys(splits.attacker) == [40, 50]
    assert len(splits.train) == 10
    assert f"its {name} folder" in splits.source


def test_an_attacker_folder_goes_before_val(root):
    for first, name in ((40, "val"), (50, "attacker")):
        add(root, f"{name}/normal", 1, first=first)
        add(root, f"{name}/pneumonia", 1, first=first + 5)
    assert greys(folder.load(root, SIZE).attacker) == [50, 55]


def test_a_class_with_one_image_can_not_be_halved(root):
    for path in sorted((root / "train" / "pneumonia").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="train/pneumonia has one image.*val/"):
        folder.load(root, SIZE)


def test_the_same_folder_gives_the_same_order_and_halves_wherever_it_lies(root, tmp_path):
    before = folder.load(root, SIZE)
    moved = root.rename(tmp_path / "elsewhere")
    for path in moved.rglob("*.png"):
        os.utime(path, (1, 1))
    after = folder.load(moved, SIZE)
    assert after.fingerprint == before.fingerprint
    assert torch.equal(after.attacker.images, before.attacker.images)


def test_the_fingerprint_changes_with_a_pixel_and_with_the_side(root):
    before = folder.load(root, SIZE).fingerprint
    assert folder.load(root, SIZE * 2).fingerprint != before
    add(root, "test/normal", 1, first=99)
    (root / "test/normal/020.png").unlink()
    (root / "test/normal/099.png").rename(root / "test/normal/020.png")
    assert folder.load(root, SIZE).fingerprint != before


def test_the_clinics_own_folder_is_found_in_a_folder_of_clinics(root):
    inner = root.rename(root.parent / "chest")
    by_root = folder.load(inner.parent, SIZE, name="chest")
    assert by_root.fingerprint == folder.load(inner, SIZE, name="chest").fingerprint
    with pytest.raises(ValueError, match="has no train/; it holds .*chest"):
        folder.load(inner.parent, SIZE)


def test_a_home_folder_is_understood(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("USERPROFILE", str(root.parent))
    assert len(folder.load("~/my chest", SIZE).test) == 5


# Which class is which.


@pytest.mark.parametrize(
    "healthy, disease",
    [*CLASSES.values(), ("Healthy", "Disease"), ("NEGATIVE", "Positive"), ("benign", "malignant")],
)
def test_known_names_say_which_class_is_the_disease(tmp_path, healthy, disease):
    for split in ("train", "test"):
        add(tmp_path, f"{split}/{healthy}", 2, first=1)
        add(tmp_path, f"{split}/{disease}", 2, first=11)
    splits = folder.load(tmp_path, SIZE)
    assert splits.test.classes == (healthy, disease)
    assert greys(splits.test) == [1, 2, 11, 12]


def test_not_referable_is_understood_however_it_is_written(tmp_path):
    for split in ("train", "test"):
        add(tmp_path, f"{split}/Not-Referable", 2)
        add(tmp_path, f"{split}/Referable", 2)
    assert folder.load(tmp_path, SIZE).test.classes == ("Not-Referable", "Referable")


def test_every_clinics_class_names_are_known():
    assert {classes[0] for classes in CLASSES.values()} <= folder.HEALTHY
    assert {classes[1] for classes in CLASSES.values()} <= folder.DISEASE
    assert not folder.HEALTHY & folder.DISEASE


@pytest.mark.parametrize("names", [("A", "B"), ("0", "1"), ("benign", "nevus"), ("melanoma", "keratosis")])
def test_other_names_need_to_be_told_and_the_error_says_how(tmp_path, names):
    for split in ("train", "test"):
        for number, name in enumerate(names):
            add(tmp_path, f"{split}/{name}", 2, first=number * 10)
    with pytest.raises(ValueError, match=f"'{min(names)}' and '{max(names)}'.*positive='{max(names)}'"):
        folder.load(tmp_path, SIZE)
    splits = folder.load(tmp_path, SIZE, positive=names[0])
    assert splits.test.classes == (names[1], names[0])
    assert greys(splits.test) == [10, 11, 0, 1]


def test_what_is_said_goes_before_what_is_known(root):
    assert folder.load(root, SIZE, positive="normal").test.classes == ("pneumonia", "normal")


def test_a_disease_that_is_no_folder_is_refused(root):
    with pytest.raises(ValueError, match="positive='tumour', but the class folders are 'normal' and 'pneumonia'"):
        folder.load(root, SIZE, positive="tumour")


# Trees that aren't as they should be.


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        folder.load(tmp_path / "nowhere", SIZE)


def test_a_path_that_is_a_file(root):
    with pytest.raises(NotADirectoryError, match="020.png is a file"):
        folder.load(root / "test/normal/020.png", SIZE)


def test_no_train_split(root):
    (root / "train").rename(root / "trainig")
    with pytest.raises(ValueError, match="no train/; it holds test, trainig"):
        folder.load(root, SIZE)


def test_no_test_split(root):
    (root / "test").rename(root / "hold out")
    with pytest.raises(ValueError, match="no test/"):
        folder.load(root, SIZE)


def test_one_class(root):
    (root / "train/pneumonia").rename(root / "elsewhere")
    with pytest.raises(ValueError, match=r"train has 1 class folders \(normal\); the course needs two"):
        folder.load(root, SIZE)


def test_images_without_class_folders(tmp_path):
    add(tmp_path, "train", 2)
    add(tmp_path, "test", 2)
    with pytest.raises(ValueError, match=r"0 class folders \(none\)"):
        folder.load(tmp_path, SIZE)


def test_three_classes(root):
    add(root, "train/tuberculosis", 2)
    with pytest.raises(ValueError, match=r"3 class folders \(normal, pneumonia, tuberculosis\).*Merge"):
        folder.load(root, SIZE)


def test_a_split_that_is_there_twice(root):
    (root / "TRAIN").mkdir()
    if (root / "train").samefile(root / "TRAIN"):
        pytest.skip("this disk doesn't tell small letters from others")
    with pytest.raises(ValueError, match="two folders that are called train"):
        folder.load(root, SIZE)


@pytest.mark.parametrize("ending", ["dcm", "AVIF", "gif"])
def test_pictures_of_a_kind_that_is_not_read_are_told_of(root, ending):
    for number in range(2):
        (root / f"train/normal/extra_{number}.{ending}").write_bytes(b"something")
    with pytest.warns(UserWarning, match=rf"2 files .* left out.*extra_0.{ending} being the first.*\.png"):
        folder.load(root, SIZE)


def test_classes_that_are_called_otherwise_in_test(root):
    (root / "test/pneumonia").rename(root / "test/Pneumonia?")
    with pytest.raises(ValueError, match="test/ holds .*The same two must be in both"):
        folder.load(root, SIZE)


def test_a_val_folder_without_classes(root):
    add(root, "val", 2)
    with pytest.raises(ValueError, match="val/ holds no class folders, but train/ holds 'normal' and 'pneumonia'"):
        folder.load(root, SIZE)


def test_an_empty_class(root):
    for path in (root / "test/pneumonia").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="pneumonia has no images.$"):
        folder.load(root, SIZE)


def test_a_class_of_files_that_are_no_images_says_what_there_is_instead(root):
    for path in (root / "test/pneumonia").iterdir():
        path.rename(path.with_suffix(".dcm"))
    with pytest.raises(ValueError, match=r"no images that can be read \(there are 2 .dcm; readable are .*\.png"):
        folder.load(root, SIZE)


def test_more_images_than_memory_should_hold(root, monkeypatch):
    monkeypatch.setattr(folder, "MOST_BYTES", 10 * 3 * SIZE**2)
    with pytest.raises(ValueError, match="15 images at 16 px take .* room for 10"):
        folder.load(root, SIZE)


def test_a_side_of_nothing(root):
    with pytest.raises(ValueError, match="size=0"):
        folder.load(root, 0)


def test_what_systems_leave_behind_is_ignored(root):
    for litter in (".DS_Store", "Thumbs.db", "desktop.ini", "._020.png", "notes.txt", ".hidden/021.png"):
        path = root / "test/normal" / litter
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not an image")
    for litter in (".ipynb_checkpoints", "__MACOSX"):
        (root / "train" / litter).mkdir()
    assert len(folder.load(root, SIZE).test) == 5


def test_endings_in_capitals_and_folders_within_a_class_count(root):
    add(root, "test/pneumonia/2019/May", 1, first=41, ending="JPG")
    add(root, "test/pneumonia", 1, first=40, ending="PNG")
    assert greys(folder.load(root, SIZE).test) == [20, 21, 22, 30, 31, 40, 41]


def test_splits_in_capitals_count(root):
    (root / "train").rename(root / "Train")
    (root / "test").rename(root / "TEST")
    assert len(folder.load(root, SIZE).test) == 5


def test_the_same_image_in_train_and_test_is_said(root):
    assert "also in train" not in folder.load(root, SIZE).source
    half = folder.load(root, SIZE).train
    add(root, "test/normal", 1, first=greys(half)[0])
    assert "1 of 6 test images are also in train" in folder.load(root, SIZE).source


# How a file is decoded.


def test_the_longer_side_is_cut_and_the_middle_is_kept(root):
    wide = np.zeros((40, 120), np.uint8)
    wide[:, 40:80] = 200
    out = only_image(root, Image.fromarray(wide))
    assert (out[:, :, 2:-2] == 200).all()
    assert out.min() > 150


def test_shrinking_averages_instead_of_picking(root):
    stripes = np.zeros((160, 160), np.uint8)
    stripes[:, ::2] = 255
    shrunk = only_image(root, Image.fromarray(stripes))[:, 2:-2, 2:-2]
    assert 120 <= shrunk.min() and shrunk.max() <= 135


def test_a_turned_photograph_is_put_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    out = only_image(root, GREY_RAMP, "turned.jpg", exif=exif, quality=95)[0].int()
    assert out[0].float().mean() < 40 and out[-1].float().mean() > 210
    assert (out[:, 0] - out[:, -1]).abs().max() < 12


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "YCbCr"])
def test_every_mode_becomes_the_same_grey(root, mode):
    image = Image.new("L", (20, 20), 255).convert(mode)
    name = "x.tif" if mode in ("CMYK", "YCbCr") else "x.png"
    out = only_image(root, image, name)
    assert out.shape == (3, SIZE, SIZE)
    assert out.float().mean() > 250


def test_colours_keep_their_channels(root):
    assert only_image(root, Image.new("RGB", (20, 20), (200, 100, 50)))[:, 5, 5].tolist() == [200, 100, 50]


def test_a_cmyk_jpeg_is_not_turned_negative(root):
    out = only_image(root, Image.new("RGB", (20, 20), (200, 100, 50)).convert("CMYK"), "x.jpg", quality=95)
    assert (out[:, 5, 5].int() - torch.tensor([200, 100, 50])).abs().max() < 12


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_black(root, mode):
    image = Image.new(mode, (20, 20), (255,) * len(mode))
    image.putalpha(0)
    assert (only_image(root, image) == 0).all()


def test_a_transparent_palette_colour_becomes_black(root):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 250, 250, 250])
    assert (only_image(root, image, transparency=1) == 0).all()


def test_half_transparent_white_becomes_half_grey(root):
    assert abs(int(only_image(root, Image.new("RGBA", (20, 20), (255, 255, 255, 128)))[0, 5, 5]) - 128) <= 1


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(root, name):
    ramp = np.tile(np.linspace(0, 65535, SIZE).astype(np.uint16), (SIZE, 1))
    out = only_image(root, Image.fromarray(ramp), name)
    assert torch.equal(out[0], torch.from_numpy(np.round(ramp / 257).astype(np.uint8)))


def test_12_bit_values_in_a_16_bit_file_are_refused_and_not_shown_black(root):
    with pytest.raises(ValueError, match="brightest value is 4,095 of 65,535"):
        only_image(root, Image.fromarray(np.full((20, 20), 4095, np.uint16)))


@pytest.mark.parametrize("kind, words", [(np.float32, "floating-point"), (np.int32, "values from 0 to 99999")])
def test_pixels_without_a_known_white_are_refused(root, kind, words):
    pixels = np.zeros((20, 20), kind)
    pixels[0, 0] = 99999
    with pytest.raises(ValueError, match=words):
        only_image(root, Image.fromarray(pixels), "x.tif")


def test_a_large_jpeg_looks_the_same_as_when_decoded_in_full(root):
    y, x = np.mgrid[:1024, :1024]
    photo = Image.fromarray(np.stack([x // 4, y // 4, (x ^ y) // 4], -1).astype(np.uint8))
    fast = only_image(root, photo, "x.jpg", quality=95).float()
    whole = torch.from_numpy(np.array(photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC))).permute(2, 0, 1).float()
    assert (fast - whole).abs().mean() < 2


def test_an_image_of_too_many_pixels_is_refused_by_name(root, monkeypatch):
    for most in (1000, 700):  # PIL warns from its limit on, and refuses from twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(ValueError, match="1 of 16 images .*\n.*000_only.png: has more than 0 megapixels; make it"):
            only_image(root, Image.new("L", (40, 40)))


def test_an_image_of_one_pixel_is_enlarged(root):
    assert (only_image(root, Image.new("L", (1, 1), 77)) == 77).all()


def test_files_that_can_not_be_read_are_named_and_counted(root):
    whole = (root / "test/normal/020.png").read_bytes()
    for number, content in enumerate([b"", b"hello", whole[: len(whole) // 2], *[b"text"] * 5]):
        (root / f"train/normal/bad{number}.png").write_bytes(content)
    with pytest.raises(ValueError, match="8 of 23 images can't be used") as caught:
        folder.load(root, SIZE)
    message = str(caught.value)
    assert "bad0.png" in message and "bad4.png" in message and "bad5.png" not in message
    assert message.endswith("and 3 more")
    assert str(root) not in message


def test_a_truncated_jpeg_is_refused(root):
    path = root / "test/normal/cut.jpg"
    Image.effect_noise((200, 200), 90).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="1 of 16 images can't be used.*\n.*cut.jpg: .*truncated"):
        folder.load(root, SIZE)


# Licence and cache.


@pytest.mark.parametrize("name", ["LICENSE", "LICENCE.txt", "License.md"])
def test_the_licence_files_first_line_is_shown(root, name):
    (root / name).write_text("\n# CC BY 4.0  \nmore\n")
    assert folder.load(root, SIZE).licence == "CC BY 4.0"


@pytest.mark.parametrize("content", [None, "\n \n"])
def test_without_a_licence_that_is_said(root, content):
    if content is not None:
        (root / "LICENSE").write_text(content)
    assert folder.load(root, SIZE).licence == "the folder does not say; check before you share"


def test_a_licence_added_later_is_seen_at_once(root):
    folder.load(root, SIZE)
    (root / "LICENSE").write_text("CC0")
    assert folder.load(root, SIZE).licence == "CC0"


def test_the_second_time_nothing_is_decoded(root, monkeypatch):
    first = folder.load(root, SIZE)
    monkeypatch.setattr(folder, "_decode", None)
    second = folder.load(root, SIZE)
    for split in ("train", "attacker", "test"):
        assert torch.equal(getattr(first, split).images, getattr(second, split).images)
        assert torch.equal(getattr(first, split).labels, getattr(second, split).labels)
    assert (first.source, first.fingerprint) == (second.source, second.fingerprint)


def test_a_changed_file_is_decoded_and_the_old_state_is_dropped(root, cache):
    folder.load(root, SIZE)
    folder.load(root, SIZE * 2)
    path = root / "test/normal/020.png"
    Image.new("L", (20, 20), 25).save(path)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    assert greys(folder.load(root, SIZE).test)[0] == 25
    assert len(list(cache.iterdir())) == 2


def test_swapping_the_classes_is_not_answered_from_the_cache(root):
    folder.load(root, SIZE)
    assert greys(folder.load(root, SIZE, positive="normal").test) == [30, 31, 20, 21, 22]


def test_a_damaged_cache_is_said_and_made_anew(root, cache, capsys):
    before = folder.load(root, SIZE).fingerprint
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert folder.load(root, SIZE).fingerprint == before
    assert "damaged" in capsys.readouterr().out
    folder.load(root, SIZE)
    assert capsys.readouterr().out == ""


def test_without_a_cache_images_are_still_read_and_that_is_said(root, monkeypatch, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("MEDATTACK_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="can't be written.*decoded anew each time"):
        assert len(folder.load(root, SIZE).test) == 5


def test_a_full_disk_costs_the_cache_and_not_the_images(root, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.store, "write", full)
    with pytest.warns(UserWarning, match="No space left.*decoded anew each time"):
        assert len(folder.load(root, SIZE).test) == 5


# The real images, where there are some.


@pytest.mark.skipif(not os.environ.get("MEDATTACK_DATA"), reason="MEDATTACK_DATA is not set")
@pytest.mark.parametrize("name", CLASSES)
def test_real_images_load_with_the_classes_and_counts_of_their_folders(name):
    root = Path(runtime.data_root())
    if not (root / name / "train").is_dir():
        pytest.skip(f"there are no {name} images in MEDATTACK_DATA")
    splits = folder.load(root, 128, name=name)
    assert splits.test.classes == CLASSES[name]
    for split, part in (("train", "train"), ("attacker", "val"), ("test", "test")):
        images = getattr(splits, split)
        for label, folder_name in enumerate(CLASSES[name]):
            assert int((images.labels == label).sum()) == len(list((root / name / part / folder_name).iterdir()))
        assert images.images.shape[1:] == (3, 128, 128)
        assert 10 < images.images.float().mean() < 245
    assert folder.load(root, 128, name=name).fingerprint == splits.fingerprint
