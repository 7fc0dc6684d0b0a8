"""Promises of the fundus phantom: one eye at every size, anatomy in its place, visible disease, no shortcut."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from global_statistics import shortcut_auc
from scipy.ndimage import binary_erosion

from medattack_edu.clinics.phantoms import fundus
from medattack_edu.clinics.phantoms.fundus_anatomy import draw_eye, retina_density
from medattack_edu.clinics.phantoms.fundus_vessels import absorption, grow_tree
from medattack_edu.clinics.phantoms.optics import pixel_grid

PATIENTS = 440
OUTSIDE_LEVEL = 12  # a pixel darker than this, of 255, lies outside the field or in deep shadow
JPEG_BLOCK_PX = 8  # compression spreads a change over its block
VISIBLE_LEVELS = 10  # a change of this many grey levels, of 255, can be seen


def patient(number, label=0, size=128):
    return fundus.draw(label, np.random.default_rng([5, number]), size)


@pytest.fixture(scope="module")
def clinic():
    """(images, labels) of PATIENTS different patients, half of them referable."""
    labels = np.arange(PATIENTS) % 2
    return np.stack([patient(number, label) for number, label in enumerate(labels)]), labels


@pytest.fixture(scope="module")
def pairs():
    """The same 30 patients without and with referable disease: two int arrays (30, 128, 128, 3)."""
    return tuple(np.stack([patient(number, label) for number in range(1000, 1030)]).astype(int) for label in (0, 1))


def test_the_classes_are_the_negative_then_the_disease():
    assert fundus.CLASSES == ("not_referable", "referable")


@pytest.mark.parametrize("size", [64, 97, 128, 200, 256])
def test_a_phantom_is_an_rgb_picture_of_the_size_asked_for(size):
    image = patient(1, size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.max() - image.min() > 40
    assert image.flags.c_contiguous


def test_the_same_generator_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib, numpy as np; from medattack_edu.clinics.phantoms import fundus\n"
        "for n in (4, 3):\n"
        "    print(hashlib.sha256(fundus.draw(1, np.random.default_rng([5, n]), 96).tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    here = [hashlib.sha256(patient(n, 1, 96).tobytes()).hexdigest() for n in (3, 4)]
    assert there == here[::-1]


def test_different_patients_are_different_eyes():
    images = [patient(number) for number in range(12)]
    assert len({image.tobytes() for image in images}) == 12


@pytest.mark.parametrize("size", [64, 256])
def test_the_same_patient_looks_the_same_at_every_size(size):
    for number in range(8):
        small, large = (patient(number, 1, side).astype(float) for side in sorted((size, 128)))
        side = len(small)
        shrunken = large.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(shrunken.ravel(), small.ravel())[0, 1] > 0.98
        assert np.abs(shrunken - small).mean() < 4


def eyes(count):
    for number in range(count):
        rng = np.random.default_rng([6, number])
        eye = draw_eye(rng, zoom=0.9, disc_aside=0.5)
        yield rng, eye


def around(point, radius, size):
    x, y = pixel_grid(size)
    return np.hypot(x - point[0], y - point[1]) < radius


def test_the_disc_is_bright_and_the_fovea_dark():
    for rng, eye in eyes(12):
        green = retina_density(rng, eye, 128)[1]
        near_fovea = around(eye.macula, 0.35, 128) & ~around(eye.macula, 0.25, 128)
        assert np.median(green[around(eye.disc, 0.6 * eye.disc_radius, 128)]) < np.median(green) - 0.3
        assert np.median(green[around(eye.macula, 0.05, 128)]) > np.median(green[near_fovea]) + 0.05


def test_the_macula_lies_to_the_temple_of_the_disc_and_both_eyes_occur():
    temples = []
    for _, eye in eyes(40):
        assert np.sign(eye.macula[0] - eye.disc[0]) == eye.temple
        assert np.sign(eye.disc[0]) == -eye.temple
        temples.append(eye.temple)
    assert 10 < temples.count(1) < 30


def test_veins_are_wider_than_arteries_and_leave_the_fovea_free():
    vein_area, artery_area = [], []
    for rng, eye in eyes(10):
        tree = grow_tree(rng, eye.fovea_offset, richness=6)
        veins, arteries = absorption(tree, eye.fovea_offset, eye.to_image, eye.zoom, 128)
        assert max(veins.max(), arteries.max()) <= 1.3
        assert (veins + arteries)[around(eye.macula, 0.08 * eye.zoom, 128)].max() < 0.02
        assert (veins > 0.5)[around(eye.disc, 0.2, 128)].any()
        vein_area.append((veins > 0.4).mean())
        artery_area.append((arteries > 0.4).mean())
    assert 0.01 < np.mean(vein_area) < 0.12
    assert np.mean(artery_area) < 0.9 * np.mean(vein_area)


def test_vessels_taper_and_branch():
    for rng, eye in eyes(5):
        generations = grow_tree(rng, eye.fovea_offset, richness=6)
        for vessels in generations:
            assert (np.diff(vessels.radius, axis=1) < 0).all()
        widths = [np.median(vessels.radius[:, 0]) for vessels in generations[:3]]
        assert widths == sorted(widths, reverse=True)


def test_the_surround_is_black(clinic):
    images, _ = clinic
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=(1, 2))
    assert np.mean(corners < 12) > 0.85


def test_exposure_runs_from_nearly_black_to_blown_out(clinic):
    images, _ = clinic
    middle = images[:, 40:88, 40:88, 0].mean(axis=(1, 2))
    assert middle.min() < 60
    assert middle.max() > 235
    assert 110 < np.median(middle) < 190


def test_disease_shows_in_the_same_eye_and_only_inside_the_field(pairs):
    healthy, ill = pairs
    change = np.abs(ill - healthy).max(axis=-1)
    dark = np.maximum(healthy, ill).max(axis=-1) < OUTSIDE_LEVEL
    outside = binary_erosion(dark, iterations=JPEG_BLOCK_PX, border_value=1, structure=np.ones((1, 3, 3)))
    assert outside.any(axis=(1, 2)).mean() > 0.5
    assert np.mean((change > VISIBLE_LEVELS).sum(axis=(1, 2)) >= 6) > 0.75
    assert (change[outside] < VISIBLE_LEVELS).all()
    assert np.median(change) <= 2  # the same eye, the same photograph


def test_disease_both_darkens_and_brightens(pairs):
    """Haemorrhages take light away, exudates give it back."""
    change = (pairs[1] - pairs[0])[..., 1]
    assert np.mean((change < -VISIBLE_LEVELS).any(axis=(1, 2))) > 0.6
    assert np.mean((change > VISIBLE_LEVELS).any(axis=(1, 2))) > 0.4


def test_severity_overlaps_between_the_classes():
    rng = np.random.default_rng(0)
    mild, referable = (np.array([fundus.draw_severity(label, rng) for _ in range(2000)]) for label in (0, 1))
    assert np.mean(mild == 0) == pytest.approx(1 - fundus.MILD_SHARE, abs=0.04)
    assert referable.min() > 0
    share_of_bland_referable = np.mean(referable < np.quantile(mild[mild > 0], 0.75))
    assert 0.05 < share_of_bland_referable < 0.5


def test_global_statistics_do_not_tell_the_classes_apart(clinic):
    assert shortcut_auc(*clinic) < 0.65


def test_a_planted_shortcut_would_be_found(clinic):
    """The test above can fail: a fifth less blue in one class is more than enough."""
    images, labels = clinic
    yellowed = np.where(labels[:, None, None, None] == 1, images * [1, 1, 0.8], images).astype(np.uint8)
    assert shortcut_auc(yellowed, labels) > 0.75
