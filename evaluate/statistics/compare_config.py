"""Every setting of `python -m evaluate compare` and its default; nothing slow is imported here."""
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from evaluate.config import SPLITS, TS


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which systems are compared, on what."""

    systems: tuple[Path, ...]        # run folders or prediction files; the first is what the others are held against
    split: str = "test"
    t: int = 4                       # frames seen, for predictions of task next
    references: Path | None = None   # for files of stories
    resamples: int = 2000
    seed: int = 42
    out: Path | None = None          # the result as JSON

    def __post_init__(self) -> None:
        if len(self.systems) < 2:
            raise UserError(f"expected two runs or prediction files at least, found {len(self.systems)}; name another: "
                            "make compare RUNS=\"A B\"")
        if self.split not in SPLITS or self.t not in TS:
            raise UserError(f"expected --split {', '.join(SPLITS)} and --t {min(TS)}..{max(TS)}, found {self.split!r} "
                            f"and {self.t}; change them")
        if self.resamples < 1 or self.seed < 0:
            raise UserError(f"expected --resamples of 1 and --seed of 0 at least, found {self.resamples} and "
                            f"{self.seed}; change them")
