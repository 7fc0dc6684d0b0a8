"""Dermoscopy phantoms: pigmented skin lesions seen through a dermatoscope, drawn layer by layer. No real image inside.

Skin (derm_skin), a lesion on it (derm_outline, derm_lesion, derm_signs), what lies over it and the camera (derm_camera).
Each has its own stream of chance: one patient can be drawn with either diagnosis, on the same skin, by the same camera.
"""

import numpy as np

from medattack_edu.clinics.phantoms import derm_camera, derm_lesion, derm_skin

CLASSES = ("nevus", "melanoma")
LARGEST_SEED = 2**63 - 1


def draw(label, rng, size=128):
    """Draws one patient.

    Args:
        label: 0 for a nevus, 1 for a melanoma.
        rng: all chance comes from here; the same state gives the same bytes.
        size: pixels per side; 64 to 256 show the same anatomy.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        ValueError: if `label` is neither 0 nor 1.
    """
    if label not in (0, 1):
        raise ValueError(f"label={label!r} is no class. Use 0 for {CLASSES[0]} or 1 for {CLASSES[1]}.")
    skin, lesion, above, camera = (np.random.default_rng(seed) for seed in rng.integers(LARGEST_SEED, size=4))
    light = derm_skin.surface(skin, size)
    light = derm_lesion.paint(lesion, light, derm_lesion.malignancy_of(lesion, int(label)))
    for layer in (derm_camera.hairs, derm_camera.ink_dots, derm_camera.bubbles, derm_camera.glints, derm_camera.ruler):
        light = layer(above, light)
    return derm_camera.photograph(camera, derm_camera.dermatoscope(camera, light))
