"""A whole world without its pictures: albums, photos, stories, sentences. The same configuration gives the same world.

Every album has its own random stream, so albums do not depend on how many there are; which split an album is in
and which photos are bad is drawn for the world as a whole.
"""
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from data.storyworld.config import WORLD_VERSION, WorldConfig
from data.storyworld.grammar import tags_of
from data.storyworld.sentences import (
    HAS_DESCRIPTIONS,
    NUM_DESCRIPTIONS,
    VOICES,
    description_grammar,
    redundant_grammar,
    sentence_grammar,
)
from data.storyworld.world import NUM_STAGES, Scene, draw, draw_album, shuffled

SPLITS = ("train", "val", "test")
VAL_SHARE, TEST_SHARE = 0.09, 0.17
STORIES_PER_ALBUM = 5
SLOTS_PER_ALBUM = 10
FIRST_ALBUM_ID = 72_100_000
FIRST_STORY = 40_000         # a story id is this plus the album, and the story's number

# How a photo is stored. Shares of all photos; a world of 20 albums has each at least once, a smaller one none but "ok".
PHOTO_KINDS = {"missing": 0.003, "truncated": 0.002, "unavailable": 0.003, "rotated": 0.001, "grey": 0.001,
               "alpha": 0.001}
LEAST_UNAVAILABLE = 5           # the same bytes under five ids in five albums: a placeholder by the folder's rule
SMALLEST_WITH_BAD_PHOTOS = 20


@dataclass
class Photo:
    """A photo of an album, and how it is stored."""

    photo_id: str
    album_index: int
    scene: Scene
    kind: str = "ok"
    descriptions: list[tuple[str, ...]] = field(default_factory=list)       # words


@dataclass(frozen=True)
class WorldStory:
    """One story: five of its album's photos with a sentence each."""

    story_id: str
    voice: str
    setting: str                                # VIST's: who picked the photos
    photos: tuple[Photo, ...]
    sentences: tuple[tuple[str, ...], ...]      # words

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(photo.scene for photo in self.photos)


@dataclass(frozen=True)
class Album:
    """Nine or ten photos and five stories over two sequences."""

    album_id: str
    index: int
    photos: tuple[Photo, ...]                   # in order of id, which says nothing about the order of events
    sequences: tuple[tuple[Photo, ...], tuple[Photo, ...]]
    stories: tuple[WorldStory, ...]


@dataclass(frozen=True)
class World:
    config: WorldConfig
    splits: dict[str, list[Album]]


def build_world(config: WorldConfig) -> World:
    """Everything but the pictures, in well under a second per thousand albums' sentences."""
    albums = [_draw_album(config, index) for index in range(config.albums)]
    order = shuffled(_stream(config, "splits"), albums)
    num_val = max(1, round(config.albums * VAL_SHARE))
    num_test = max(1, round(config.albums * TEST_SHARE))
    parts = {"val": order[:num_val], "test": order[num_val:num_val + num_test], "train": order[num_val + num_test:]}
    if config.albums >= SMALLEST_WITH_BAD_PHOTOS:
        rng = _stream(config, "photos")  # of those stored badly there is at most one in an album
        chosen = iter([shuffled(rng, album.photos)[0] for album in shuffled(rng, albums)])
        num_photos = sum(len(album.photos) for album in albums)
        for kind, share in PHOTO_KINDS.items():
            for _ in range(max(LEAST_UNAVAILABLE if kind == "unavailable" else 1, round(share * num_photos))):
                next(chosen).kind = kind
    return World(config, {split: sorted(parts[split], key=lambda album: album.index) for split in SPLITS})


def _stream(config: WorldConfig, name: str) -> random.Random:
    """A random stream of its own for each name; seeding by text does not depend on Python's hash seed."""
    return random.Random(f"storyworld/{WORLD_VERSION}/{config.seed}/{name}")


def _draw_album(config: WorldConfig, index: int) -> Album:
    rng = _stream(config, f"album/{index}")
    album_id = str(FIRST_ALBUM_ID + index)
    sequences = draw_album(rng)
    slots = iter(shuffled(rng, range(SLOTS_PER_ALBUM)))
    photos: dict[int, Photo] = {}
    for scene in (scene for sequence in sequences for scene in sequence):
        if id(scene) not in photos:
            photos[id(scene)] = Photo(f"{album_id}{next(slots)}", index, scene)
    told = [tuple(photos[id(scene)] for scene in sequence) for sequence in sequences]
    stories = tuple(_tell(rng, f"{FIRST_STORY + index}{number}", told, number) for number in range(STORIES_PER_ALBUM))
    for photo in photos.values():
        _describe(_stream(config, f"description/{photo.photo_id}"), photo, stories, config.tags)
    return Album(album_id, index, tuple(sorted(photos.values(), key=lambda photo: photo.photo_id)),
                 (told[0], told[1]), stories)


def _tell(rng: random.Random, story_id: str, told: Sequence[tuple[Photo, ...]], number: int) -> WorldStory:
    """Two people pick five photos each; three more tell one of these sequences anew."""
    photos = told[number % 2] if number < 4 else told[int(rng.random() * 2)]
    setting = "first-2-pick-and-tell" if number < 2 else "last-3-pick-old-and-tell"
    voice = draw(rng, VOICES)
    scenes = [photo.scene for photo in photos]
    sentences = tuple(sentence_grammar(scenes[:stage + 1], voice).write(rng) for stage in range(NUM_STAGES))
    return WorldStory(story_id, voice, setting, photos, sentences)


def _describe(rng: random.Random, photo: Photo, stories: Sequence[WorldStory], tags: str) -> None:
    """Give a photo its captions in isolation, or none.

    In a redundant world they carry only tags that each of the photo's story sentences carries.
    """
    if rng.random() >= HAS_DESCRIPTIONS:
        return
    count = draw(rng, NUM_DESCRIPTIONS)
    if tags == "informative":
        grammar = description_grammar(photo.scene)
    else:
        said = [tags_of(story.sentences[story.photos.index(photo)]) for story in stories if photo in story.photos]
        grammar = redundant_grammar(photo.scene, set.intersection(*said))
    photo.descriptions.extend(grammar.write(rng) for _ in range(count))
