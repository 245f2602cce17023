"""The hero in each act, with what the act needs: a chair, a pan, a partner to talk to, a motorcycle."""
import random

from data.storyworld.canvas import Canvas, Point
from data.storyworld.people import FRIEND, LOOKS, Look, draw_person
from data.storyworld.things import draw_bed, draw_chair, draw_table
from data.storyworld.vehicles import draw_bicycle, draw_car_back, draw_car_front, draw_motorcycle
from data.storyworld.world import Scene

GROUND = 246


def draw_hero(canvas: Canvas, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    """The hero in the scene's act, standing about x and looking right (facing 1) or left (-1)."""
    look = LOOKS[scene.hero]
    if scene.mode in _VEHICLES:
        _VEHICLES[scene.mode](canvas, look, x, facing, rng)
    elif scene.act in _PROPS:
        _PROPS[scene.act](canvas, look, scene, x, facing, rng)
    else:
        parts = _stand(canvas, look, scene.act, x, facing, rng)
        if scene.act in _ADDED:
            _ADDED[scene.act](canvas, parts, x, facing)


def _stand(canvas: Canvas, look: Look, act: str, x: float, facing: int, rng: random.Random) -> dict[str, Point]:
    canvas.shadow(x, GROUND + 3, 34, 6)
    return draw_person(canvas, look, act, x, GROUND, facing, rng)


def _in_car(canvas: Canvas, look: Look, x: float, facing: int, rng: random.Random) -> None:
    draw_car_back(canvas, x, 256)
    draw_person(canvas, look, "driving", x - facing * 8, 229, facing, rng)
    canvas.stroke([(x + facing * 44, 176), (x + facing * 32, 198)], 5, (30, 30, 36))
    draw_car_front(canvas, x, 256, facing=facing)


def _on_bicycle(canvas: Canvas, look: Look, x: float, facing: int, rng: random.Random) -> None:
    draw_bicycle(canvas, x, 252, facing)
    draw_person(canvas, look, "riding", x - facing * 16, 255 + 66 * (look.size - 1), facing, rng)


def _on_motorcycle(canvas: Canvas, look: Look, x: float, facing: int, rng: random.Random) -> None:
    draw_motorcycle(canvas, x, 254, facing)
    parts = draw_person(canvas, look, "driving", x - facing * 22, 230, facing, rng)
    head_x, head_y = parts["head"]
    canvas.pie(head_x - facing * 2, head_y - 2, 19 * look.size, 20 * look.size, 180, 360, (40, 90, 200))
    canvas.rect(head_x - 19 * look.size, head_y - 5, head_x + 19 * look.size, head_y - 1, (24, 56, 140), 2)


_VEHICLES = {"car": _in_car, "bicycle": _on_bicycle, "motorcycle": _on_motorcycle}


def _sleep(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    draw_bed(canvas, x + facing * 4, 240, 190, (70, 120, 220), facing)
    parts = draw_person(canvas, look, "sleeping", x - facing * 6, 206, facing, rng)
    left, right = sorted((x - facing * 86, x + facing * 14))
    canvas.rect(left, 184, right, 226, (60, 110, 214), 10)
    for step in range(4):
        canvas.rect(left + 12 + step * 24, 185, left + 20 + step * 24, 225, (120, 164, 244))
    head = parts["head"]
    for step in range(3):  # growing Zs
        x, y, size = head[0] + facing * (14 + step * 15), head[1] - 24 - step * 18, 5 + step * 2
        canvas.stroke([(x - size, y - size), (x + size, y - size), (x - size, y + size), (x + size, y + size)], 2.4,
                      (255, 255, 255))


def _sit(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    draw_chair(canvas, x - facing * 2, GROUND + 2, (84, 160, 150), facing, 30)
    draw_person(canvas, look, "sitting", x, GROUND, facing, rng)


def _at_table(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    """Eating and writing: seated, a table before them."""
    draw_chair(canvas, x - facing * 2, GROUND + 2, (150, 90, 56), facing, 30)
    parts = draw_person(canvas, look, scene.act, x, GROUND, facing, rng)
    table = x + facing * 62
    draw_table(canvas, table, GROUND + 4, 92, 54, (206, 150, 96))
    top = GROUND + 4 - 61
    hand = parts["hand"]
    if scene.act == "eating":
        canvas.oval(table, top, 27, 5, (255, 255, 255))
        canvas.pie(table, top, 19, 15, 180, 360, (250, 200, 80))
        canvas.dot(table - 5, top - 10, 4, (220, 50, 40))
        canvas.dot(table + 7, top - 9, 4, (70, 160, 60))
        canvas.stroke([hand, (hand[0] + facing * 2, hand[1] - 20)], 2.4, (200, 204, 212))
    else:
        canvas.polygon([(table - 30, top + 2), (table + 22, top + 2), (table + 30, top - 5), (table - 22, top - 5)],
                       (255, 255, 255))
        canvas.stroke([hand, (hand[0] + facing * 9, hand[1] - 22)], 3.6, (250, 200, 40))
        canvas.stroke([(table - 16, top - 2), (table + 14, top - 2)], 1.2, (60, 70, 160))


def _read(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    draw_chair(canvas, x - facing * 2, GROUND + 2, (90, 120, 190), facing, 30)
    parts = draw_person(canvas, look, "reading", x, GROUND, facing, rng)
    hand = parts["hand"]
    x, y = hand[0] + facing * 2, hand[1] - 2
    canvas.polygon([(x, y + 6), (x - 26, y - 2), (x - 26, y - 36), (x, y - 28)], (250, 250, 240))
    canvas.polygon([(x, y + 6), (x + 26, y - 2), (x + 26, y - 36), (x, y - 28)], (230, 228, 214))
    canvas.stroke([(x - 27, y), (x, y + 8), (x + 27, y)], 3.6, (40, 90, 180))


def _talk(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    partner = x + facing * 92
    canvas.shadow(partner, GROUND - 3, 30, 5)
    draw_person(canvas, FRIEND, "waiting", partner, GROUND - 6, -facing, rng)
    head_x, head_y = _stand(canvas, look, "talking", x, facing, rng)["head"]
    left, top = head_x + facing * 30 - 31, head_y - 66
    canvas.rect(left, top, left + 66, top + 36, (255, 255, 255), 14)
    canvas.polygon([(left + 20, top + 33), (left + 40, top + 33), (head_x + facing * 14, top + 50)], (255, 255, 255))
    for dot in range(3):
        canvas.dot(left + 17 + dot * 16, top + 18, 4, (70, 80, 100))


def _drink(canvas: Canvas, parts: dict[str, Point], x: float, facing: int) -> None:
    hand_x, hand_y = parts["hand"]
    canvas.polygon([(hand_x - 9, hand_y - 22), (hand_x + 9, hand_y - 22), (hand_x + 7, hand_y + 10),
                    (hand_x - 7, hand_y + 10)], (255, 196, 60))
    canvas.rect(hand_x - 9, hand_y - 24, hand_x + 9, hand_y - 16, (250, 250, 255))
    canvas.stroke([(hand_x + 2, hand_y - 20), (hand_x - facing * 6, hand_y - 40)], 2.6, (240, 60, 90))


def _cook(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    canvas.shadow(x, GROUND + 3, 34, 6)
    pan_x = x + facing * 76
    canvas.rect(pan_x - 32, 184, pan_x + 32, GROUND + 4, (214, 218, 226), 4)
    canvas.rect(pan_x - 25, 202, pan_x + 25, GROUND - 4, (44, 46, 56), 4)
    canvas.oval(pan_x, 182, 22, 4, (255, 120, 40))
    parts = draw_person(canvas, look, "cooking", x, GROUND, facing, rng)
    canvas.stroke([parts["hand"], (pan_x - facing * 20, 176)], 4, (70, 50, 40))
    canvas.rect(pan_x - 25, 168, pan_x + 25, 181, (50, 52, 62), 5)
    canvas.oval(pan_x, 168, 22, 5, (250, 206, 70))
    for dx in (-11, 2, 14):
        canvas.stroke([(pan_x + dx, 156), (pan_x + dx + 5, 146), (pan_x + dx, 136), (pan_x + dx + 4, 126)], 2.2,
                      (255, 255, 255))
    head_x, head_y = parts["head"]
    canvas.rect(head_x - 13, head_y - 34, head_x + 13, head_y - 12, (255, 255, 255), 3)
    for dx in (-11, 0, 11):
        canvas.dot(head_x + dx, head_y - 36, 9, (255, 255, 255))


def _dance(canvas: Canvas, parts: dict[str, Point], x: float, facing: int) -> None:
    for dx, dy, color in ((-62, 70, (255, 230, 80)), (58, 120, (120, 240, 220)), (-44, 134, (255, 140, 200))):
        note_x, note_y = x + dx, GROUND - dy
        canvas.oval(note_x, note_y, 6, 5, color)
        canvas.stroke([(note_x + 5, note_y), (note_x + 5, note_y - 22), (note_x + 14, note_y - 17)], 2.6, color)


def _smile(canvas: Canvas, parts: dict[str, Point], x: float, facing: int) -> None:
    color, size = (255, 80, 120), 7
    for dx, dy in ((-40, -18), (40, -22), (0, -42)):  # hearts
        x, y = parts["head"][0] + dx, parts["head"][1] + dy
        for side in (-1, 1):
            canvas.dot(x + side * size * 0.5, y, size * 0.58, color)
        canvas.polygon([(x - size, y + size * 0.2), (x + size, y + size * 0.2), (x, y + size * 1.3)], color)


_PROPS = {"sleeping": _sleep, "sitting": _sit, "eating": _at_table, "writing": _at_table, "reading": _read,
          "talking": _talk, "cooking": _cook}
_ADDED = {"drinking": _drink, "dancing": _dance, "smiling": _smile}  # to somebody who stands
