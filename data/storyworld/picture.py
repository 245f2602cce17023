"""A scene as a picture: backdrop, hero in a pose, the things that matter, light and weather."""
import itertools
import random

from PIL import Image

from data.storyworld import things
from data.storyworld.canvas import HEIGHT, WIDTH, Canvas, Color, Point, lighter
from data.storyworld.indoors import INDOORS
from data.storyworld.outdoors import OUTDOORS, draw_weather
from data.storyworld.people import FRIEND, LOOKS, Look, draw_person
from data.storyworld.world import AIMS, Scene

GROUND = 246            # where the hero stands
TINTS: tuple[tuple[float, float, float], ...] = ((1.0, 0.985, 0.95), (1.0, 1.0, 1.0), (0.98, 0.86, 0.80))
INDOOR_TINTS: tuple[tuple[float, float, float], ...] = ((1.0, 0.99, 0.97), (1.0, 1.0, 1.0), (0.97, 0.90, 0.84))


# How an aim's thing is shown: its size, and the cloth that it stands on with its stripes and their slant.
DISPLAYS: dict[str, tuple[float, Color, Color, int]] = {
    "book": (1.6, (250, 206, 90), (236, 176, 50), 0), "plant": (1.45, (246, 240, 228), (150, 200, 120), 0),
    "bottle": (1.7, (24, 84, 74), (16, 60, 54), 0), "laptop": (1.4, (46, 62, 120), (30, 40, 90), 16),
    "phone": (1.62, (120, 30, 120), (170, 60, 170), 16), "dog": (1.62, (70, 130, 220), (236, 240, 250), 16)}
HAZE, HAZE_SHARE = (236, 234, 230), 0.5          # behind a close-up the place steps back
CHAIRS = {"sitting": (84, 160, 150), "eating": (150, 90, 56), "writing": (150, 90, 56), "reading": (90, 120, 190)}
WEATHER_DIMS = {"sunny": 1.0, "cloudy": 0.95, "rainy": 0.94, "snowy": 0.98}


def draw_picture(scene: Scene, seed: str) -> Image.Image:
    """Draw a scene, 360 x 270 RGB. Equal arguments give equal pixels; `seed` varies what the scene leaves open."""
    rng = random.Random(seed)
    canvas = Canvas()
    outdoors = scene.place in OUTDOORS
    (OUTDOORS if outdoors else INDOORS)[scene.place](canvas, scene, rng)
    if scene.stage < 2:
        canvas.soften(HAZE, HAZE_SHARE)
    facing = 1 if rng.random() < 0.5 else -1
    middle = WIDTH / 2 - facing * (84 if scene.stage < 2 else 10) + (rng.random() - 0.5) * 24
    aside = middle - facing * 66 if scene.stage < 2 else middle + facing * 112
    if scene.act != "sleeping":
        _draw_detail(canvas, scene, aside, 224, rng)
    draw_hero(canvas, scene, middle, facing, rng)
    if scene.act == "sleeping":
        _draw_detail(canvas, scene, aside, 254, rng)
    if scene.stage < 2 and scene.aim is not None:
        _draw_aim(canvas, AIMS[scene.aim].thing, WIDTH / 2 + facing * (78 + rng.random() * 14), rng)
    if outdoors:
        draw_weather(canvas, scene, rng)
    # hour, weather and the photographer's exposure over the whole picture
    tint = (TINTS if outdoors else INDOOR_TINTS)[scene.light]
    dim = (WEATHER_DIMS[scene.weather] if outdoors else 1.0) * (0.97 + rng.random() * 0.05)
    return canvas.finish().point([min(255, round(level * share * dim)) for share in tint for level in range(256)])


