"""Places under the sky. Each draws its backdrop and returns nothing; the ground lies at y = 245 for the hero's feet."""
import math
import random
from collections.abc import Callable

from data.storyworld.canvas import HEIGHT, WIDTH, Canvas, Color, darker, lighter, mix, varied
from data.storyworld.things import draw_pine, draw_tree
from data.storyworld.world import Scene

SKIES: dict[str, tuple[tuple[Color, Color], ...]] = {        # by weather, then by light: (top, horizon)
    "sunny": (((128, 190, 246), (255, 228, 190)), ((56, 150, 240), (186, 226, 252)), ((98, 78, 160), (255, 166, 96))),
    "cloudy": (((160, 178, 200), (222, 218, 214)), ((140, 164, 190), (206, 216, 226)),
               ((96, 90, 130), (214, 168, 150))),
    "rainy": (((126, 142, 172), (186, 196, 208)), ((108, 132, 170), (178, 192, 208)), ((78, 74, 120), (176, 146, 150))),
    "snowy": (((186, 204, 226), (240, 240, 246)), ((170, 194, 222), (232, 240, 248)),
              ((110, 106, 156), (228, 196, 206))),
}
SUNS: tuple[Color, ...] = ((255, 240, 180), (255, 236, 90), (255, 140, 60))


def draw_sky(canvas: Canvas, scene: Scene, horizon: float, rng: random.Random) -> None:
    """The sky down to `horizon`, with sun and clouds as weather and hour ask."""
    top, low = SKIES[scene.weather][scene.light]
    canvas.blend(0, horizon, top, low)
    if scene.weather == "sunny":
        x, y = 40 + rng.random() * 280, (60, 34, max(40, horizon - 44))[scene.light]
        canvas.glow(x, y, 40, SUNS[scene.light])
        canvas.dot(x, y, 17, SUNS[scene.light])
    cloud = mix((255, 255, 255), low, 0.25) if scene.weather in ("sunny", "snowy") else mix((150, 156, 168), low, 0.35)
    for _ in range(2 if scene.weather == "sunny" else 5):
        x, y = rng.random() * WIDTH, 16 + rng.random() * horizon * 0.45
        for dx, r in ((-17, 10), (-4, 15), (12, 12), (24, 8)):
            canvas.oval(x + dx, y, r * 1.25, r * 0.8, cloud)


def ground_color(scene: Scene, color: Color) -> Color:
    """A ground's colour in this weather: whitened by snow, darkened by rain."""
    if scene.weather == "snowy":
        return mix(color, (240, 244, 252), 0.4)
    return darker(color, 0.06) if scene.weather == "rainy" else color


def draw_flowers(canvas: Canvas, rng: random.Random, low: float, high: float, count: int,
                 colors: tuple[Color, ...]) -> None:
    for _ in range(count):
        x, y = rng.random() * WIDTH, low + rng.random() * (high - low)
        size = 1.6 + 2.2 * (y - low) / (high - low + 1)
        canvas.stroke([(x, y), (x, y + size * 3)], 1.4, (40, 120, 50))
        color = colors[int(rng.random() * len(colors))]
        for angle in range(0, 360, 72):
            canvas.dot(x + size * math.cos(math.radians(angle)), y + size * math.sin(math.radians(angle)), size * 0.8,
                       color)
        canvas.dot(x, y, size * 0.7, (255, 220, 70))


