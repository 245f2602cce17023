"""The rules of the world: who lives in it, where things happen, and how a story goes on.

A story is five scenes on one day of one hero:

    stage 0  at home, beside a thing: the first aim        stage 3  where the second aim leads
    stage 1  outside, beside a thing: the second aim       stage 4  where the first aim leads
    stage 2  on the way

Every rule holds only mostly (KEEPS). The way (stage 2) tells a little about the second aim and nothing about
the first, stage 3 nothing about the first either: who has only the last photo cannot know the end. Both aims come from
one set, so that the order of the first two scenes decides which of them the story ends with.

An album holds two such stories, A and B, of one hero with four different aims. Where a rule is broken the
two stories swap their scenes, so both keep it or both break it, and a story of the album looks the same to its
reader whichever of the two it is. The middle scene is shared by both stories half of the time.
"""
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

NUM_STAGES = 5
KEEPS = (1.0, 0.9, 0.9, 0.92, 0.92)      # how often stage k follows its rule
SHARED_MIDDLE = 0.5


@dataclass(frozen=True)
class Hero:
    """One protagonist; the looks are in `people`."""

    name: str
    gender: str                    # "female" or "male", as in VIST's [female]
    nouns: tuple[str, str]         # what a stranger calls them


@dataclass(frozen=True)
class Aim:
    """A thing noticed early and the place it leads to."""

    thing: str
    place: str
    mode: str                      # how one travels with it


HEROES = (Hero("Anna", "female", ("girl", "young woman")), Hero("Tom", "male", ("boy", "young man")),
          Hero("Zara", "female", ("lady", "woman")), Hero("Omar", "male", ("gentleman", "man")),
          Hero("Rose", "female", ("grandmother", "old lady")), Hero("Leo", "male", ("kid", "little boy")))
AIMS = (Aim("book", "school", "bicycle"), Aim("plant", "hospital", "car"), Aim("bottle", "beach", "bicycle"),
        Aim("laptop", "office", "car"), Aim("phone", "restaurant", "motorcycle"), Aim("dog", "forest", "foot"))
STARTS = ("kitchen", "bedroom", "living_room", "home")
NEXT_PLACE = {"kitchen": "store", "bedroom": "street", "living_room": "garden", "home": "park"}
MODE_PLACE = {"car": "city", "bicycle": "park", "motorcycle": "street", "foot": "city"}

ACTS: dict[str, tuple[tuple[str, float], ...]] = {
    "kitchen": (("cooking", 0.6), ("eating", 0.4)), "bedroom": (("sleeping", 0.6), ("sitting", 0.4)),
    "living_room": (("dancing", 0.5), ("sitting", 0.5)), "home": (("standing", 0.5), ("smiling", 0.5)),
    "store": (("talking", 0.5), ("standing", 0.5)), "street": (("walking", 0.6), ("running", 0.4)),
    "garden": (("smiling", 0.5), ("cooking", 0.25), ("standing", 0.25)),
    "park": (("jumping", 0.5), ("sitting", 0.25), ("walking", 0.25)),
    "school": (("reading", 0.6), ("writing", 0.4)),
    "hospital": (("talking", 0.5), ("smiling", 0.25), ("sleeping", 0.25)),
    "beach": (("jumping", 0.6), ("drinking", 0.4)), "office": (("writing", 0.6), ("talking", 0.4)),
    "restaurant": (("eating", 0.5), ("drinking", 0.25), ("dancing", 0.25)),
    "forest": (("running", 0.6), ("walking", 0.4)),
}
MODE_ACTS: dict[str, tuple[tuple[str, float], ...]] = {
    "car": (("driving", 1.0),), "bicycle": (("riding", 1.0),), "motorcycle": (("driving", 1.0),),
    "foot": (("walking", 0.5), ("running", 0.5))}
DETAILS: dict[str, tuple[tuple[str, float], ...]] = {
    "kitchen": (("cup", 0.4), ("window", 0.35), ("table", 0.25)), "bedroom": (("bed", 0.7), ("cat", 0.3)),
    "living_room": (("cat", 0.4), ("chair", 0.6)), "home": (("door", 0.7), ("cat", 0.3)),
    "store": (("shelves", 0.6), ("door", 0.4)), "street": (("building", 0.6), ("tree", 0.4)),
    "garden": (("tree", 0.4), ("chair", 0.3), ("cat", 0.3)), "park": (("tree", 0.6), ("fountain", 0.4)),
    "city": (("building", 0.7), ("bridge", 0.3)), "school": (("table", 0.6), ("window", 0.4)),
    "hospital": (("bed", 0.6), ("window", 0.4)), "beach": (("waves", 0.6), ("tree", 0.4)),
    "office": (("chair", 0.6), ("cup", 0.4)), "restaurant": (("table", 0.6), ("cup", 0.4)),
    "forest": (("tree", 0.6), ("stream", 0.4))}