def _draw_aim(canvas: Canvas, thing: str, x: float, rng: random.Random) -> None:
    """The thing beside the hero: on a cloth in the foreground, close to the camera and therefore large."""
    size, cloth, stripe, slant = DISPLAYS[thing]
    canvas.rect(0, 234, WIDTH, HEIGHT, cloth)
    for fold in range(-20, WIDTH, 30):
        canvas.polygon([(fold, 234), (fold + 15, 234), (fold + 15 - slant, HEIGHT), (fold - slant, HEIGHT)], stripe)
    canvas.rect(0, 231, WIDTH, 236, lighter(cloth, 0.35))
    canvas.shadow(x, 247, 66, 7)
    things.draw_thing(canvas, thing, x, 248, size * (0.96 + rng.random() * 0.08))


def _draw_detail(canvas: Canvas, scene: Scene, x: float, ground: float, rng: random.Random) -> None:
    """What also stands about; whatever belongs to every such place is drawn with the place."""
    if scene.detail == "cat":
        things.draw_thing(canvas, "cat", x, ground, 1.05)
    elif scene.detail == "chair":
        things.draw_chair(canvas, x, 226, facing=-1 if x > WIDTH / 2 else 1)
    elif scene.detail == "cup":
        things.draw_table(canvas, x, 224, 58, 46)
        things.draw_thing(canvas, "cup", x, 171, 1.1)
    elif scene.detail == "table":
        things.draw_table(canvas, x, 228, 104, 52)
    elif scene.detail == "tree" and scene.place == "beach":
        things.draw_thing(canvas, "palm", x, 226)
    elif scene.detail == "tree" and scene.place == "forest":
        things.draw_pine(canvas, x, 234, 1.35, (40, 110, 70))
    elif scene.detail == "tree":
        things.draw_tree(canvas, x, 214, 1.1, (226, 128, 44) if rng.random() < 0.3 else (58, 138, 54))
    elif scene.detail == "fountain":
        canvas.shadow(x, 226, 52, 7)
        for dx in (-30, -15, 0, 15, 30):
            canvas.arc(x + dx / 2, 206, abs(dx) / 2 + 3, 46, 180, 360, 2.6, (190, 226, 250))
        canvas.rect(x - 5, 166, x + 5, 210, (176, 180, 190))
        canvas.oval(x, 208, 50, 9, (120, 196, 236))
        canvas.rect(x - 50, 208, x + 50, 226, (190, 192, 200), 7)
    elif scene.detail == "bridge":
        canvas.rect(0, 128, WIDTH, 142, (176, 132, 104))
        for left in range(0, WIDTH, 72):
            canvas.rect(left, 142, left + 14, 200, (150, 108, 84))
            canvas.arc(left + 43, 176, 30, 34, 180, 360, 8, (164, 120, 94))
        for left in range(4, WIDTH, 14):
            canvas.rect(left, 116, left + 4, 128, (150, 108, 84))
    elif scene.detail == "stream":
        canvas.polygon([(x - 14, 180), (x + 6, 180), (x + 60, HEIGHT), (x - 44, HEIGHT)], (90, 176, 214))
        canvas.stroke([(x - 6, 190), (x + 2, 220), (x - 4, 256)], 2.4, (190, 230, 246))
    elif scene.detail == "building" and scene.place == "street":
        canvas.rect(x - 34, 0, x + 34, 190, (96, 116, 150))
        for row, column in itertools.product(range(13), range(4)):
            canvas.rect(x - 28 + column * 15, 6 + row * 14, x - 18 + column * 15, 15 + row * 14, (206, 228, 246))
    elif scene.detail == "door" and scene.place == "store":
        canvas.rect(x - 34, 90, x + 34, 206, (40, 60, 80), 3)
        canvas.rect(x - 29, 95, x - 2, 202, (170, 220, 240))
        canvas.rect(x + 2, 95, x + 29, 202, (170, 220, 240))
        canvas.rect(x - 22, 100, x + 22, 112, (220, 40, 50), 3)


