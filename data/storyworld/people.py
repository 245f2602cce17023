"""The heroes' looks, their poses in each act, and a figure in any pose. Angles: 0 hangs down, 90 ahead, 180 up."""
import random
from dataclasses import dataclass

from data.storyworld.canvas import Canvas, Color, Point, darker, lighter, turn

HEAD, NECK, TORSO, UPPER_ARM, FOREARM, THIGH, SHIN = 17.0, 5.0, 50.0, 26.0, 25.0, 33.0, 33.0


@dataclass(frozen=True)
class Look:
    """How a person looks; `size` scales the whole figure."""

    skin: Color
    hair: Color
    hairdo: str             # long, short, curls, bun, cap, beard
    top: Color
    pattern: str            # plain, dots, stripes, vest
    accent: Color
    bottom: Color
    skirt: bool = False
    shoes: Color = (60, 50, 60)
    size: float = 1.0


LOOKS = (
    Look((246, 205, 175), (120, 62, 30), "long", (214, 40, 57), "dots", (255, 240, 240), (214, 40, 57), True,
         (90, 30, 40)),
    Look((250, 214, 186), (236, 190, 82), "short", (38, 84, 190), "plain", (120, 170, 250), (52, 60, 92), False,
         (240, 240, 240)),
    Look((122, 76, 50), (32, 22, 24), "curls", (250, 204, 36), "plain", (255, 250, 220), (112, 44, 140), True,
         (80, 30, 100)),
    Look((196, 142, 100), (28, 24, 26), "beard", (34, 140, 74), "stripes", (200, 240, 200), (206, 184, 146), False,
         (96, 60, 36)),
    Look((244, 208, 190), (222, 222, 230), "bun", (150, 92, 190), "vest", (246, 226, 250), (92, 92, 118), True,
         (60, 50, 70), 0.95),
    Look((240, 196, 160), (170, 84, 34), "cap", (250, 130, 32), "stripes", (255, 246, 230), (24, 150, 150), False,
         (220, 50, 50), 0.84),
)
FRIEND = Look((224, 174, 138), (70, 44, 36), "short", (120, 130, 142), "plain", (220, 220, 220), (62, 66, 76), False)


@dataclass(frozen=True)
class Pose:
    """A body's angles: limbs as (upper part, lower part); `hip` is the hip's height above the ground in units."""

    far_arm: tuple[float, float] = (-14, -6)
    near_arm: tuple[float, float] = (14, 12)
    far_leg: tuple[float, float] = (-6, -4)
    near_leg: tuple[float, float] = (7, 4)
    hip: float = 68
    lean: float = 0             # of the trunk, ahead
    nod: float = 0              # of the head against the trunk
    mouth: str = "line"         # line, grin, open
    eyes: str = "open"          # open, shut


SEATED = {"far_leg": (82.0, 2.0), "near_leg": (90.0, 4.0), "hip": 38.0}

POSES = {
    "standing": Pose(),
    "waiting": Pose(near_arm=(20, 60)),
    "walking": Pose((-32, -14), (34, 52), (-24, -40), (26, 12), hip=66, lean=4),
    "running": Pose((-64, 10), (58, 132), (-30, -96), (58, 2), hip=64, lean=16, mouth="open"),
    "sitting": Pose((22, 52), (30, 66), **SEATED),          # type: ignore[arg-type]
    "eating": Pose((38, 84), (30, 146), lean=8, nod=6, mouth="open", **SEATED),         # type: ignore[arg-type]
    "drinking": Pose((-14, -4), (54, 150), lean=-6, nod=-8, eyes="shut"),
    "reading": Pose((34, 98), (40, 104), lean=6, nod=10, **SEATED),         # type: ignore[arg-type]
    "writing": Pose((46, 84), (36, 82), lean=18, nod=14, **SEATED),          # type: ignore[arg-type]
    "talking": Pose((-30, 20), (46, 108), mouth="open"),
    "smiling": Pose((-140, -168), (140, 168), mouth="grin", lean=-3),
    "jumping": Pose((-132, -160), (132, 160), (-48, -100), (54, -34), hip=100, mouth="grin"),
    "sleeping": Pose((96, 84), (84, 70), (-90, -86), (-94, -88), hip=14, lean=90, eyes="shut"),
    "cooking": Pose((44, 86), (52, 92), lean=4, mouth="grin"),
    "dancing": Pose((-118, -70), (128, 160), (-16, -12), (64, -30), hip=68, lean=-10, mouth="grin", eyes="shut"),
    "driving": Pose((62, 82), (66, 84), lean=4, mouth="grin", **SEATED),         # type: ignore[arg-type]
    "riding": Pose((62, 70), (66, 72), (14, -22), (62, 6), hip=70, lean=24, nod=-14, mouth="grin"),
}