def draw_home(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 150, rng)
    lawn = ground_color(scene, varied((136, 184, 88), rng))
    canvas.rect(0, 146, WIDTH, HEIGHT, lawn)
    for _ in range(40):
        x, y = rng.random() * WIDTH, 160 + rng.random() * (HEIGHT - 160)
        canvas.stroke([(x, y), (x + 2, y - 6)], 1.4, darker(lawn, 0.12))
    wall = varied((250, 222, 150), rng)
    canvas.rect(36, 70, 324, 196, wall)
    for row in range(7):
        canvas.rect(36, 84 + row * 16, 324, 85.4 + row * 16, darker(wall, 0.1))
    canvas.polygon([(16, 76), (70, 14), (290, 14), (344, 76)], (164, 66, 52))
    for row in range(1, 5):
        canvas.stroke([(70 - 13.5 * row, 14 + 15.5 * row), (290 + 13.5 * row, 14 + 15.5 * row)], 1.6, (130, 46, 38))
    canvas.rect(256, 0, 280, 34, (140, 74, 60))
    for x in (62, 246):
        draw_window(canvas, x, 98, 52, 52, scene)
        canvas.rect(x - 4, 150, x + 56, 158, (150, 96, 60))
        for step in range(6):
            canvas.dot(x + 2 + step * 10, 148, 5, ((240, 80, 110), (250, 190, 60))[step % 2])
    canvas.rect(152, 100, 208, 196, (255, 250, 240))
    canvas.rect(157, 105, 203, 196, (198, 36, 46), 3)
    canvas.dot(194, 154, 3, (250, 220, 120))
    canvas.rect(168, 114, 192, 138, (255, 226, 150), 3)
    canvas.polygon([(150, 196), (210, 196), (256, HEIGHT), (104, HEIGHT)], ground_color(scene, (206, 188, 168)))
    for x in [*range(6, 100, 15), *range(262, 360, 15)]:
        canvas.polygon([(x, 232), (x, 188), (x + 5, 180), (x + 10, 188), (x + 10, 232)], (252, 252, 252))
    for left, right in ((0, 100), (258, WIDTH)):
        canvas.rect(left, 200, right, 205, (240, 240, 240))


def draw_garden(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 90, rng)
    hedge = ground_color(scene, varied((30, 112, 62), rng))
    canvas.rect(0, 76, WIDTH, 150, hedge)
    for _ in range(46):
        canvas.dot(rng.random() * WIDTH, 72 + rng.random() * 70, 9 + rng.random() * 6, varied(hedge, rng, 16))
    canvas.rect(0, 146, WIDTH, HEIGHT, ground_color(scene, varied((112, 198, 74), rng)))
    for x in range(-10, 370, 40):
        canvas.arc(x + 20, 150, 18, 34, 180, 360, 3, (250, 250, 250))
    colors = ((244, 70, 130), (255, 160, 200), (190, 80, 230), (255, 255, 255))
    for left in (-6, 214):
        canvas.oval(left + 70, 186, 86, 24, (112, 72, 48))
    draw_flowers(canvas, rng, 158, 206, 58, colors)
    draw_flowers(canvas, rng, 206, 262, 14, colors)


def draw_park(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 120, rng)
    for x, width, height in ((60, 150, 40), (300, 170, 52), (190, 120, 30)):
        canvas.oval(x + rng.random() * 30, 126, width, height, varied(ground_color(scene, (120, 178, 92)), rng, 6))
    canvas.rect(0, 122, WIDTH, HEIGHT, ground_color(scene, varied((104, 190, 84), rng)))
    canvas.oval(264, 158, 84, 16, (96, 180, 226))
    canvas.oval(252, 155, 50, 6, (150, 212, 244))
    canvas.polygon([(128, 126), (150, 126), (210, 190), (330, HEIGHT), (60, HEIGHT), (150, 190)],
                   ground_color(scene, (232, 208, 160)))
    for x, size in ((30, 0.95), (92, 0.6), (336, 0.8)):
        draw_tree(canvas, x + rng.random() * 12, 172, size, ground_color(scene, varied((74, 160, 60), rng)))
    canvas.rect(238, 176, 322, 182, (140, 84, 50), 2)
    canvas.rect(238, 190, 322, 197, (140, 84, 50), 2)
    for x in (246, 312):
        canvas.rect(x, 176, x + 5, 212, (70, 70, 76))