def draw_hero(canvas: Canvas, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    """The hero in the scene's act, standing about x and looking right (facing 1) or left (-1)."""
    look = LOOKS[scene.hero]
    if scene.mode not in (None, "foot"):
        _ride(canvas, look, scene.mode, x, facing, rng)
    elif scene.act in _PROPS:
        _PROPS[scene.act](canvas, look, scene, x, facing, rng)
    else:
        parts = _stand(canvas, look, scene.act, x, facing, rng)
        if scene.act in _ADDED:
            _ADDED[scene.act](canvas, parts, x, facing)


def _stand(canvas: Canvas, look: Look, act: str, x: float, facing: int, rng: random.Random) -> dict[str, Point]:
    canvas.shadow(x, GROUND + 3, 34, 6)
    return draw_person(canvas, look, act, x, GROUND, facing, rng)


def _ride(canvas: Canvas, look: Look, mode: str, x: float, facing: int, rng: random.Random) -> None:
    if mode == "car":
        things.draw_thing(canvas, "car cabin", x, 256)
        draw_person(canvas, look, "driving", x - facing * 8, 229, facing, rng)
        canvas.stroke([(x + facing * 44, 176), (x + facing * 32, 198)], 5, (30, 30, 36))
        things.draw_thing(canvas, "car body", x, 256)
        things.draw_thing(canvas, "car lights", x, 256, facing=facing)
    elif mode == "bicycle":
        things.draw_thing(canvas, "bicycle", x, 252, facing=facing)
        draw_person(canvas, look, "riding", x - facing * 16, 255 + 66 * (look.size - 1), facing, rng)
    else:
        things.draw_thing(canvas, "motorcycle", x, 254, facing=facing)
        head_x, head_y = draw_person(canvas, look, "driving", x - facing * 22, 230, facing, rng)["head"]
        canvas.pie(head_x - facing * 2, head_y - 2, 19 * look.size, 20 * look.size, 180, 360, (40, 90, 200))
        canvas.rect(head_x - 19 * look.size, head_y - 5, head_x + 19 * look.size, head_y - 1, (24, 56, 140), 2)


def _sleep(canvas: Canvas, look: Look, scene: Scene, x: float, facing: int, rng: random.Random) -> None:
    things.draw_bed(canvas, x + facing * 4, 240, 190, (70, 120, 220), facing)
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
    """Sitting and reading; eating and writing with a table before them."""
    things.draw_chair(canvas, x - facing * 2, GROUND + 2, CHAIRS[scene.act], facing, 30)
    hand = draw_person(canvas, look, scene.act, x, GROUND, facing, rng)["hand"]
    table, top = x + facing * 62, GROUND + 4 - 61
    if scene.act in ("eating", "writing"):
        things.draw_table(canvas, table, GROUND + 4, 92, 54, (206, 150, 96))
    if scene.act == "eating":
        canvas.oval(table, top, 27, 5, (255, 255, 255))
        canvas.pie(table, top, 19, 15, 180, 360, (250, 200, 80))
        canvas.dot(table - 5, top - 10, 4, (220, 50, 40))
        canvas.dot(table + 7, top - 9, 4, (70, 160, 60))
        canvas.stroke([hand, (hand[0] + facing * 2, hand[1] - 20)], 2.4, (200, 204, 212))
    elif scene.act == "writing":
        canvas.polygon([(table - 30, top + 2), (table + 22, top + 2), (table + 30, top - 5), (table - 22, top - 5)],
                       (255, 255, 255))
        canvas.stroke([hand, (hand[0] + facing * 9, hand[1] - 22)], 3.6, (250, 200, 40))
        canvas.stroke([(table - 16, top - 2), (table + 14, top - 2)], 1.2, (60, 70, 160))
    elif scene.act == "reading":
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


_PROPS = {"sleeping": _sleep, **dict.fromkeys(CHAIRS, _sit), "talking": _talk, "cooking": _cook}
_ADDED = {"drinking": _drink, "dancing": _dance, "smiling": _smile}  # to somebody who stands
