"""Every setting of `python -m evaluate score` and its default; nothing slow is imported here."""
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError

SPLITS = ("train", "val", "test")
MISSING_ALBUMS = ("empty", "drop", "refuse")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What is scored against what, and how."""

    predictions: Path
    references: Path | None = None  # None: predictions of task next bring theirs along
    out: Path | None = None         # the result as JSON
    split: str = "test"             # of a data folder that holds the references
    missing: str = "empty"          # albums without a story: scored as empty ones, left out, or refused
    t: int = 4                      # frames seen, where the predictions are captions of task next
    meteor: bool = True
    resamples: int = 1000           # bootstrap draws over albums
    seed: int = 42                  # of draws and of the constant story's halves

    def __post_init__(self) -> None:
        for name, found, allowed in (("split", self.split, SPLITS), ("missing", self.missing, MISSING_ALBUMS)):
            if found not in allowed:
                raise UserError(f"setting {name}: expected one of {', '.join(allowed)}, found {found!r}; change "
                                f"--{name}")
        for name, number, least in (("resamples", self.resamples, 0), ("seed", self.seed, 0), ("t", self.t, 1)):
            if number < least:
                raise UserError(f"setting {name}: expected at least {least}, found {number}; change --{name}")
