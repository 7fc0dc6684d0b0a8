"""Pictures of any mode as 8-bit ones, without a guess. Which files are read, and what from them, is decided elsewhere."""

import numpy as np
from PIL import Image

# A 16-bit file that never gets brighter than this holds 12-bit values, as detectors deliver them.
BRIGHTEST_12_BIT = (1 << 12) - 1
WHITE_16_BIT = (1 << 16) - 1


def to_8_bit(image, background):
    """8-bit RGB or grey of a PIL image in any mode; where it is transparent, on a `background` such as "black".

    Raises:
        ValueError: where that would need a guess; the message goes on after the file's name.
    """
    if image.mode == "F":
        raise ValueError("holds floating-point pixels, of which nobody knows what is white; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _scaled_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")


def _scaled_16_bit(image):
    """8-bit grey of 16-bit grey. PIL's own conversion clips at 255 instead, which makes nearly everything white."""
    values = np.asarray(image)
    brightest = int(values.max())
    if values.min() < 0 or brightest > WHITE_16_BIT:
        raise ValueError(f"holds values from {values.min()} to {brightest}; save it with 8 or 16 bits")
    if brightest <= BRIGHTEST_12_BIT:
        raise ValueError(
            f"is a 16-bit file whose brightest value is {brightest:,} of {WHITE_16_BIT:,}, so it would be nearly "
            "black; stretch its values first"
        )
    return Image.fromarray(np.round(values * (255 / WHITE_16_BIT)).astype(np.uint8))
