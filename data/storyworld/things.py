"""Things one can point at: the six that lead a story, and what stands about. (x, y) is the middle
of the base, s a scale."""
from collections.abc import Callable

from data.storyworld.canvas import Canvas, Color, darker, lighter

WOOD = (166, 108, 62)


def draw_book(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    canvas.polygon([(x - 38 * s, y), (x + 30 * s, y), (x + 40 * s, y - 8 * s), (x + 40 * s, y - 98 * s),
                    (x - 28 * s, y - 98 * s), (x - 38 * s, y - 90 * s)], (250, 240, 214))
    for row in range(4):
        canvas.stroke([(x + (32 + row * 2.2) * s, y - (2 + row * 1.8) * s), (x + (32 + row * 2.2) * s, y - 92 * s)],
                      0.6,
                      (200, 186, 150))
    canvas.rect(x - 38 * s, y - 90 * s, x + 31 * s, y, (182, 20, 38), 3)
    canvas.rect(x - 38 * s, y - 90 * s, x - 27 * s, y, (128, 10, 26), 3)
    canvas.rect(x - 18 * s, y - 78 * s, x + 22 * s, y - 56 * s, (250, 204, 76), 2)
    canvas.dot(x + 2 * s, y - 32 * s, 13 * s, (250, 204, 76))
    canvas.dot(x + 2 * s, y - 32 * s, 8 * s, (182, 20, 38))


def draw_plant(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    for index, (dx, height) in enumerate(((-44, 78), (44, 78), (-28, 104), (28, 104), (-10, 118), (12, 112),
                                          (-50, 56), (50, 56))):
        green = ((34, 120, 48), (58, 160, 62), (24, 98, 54))[index % 3]
        canvas.polygon([(x, y - 36 * s), (x + dx * 0.35 * s - 11 * s, y - (height * 0.7) * s),
                        (x + dx * s, y - height * s),
                        (x + dx * 0.5 * s + 10 * s, y - (height * 0.62) * s)], green)
        canvas.stroke([(x, y - 36 * s), (x + dx * s, y - height * s)], 1, lighter(green, 0.35))
    canvas.polygon([(x - 28 * s, y - 40 * s), (x + 28 * s, y - 40 * s), (x + 20 * s, y), (x - 20 * s, y)],
                   (200, 98, 52))
    canvas.rect(x - 32 * s, y - 46 * s, x + 32 * s, y - 34 * s, (222, 118, 66), 3)


def draw_bottle(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    glass = (20, 148, 110)
    canvas.rect(x - 22 * s, y - 74 * s, x + 22 * s, y, glass, 9 * s)
    canvas.polygon([(x - 22 * s, y - 66 * s), (x + 22 * s, y - 66 * s), (x + 8 * s, y - 92 * s),
                    (x - 8 * s, y - 92 * s)], glass)
    canvas.rect(x - 8 * s, y - 112 * s, x + 8 * s, y - 88 * s, glass)
    canvas.rect(x - 10 * s, y - 120 * s, x + 10 * s, y - 108 * s, (214, 170, 110), 3)
    canvas.rect(x - 22 * s, y - 54 * s, x + 22 * s, y - 20 * s, (244, 250, 236))
    canvas.dot(x, y - 37 * s, 11 * s, (90, 200, 160))
    canvas.rect(x - 17 * s, y - 70 * s, x - 12 * s, y - 6 * s, (130, 226, 196), 2)


def draw_laptop(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    canvas.rect(x - 56 * s, y - 88 * s, x + 56 * s, y - 12 * s, (70, 76, 92), 6)
    canvas.rect(x - 50 * s, y - 82 * s, x + 50 * s, y - 18 * s, (40, 196, 250))
    canvas.rect(x - 44 * s, y - 76 * s, x + 6 * s, y - 58 * s, (230, 250, 255), 2)
    for row, width in enumerate((80, 62, 72)):
        canvas.rect(x - 44 * s, y - (50 - row * 10) * s, x + (width - 44) * s, y - (45 - row * 10) * s, (8, 110, 190),
                    1)
    canvas.polygon([(x - 56 * s, y - 12 * s), (x + 56 * s, y - 12 * s), (x + 68 * s, y), (x - 68 * s, y)],
                   (196, 202, 214))
    canvas.polygon([(x - 46 * s, y - 9 * s), (x + 46 * s, y - 9 * s), (x + 52 * s, y - 4 * s),
                    (x - 52 * s, y - 4 * s)], (110, 116, 132))


def draw_phone(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    canvas.rect(x - 31 * s, y - 112 * s, x + 31 * s, y, (240, 40, 160), 10 * s)
    canvas.rect(x - 25 * s, y - 102 * s, x + 25 * s, y - 12 * s, (30, 20, 60), 4 * s)
    icons = ((250, 120, 210), (255, 214, 70), (120, 230, 255), (255, 120, 120), (170, 255, 150), (200, 150, 255))
    for index, color in enumerate(icons):
        left, top = x + (-20 + 22 * (index % 2)) * s, y - (94 - 24 * (index // 2)) * s
        canvas.rect(left, top, left + 17 * s, top + 17 * s, color, 4)
    canvas.rect(x - 9 * s, y - 8 * s, x + 9 * s, y - 5 * s, (255, 190, 230), 1)


def draw_dog(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    coat, dark = (190, 120, 54), (116, 66, 26)
    canvas.shadow(x, y, 46 * s, 7 * s)
    canvas.stroke([(x - 34 * s, y - 14 * s), (x - 52 * s, y - 34 * s), (x - 50 * s, y - 50 * s)], 9 * s, dark)
    canvas.oval(x - 14 * s, y - 28 * s, 30 * s, 29 * s, coat)
    canvas.stroke([(x - 4 * s, y - 52 * s), (x + 8 * s, y - 66 * s)], 38 * s, coat)
    for dx in (2, 20):
        canvas.stroke([(x + dx * s, y - 40 * s), (x + (dx + 2) * s, y - 6 * s)], 13 * s, coat)
        canvas.oval(x + (dx + 6) * s, y - 4 * s, 10 * s, 5.5 * s, lighter(coat, 0.5))
    canvas.oval(x + 4 * s, y - 44 * s, 13 * s, 16 * s, lighter(coat, 0.55))
    canvas.oval(x - 24 * s, y - 6 * s, 18 * s, 7 * s, coat)
    canvas.oval(x + 12 * s, y - 84 * s, 24 * s, 23 * s, coat)
    canvas.oval(x + 32 * s, y - 76 * s, 15 * s, 11 * s, lighter(coat, 0.55))
    canvas.oval(x + 44 * s, y - 81 * s, 5.5 * s, 4.5 * s, (30, 20, 20))
    canvas.oval(x - 9 * s, y - 80 * s, 9 * s, 20 * s, dark)
    canvas.dot(x + 20 * s, y - 90 * s, 3.4 * s, (30, 20, 20))
    canvas.pie(x + 34 * s, y - 68 * s, 6 * s, 11 * s, 0, 180, (236, 90, 110))
    canvas.stroke([(x - 4 * s, y - 62 * s), (x + 24 * s, y - 62 * s)], 6 * s, (40, 110, 220))


def draw_cat(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    coat = (98, 100, 112)
    canvas.shadow(x, y, 26 * s, 4 * s)
    canvas.stroke([(x + 20 * s, y - 8 * s), (x + 34 * s, y - 16 * s), (x + 32 * s, y - 36 * s)], 6 * s, coat)
    canvas.oval(x, y - 20 * s, 22 * s, 21 * s, coat)
    canvas.oval(x - 4 * s, y - 14 * s, 10 * s, 14 * s, (236, 236, 240))
    for side in (-1, 1):
        canvas.polygon([(x - 6 * s + side * 17 * s, y - 66 * s), (x - 6 * s + side * 16 * s, y - 44 * s),
                        (x - 6 * s + side * 3 * s, y - 56 * s)], coat)
    canvas.oval(x - 6 * s, y - 46 * s, 18 * s, 15 * s, coat)
    for dx in (-13, 1):
        canvas.oval(x + dx * s, y - 48 * s, 3.6 * s, 4 * s, (170, 230, 80))
        canvas.oval(x + dx * s, y - 48 * s, 1.2 * s, 3.4 * s, (20, 20, 20))
    canvas.dot(x - 6 * s, y - 41 * s, 2 * s, (240, 150, 160))


def draw_cup(canvas: Canvas, x: float, y: float, color: Color = (236, 70, 60), s: float = 1.0) -> None:
    canvas.arc(x + 14 * s, y - 14 * s, 9 * s, 9 * s, -100, 100, 4 * s, color)
    canvas.rect(x - 13 * s, y - 28 * s, x + 13 * s, y, color, 5)
    canvas.oval(x, y - 27 * s, 13 * s, 4 * s, (84, 46, 26))
    for dx in (-5, 4):
        canvas.stroke([(x + dx * s, y - 36 * s), (x + (dx + 4) * s, y - 43 * s), (x + dx * s, y - 50 * s)], 1.6,
                      (250, 250, 250))


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


def draw_palm(canvas: Canvas, x: float, y: float, s: float = 1.0) -> None:
    trunk = [(x, y), (x + 5 * s, y - 40 * s), (x + 16 * s, y - 82 * s), (x + 30 * s, y - 120 * s)]
    canvas.stroke(trunk, 10 * s, (150, 104, 62))
    top_x, top_y = trunk[-1]
    for dx, dy in ((-54, 6), (-42, -26), (-8, -42), (34, -34), (54, 0), (-40, 34), (42, 32)):
        canvas.polygon([(top_x, top_y - 4 * s), (top_x + dx * 0.55 * s, top_y + (dy - 17) * s),
                        (top_x + dx * s, top_y + dy * s),
                        (top_x + dx * 0.5 * s, top_y + dy * 0.4 * s)], (36, 136, 64) if dx < 0 else (52, 160, 70))
    for dx in (-5, 6):
        canvas.dot(top_x + dx * s, top_y + 5 * s, 5.5 * s, (110, 68, 36))


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


AIM_THINGS: dict[str, Callable[[Canvas, float, float, float], None]] = {
    "book": draw_book, "plant": draw_plant, "bottle": draw_bottle, "laptop": draw_laptop, "phone": draw_phone,
    "dog": draw_dog}
