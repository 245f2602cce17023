"""Flat shapes on a picture of 360 x 270 units, drawn at twice the size and halved at the end for smooth edges."""
import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

WIDTH, HEIGHT = 360, 270
OVERSAMPLING = 2


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` with a share (0..1) of `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second))
    return red, green, blue


def darker(color: Color, share: float = 0.2) -> Color:
    return mix(color, (0, 0, 0), share)


def lighter(color: Color, share: float = 0.3) -> Color:
    return mix(color, (255, 255, 255), share)


def varied(color: Color, rng: random.Random, spread: int = 10) -> Color:
    """The colour with each channel moved by up to `spread`."""
    red, green, blue = (min(255, max(0, channel + round((rng.random() * 2 - 1) * spread))) for channel in color)
    return red, green, blue


class Canvas:
    """A picture in the making. Coordinates in units, y downwards; (x, y) pairs or plain numbers."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
        self._solid = ImageDraw.Draw(self.image)
        self._glass = ImageDraw.Draw(self.image, "RGBA")

    def rect(self, left: float, top: float, right: float, bottom: float, color: Color, radius: float = 0) -> None:
        box = [left * OVERSAMPLING, top * OVERSAMPLING, right * OVERSAMPLING - 1, bottom * OVERSAMPLING - 1]
        if box[2] < box[0] or box[3] < box[1]:
            return
        if radius:
            self._solid.rounded_rectangle(box, radius * OVERSAMPLING, color)
        else:
            self._solid.rectangle(box, color)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        self._solid.ellipse(_box(x, y, rx, ry), color)

    def dot(self, x: float, y: float, r: float, color: Color) -> None:
        self.oval(x, y, r, r, color)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        self._solid.polygon([(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points], color)

    def stroke(self, points: Sequence[Point], width: float, color: Color) -> None:
        """A line through the points with round ends and corners."""
        scaled = [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points]
        self._solid.line(scaled, color, max(1, round(width * OVERSAMPLING)))
        if width > 2:
            for x, y in points:
                self.dot(x, y, width / 2, color)

    def arc(self, x: float, y: float, rx: float, ry: float, begin: float, end: float, width: float, color: Color
            ) -> None:
        """Part of an oval's outline; degrees clockwise from the right."""
        self._solid.arc(_box(x, y, rx, ry), begin, end, color, round(width * OVERSAMPLING))

    def pie(self, x: float, y: float, rx: float, ry: float, begin: float, end: float, color: Color) -> None:
        """A slice of an oval; degrees clockwise from the right."""
        self._solid.pieslice(_box(x, y, rx, ry), begin, end, color)

    def glaze(self, points: Sequence[Point], color: Color, opacity: float) -> None:
        """A translucent polygon; opacity 0..1."""
        self._glass.polygon([(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points], (*color, round(255 * opacity)))

    def shadow(self, x: float, y: float, rx: float, ry: float) -> None:
        """A soft-looking dark oval on the ground."""
        self._glass.ellipse(_box(x, y, rx, ry), (20, 20, 40, 56))

    def glow(self, x: float, y: float, r: float, color: Color, opacity: float = 0.18) -> None:
        """Light around a point: three translucent discs."""
        for share in (1.0, 0.7, 0.45):
            self._glass.ellipse(_box(x, y, r * share, r * share), (*color, round(255 * opacity)))

    def blend(self, top: float, bottom: float, above: Color, below: Color) -> None:
        """A vertical run of colour over the whole width from y = top to y = bottom."""
        rows = round((bottom - top) * OVERSAMPLING)
        steps = np.linspace(0, 1, rows)[:, None, None]
        column = np.array(above) * (1 - steps) + np.array(below) * steps             # (rows, 1, 3)
        strip = Image.fromarray(column.round().astype(np.uint8)).resize((WIDTH * OVERSAMPLING, rows))
        self.image.paste(strip, (0, round(top * OVERSAMPLING)))

    def soften(self, color: Color, share: float) -> None:
        """Fade all that is drawn so far towards a colour, as haze or a wide aperture does."""
        self.image.paste(Image.blend(self.image, Image.new("RGB", self.image.size, color), share))

    def finish(self) -> Image.Image:
        """The picture, 360 x 270 RGB."""
        return self.image.reduce(OVERSAMPLING)


def _box(x: float, y: float, rx: float, ry: float) -> list[float]:
    """What an oval fills, in pixels."""
    return [(x - rx) * OVERSAMPLING, (y - ry) * OVERSAMPLING, (x + rx) * OVERSAMPLING, (y + ry) * OVERSAMPLING]


def turn(origin: Point, length: float, degrees: float, facing: int = 1) -> Point:
    """The end of a limb: 0 hangs down, 90 points ahead, 180 up."""
    angle = math.radians(degrees)
    return origin[0] + facing * length * math.sin(angle), origin[1] + length * math.cos(angle)