def draw_street(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 110, rng)
    colors = ((226, 130, 96), (238, 190, 130), (170, 120, 150), (206, 98, 84), (150, 170, 190))
    x, start = 0.0, int(rng.random() * 5)
    for index in range(5):
        width, top = 66 + rng.random() * 22, 22 + rng.random() * 30
        wall = varied(colors[(start + index) % 5], rng)
        canvas.rect(x, top, x + width, 188, wall)
        canvas.rect(x, top, x + width, top + 6, darker(wall, 0.25))
        for row in range(3):
            for column in (0.16, 0.6):
                draw_window(canvas, x + width * column, top + 16 + row * 34, 17, 23, scene)
        canvas.rect(x + 6, 150, x + width - 6, 188, (70, 70, 84))
        for stripe in range(6):
            left = x + 4 + stripe * (width - 8) / 6
            canvas.rect(left, 142, left + (width - 8) / 6, 155, ((250, 250, 250), (206, 60, 60))[stripe % 2])
        x += width
    canvas.rect(0, 186, WIDTH, 214, ground_color(scene, (184, 180, 176)))
    canvas.rect(0, 212, WIDTH, HEIGHT, ground_color(scene, varied((86, 86, 94), rng, 6)))
    for left in range(-20, 360, 62):
        canvas.polygon([(left, 246), (left + 34, 246), (left + 28, 252), (left - 8, 252)], (240, 236, 220))
    for x in (40, 320):
        canvas.stroke([(x, 206), (x, 96)], 4, (44, 48, 56))
        canvas.dot(x, 94, 8, (255, 240, 176))


def draw_city(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 190, rng)
    for depth, tint in ((0.55, 0.62), (0.0, 0.25)):
        x = -10.0
        while x < WIDTH:
            width, height = 30 + rng.random() * 26, 70 + rng.random() * 90 + 20 * (depth == 0)
            wall = mix(varied((58, 84, 126), rng, 14), SKIES[scene.weather][scene.light][1], depth * tint * 1.4)
            canvas.rect(x, 196 - height, x + width, 200, wall)
            if depth == 0:
                lit = (255, 224, 120) if scene.light == 2 else (170, 206, 236)
                for row in range(int(height / 13)):
                    for column in range(int(width / 10)):
                        shade = lit if rng.random() < 0.6 else darker(wall, 0.2)
                        canvas.rect(x + 4 + column * 10, 202 - height + row * 13, x + 10 + column * 10,
                                    209 - height + row * 13, shade)
            x += width + 3
    canvas.rect(0, 198, WIDTH, 216, ground_color(scene, (150, 154, 166)))
    canvas.rect(0, 214, WIDTH, HEIGHT, ground_color(scene, varied((64, 66, 80), rng, 6)))
    for left in range(8, 360, 44):
        canvas.polygon([(left, 222), (left + 20, 222), (left + 12, 262), (left - 14, 262)], (232, 232, 236))


