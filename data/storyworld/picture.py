"""A scene as a picture: backdrop, hero in a pose, the things that matter, light and weather."""
import random
from dataclasses import dataclass

from PIL import Image

from data.storyworld import things
from data.storyworld.acts import draw_hero
from data.storyworld.canvas import HEIGHT, WIDTH, Canvas, Color, lighter
from data.storyworld.indoors import INDOORS
from data.storyworld.outdoors import OUTDOORS, draw_weather
from data.storyworld.world import AIMS, Scene

TINTS: tuple[tuple[float, float, float], ...] = ((1.0, 0.985, 0.95), (1.0, 1.0, 1.0), (0.98, 0.86, 0.80))
INDOOR_TINTS: tuple[tuple[float, float, float], ...] = ((1.0, 0.99, 0.97), (1.0, 1.0, 1.0), (0.97, 0.90, 0.84))


@dataclass(frozen=True)
class Display:
    """How an aim's thing is shown: its size and the striped cloth that it stands on."""

    size: float
    cloth: Color
    stripe: Color
    slant: float = 0


DISPLAYS = {"book": Display(1.6, (250, 206, 90), (236, 176, 50)),
            "plant": Display(1.45, (246, 240, 228), (150, 200, 120)),
            "bottle": Display(1.7, (24, 84, 74), (16, 60, 54)), "laptop": Display(1.4, (46, 62, 120), (30, 40, 90), 16),
            "phone": Display(1.62, (120, 30, 120), (170, 60, 170), 16),
            "dog": Display(1.62, (70, 130, 220), (236, 240, 250), 16)}
HAZE, HAZE_SHARE = (236, 234, 230), 0.5          # behind a close-up the place steps back
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
    return _lit(canvas.finish(), scene, outdoors, rng)


def _draw_aim(canvas: Canvas, thing: str, x: float, rng: random.Random) -> None:
    """The thing beside the hero: on a cloth in the foreground, close to the camera and therefore large."""
    look = DISPLAYS[thing]
    canvas.rect(0, 234, WIDTH, HEIGHT, look.cloth)
    for fold in range(-20, WIDTH, 30):
        canvas.polygon([(fold, 234), (fold + 15, 234), (fold + 15 - look.slant, HEIGHT), (fold - look.slant, HEIGHT)],
                       look.stripe)
    canvas.rect(0, 231, WIDTH, 236, lighter(look.cloth, 0.35))
    canvas.shadow(x, 247, 66, 7)
    things.AIM_THINGS[thing](canvas, x, 248, look.size * (0.96 + rng.random() * 0.08))


def _draw_detail(canvas: Canvas, scene: Scene, x: float, ground: float, rng: random.Random) -> None:
    """What also stands about; whatever belongs to every such place is drawn with the place."""
    if scene.detail == "cat":
        things.draw_cat(canvas, x, ground, 1.05)
    elif scene.detail == "chair":
        things.draw_chair(canvas, x, 226, facing=-1 if x > WIDTH / 2 else 1)
    elif scene.detail == "cup":
        things.draw_table(canvas, x, 224, 58, 46)
        things.draw_cup(canvas, x, 171, s=1.1)
    elif scene.detail == "table":
        things.draw_table(canvas, x, 228, 104, 52)
    elif scene.detail == "tree" and scene.place == "beach":
        things.draw_palm(canvas, x, 226, 1.0)
    elif scene.detail == "tree" and scene.place == "forest":
        things.draw_pine(canvas, x, 234, 1.35, (40, 110, 70))
    elif scene.detail == "tree":
        things.draw_tree(canvas, x, 214, 1.1, (226, 128, 44) if rng.random() < 0.3 else (58, 138, 54))
    elif scene.detail == "fountain":
        _draw_fountain(canvas, x)
    elif scene.detail == "bridge":
        _draw_bridge(canvas)
    elif scene.detail == "stream":
        canvas.polygon([(x - 14, 180), (x + 6, 180), (x + 60, HEIGHT), (x - 44, HEIGHT)], (90, 176, 214))
        canvas.stroke([(x - 6, 190), (x + 2, 220), (x - 4, 256)], 2.4, (190, 230, 246))
    elif scene.detail == "building" and scene.place == "street":
        _draw_tower(canvas, x)
    elif scene.detail == "door" and scene.place == "store":
        canvas.rect(x - 34, 90, x + 34, 206, (40, 60, 80), 3)
        canvas.rect(x - 29, 95, x - 2, 202, (170, 220, 240))
        canvas.rect(x + 2, 95, x + 29, 202, (170, 220, 240))
        canvas.rect(x - 22, 100, x + 22, 112, (220, 40, 50), 3)


def _draw_fountain(canvas: Canvas, x: float) -> None:
    canvas.shadow(x, 226, 52, 7)
    for dx in (-30, -15, 0, 15, 30):
        canvas.arc(x + dx / 2, 206, abs(dx) / 2 + 3, 46, 180, 360, 2.6, (190, 226, 250))
    canvas.rect(x - 5, 166, x + 5, 210, (176, 180, 190))
    canvas.oval(x, 208, 50, 9, (120, 196, 236))
    canvas.rect(x - 50, 208, x + 50, 226, (190, 192, 200), 7)


def _draw_bridge(canvas: Canvas) -> None:
    canvas.rect(0, 128, WIDTH, 142, (176, 132, 104))
    for x in range(0, WIDTH, 72):
        canvas.rect(x, 142, x + 14, 200, (150, 108, 84))
        canvas.arc(x + 43, 176, 30, 34, 180, 360, 8, (164, 120, 94))
    for x in range(4, WIDTH, 14):
        canvas.rect(x, 116, x + 4, 128, (150, 108, 84))


def _draw_tower(canvas: Canvas, x: float) -> None:
    canvas.rect(x - 34, 0, x + 34, 190, (96, 116, 150))
    for row in range(13):
        for column in range(4):
            canvas.rect(x - 28 + column * 15, 6 + row * 14, x - 18 + column * 15, 15 + row * 14, (206, 228, 246))


def _lit(picture: Image.Image, scene: Scene, outdoors: bool, rng: random.Random) -> Image.Image:
    """Hour, weather and the photographer's exposure over the whole picture."""
    tint = (TINTS if outdoors else INDOOR_TINTS)[scene.light]
    dim = (WEATHER_DIMS[scene.weather] if outdoors else 1.0) * (0.97 + rng.random() * 0.05)
    table = [min(255, round(level * share * dim)) for share in tint for level in range(256)]
    return picture.point(table)
