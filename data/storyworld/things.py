"""Things one can point at: the six that lead a story, what stands about, what people ride. (x, y) is the middle of the
base. What always looks alike stands in things.txt, a row a shape."""
import math
from pathlib import Path

from PIL import ImageColor

from data.storyworld.canvas import Canvas, Color, darker, lighter

WOOD = (166, 108, 62)
_THINGS = {name: [row.split() for row in rows] for name, *rows in (
    block.splitlines() for block in Path(__file__).with_suffix(".txt").read_text("ascii").split("\n\n")[1:])}


def draw_thing(canvas: Canvas, name: str, x: float, y: float, s: float = 1.0) -> None:
    """Draw a thing of things.txt, s times as large as it stands there."""
    for kind, color, *numbers in _THINGS[name]:
        pairs = [number.split(",") for number in numbers if "," in number]
        points = [(x + float(dx) * s, y + float(dy) * s) for dx, dy in pairs]
        sizes = [float(size[1:]) if size[0] == "=" else float(size) * s for size in numbers if "," not in size]
        ink = ImageColor.getrgb(color)
        if kind in ("polygon", "stroke"):
            getattr(canvas, kind)(points, *sizes, ink)
        elif kind == "rect":
            canvas.rect(*points[0], *points[1], ink, *sizes)  # type: ignore[arg-type]
        elif kind == "shadow":
            canvas.shadow(*points[0], *sizes)
        else:
            getattr(canvas, kind)(*points[0], *sizes, ink)


def draw_table(canvas: Canvas, x: float, y: float, width: float = 110, height: float = 52, color: Color = WOOD) -> None:
    canvas.shadow(x, y, width * 0.55, 6)
    for dx in (-width / 2 + 8, width / 2 - 8):
        canvas.rect(x + dx - 4, y - height, x + dx + 4, y, darker(color, 0.3))
    canvas.rect(x - width / 2, y - height - 7, x + width / 2, y - height + 3, color, 3)
    canvas.rect(x - width / 2, y - height - 7, x + width / 2, y - height - 4, lighter(color, 0.3), 2)


def draw_chair(canvas: Canvas, x: float, y: float, color: Color = (244, 196, 40), facing: int = 1,
               seat: float = 34) -> None:
    back = x - facing * 20
    canvas.shadow(x, y, 28, 5)
    for dx in (-18, 18):
        canvas.stroke([(x + dx, y - seat), (x + dx * 1.1, y)], 5, darker(color, 0.35))
    canvas.rect(min(back - 4, back + 4), y - seat - 46, max(back - 4, back + 4), y - seat + 2, darker(color, 0.12), 3)
    canvas.rect(x - 24, y - seat - 4, x + 24, y - seat + 5, color, 3)


def draw_tree(canvas: Canvas, x: float, y: float, s: float = 1.0, crown: Color = (62, 142, 58)) -> None:
    canvas.shadow(x, y, 34 * s, 6 * s)
    canvas.polygon([(x - 9 * s, y), (x + 9 * s, y), (x + 6 * s, y - 60 * s), (x - 6 * s, y - 60 * s)], (104, 68, 42))
    canvas.stroke([(x, y - 44 * s), (x + 20 * s, y - 68 * s)], 5 * s, (104, 68, 42))
    for dx, dy, r in ((-26, 76, 26), (26, 78, 26), (0, 66, 26), (-14, 104, 28), (16, 108, 28), (0, 92, 30)):
        canvas.dot(x + dx * s, y - dy * s, r * s, crown)
    for dx, dy, r in ((-18, 110, 13), (10, 118, 14), (-28, 82, 9), (22, 90, 10)):
        canvas.dot(x + dx * s, y - dy * s, r * s, lighter(crown, 0.2))


def draw_pine(canvas: Canvas, x: float, y: float, s: float = 1.0, color: Color = (26, 84, 62)) -> None:
    canvas.rect(x - 6 * s, y - 26 * s, x + 6 * s, y, (84, 54, 36))
    for index, (width, low, high) in enumerate(((46, 16, 84), (37, 58, 122), (27, 98, 156))):
        shade = lighter(color, 0.08 * index)
        canvas.polygon([(x - width * s, y - low * s), (x + width * s, y - low * s), (x, y - high * s)], shade)
        canvas.polygon([(x, y - low * s), (x + width * s, y - low * s), (x, y - high * s)], darker(shade, 0.14))


def draw_bed(canvas: Canvas, x: float, y: float, width: float = 170, quilt: Color = (70, 120, 220),
             facing: int = 1) -> None:
    """A bed seen from its side; the pillow is where `facing` points."""
    head, foot = x + facing * width / 2, x - facing * width / 2
    canvas.shadow(x, y, width * 0.55, 7)
    canvas.rect(min(head, head - facing * 8), y - 74, max(head, head - facing * 8), y, (128, 80, 48), 4)
    canvas.rect(min(foot, foot + facing * 7), y - 48, max(foot, foot + facing * 7), y, (128, 80, 48), 4)
    canvas.rect(x - width / 2 + 6, y - 40, x + width / 2 - 6, y - 12, (244, 240, 232), 6)
    canvas.oval(head - facing * 30, y - 44, 26, 10, (255, 255, 255))
    inner = sorted((foot + facing * 7, head - facing * 58))
    canvas.rect(inner[0], y - 46, inner[1], y - 14, quilt, 7)
    for step in range(1, 5):
        column = inner[0] + (inner[1] - inner[0]) * step / 5
        canvas.rect(column - 3, y - 45, column + 3, y - 15, lighter(quilt, 0.3))