LIGHTS = ("morning", "midday", "evening")
FIRST_LIGHT = (0.8, 0.2, 0.0)
LIGHT_MOVES_ON = 0.4                    # the chance that the next stage is one light later
WEATHERS = (("sunny", 0.5), ("cloudy", 0.2), ("rainy", 0.15), ("snowy", 0.15))


@dataclass(frozen=True)
class Scene:
    """What one photo shows; all of it visible.

    `aim` is an index into AIMS: the thing beside the hero (stages 0, 1) or the aim the place belongs to (3, 4).
    """

    stage: int
    hero: int
    place: str
    act: str
    detail: str
    light: int
    weather: str
    aim: int | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Outlook:
    """A coming scene whose place is settled while act, detail and light are still open, independent of each other."""

    stage: int
    hero: int
    place: str
    weather: str
    acts: tuple[tuple[str, float], ...]
    details: tuple[tuple[str, float], ...]
    lights: tuple[tuple[int, float], ...]
    aim: int | None = None
    mode: str | None = None

    @classmethod
    def of(cls, scene: Scene) -> "Outlook":
        """A scene that is known already."""
        return cls(scene.stage, scene.hero, scene.place, scene.weather, ((scene.act, 1.0),), ((scene.detail, 1.0),),
                   ((scene.light, 1.0),), scene.aim, scene.mode)

    def scenes(self) -> list[tuple[Scene, float]]:
        """Every way it can turn out, with probabilities."""
        return [(Scene(self.stage, self.hero, self.place, act, detail, light, self.weather, self.aim, self.mode),
                 act_chance * detail_chance * light_chance)
                for act, act_chance in self.acts for detail, detail_chance in self.details
                for light, light_chance in self.lights]


def draw(rng: random.Random, choices: Sequence[tuple[T, float]]) -> T:
    """Draw by weight. Uses only `rng.random()`, whose stream is the same in every Python version."""
    point = rng.random() * sum(weight for _, weight in choices)
    for value, weight in choices:
        point -= weight
        if point < 0:
            return value
    return choices[-1][0]


def shuffled(rng: random.Random, values: Sequence[T]) -> list[T]:
    """A random order of `values` (Fisher-Yates over `rng.random()`)."""
    order = list(values)
    for last in range(len(order) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def light_after(light: int) -> tuple[tuple[int, float], ...]:
    """The next stage's light, with probabilities."""
    if light == len(LIGHTS) - 1:
        return ((light, 1.0),)
    return ((light, 1 - LIGHT_MOVES_ON), (light + 1, LIGHT_MOVES_ON))


def draw_album(rng: random.Random) -> tuple[list[Scene], list[Scene]]:
    """Draw an album's two stories, five scenes each; a shared middle is the same object in both."""
    hero = int(rng.random() * len(HEROES))
    weather = draw(rng, WEATHERS)
    lights = [draw(rng, tuple(enumerate(FIRST_LIGHT)))]
    for _ in range(NUM_STAGES - 1):
        lights.append(draw(rng, light_after(lights[-1])))
    starts = shuffled(rng, STARTS)[:2]
    aims = shuffled(rng, range(len(AIMS)))[:4]
    first, second = aims[:2], aims[2:]
    kept = [rng.random() < keeps for keeps in KEEPS]

    def scene(stage: int, place: str, aim: int | None = None, mode: str | None = None) -> Scene:
        return Scene(stage, hero, place, draw(rng, MODE_ACTS[mode] if mode else ACTS[place]),
                     draw(rng, DETAILS[place]), lights[stage], weather, aim, mode)

    stages: list[list[Scene]] = []
    stages.append([scene(0, place, aim) for place, aim in zip(starts, first)])
    places = [NEXT_PLACE[place] for place in (starts if kept[1] else starts[::-1])]
    stages.append([scene(1, place, aim) for place, aim in zip(places, second)])
    modes = [AIMS[aim].mode for aim in (second if kept[2] else second[::-1])]
    if rng.random() < SHARED_MIDDLE:
        modes = modes[:1] if rng.random() < 0.5 else modes[1:]
    middle = [scene(2, MODE_PLACE[mode], None, mode) for mode in modes]
    stages.append([middle[0], middle[-1]])
    for stage, pair in ((3, second), (4, first)):
        ends = pair if kept[stage] else pair[::-1]
        stages.append([scene(stage, AIMS[aim].place, aim) for aim in ends])
    return [pair[0] for pair in stages], [pair[1] for pair in stages]
