"""Places under a roof. Each draws walls, floor and furniture; the floor lies at y = 245 for the hero's feet."""
import random
from collections.abc import Callable

from data.storyworld.canvas import HEIGHT, WIDTH, Canvas, Color, darker, lighter, varied
from data.storyworld.outdoors import SKIES
from data.storyworld.things import draw_bed
from data.storyworld.world import Scene


def draw_view(canvas: Canvas, left: float, top: float, width: float, height: float, scene: Scene,
              curtain: Color | None = None) -> None:
    """A window seen from inside: the day's sky, a hill, perhaps curtains."""
    high, low = SKIES[scene.weather][scene.light]
    canvas.rect(left - 5, top - 5, left + width + 5, top + height + 5, (252, 250, 246), 2)
    canvas.rect(left, top, left + width, top + height, low)
    canvas.rect(left, top, left + width, top + height * 0.5, high)
    canvas.polygon([(left, top + height), (left, top + height * 0.8), (left + width * 0.4, top + height * 0.66),
                    (left + width, top + height * 0.84), (left + width, top + height)], (96, 160, 90))
    canvas.rect(left + width / 2 - 2, top, left + width / 2 + 2, top + height, (252, 250, 246))
    canvas.rect(left, top + height / 2 - 2, left + width, top + height / 2 + 2, (252, 250, 246))
    if curtain:
        canvas.polygon([(left - 10, top - 8), (left + width * 0.3, top - 8), (left + 2, top + height + 10),
                        (left - 12, top + height + 10)], curtain)
        right = left + width
        canvas.polygon([(right + 10, top - 8), (right - width * 0.3, top - 8), (right - 2, top + height + 10),
                        (right + 12, top + height + 10)], curtain)
        canvas.rect(left - 16, top - 12, right + 16, top - 8, darker(curtain, 0.4), 2)


def _boards(canvas: Canvas, top: float, places: range, color: Color) -> None:
    """Lines on the floor that run together towards the middle."""
    for x in places:
        canvas.stroke([(180 + (x - 180) * 0.8, top), (180 + (x - 180) * 1.3, HEIGHT)], 1.2, color)


def _floor(canvas: Canvas, top: float, color: Color) -> None:
    canvas.blend(top, HEIGHT, darker(color, 0.12), color)
    _boards(canvas, top, range(-60, 420, 44), darker(color, 0.25))
    canvas.rect(0, top - 6, WIDTH, top, (250, 248, 244))


