"""What a storyworld is made from. Together with WORLD_VERSION it determines every word and every probability."""
from dataclasses import asdict, dataclass

from data.errors import UserError
from data.settings import setting

WORLD_VERSION = 1       # the rules, words and random draws of a version never change: published numbers rest on them
TAG_WORLDS = ("informative", "redundant")
SMALLEST_WORLD = 3      # one album for each split


@dataclass(frozen=True)
class WorldConfig:
    """One storyworld; 74 % of its albums are train's, 9 % val's, 17 % test's, each of about 9.5 photos and 5 stories.

    Attributes:
        tags: what the captions of single photos (DII) tell. "informative": all that the photo shows, so
            that tags name the things that decide how the story ends although the story's own sentence
            mentions them in about half of the cases. "redundant": only what every story sentence
            about that photo says, so that a frame's tags are exactly those of its sentence. Photos
            and story sentences are the same in both.
        workers: never changes a byte, and is no part of the world.
    """

    albums: int = setting(340, "albums in all")
    seed: int = setting(7, "another seed, another world")
    tags: str = setting("informative", "whether tags tell more than captions do", choices=TAG_WORLDS)
    workers: int = setting(0, "processes that draw; 0 takes all cores")

    def __post_init__(self) -> None:
        if not SMALLEST_WORLD <= self.albums <= 99_999:
            raise UserError(f"albums: expected {SMALLEST_WORLD} to 99999, found {self.albums}; "
                            f"a world needs an album for each of train, val and test")
        if not 0 <= self.seed < 2 ** 32:
            raise UserError(f"seed: expected 0 to {2 ** 32 - 1}, found {self.seed}")
        if self.tags not in TAG_WORLDS:
            raise UserError(f"tags: expected one of {', '.join(TAG_WORLDS)}, found {self.tags!r}")
        if self.workers < 0:
            raise UserError(f"workers: expected 0 (all cores) or more, found {self.workers}")

    def spec(self) -> dict[str, int | str]:
        """Everything that text and probabilities follow from, as stored in the annotation files' `info`."""
        fields = {name: value for name, value in asdict(self).items() if name != "workers"}
        return {"version": WORLD_VERSION, **fields}

    @classmethod
    def from_spec(cls, spec: dict) -> "WorldConfig":
        """Read what `spec` wrote.

        Raises:
            UserError: if the world is of another version or the fields are not ours.
        """
        if spec.get("version") != WORLD_VERSION:
            raise UserError(f"storyworld: expected version {WORLD_VERSION}, found {spec.get('version')!r}; "
                            f"use the release that wrote it, or write the world anew")
        try:
            return cls(albums=spec["albums"], seed=spec["seed"], tags=spec["tags"])
        except (KeyError, TypeError) as error:
            raise UserError(f"storyworld: expected albums, seed and tags in the annotations' info, "
                            f"found {sorted(spec)}; write the world anew") from error