def draw_person(canvas: Canvas, look: Look, act: str, x: float, ground: float, facing: int,
                rng: random.Random) -> dict[str, Point]:
    """Draw a figure whose lowest foot is on `ground` (or that lies, sits, flies above it as its pose says).

    Args:
        x: where the hip is. facing: 1 looks to the right, -1 to the left.

    Returns:
        Where its head and its near hand are.
    """
    pose = POSES[act]
    size = look.size
    hip = (x, ground - pose.hip * size)
    neck = turn(hip, TORSO * size, 180 - pose.lean, facing)
    head = turn(neck, (NECK + HEAD * 0.8) * size, 180 - pose.lean - pose.nod, facing)
    far_leg, near_leg = (_limb(hip, angles, (THIGH, SHIN), size, facing) for angles in (pose.far_leg, pose.near_leg))
    shoulder = turn(hip, (TORSO - 5) * size, 180 - pose.lean, facing)
    arms = [_limb(shoulder, (upper + (rng.random() - 0.5) * 8, lower + (rng.random() - 0.5) * 8),
                  (UPPER_ARM, FOREARM), size, facing) for upper, lower in (pose.far_arm, pose.near_arm)]
    _draw_arm(canvas, look, arms[0], darker(look.top, 0.18))
    _draw_leg(canvas, look, far_leg, darker(look.bottom, 0.25), facing)
    _draw_leg(canvas, look, near_leg, look.bottom, facing)
    _draw_torso(canvas, look, hip, neck, (far_leg, near_leg), pose, facing)
    _draw_hair_behind(canvas, look, *head, HEAD * size, facing)
    canvas.oval(*head, HEAD * size * 0.92, HEAD * size, look.skin)
    _draw_face(canvas, look, *head, HEAD * size, pose, facing)
    _draw_hair_before(canvas, look, *head, HEAD * size, facing)
    _draw_arm(canvas, look, arms[1], look.top)
    return {"head": head, "hand": arms[1][-1]}


def _limb(start: Point, angles: tuple[float, float], lengths: tuple[float, float], size: float, facing: int
          ) -> list[Point]:
    middle = turn(start, lengths[0] * size, angles[0], facing)
    return [start, middle, turn(middle, lengths[1] * size, angles[1], facing)]


def _draw_arm(canvas: Canvas, look: Look, arm: list[Point], sleeve: Color) -> None:
    canvas.stroke(arm[1:], 8 * look.size, look.skin)
    canvas.stroke(arm[:2], 12 * look.size, sleeve)
    canvas.dot(*arm[2], 5.5 * look.size, look.skin)


def _draw_leg(canvas: Canvas, look: Look, leg: list[Point], trousers: Color, facing: int) -> None:
    size, foot = look.size, leg[-1]
    canvas.stroke(leg, (10 if look.skirt else 14) * size, look.skin if look.skirt else trousers)
    canvas.oval(foot[0] + facing * 5 * size, foot[1] + 2 * size, 10 * size, 5.5 * size, look.shoes)


def _draw_torso(canvas: Canvas, look: Look, hip: Point, neck: Point, legs: tuple[list[Point], list[Point]], pose: Pose,
                facing: int) -> None:
    size = look.size
    along = ((neck[0] - hip[0]) / (TORSO * size), (neck[1] - hip[1]) / (TORSO * size))
    side = (-along[1], along[0])

    def at(up: float, right: float) -> Point:
        return (hip[0] + (along[0] * up + side[0] * right) * size, hip[1] + (along[1] * up + side[1] * right) * size)

    if look.skirt:
        knees = sorted((leg[1] for leg in legs), key=lambda knee: knee[0])
        spread = 12 * size
        canvas.polygon([at(8, -14), at(8, 14), (knees[1][0] + spread, knees[1][1] + 4),
                        (knees[0][0] - spread, knees[0][1] + 4)],
                       look.bottom)
    canvas.stroke([at(4, 0), at(42, 0)], 30 * size, look.top)
    canvas.stroke([at(38, -9), at(38, 9)], 19 * size, look.top)
    canvas.stroke([at(-1, -8), at(-1, 8)], 14 * size, look.bottom)
    if look.pattern == "stripes":
        for up in (8, 19, 30, 41):
            canvas.stroke([at(up, -13), at(up, 13)], 4 * size, look.accent)
    elif look.pattern == "dots":
        for up, right in ((8, -7), (8, 7), (17, 0), (26, -8), (26, 8), (36, 0), (41, 11), (41, -11)):
            canvas.dot(*at(up, right), 2.6 * size, look.accent)
    elif look.pattern == "vest":
        canvas.polygon([at(46, -5), at(46, 5), at(2, 4), at(2, -4)], look.accent)
    else:
        canvas.stroke([at(24, -14), at(24, 14)], 6 * size, look.accent)
    canvas.stroke([at(44, 0), at(56, 0)], 10 * size, darker(look.skin, 0.08))


