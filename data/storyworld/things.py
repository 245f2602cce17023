"""Things one can point at: the six that lead a story, what stands about, what people ride. (x, y) is the middle of the
base. What always looks alike stands in things.txt, a row a shape."""
from pathlib import Path

from PIL import ImageColor

from data.storyworld.canvas import Canvas, Color, darker, lighter

WOOD = (166, 108, 62)
_THINGS = {name: [row.split() for row in rows] for name, *rows in (
    block.splitlines() for block in Path(__file__).with_suffix(".txt").read_text("ascii").split("\n\n")[1:])}


def draw_thing(canvas: Canvas, name: str, x: float, y: float, s: float = 1.0, facing: int = 1) -> None:
    """Draw a thing of things.txt, s times as large as it stands there, mirrored where `facing` is -1."""
    for kind, color, *numbers in _THINGS[name]:
        pairs = [number.split(",") for number in numbers if "," in number]
        points = [(x + facing * float(dx) * s, y + float(dy) * s) for dx, dy in pairs]
        sizes = [float(size[1:]) if size[0] == "=" else float(size) * s for size in numbers if "," not in size]
        ink = ImageColor.getrgb(color)
        if kind == "stroke" and len(points) == 2 and points[0][1] == points[1][1]:
            points.sort()  # a level line is drawn from the left: Pillow's is another one from the right
        if kind in ("polygon", "stroke"):
            getattr(canvas, kind)(points, *sizes, ink)
        elif kind == "rect":
            (left, top), (right, bottom) = points[::facing]
            canvas.rect(left, min(top, bottom), right, max(top, bottom), ink, *sizes)  # type: ignore[arg-type]
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