def draw_beach(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    draw_sky(canvas, scene, 110, rng)
    sea = varied((22, 150, 190), rng)
    canvas.blend(108, 186, darker(sea, 0.2), lighter(sea, 0.25))
    for row in range(6):
        y = 116 + row * 9
        for x in range(-20 + row * 11 % 30, 360, 52):
            canvas.arc(x, y, 12, 4, 200, 340, 1.6, lighter(sea, 0.6))
    sand = ground_color(scene, varied((250, 220, 150), rng))
    canvas.polygon([(0, 168), (70, 178), (150, 168), (240, 180), (320, 170), (360, 176), (360, HEIGHT), (0, HEIGHT)],
                   (250, 252, 252))
    canvas.polygon([(0, 174), (70, 184), (150, 174), (240, 186), (320, 176), (360, 182), (360, HEIGHT), (0, HEIGHT)],
                   sand)
    for _ in range(60):
        canvas.dot(rng.random() * WIDTH, 186 + rng.random() * 84, 1.3, darker(sand, 0.14))
    boat = 70 + rng.random() * 220
    canvas.polygon([(boat - 26, 118), (boat + 26, 118), (boat + 18, 128), (boat - 18, 128)], (150, 60, 44))
    canvas.polygon([(boat, 116), (boat, 74), (boat + 24, 112)], (252, 252, 252))
    canvas.polygon([(boat - 3, 116), (boat - 3, 84), (boat - 18, 112)], (255, 120, 80))
    left = 20 if rng.random() < 0.5 else 300
    canvas.stroke([(left + 18, 226), (left + 26, 164)], 4, (250, 250, 250))
    for index in range(6):
        canvas.pie(left + 26, 172, 44, 30, 180 + index * 30, 210 + index * 30,
                   ((240, 60, 70), (255, 250, 240))[index % 2])
    canvas.dot(180 + rng.random() * 60, 214, 9, (255, 90, 150))


def draw_forest(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    canvas.blend(0, 190, mix((28, 70, 56), SKIES[scene.weather][scene.light][0], 0.2),
                 mix((90, 132, 70), SKIES[scene.weather][scene.light][1], 0.25))
    for x in range(-10, 380, 34):
        canvas.rect(x + rng.random() * 12, 20, x + 8 + rng.random() * 12, 180, (54, 66, 52))
    for x in range(-10, 380, 48):
        draw_pine(canvas, x + rng.random() * 20, 184, 0.75 + rng.random() * 0.3, varied((26, 78, 54), rng, 8))
    floor = ground_color(scene, varied((98, 92, 46), rng))
    canvas.rect(0, 178, WIDTH, HEIGHT, floor)
    for _ in range(70):
        color = ((160, 96, 40), (130, 118, 50), (70, 84, 40))[int(rng.random() * 3)]
        canvas.oval(rng.random() * WIDTH, 182 + rng.random() * 86, 4, 2, color)
    for x in (12, 330):
        canvas.rect(x - 14, 0, x + 18, 214, (92, 60, 40))
        canvas.rect(x - 8, 0, x - 4, 210, (118, 80, 54))
    for x in (70, 300):
        canvas.oval(x, 218, 24, 12, (110, 116, 104))
        canvas.oval(x - 4, 213, 18, 6, (96, 140, 70))
    for x in (112, 256):
        canvas.rect(x - 3, 206, x + 3, 220, (240, 230, 210))
        canvas.pie(x, 208, 12, 11, 180, 360, (214, 44, 40))
        canvas.dot(x - 4, 202, 2, (255, 255, 255))
        canvas.dot(x + 4, 204, 2, (255, 255, 255))
    canvas.glaze([(150, 0), (190, 0), (290, 270), (180, 270)], (255, 250, 190), 0.13)


def draw_window(canvas: Canvas, left: float, top: float, width: float, height: float, scene: Scene) -> None:
    """A window seen from outside: dark by day, lit in the evening."""
    pane = (255, 220, 120) if scene.light == 2 else (150, 196, 224)
    canvas.rect(left, top, left + width, top + height, (252, 250, 244))
    canvas.rect(left + 2, top + 2, left + width / 2 - 0.7, top + height - 2, pane)
    canvas.rect(left + width / 2 + 0.7, top + 2, left + width - 2, top + height - 2, darker(pane, 0.08))


def draw_weather(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    """Rain or snow in front of an outdoor scene."""
    if scene.weather == "rainy":
        for _ in range(70):
            x, y = rng.random() * 380, rng.random() * HEIGHT
            canvas.stroke([(x, y), (x - 4, y + 13)], 1, (206, 220, 240))
    elif scene.weather == "snowy":
        for _ in range(80):
            canvas.dot(rng.random() * WIDTH, rng.random() * HEIGHT, 1.2 + rng.random() * 1.8, (255, 255, 255))


OUTDOORS: dict[str, Callable[[Canvas, Scene, random.Random], None]] = {
    "home": draw_home, "garden": draw_garden, "park": draw_park, "street": draw_street, "city": draw_city,
    "beach": draw_beach, "forest": draw_forest}
