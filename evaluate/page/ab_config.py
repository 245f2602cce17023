"""Every setting of a blind sheet and its default. Light imports: the flags of `--help` are made from this class."""
from dataclasses import dataclass

from data.errors import UserError
from evaluate.config import HEADLINE_T, TS


@dataclass(frozen=True, kw_only=True)
class AbConfig:
    """What a sheet asks.

    Attributes:
        num_stories: questions at most. seed: of the choice of stories, their order and the sides.
        split, words: of the features folder. t: frames seen before the sentence that is judged.
    """

    num_stories: int = 40
    seed: int = 42
    split: str = "test"
    words: str = "default"
    t: int = HEADLINE_T

    def __post_init__(self) -> None:
        if self.num_stories < 1:
            raise UserError(f"expected at least 1 story on the sheet, found {self.num_stories}; change --stories")
        if self.t not in TS:
            raise UserError(f"expected t from {TS[0]} to {TS[-1]}, found {self.t}; change --t")
