"""Every setting of `python -m evaluate crossval` and its default; nothing slow is imported here."""
from dataclasses import dataclass
from pathlib import Path

from data.annotations.stories import DEFAULT_SEED
from data.errors import UserError
from data.folds.folds import DEFAULT_FOLDS


@dataclass(frozen=True, kw_only=True)
class CrossvalConfig:
    """Which data are folded, with which features, how each fold is trained, and how the folds are pooled."""

    dataset: Path
    out: Path
    features: Path | None = None          # None: OUT/features
    folds: int = DEFAULT_FOLDS
    fold_seed: int = DEFAULT_SEED         # of the deal
    jobs: int = 1                         # folds side by side
    resamples: int = 1000                 # bootstrap draws over the albums of all folds
    meteor: bool = False
    extraction: tuple[str, ...] = ()      # flags of python -m extract; none: those the features folder was made with
    training: tuple[str, ...] = ()        # flags of python -m train

    def __post_init__(self) -> None:
        for name, found, least in (("folds", self.folds, 2), ("jobs", self.jobs, 1), ("resamples", self.resamples, 0),
                                   ("fold_seed", self.fold_seed, 0)):
            if found < least:
                raise UserError(f"setting {name}: expected at least {least}, found {found}; change "
                                f"--{name.replace('_', '-')}")

    @property
    def features_path(self) -> Path:
        """The features folder."""
        return self.features or self.out / "features"

    def words(self, fold: int) -> str:
        """The name of a fold's word set: features may hold those of other deals beside it."""
        return f"fold-{fold}-of-{self.folds}-seed-{self.fold_seed}"