def draw_kitchen(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    wall = varied((250, 246, 214), rng, 6)
    canvas.rect(0, 0, WIDTH, 200, wall)
    tile = varied((66, 190, 176), rng)
    canvas.rect(0, 84, WIDTH, 150, (250, 250, 250))
    for row in range(5):
        for column in range(27):
            canvas.rect(column * 13.6 + 0.8, 85 + row * 13, column * 13.6 + 12.8, 97 + row * 13,
                        tile if (row + column) % 2 else lighter(tile, 0.5))
    draw_view(canvas, 140, 22, 84, 76, scene, (244, 110, 90))
    for left in (0, 252):
        canvas.rect(left, 0, left + 108, 62, (226, 142, 58))
        for door in (4, 57):
            canvas.rect(left + door, 4, left + door + 47, 56, (240, 164, 84), 3)
            canvas.dot(left + door + 40, 46, 2.4, (90, 60, 40))
    canvas.rect(0, 148, WIDTH, 158, (240, 240, 236))
    canvas.rect(0, 158, WIDTH, 214, (226, 142, 58))
    for left in range(4, 360, 60):
        canvas.rect(left, 162, left + 54, 210, (240, 164, 84), 3)
        canvas.dot(left + 44, 172, 2.6, (90, 60, 40))
    canvas.rect(22, 146, 92, 214, (206, 210, 216))
    canvas.rect(30, 170, 84, 206, (40, 42, 50), 4)
    for dx in (36, 52, 68):
        canvas.dot(dx + 5, 160, 3.4, (60, 60, 66))
    canvas.rect(262, 116, 300, 148, (80, 90, 110), 6)
    canvas.stroke([(300, 128), (312, 118)], 4, (80, 90, 110))
    canvas.rect(0, 210, WIDTH, HEIGHT, (236, 226, 206))
    for row in range(3):
        for column in range(-1, 10):
            if (row + column) % 2:
                left, width = column * 40 - row * 8, 40 + row * 4
                canvas.polygon([(left, 214 + row * 20), (left + width, 214 + row * 20),
                                (left + width - 8, 234 + row * 20), (left - 8, 234 + row * 20)], (206, 124, 92))


def draw_bedroom(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    wall = varied((108, 112, 186), rng)
    canvas.rect(0, 0, WIDTH, 206, wall)
    for row in range(6):
        for column in range(10):
            x, y = column * 40 + (row % 2) * 20, 14 + row * 34
            canvas.polygon([(x, y - 5), (x + 2, y - 2), (x + 5, y), (x + 2, y + 2), (x, y + 5), (x - 2, y + 2),
                            (x - 5, y), (x - 2, y - 2)], lighter(wall, 0.4))
    _floor(canvas, 204, (150, 112, 108))
    draw_view(canvas, 26, 34, 76, 88, scene, (238, 160, 200))
    canvas.rect(262, 28, 332, 76, (246, 232, 200), 2)
    canvas.polygon([(268, 70), (290, 42), (304, 58), (314, 48), (326, 70)], (110, 170, 150))
    canvas.rect(286, 158, 340, 206, (120, 74, 60), 3)
    canvas.dot(312, 176, 3, (230, 200, 130))
    canvas.rect(310, 130, 316, 158, (90, 80, 100))
    canvas.polygon([(296, 134), (304, 106), (322, 106), (330, 134)], (255, 226, 130))
    canvas.glow(313, 126, 40, (255, 230, 140), 0.1)
    if scene.act != "sleeping":
        draw_bed(canvas, 178, 218, 166, (70, 120, 220))
    canvas.oval(176, 250, 150, 20, (236, 190, 214))
    canvas.oval(176, 250, 128, 15, (246, 214, 230))


def draw_living_room(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    wall = varied((186, 76, 82), rng)
    canvas.rect(0, 0, WIDTH, 200, wall)
    for x in range(0, 360, 24):
        canvas.rect(x, 0, x + 9, 200, darker(wall, 0.1))
    _floor(canvas, 198, (128, 82, 50))
    draw_view(canvas, 36, 30, 78, 84, scene, (250, 224, 170))
    for left, top, width, height, color in ((150, 26, 46, 40, (90, 160, 190)), (204, 18, 34, 52, (244, 200, 90)),
                                            (156, 76, 34, 28, (120, 180, 110))):
        canvas.rect(left - 3, top - 3, left + width + 3, top + height + 3, (90, 54, 36))
        canvas.rect(left, top, left + width, top + height, color)
        canvas.dot(left + width * 0.6, top + height * 0.4, height * 0.22, lighter(color, 0.5))
    canvas.rect(262, 60, 268, 200, (60, 50, 50))
    canvas.polygon([(244, 66), (254, 30), (276, 30), (286, 66)], (255, 230, 150))
    canvas.glow(265, 56, 46, (255, 230, 150), 0.1)
    canvas.rect(296, 20, 356, 198, (104, 64, 42))
    for row in range(5):
        canvas.rect(300, 26 + row * 35, 352, 54 + row * 35, (70, 42, 30))
        for column in range(6):
            color = ((200, 190, 160), (70, 130, 120), (220, 150, 60), (90, 90, 150))[(row * 3 + column) % 4]
            canvas.rect(302 + column * 8, 54 - 20 - (column * 7 % 5) + row * 35, 308.6 + column * 8, 54 + row * 35,
                        color)
    canvas.rect(96, 128, 252, 196, (238, 128, 40), 14)
    canvas.rect(84, 150, 112, 206, (222, 112, 30), 10)
    canvas.rect(236, 150, 264, 206, (222, 112, 30), 10)
    canvas.rect(104, 168, 244, 200, (250, 150, 60), 8)
    canvas.stroke([(174, 172), (174, 196)], 1.6, (206, 104, 28))
    canvas.polygon([(116, 150), (140, 142), (148, 166), (124, 174)], (70, 170, 170))
    canvas.oval(176, 248, 160, 20, (60, 130, 130))
    canvas.oval(176, 248, 138, 15, (96, 166, 160))


def draw_store(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    canvas.rect(0, 0, WIDTH, 206, varied((236, 244, 250), rng, 5))
    canvas.rect(0, 0, WIDTH, 26, (30, 146, 90))
    for x in range(12, 360, 56):
        canvas.rect(x, 7, x + 34, 19, (255, 250, 200), 4)
    colors = ((240, 70, 70), (250, 190, 40), (70, 160, 240), (90, 200, 90), (240, 120, 200), (255, 140, 50),
              (130, 90, 210))
    for row in range(4):
        shelf, left = 66 + row * 40, 4.0
        while left < 352:
            width, height = 8 + rng.random() * 10, 16 + rng.random() * 14
            color = colors[int(rng.random() * 7)]
            canvas.rect(left, shelf - height, left + width, shelf, color, 2)
            canvas.rect(left + 1, shelf - height * 0.6, left + width - 1, shelf - height * 0.35, lighter(color, 0.6))
            left += width + 1.5
        canvas.rect(0, shelf, WIDTH, shelf + 6, (150, 160, 172))
        for tag in range(10, 360, 34):
            canvas.rect(tag, shelf + 1, tag + 12, shelf + 5, (255, 255, 255))
    canvas.rect(0, 192, WIDTH, HEIGHT, (216, 222, 228))
    for row in range(4):
        canvas.rect(0, 196 + row * 20, WIDTH, 197.4 + row * 20, (188, 196, 206))
    _boards(canvas, 194, range(-40, 420, 52), (188, 196, 206))


def draw_school(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    canvas.rect(0, 0, WIDTH, 206, varied((246, 214, 130), rng))
    _floor(canvas, 204, (206, 150, 92))
    canvas.rect(84, 20, 276, 118, (150, 100, 60), 3)
    canvas.rect(91, 27, 269, 111, varied((28, 84, 62), rng, 6))
    for row, width in enumerate((90, 120, 64)):
        canvas.stroke([(104 + step * 10, 46 + row * 22 + (step * 5 % 3)) for step in range(int(width / 10))], 2,
                      (226, 240, 226))
    canvas.arc(238, 80, 18, 18, 0, 360, 2, (250, 220, 120))
    canvas.rect(88, 118, 272, 124, (176, 124, 78))
    draw_view(canvas, 10, 34, 54, 92, scene)
    canvas.rect(290, 20, 352, 200, (120, 78, 50))
    colors = ((206, 50, 60), (60, 110, 190), (240, 190, 60), (70, 150, 100), (150, 90, 170))
    for row in range(5):
        canvas.rect(295, 26 + row * 35, 347, 54 + row * 35, (84, 52, 34))
        for column in range(7):
            height = 18 + (column * 5 + row * 3) % 9
            canvas.rect(296 + column * 7.2, 54 - height + row * 35, 302 + column * 7.2, 54 + row * 35,
                        colors[(column + row * 2) % 5])
    canvas.dot(42, 172, 22, (70, 150, 220))
    canvas.polygon([(30, 160), (46, 154), (54, 168), (42, 182), (34, 174)], (90, 180, 90))
    canvas.arc(42, 172, 25, 25, 60, 240, 3, (190, 140, 60))
    canvas.rect(34, 194, 50, 206, (150, 100, 60))


def draw_hospital(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    canvas.rect(0, 0, WIDTH, 206, varied((218, 244, 240), rng, 5))
    canvas.rect(0, 118, WIDTH, 132, (110, 206, 200))
    canvas.rect(0, 200, WIDTH, HEIGHT, (190, 226, 230))
    _boards(canvas, 200, range(-60, 420, 40), (164, 206, 212))
    for row in (218, 240):
        canvas.rect(0, row, WIDTH, row + 1.2, (164, 206, 212))
    draw_view(canvas, 28, 28, 76, 74, scene)
    canvas.rect(166, 18, 222, 74, (255, 255, 255), 6)
    canvas.rect(187, 26, 201, 66, (230, 30, 50))
    canvas.rect(174, 39, 214, 53, (230, 30, 50))
    canvas.rect(318, 40, 322, 206, (150, 160, 170))
    canvas.rect(308, 36, 332, 40, (150, 160, 170))
    canvas.rect(302, 44, 318, 74, (176, 226, 250), 4)
    canvas.stroke([(310, 74), (308, 110), (290, 132)], 1.6, (120, 190, 220))
    canvas.rect(246, 66, 296, 104, (50, 60, 76), 4)
    canvas.stroke([(250, 86), (262, 86), (267, 74), (273, 98), (278, 86), (292, 86)], 2, (80, 250, 140))
    draw_bed(canvas, 262, 226, 176, (120, 190, 230), 1)


def draw_office(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    canvas.rect(0, 0, WIDTH, 206, varied((120, 132, 148), rng))
    for left in (10, 126, 242):
        high, low = SKIES[scene.weather][scene.light]
        canvas.rect(left, 16, left + 108, 128, (60, 66, 78))
        canvas.rect(left + 4, 20, left + 104, 124, low)
        canvas.rect(left + 4, 20, left + 104, 64, high)
        for index in range(5):
            height = 24 + rng.random() * 50
            canvas.rect(left + 6 + index * 20, 124 - height, left + 22 + index * 20, 124, (84, 104, 136))
        for row in range(5):
            canvas.rect(left + 4, 22 + row * 5, left + 104, 24.4 + row * 5, (226, 230, 236))
    canvas.rect(0, 200, WIDTH, HEIGHT, varied((70, 78, 96), rng, 6))
    for x in range(0, 360, 30):
        canvas.rect(x, 200, x + 15, HEIGHT, (78, 88, 108))
    canvas.rect(8, 140, 70, 210, (160, 168, 178), 3)
    for row in range(3):
        canvas.rect(13, 145 + row * 22, 65, 163 + row * 22, (184, 192, 202), 2)
        canvas.rect(32, 151 + row * 22, 46, 154 + row * 22, (90, 96, 106))
    canvas.rect(284, 138, 350, 190, (250, 250, 252), 3)
    for index, (height, color) in enumerate(((14, (240, 80, 70)), (24, (250, 180, 50)), (20, (70, 170, 110)),
                                             (36, (60, 120, 220)))):
        canvas.rect(292 + index * 14, 184 - height, 301 + index * 14, 184, color)
    canvas.dot(180, 158, 14, (250, 250, 250))
    canvas.stroke([(180, 158), (180, 149)], 1.6, (40, 40, 50))
    canvas.stroke([(180, 158), (187, 161)], 1.6, (40, 40, 50))


def draw_restaurant(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    wall = varied((110, 34, 40), rng)
    canvas.rect(0, 0, WIDTH, 206, wall)
    for row in range(13):
        for column in range(-1, 10):
            left = column * 42 + (row % 2) * 21
            canvas.rect(left, row * 16, left + 40, row * 16 + 14, varied(lighter(wall, 0.08), rng, 6))
    _floor(canvas, 204, (74, 46, 36))
    draw_view(canvas, 214, 54, 104, 78, scene, (226, 170, 60))
    canvas.rect(22, 60, 128, 132, (50, 30, 24), 4)
    for row, width in enumerate((60, 80, 50, 70)):
        canvas.rect(34, 74 + row * 13, 34 + width, 78 + row * 13, (246, 230, 190))
    for x in (40, 112, 184, 256, 328):
        canvas.stroke([(x, 0), (x, 22)], 1.4, (40, 30, 30))
        canvas.glow(x, 34, 30, (255, 190, 90), 0.12)
        canvas.oval(x, 34, 15, 13, (236, 50, 40))
        canvas.rect(x - 6, 20, x + 6, 24, (250, 200, 80))
        canvas.rect(x - 6, 45, x + 6, 49, (250, 200, 80))
    for x in (26, 334):
        canvas.rect(x - 34, 176, x + 34, 182, (180, 110, 60), 2)
        canvas.rect(x - 3, 182, x + 3, 224, (100, 60, 40))
        canvas.polygon([(x - 34, 176), (x + 34, 176), (x + 30, 192), (x - 30, 192)], (250, 244, 236))
        canvas.rect(x - 3, 160, x + 3, 176, (250, 250, 240))
        canvas.oval(x, 156, 3, 5, (255, 200, 70))


INDOORS: dict[str, Callable[[Canvas, Scene, random.Random], None]] = {
    "kitchen": draw_kitchen, "bedroom": draw_bedroom, "living_room": draw_living_room, "store": draw_store,
    "school": draw_school, "hospital": draw_hospital, "office": draw_office, "restaurant": draw_restaurant}
