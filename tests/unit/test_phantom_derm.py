"""Dermoscopy phantoms: the same bytes everywhere, the same patient at every size, disease in the lesion and nowhere else."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from global_statistics import shortcut_auc

from medattack_edu.clinics.phantoms import derm, derm_camera, derm_lesion, derm_outline, derm_skin, derm_texture

NEVUS, MELANOMA = 0, 1


def draw(label, patient, size=128):
    return derm.draw(label, np.random.default_rng([4, patient]), size)


def grey(image):
    return image.astype(np.float32).mean(axis=2)


def halved(image):
    """Mean of every 2 x 2 block."""
    rows, columns = image.shape
    return image.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))


def digest(images):
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()


def test_class_one_is_the_disease():
    assert derm.CLASSES == ("nevus", "melanoma")


@pytest.mark.parametrize("size", [64, 128, 200, 256])
@pytest.mark.parametrize("label", [NEVUS, MELANOMA])
def test_a_phantom_is_an_rgb_picture_of_the_size_asked_for(size, label):
    image = draw(label, 0, size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert image.std() > 5
    assert not np.array_equal(image[..., 0], image[..., 2])


def test_the_same_generator_gives_the_same_bytes_in_any_process_and_any_order():
    cases = [(NEVUS, 7, 128), (MELANOMA, 8, 128), (MELANOMA, 7, 64)]
    here = digest([draw(*case) for case in cases])
    draw(NEVUS, 99, 200)  # whatever was drawn before must not matter
    assert digest([draw(*case) for case in cases]) == here
    code = (
        "import hashlib, numpy as np\n"
        "from medattack_edu.clinics.phantoms import derm\n"
        f"cases = {cases[::-1]}\n"
        "images = [derm.draw(l, np.random.default_rng([4, p]), s) for l, p, s in cases][::-1]\n"
        "print(hashlib.sha256(b''.join(i.tobytes() for i in images)).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == here


def test_patients_differ():
    assert len({digest([draw(NEVUS, patient, 64)]) for patient in range(20)}) == 20


@pytest.mark.parametrize("label", [NEVUS, MELANOMA])
def test_a_patient_shows_the_same_anatomy_at_every_size(label):
    """Halving a 256 px picture gives the 128 px picture of that patient, and not that of the next one."""
    large = [halved(grey(draw(label, patient, 256))) for patient in range(6)]
    small = [grey(draw(label, patient, 128)) for patient in range(6)]
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(large, small, strict=True)]
    other = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(large, small[1:] + small[:1], strict=True)]
    assert min(same) > 0.97
    assert np.mean(other) < 0.8
    assert np.mean([abs(a.mean() - b.mean()) for a, b in zip(large, small, strict=True)]) < 2


def test_an_unknown_label_is_refused_in_words():
    with pytest.raises(ValueError, match="0 for nevus or 1 for melanoma"):
        derm.draw(2, np.random.default_rng(0))


def test_without_the_lesion_nothing_tells_the_classes_apart(monkeypatch):
    monkeypatch.setattr(derm_lesion, "paint", lambda rng, light, malignancy: light)
    for patient in range(5):
        assert np.array_equal(draw(NEVUS, patient), draw(MELANOMA, patient))


def test_the_diagnosis_changes_the_lesion_and_not_the_skin_around_it():
    """The same patient drawn both ways: the middle of the frame changes many times more than its corners."""
    middle, corners = [], []
    for patient in range(16):
        change = np.abs(grey(draw(NEVUS, patient)) - grey(draw(MELANOMA, patient)))
        middle.append(change[40:88, 40:88].mean())
        corners.append(np.mean([change[rows, columns].mean() for rows in ENDS for columns in ENDS]))
    assert np.median(middle) > 8
    assert np.median(middle) > 4 * np.median(corners)


ENDS = (slice(0, 16), slice(-16, None))


def test_pigment_darkens_the_lesion_and_spares_the_skin():
    size = 128
    light = np.full((size, size, 3), 0.5, np.float32)
    for seed in range(10):
        shape = derm_outline.outline(np.random.default_rng(seed), size, 0.05)
        painted = derm_lesion.paint(np.random.default_rng(seed), light, 0.05).mean(axis=2)
        inside, far = shape.inside > 0.8, shape.inside < 0.002
        assert painted[inside].mean() < 0.75 * 0.5
        if far.any():
            assert painted[far].mean() > 0.9 * 0.5


def test_malignancy_makes_lesions_asymmetric_and_many_coloured():
    """Full malignancy against none, on the same skin, from the same chance."""
    size = 96
    light = np.full((size, size, 3), 0.5, np.float32)
    measured = {0.05: [], 0.95: []}
    for malignancy, values in measured.items():
        for seed in range(40):
            density = -np.log(derm_lesion.paint(np.random.default_rng(seed), light, malignancy) / 0.5 + 0.01)
            values.append((asymmetry(density[..., 1]), colour_spread(density)))
    bland, malignant = np.array(measured[0.05]), np.array(measured[0.95])
    asymmetry_gain, colour_gain = np.median(malignant, axis=0) / np.median(bland, axis=0)
    assert asymmetry_gain > 1.25
    assert colour_gain > 1.4


def asymmetry(density):
    """Share of the pigment that doesn't cover itself when turned by 180 degrees about its own centre."""
    from scipy.ndimage import center_of_mass, shift

    density = np.maximum(density, 0)
    size = density.shape[0]
    row, column = center_of_mass(density)
    centred = shift(density, (size / 2 - 0.5 - row, size / 2 - 0.5 - column), order=1)
    return np.abs(centred - centred[::-1, ::-1]).sum() / (2 * centred.sum())


