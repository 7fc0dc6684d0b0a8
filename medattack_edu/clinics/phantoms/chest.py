"""Phantom chest radiographs of small children, well or with pneumonia: one call, one patient.

Only the order of events lives here. The body is in `chest_body`, its bones in `chest_bones`, its lungs in
`chest_lungs`, the disease in `chest_disease`, the rays and the film in `chest_film`, the geometry in `chest_view`.
"""

import numpy as np

from .chest_body import abdomen, random_build, soft_tissue
from .chest_bones import skeleton
from .chest_disease import opacity
from .chest_film import collimate, develop, expose, hardware, mark
from .chest_lungs import branching_tree, lungs, trachea
from .chest_view import View
from .optics import between, chance, noise, to_bytes

CLASSES = ("normal", "pneumonia")


def draw(label, rng, size=128):
    """One child's frontal chest film.

    Args:
        label: 0 for normal, 1 for pneumonia. With the same generator state, only the lungs' air differs between them.
        rng: a `numpy.random.Generator`; everything about the patient and the film comes from it.
        size: pixels per side.

    Returns:
        uint8 (size, size, 3), grey in three channels.
    """
    patient, disease, film = (np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 3))
    build = random_build(patient)
    view = random_view(build, size, patient)
    lung = lungs(view, build, patient)

    air = between(patient, 0.56, 0.86) * lung.depth
    texture = noise(patient, size, slope=1.1, coarsest=0.08, finest=0.003)
    air = air * (1 - np.float32(between(patient, 0.01, 0.04)) * texture)
    vessels = branching_tree(view, build, patient, radius=between(patient, 0.026, 0.038))
    vessels = np.minimum(np.float32(2.8) * vessels, np.float32(0.18)) * np.minimum(lung.depth / np.float32(0.25), 1)
    soft = soft_tissue(view, build, patient) + abdomen(view, build, lung.below_dome, patient)
    soft = soft - trachea(view, build, patient)
    bone = skeleton(view, build, patient)

    filled = opacity(view, build, lung, label, disease)
    soft = soft - (1 - filled) * (air - np.minimum(vessels, air))
    density = expose(np.maximum(soft, 0), bone + hardware(size, film), film)
    return to_bytes(mark(collimate(develop(density, film), film), film))


def random_view(build, size, rng):
    """Where the child lies on the film: framed by the apex above and the diaphragm below, one in seven cropped tightly."""
    tight = chance(rng, 0.15)
    apex = rng.normal(0.15, 0.05) - (0.08 if tight else 0)
    dome = rng.normal(0.735, 0.055) + (0.06 if tight else 0)
    across = float(np.clip(rng.normal(0.380, 0.042), 0.29, 0.48)) + (between(rng, 0.02, 0.10) if tight else 0)
    return View(
        size=size,
        centre=(float(rng.normal(0.5, 0.03)), float(apex)),
        unit=(across, float(dome - apex) / build.dome),
        roll=float(rng.normal(0, 0.035)),
        yaw=float(rng.normal(0, 0.10)),
        pitch=float(rng.normal(0.0, 0.10)),
        magnification=between(rng, -0.08, 0.10),
    )
