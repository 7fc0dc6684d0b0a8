"""Promises of the chest phantom: one child at every size, anatomy in its place, disease in the lung, no shortcut."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from global_statistics import shortcut_auc

from medattack_edu.clinics.phantoms import chest
from medattack_edu.clinics.phantoms.chest_body import random_build
from medattack_edu.clinics.phantoms.chest_disease import opacity, severity
from medattack_edu.clinics.phantoms.chest_lungs import lungs
from medattack_edu.clinics.phantoms.chest_view import View, splat

PATIENTS = 480
SHORTCUT_SIZE = 64  # pixels; statistics of whole pictures need no more
BRIGHTER_LEVELS = 12  # a cheat that a test of shortcuts must catch, in grey levels of 255


def patient(number, label=0, size=128):
    return chest.draw(label, np.random.default_rng([5, number]), size)


@pytest.fixture(scope="module")
def clinic():
    """(images, labels) of PATIENTS different patients, half of them with pneumonia."""
    labels = np.arange(PATIENTS) % 2
    return np.stack([patient(number, label, SHORTCUT_SIZE) for number, label in enumerate(labels)]), labels


@pytest.fixture(scope="module")
def pairs():
    """The same 40 children without and with pneumonia: two float arrays (40, 128, 128), grey levels."""
    return tuple(
        np.stack([patient(number, label)[..., 0] for number in range(1000, 1040)]).astype(float) for label in (0, 1)
    )


def window(pictures, rows, columns):
    """Mean grey level of each picture in a window given in fractions of the side."""
    side = pictures.shape[1]
    (top, bottom), (left, right) = ([round(edge * side) for edge in edges] for edges in (rows, columns))
    return pictures[:, top:bottom, left:right].mean((1, 2))


def lung_level(pictures):
    rows = (0.40, 0.62)
    return (window(pictures, rows, (0.22, 0.34)) + window(pictures, rows, (0.68, 0.78))) / 2


def middle_level(pictures):
    return window(pictures, (0.40, 0.62), (0.47, 0.53))


def upright_view(size=128):
    return View(size, centre=(0.5, 0.14), unit=(0.38, 0.42), roll=0.0, yaw=0.0, pitch=0.0, magnification=0.0)


def test_the_classes_are_the_negative_then_the_disease():
    assert chest.CLASSES == ("normal", "pneumonia")


@pytest.mark.parametrize("size", [64, 128, 200, 256])
def test_a_film_is_grey_in_three_channels_and_uses_the_range(size):
    film = patient(1, label=1, size=size)
    assert film.shape == (size, size, 3) and film.dtype == np.uint8
    assert (film == film[..., :1]).all()
    assert film.min() < 40 and film.max() > 180


def test_the_same_patient_gives_the_same_bytes_in_another_process():
    here = [hashlib.sha256(patient(7, label, size).tobytes()).hexdigest() for label in (0, 1) for size in (64, 128)]
    script = (
        "import hashlib, numpy as np; from medattack_edu.clinics.phantoms import chest\n"
        "chest.draw(1, np.random.default_rng(99), 96)\n"  # another patient first must not matter
        "for label in (0, 1):\n"
        "    for size in (64, 128):\n"
        "        film = chest.draw(label, np.random.default_rng([5, 7]), size)\n"
        "        print(hashlib.sha256(film.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert here == there


def test_different_patients_differ():
    assert len({patient(number, size=64).tobytes() for number in range(20)}) == 20


def test_the_same_child_is_seen_at_64_128_and_256_pixels():
    """Halved, the larger film shows what the smaller does: correlation over 0.97, mean within 6 levels."""
    for number in range(6):
        small, middle, large = (patient(number, number % 2, size)[..., 0].astype(float) for size in (64, 128, 256))
        for coarse, fine in ((small, middle), (middle, large)):
            halved = fine.reshape(len(coarse), 2, len(coarse), 2).mean((1, 3))
            assert np.corrcoef(coarse.ravel(), halved.ravel())[0, 1] > 0.97
            assert abs(coarse.mean() - halved.mean()) < 6


def test_lungs_are_darker_than_mediastinum_and_abdomen(pairs):
    normal, _ = pairs
    abdomen = window(normal, (0.88, 0.98), (0.35, 0.65))
    assert (lung_level(normal) < middle_level(normal) - 25).mean() >= 0.95
    assert (lung_level(normal) < abdomen - 25).mean() >= 0.95


def test_the_heart_lies_on_the_patients_left(pairs):
    normal, _ = pairs
    rows = (0.55, 0.66)
    assert np.median(window(normal, rows, (0.58, 0.66)) - window(normal, rows, (0.34, 0.42))) > 10


def test_ribs_cross_the_lungs_and_not_along_them(pairs):
    normal, _ = pairs
    lung = normal[:, 45:85, 28:44]
    lung = lung - lung.mean((1, 2), keepdims=True)
    down, across = (np.abs(np.diff(lung, axis=axis)).mean((1, 2)) for axis in (1, 2))
    assert (down > across).mean() >= 0.85


def test_bones_add_up_to_their_volume_at_any_size():
    """What `splat` lays on the film is what was put in, wherever the lumps fall between pixels."""
    rng = np.random.default_rng(0)
    for size in (64, 100, 256):
        column, row, weight = rng.uniform([[2], [2], [0]], [[size - 2], [size - 2], [1]], (3, 500)).astype(np.float32)
        assert splat(column, row, weight, size).sum() == pytest.approx(weight.sum(), rel=1e-4)


def test_turning_the_body_moves_its_front_and_its_back_apart():
    turned = View(128, centre=(0.5, 0.14), unit=(0.38, 0.42), roll=0.0, yaw=0.2, pitch=0.0, magnification=0.0)
    points = np.array([[0, 0.5, 0.6], [0, 0.5, -0.6]], np.float32)
    column, row = turned.project(points)
    assert column[0] - column[1] > 10 and row[0] == pytest.approx(row[1])
    x, y = turned.plane(z=0.6)
    at_front = x[int(row[0]), int(column[0])], y[int(row[0]), int(column[0])]
    assert at_front == pytest.approx((0, 0.5), abs=0.02)


def test_opacity_takes_air_from_the_lungs_of_the_sick():
    lost = {0: [], 1: []}
    for number in range(24):
        for label, losses in lost.items():
            rng = np.random.default_rng([8, number])
            build = random_build(rng)
            lung = lungs(upright_view(), build, rng)
            filled = opacity(upright_view(), build, lung, label, rng)
            assert filled.min() >= 0 and filled.max() <= 0.97
            losses.append((filled * lung.depth).sum() / lung.depth.sum())
    assert np.median(lost[1]) > 0.10
    assert np.median(lost[0]) < 0.05


def test_pneumonia_whitens_the_lungs_against_the_mediastinum(pairs):
    well, sick = pairs
    gain = (lung_level(sick) - middle_level(sick)) - (lung_level(well) - middle_level(well))
    assert (gain > 0).mean() >= 0.8
    assert gain.mean() > 8


def test_pneumonia_changes_the_lungs_most(pairs):
    well, sick = pairs
    change = np.abs(sick - well)
    outside = (window(change, (0.90, 0.99), (0.40, 0.60)) + middle_level(change)) / 2
    assert lung_level(change).mean() > 2 * outside.mean()


def test_severity_overlaps_between_the_classes():
    rng = np.random.default_rng(3)
    well, sick = (np.array([severity(label, rng) for _ in range(4000)]) for label in (0, 1))
    assert 0.90 < (sick[:, None] > well).mean() < 0.999
    assert well.max() > np.quantile(sick, 0.25)


def test_global_statistics_cannot_tell_the_classes_apart(clinic):
    images, labels = clinic
    assert shortcut_auc(images, labels) < 0.65


def test_the_shortcut_test_would_notice_brighter_films_of_the_sick(clinic):
    images, labels = clinic
    cheat = np.clip(images.astype(int) + BRIGHTER_LEVELS * labels[:, None, None, None], 0, 255).astype(np.uint8)
    assert shortcut_auc(cheat, labels) > 0.65
