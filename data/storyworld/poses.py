"""How the body holds itself in each act. Angles in degrees: 0 hangs down, 90 points ahead, 180 up."""
from dataclasses import dataclass


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
    "ill": Pose((86, 80), (96, 90), (-90, -86), (-94, -88), hip=14, lean=70, mouth="grin"),
}
