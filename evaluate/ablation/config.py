"""Every setting of `python -m evaluate ablate` and its default; nothing slow is imported here."""
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """Which grid is trained on which folder, and how it is judged: always on val."""

    features: Path
    grid: Path | None = None       # None: the one that comes along
    out: Path | None = None        # None: beside the features folder, named after the grid
    fractions: tuple[float, ...] = ()  # of the train albums: a learning curve of the reference row instead of the grid
    jobs: int = 1                  # trainings side by side
    resamples: int = 2000          # draws of albums
    seed: int = 42                 # of these draws
    cost: bool = True              # measure what the grid would cost with the backbone in the loop

    def __post_init__(self) -> None:
        for name, found, least in (("jobs", self.jobs, 1), ("resamples", self.resamples, 1), ("seed", self.seed, 0)):
            if found < least:
                raise UserError(f"setting {name}: expected at least {least}, found {found}; change --{name}")