def _draw_face(canvas: Canvas, look: Look, x: float, y: float, size: float, pose: Pose, facing: int) -> None:
    ink = (46, 34, 40)
    for offset in (0.08, 0.62):
        eye = x + facing * size * offset
        if pose.eyes == "shut":
            canvas.arc(eye, y - 1, size * 0.17, size * 0.14, 10, 170, 1.4, ink)
        else:
            canvas.oval(eye, y - size * 0.08, size * 0.1, size * 0.15, ink)
    red, green, blue = look.skin
    blush = (round(red * 0.98), round(green * 0.84), round(blue * 0.82))
    canvas.oval(x + facing * size * 0.5, y + size * 0.3, size * 0.2, size * 0.14, blush)
    mouth = x + facing * size * 0.34
    if pose.mouth == "grin":
        canvas.pie(mouth, y + size * 0.3, size * 0.42, size * 0.42, 0, 180, (150, 30, 44))
        canvas.pie(mouth, y + size * 0.3, size * 0.34, size * 0.18, 0, 180, (255, 255, 255))
    elif pose.mouth == "open":
        canvas.oval(mouth, y + size * 0.46, size * 0.18, size * 0.22, (150, 30, 44))
    else:
        canvas.arc(mouth, y + size * 0.3, size * 0.3, size * 0.26, 20, 160, 1.6, ink)
    if look.hairdo == "bun":
        for offset in (0.08, 0.62):
            canvas.arc(x + facing * size * offset, y - size * 0.08, size * 0.26, size * 0.26, 0, 360, 1.2,
                       (90, 70, 110))


def _draw_hair_behind(canvas: Canvas, look: Look, x: float, y: float, size: float, facing: int) -> None:
    if look.hairdo == "long":
        canvas.rect(x - size * 1.08, y - size * 0.5, x + size * (0.72 if facing > 0 else 1.08), y + size * 1.6,
                    look.hair, size * 0.5)
    elif look.hairdo == "curls":
        for dx, dy in ((-1.0, -0.1), (-0.8, -0.8), (0, -1.1), (0.8, -0.8), (1.0, -0.1), (-0.9, 0.6), (0.9, 0.6)):
            canvas.dot(x + size * dx, y + size * dy, size * 0.58, look.hair)
    elif look.hairdo == "bun":
        canvas.dot(x - facing * size * 0.5, y - size * 1.15, size * 0.48, look.hair)


def _draw_hair_before(canvas: Canvas, look: Look, x: float, y: float, size: float, facing: int) -> None:
    hair = look.hair
    if look.hairdo == "beard":
        canvas.pie(x + facing * size * 0.08, y + size * 0.2, size * 0.86, size * 0.92, 0, 180, hair)
        canvas.oval(x + facing * size * 0.34, y + size * 0.34, size * 0.3, size * 0.12, (236, 120, 120))
    canvas.pie(x - facing * size * 0.06, y - size * 0.3, size * 1.0, size * 0.86, 180, 360, hair)
    canvas.pie(x - facing * size * 0.34, y - size * 0.32, size * 0.7, size * 0.9, 90 if facing > 0 else 0,
               180 if facing > 0 else 90, hair)
    if look.hairdo == "cap":
        canvas.pie(x, y - size * 0.36, size * 1.02, size * 0.86, 180, 360, (216, 44, 52))
        brim = (x + facing * size * 0.1, x + facing * size * 1.7)
        canvas.rect(min(brim), y - size * 0.46, max(brim), y - size * 0.28, darker((216, 44, 52), 0.2), 2)
        canvas.dot(x, y - size * 1.2, size * 0.14, (255, 255, 255))
    elif look.hairdo == "long":
        canvas.stroke([(x - size * 0.86, y - size * 0.56), (x + size * 0.8, y - size * 0.56)], 3.4,
                      lighter((214, 40, 57), 0.2))
