"""The file that the splits of a clinic are kept in: the same when read again, and never taken for whole when it isn't."""

import pytest
import torch

from medattack_edu.clinics import store
from medattack_edu.clinics.images import ImagesUnavailable

FACTS = {"classes": ("normal", "pneumonia"), "source": "a test", "licence": "CC0"}


def parts_of(seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        split: (
            torch.randint(0, 256, (count, channels, 8, 8), generator=generator, dtype=torch.uint8),
            torch.arange(count) % 2,
        )
        for split, count in (("train", 6), ("attacker", 4), ("test", 2))
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "images.safetensors"


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_read_is_what_was_written(path, channels):
    parts = parts_of(channels=channels)
    store.write(path, parts, **FACTS)
    splits = store.read(path)
    for split, (images, labels) in parts.items():
        read = getattr(splits, split)
        assert torch.equal(read.images, images.expand(-1, 3, -1, -1))
        assert torch.equal(read.labels, labels)
        assert read.classes == ("normal", "pneumonia")
    assert (splits.source, splits.licence) == ("a test", "CC0")
    assert splits.fingerprint == store.assemble(parts, **FACTS).fingerprint


def test_grey_images_take_the_memory_of_one_plane(path):
    store.write(path, parts_of(channels=1), **FACTS)
    images = store.read(path).train.images
    assert images.shape == (6, 3, 8, 8)
    assert images.stride(1) == 0


def test_grey_images_are_sampled_as_three_equal_channels():
    x, _ = store.assemble(parts_of(channels=1), **FACTS).train.sample(4)
    assert x.shape == (4, 3, 8, 8)
    assert torch.equal(x[:, 0], x[:, 2])


def test_the_fingerprint_changes_with_a_pixel_a_label_and_a_class_name():
    before = store.assemble(parts_of(), **FACTS).fingerprint
    pixel, label = parts_of(), parts_of()
    pixel["test"][0][0, 0, 0, 0] += 1
    label["test"][1][0] = 1
    assert store.assemble(pixel, **FACTS).fingerprint != before
    assert store.assemble(label, **FACTS).fingerprint != before
    assert store.assemble(parts_of(), **FACTS | {"classes": ("pneumonia", "normal")}).fingerprint != before


def test_the_fingerprint_stays_with_other_words_about_the_same_images():
    before = store.assemble(parts_of(), **FACTS).fingerprint
    assert store.assemble(parts_of(), **FACTS | {"source": "elsewhere", "licence": "MIT"}).fingerprint == before


def damage_pixel(content):
    content[-1] ^= 1


def damage_length(content):
    del content[-10:]


def damage_everything(content):
    content.clear()


def damage_header(content):
    content[:20] = b"<html>not found</ht>"


def damage_texts(content):
    start = content.index(b'"fingerprint"')
    content[start : start + 13] = b'"fingerprant"'


@pytest.mark.parametrize("damage", [damage_pixel, damage_length, damage_everything, damage_header, damage_texts])
def test_damage_is_noticed(path, damage):
    store.write(path, parts_of(), **FACTS)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    with pytest.raises(store.DamagedImages, match="images.safetensors is damaged"):
        store.read(path)


def test_damaged_images_are_unavailable_images():
    assert issubclass(store.DamagedImages, ImagesUnavailable)


def test_nothing_there_is_a_file_not_found(path):
    with pytest.raises(FileNotFoundError):
        store.read(path)
