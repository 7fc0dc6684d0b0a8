"""Fundus phantoms: one procedural photograph of a retina per patient, healthy or with diabetic retinopathy.

Here are the patient and the order of events; the eye, its vessels, its lesions and the camera live in fundus_*.py. The
picture is optics, not paint: a tinted reflecting wall, anatomy and disease as optical density in linear light, then
illumination, haze, stray light, focus, sensor and file.
"""

import numpy as np

from medattack_edu.clinics.phantoms import fundus_camera as camera
from medattack_edu.clinics.phantoms import fundus_lesions as lesions
from medattack_edu.clinics.phantoms.fundus_anatomy import draw_eye, retina_density
from medattack_edu.clinics.phantoms.optics import chance

CLASSES = ("not_referable", "referable")

MILD_SHARE = 0.40  # of those not referable: a few microaneurysms
DRUSEN_SHARE = 0.15  # of all patients: age, not diabetes
LASER_SHARE = 0.10  # of the referable
HAZE_SCATTERS = 1.2  # brightness of a veil over the mean of the fundus behind it


def draw(label, rng, size=128):
    """One patient's fundus photograph.

    The two labels of one generator state show the same eye in the same photograph; only the disease differs.

    Args:
        label: 0 not referable (healthy or mild retinopathy), 1 referable (grade 2 or more).
        rng: everything about the patient and the photograph comes from here.
        size: pixels per side, 64 to 256; one generator state gives the same eye at every size.

    Returns:
        uint8 (size, size, 3), RGB.
    """
    patient, illness, photograph = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 3))
    field = camera.draw_field(photograph, size)
    eye = draw_eye(patient, field.zoom, field.disc_aside)
    fundus = lesions.Fundus(retina_density(patient, eye, size), eye.zoom)
    if chance(patient, DRUSEN_SHARE):
        lesions.add_drusen(patient, fundus, patient.poisson(8) + 1, eye.macula)
    _add_disease(illness, label, fundus, eye)
    return _photograph(photograph, field, fundus.density)


def draw_severity(label, rng):
    """How ill a patient is, 0 to 1. The classes overlap: a referable eye may show less than a mild one."""
    if label:
        return 0.06 + 0.94 * rng.beta(1.1, 1.5)
    return 0.45 * rng.beta(1.0, 3.5) if chance(rng, MILD_SHARE) else 0.0


def _add_disease(rng, label, fundus, eye):
    """Every sign follows the severity, with its own chance; mild disease is microaneurysms and hardly more."""
    severity = draw_severity(label, rng)
    if severity == 0:
        return
    leaks = eye.macula + eye.zoom * rng.normal(0, 0.42, (5, 2))
    lesions.add_microaneurysms(rng, fundus, rng.poisson(2 + 20 * severity), leaks)
    if not label:
        lesions.add_haemorrhages(rng, fundus, rng.poisson(2 * severity), leaks, eye.disc)
        return
    lesions.add_haemorrhages(rng, fundus, rng.poisson(1 + 16 * severity), leaks, eye.disc)
    if chance(rng, 0.30 + 0.55 * severity):
        lesions.add_hard_exudates(rng, fundus, rng.poisson(0.5 + 3 * severity) + 1, eye.macula, severity)
    if chance(rng, 0.10 + 0.45 * severity):
        lesions.add_cotton_wool_spots(rng, fundus, rng.poisson(1 + 3 * severity) + 1, eye.disc)
    if chance(rng, LASER_SHARE):
        lesions.add_laser_scars(rng, fundus, eye.macula)


def _photograph(rng, field, density):
    """What the camera makes of a fundus of this density. Returns uint8 (size, size, 3)."""
    size = density.shape[-1]
    tint = camera.draw_tint(rng) ** np.float32(camera.DISPLAY_GAMMA)
    light = tint[:, None, None] * np.exp(-density) * camera.illuminate(rng, size, field)
    veil = HAZE_SCATTERS * float(tint.mean())
    light = camera.scatter(rng, light, field, veil)
    light = camera.add_flare(rng, light, field, veil)
    light = camera.add_dust(rng, light, field)
    return camera.expose(rng, light, field)
