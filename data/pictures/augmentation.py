"""Augmentation: the same random change of flip, place and colour for several pictures.

What is drawn is a few numbers that depend on a key alone, so that all photos of a story (or of an album) are changed
alike, and every time again. What changes here changes VERSION.
"""
import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

VERSION = 1
MAX_DEGREES = 5.0
LEAST_CROP = 0.75  # of the side of the largest square that a turned picture fills
COLOUR = 0.2       # brightness, contrast and saturation change by up to this share


@dataclass(frozen=True)
class Augmentation:
    """One draw.

    Attributes:
        is_flipped: left for right. degrees: turned by, anticlockwise. crop: side of what is kept, as a share of the
            largest square that lies within the turned picture. right, down: where that is, from -1 to 1.
        brightness, contrast, saturation: factors.
    """

    is_flipped: bool
    degrees: float
    crop: float
    right: float
    down: float
    brightness: float
    contrast: float
    saturation: float


def draw_augmentation(*key: str | int) -> Augmentation:
    """Draw from a key: equal keys, equal draws, on any machine."""
    digest = hashlib.sha256("\t".join(map(str, key)).encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    colours = random.uniform(1 - COLOUR, 1 + COLOUR, 3).tolist()
    return Augmentation(bool(random.integers(2)), float(random.uniform(-MAX_DEGREES, MAX_DEGREES)),
                        float(random.uniform(LEAST_CROP, 1)), *random.uniform(-1, 1, 2).tolist(), *colours)


def augment_picture(picture: np.ndarray, drawn: Augmentation) -> np.ndarray:
    """Change a picture as drawn.

    Args:
        picture: (S, S, 3) uint8.

    Returns:
        (S, S, 3) uint8; nothing from outside the picture is ever seen.
    """
    side = len(picture)
    angle = math.radians(drawn.degrees)
    # a square turned by an angle fits into an upright one that is cos + |sin| times as wide
    kept = side * drawn.crop / (math.cos(angle) + abs(math.sin(angle)))
    room = (side - kept * (math.cos(angle) + abs(math.sin(angle)))) / 2
    scale, mirror = kept / side, -1 if drawn.is_flipped else 1
    middle, centre_x, centre_y = side / 2, side / 2 + drawn.right * room, side / 2 + drawn.down * room
    a, b = scale * math.cos(angle) * mirror, -scale * math.sin(angle)  # places of the result -> of the picture
    d, e = scale * math.sin(angle) * mirror, scale * math.cos(angle)
    shape = (a, b, centre_x - (a + b) * middle, d, e, centre_y - (d + e) * middle)
    image = Image.fromarray(picture).transform((side, side), Image.Transform.AFFINE, shape,
                                               Image.Resampling.BILINEAR)
    for change, factor in ((ImageEnhance.Brightness, drawn.brightness), (ImageEnhance.Contrast, drawn.contrast),
                           (ImageEnhance.Color, drawn.saturation)):
        image = change(image).enhance(factor)
    return np.asarray(image)