def _wheel(canvas: Canvas, x: float, y: float, r: float, tyre: float, hub: Color, spokes: int = 0) -> None:
    canvas.arc(x, y, r, r, 0, 360, tyre, (34, 34, 40))
    for spoke in range(spokes):
        angle = math.pi * spoke / spokes
        dx, dy = (r - tyre) * math.cos(angle), (r - tyre) * math.sin(angle)
        canvas.stroke([(x - dx, y - dy), (x + dx, y + dy)], 0.8, (190, 190, 200))
    canvas.dot(x, y, r * 0.18, hub)


def draw_car_back(canvas: Canvas, x: float, y: float, paint: Color = (214, 34, 40)) -> None:
    """The cabin, behind the driver."""
    canvas.shadow(x, y, 128, 9)
    canvas.polygon([(x - 78, y - 62), (x - 50, y - 122), (x + 46, y - 122), (x + 84, y - 62)], darker(paint, 0.1))
    canvas.polygon([(x - 62, y - 66), (x - 42, y - 112), (x - 4, y - 112), (x - 4, y - 66)], (186, 226, 240))
    canvas.polygon([(x + 6, y - 66), (x + 6, y - 112), (x + 40, y - 112), (x + 68, y - 66)], (186, 226, 240))


def draw_car_front(canvas: Canvas, x: float, y: float, paint: Color = (214, 34, 40), facing: int = 1) -> None:
    """The body and wheels, before the driver."""
    canvas.rect(x - 124, y - 68, x + 124, y - 18, paint, 17)
    canvas.rect(x - 124, y - 34, x + 124, y - 26, lighter(paint, 0.4))
    canvas.stroke([(x - 1, y - 66), (x - 1, y - 22)], 1.6, darker(paint, 0.35))
    canvas.rect(x - 22, y - 58, x - 8, y - 54, (240, 240, 240), 2)
    canvas.oval(x + facing * 116, y - 50, 8, 9, (255, 240, 170))
    canvas.oval(x - facing * 119, y - 50, 5, 8, (255, 120, 60))
    for dx in (-74, 74):
        canvas.pie(x + dx, y - 20, 31, 31, 180, 360, darker(paint, 0.5))
        canvas.dot(x + dx, y - 20, 25, (34, 34, 40))
        canvas.dot(x + dx, y - 20, 13, (206, 210, 220))
        canvas.dot(x + dx, y - 20, 4, (90, 90, 100))


def draw_bicycle(canvas: Canvas, x: float, y: float, facing: int = 1, paint: Color = (20, 130, 230)) -> None:
    canvas.shadow(x, y, 78, 6)
    back, front, crank = x - facing * 44, x + facing * 46, x
    for wheel in (back, front):
        _wheel(canvas, wheel, y - 32, 32, 4.5, paint, spokes=6)
    saddle, bar = (x - facing * 16, y - 66), (x + facing * 34, y - 72)
    frame = ([(back, y - 32), (crank, y - 30), saddle, (back, y - 32)], [(crank, y - 30), bar, saddle],
             [bar, (front, y - 32)])
    for line in frame:
        canvas.stroke(line, 5, paint)
    canvas.stroke([(x + facing * 33, y - 72), (x + facing * 31, y - 86), (x + facing * 22, y - 88)], 4, (40, 40, 46))
    canvas.stroke([(saddle[0] - 10, saddle[1] - 4), (saddle[0] + 10, saddle[1] - 4)], 7, (60, 40, 30))
    canvas.dot(crank, y - 30, 7, (60, 60, 66))
    canvas.rect(x + facing * 52 - 15, y - 84, x + facing * 52 + 15, y - 64, (196, 148, 90), 3)


def draw_motorcycle(canvas: Canvas, x: float, y: float, facing: int = 1, paint: Color = (255, 140, 0)) -> None:
    canvas.shadow(x, y, 96, 7)
    for dx in (-58, 60):
        _wheel(canvas, x + facing * dx, y - 29, 29, 10, (210, 210, 216), spokes=4)
    canvas.stroke([(x - facing * 58, y - 29), (x - facing * 8, y - 34), (x + facing * 40, y - 66)], 10, (60, 62, 72))
    canvas.stroke([(x + facing * 60, y - 29), (x + facing * 40, y - 76)], 7, (190, 194, 204))
    canvas.oval(x, y - 34, 26, 19, (110, 114, 126))
    for row in range(3):
        canvas.stroke([(x - 16, y - 42 + row * 8), (x + 16, y - 42 + row * 8)], 2, (70, 72, 82))
    canvas.oval(x + facing * 20, y - 62, 27, 14, paint)
    canvas.oval(x + facing * 16, y - 66, 14, 5, lighter(paint, 0.5))
    canvas.stroke([(x - facing * 54, y - 60), (x - facing * 8, y - 58)], 12, (44, 36, 36))
    canvas.stroke([(x + facing * 42, y - 78), (x + facing * 26, y - 92)], 5, (50, 50, 58))
    canvas.dot(x + facing * 52, y - 72, 8, (255, 246, 190))
    canvas.stroke([(x - facing * 10, y - 20), (x - facing * 74, y - 16)], 7, (206, 210, 218))
    canvas.polygon([(x - facing * 80, y - 54), (x - facing * 34, y - 66), (x - facing * 44, y - 54)], paint)