def colour_spread(density):
    """Spread of the ratio of blue to green density, where there is pigment."""
    pigmented = density[..., 1] > 0.3
    return np.std(density[pigmented][:, 2] / density[pigmented][:, 1])


def test_severities_of_the_classes_overlap_and_differ():
    rng = np.random.default_rng(0)
    nevi = np.array([derm_lesion.malignancy_of(rng, NEVUS) for _ in range(4000)])
    melanomas = np.array([derm_lesion.malignancy_of(rng, MELANOMA) for _ in range(4000)])
    better = (melanomas[:, None] > nevi[None, :]).mean()
    assert 0.9 < better < 0.99
    assert (nevi > np.quantile(melanomas, 0.1)).mean() > 0.05


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("spacing", [0.04, 0.06])
def test_the_pigment_network_is_a_honeycomb_of_the_spacing_asked_for(size, spacing):
    """Its spectrum peaks at the frequency of a triangular lattice, 2 / (sqrt(3) spacing), at every size."""
    mesh = derm_texture.honeycomb(np.random.default_rng(3), size, spacing=spacing, unrest=0.0)
    power = np.abs(np.fft.fft2(mesh - mesh.mean())) ** 2
    cycles = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)) * size
    ring = np.array([power[(cycles >= k) & (cycles < k + 2)].mean() for k in range(4, size // 2 - 2)])
    assert np.argmax(ring) + 5 == pytest.approx(2 / (np.sqrt(3) * spacing), rel=0.15)
    assert 0.2 < mesh.mean() < 0.6


def test_hairs_cover_the_same_share_of_the_field_at_every_size():
    points = np.stack([np.linspace(0.1, 0.9, 24), np.linspace(0.2, 0.7, 24)], axis=1)
    length = np.hypot(0.8, 0.5)
    for size in (64, 128, 256):
        ink = derm_camera.drawn_lines(size, [(points, np.full(24, 0.02))])
        assert ink.mean() == pytest.approx(0.02 * length, rel=0.2)
        assert 0 <= ink.min() and ink.max() <= 1


def test_skin_is_skin_coloured():
    """Reddest in red, in nearly every patient; never black, never blown out everywhere."""
    colours = np.array([derm_skin.tone(np.random.default_rng(seed)) for seed in range(300)])
    assert (colours[:, 0] >= colours[:, 1]).mean() > 0.97
    assert 0.3 < np.median(colours[:, 1]) < 0.6
    assert colours.min() > 0.02


def test_global_statistics_do_not_give_the_diagnosis_away():
    labels = np.arange(700) % 2
    images = np.stack([draw(int(label), patient, 64) for patient, label in enumerate(labels)])
    assert shortcut_auc(images, labels) < 0.65
