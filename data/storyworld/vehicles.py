"""What people ride, drawn around them."""
import math

from data.storyworld.canvas import Canvas, Color, darker, lighter


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
