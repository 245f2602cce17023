"""Every setting of every command of evaluation: its default, what it means, what it may be; flags are made from these.

No torch here: `--help` reads this file.
"""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.annotations.stories import DEFAULT_SEED
from data.errors import UserError
from data.folds.folds import DEFAULT_FOLDS
from data.settings import Checked, setting
from train.writing.config import WritingConfig

SPLITS = ("train", "val", "test")
DEVICES = ("auto", "cpu", "cuda")
TS = (1, 2, 3, 4)  # frames seen before the one that is predicted
HEADLINE_T = 4


def _split(meaning: str) -> Any:
    return setting("test", meaning, choices=SPLITS)


def _t(meaning: str) -> Any:
    return setting(HEADLINE_T, meaning, choices=TS)


def _resamples(default: int, least: int = 0) -> Any:
    return setting(default, "bootstrap draws over albums" + "; 0: no intervals" * (not least), least=least)


def _outside(measure: str) -> Any:
    return setting((), f"{measure} computed elsewhere, story id -> number as JSON or CSV: the system's and, for "
                       "distances, people's", nargs="+", metavar="FILE")


def _out(meaning: str = "write the result there as well") -> Any:
    return setting(None, meaning, metavar="JSON")


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Checked):
    """What is evaluated, on what, and how."""

    run: Path = setting(meaning="the run folder", metavar="RUN")
    features: Path | None = setting(None, "features folder (default: the one it was trained on)")
    split: str = _split("test is looked at by name, once")
    dataset: Path | None = setting(None, "photos, to show them and to compare pixels", flag="data",
                                   metavar="DIR")
    words: str | None = setting(None, "word set of the folder (default: the run's)", metavar="NAME")
    missing: str = setting("mask", "stories with unusable photos: keep and mask, or leave out",
                           choices=("mask", "drop"))
    limit: int = setting(0, "at most so many stories of each split; 0: all", least=0)
    resamples: int = _resamples(1000)
    seed: int = setting(42, "of draws, distractors, permutations and writing", least=0)
    batch_size: int = setting(64, "stories at once", least=1)
    device: str = setting("auto", "where to run", choices=DEVICES)
    strict: bool = setting(False, "refuse a folder with other photos than the run's")
    baselines: bool = setting(True, "the model alone")
    plain_lstm: bool = setting(False, "one row more: an LSTM trained on sentences without those before them")
    meteor: bool = setting(True, "spare METEOR's time")
    sense: int | None = setting(None, "stories to put back in order (default: a twentieth of the split, at most 200); "
                                      "0: none, and no endings to choose", least=0, metavar="N")
    writing: WritingConfig = field(default_factory=WritingConfig)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Checked):
    """Which stories are scored against what, and how."""

    predictions: Path = setting(meaning='{album_id: [story]} as JSON, lines of {"album_id", "story"}, or a run\'s '
                                        "predictions", metavar="FILE")
    references: Path | None = setting(None, "{album_id: [story, ...]} as JSON, a story annotation file, or a data "
                                            "folder (--split); ours bring theirs along", metavar="PATH")
    split: str = _split("of a data folder")
    missing: str = setting("empty", "albums without a story: score as empty, leave out, or refuse",
                           choices=("empty", "drop", "refuse"))
    t: int = _t("frames seen, for predictions of single captions")
    meteor: bool = setting(True, "spare the minute that METEOR takes")
    coherence: tuple[Path, ...] = _outside("RoViST-C")
    grounding: tuple[Path, ...] = _outside("GROOViST")
    resamples: int = _resamples(1000)
    seed: int = setting(42, "of draws and of the constant story's halves", least=0)
    out: Path | None = _out()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("coherence", "grounding"):
            if len(given := getattr(self, name)) > 2:
                raise UserError(f"expected the system's scores and people's with --{name}, found {len(given)} files; "
                                "name two at most")


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Checked):
    """Which systems are compared, on what; run folders or prediction files."""

    systems: tuple[Path, ...]
    split: str = _split("of runs")
    t: int = _t("frames seen, for predictions of task next")
    references: Path | None = setting(None, "reference stories: the published protocol", metavar="PATH")
    resamples: int = _resamples(2000, 1)
    seed: int = setting(42, "of the draws", least=0)
    out: Path | None = _out()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.systems) < 2:
            raise UserError(f"expected two runs or prediction files at least, found {len(self.systems)}; name another: "
                            "make compare RUNS=\"A B\"")


@dataclass(frozen=True, kw_only=True)
class AblationConfig(Checked):
    """Which grid is trained on which folder, and how it is judged: always on val."""

    features: Path = setting(meaning="features folder")
    grid: Path | None = setting(None, "the grid (default: evaluate/ablation/default_grid.toml)",
                                metavar="TOML")
    out: Path | None = setting(None, "where runs and tables go (default: beside features)", metavar="DIR")
    fractions: tuple[float, ...] = setting((), "a learning curve instead: the reference row alone on these shares of "
                                               "the train albums, for example 0.1 0.3 1", nargs="+",
                                           flag="fraction", metavar="F")
    jobs: int = setting(1, "trainings side by side", least=1)
    resamples: int = _resamples(2000, 1)
    seed: int = setting(42, "of these draws", least=0)


@dataclass(frozen=True, kw_only=True)
class CrossvalConfig(Checked):
    """Which data are folded, with which features, how each fold is trained, and how the folds are pooled.

    `extraction` and `training` are flags of these commands; no extraction: as the features folder was made.
    """

    dataset: Path
    out: Path = setting(meaning="folds, runs and tables go there", metavar="DIR")
    features: Path | None = setting(None, "features folder to make or to add the folds' words to (default: "
                                          "DIR/features)", metavar="FEATURES")
    text_encoder: str | None = setting(None, "give captions text features, for --text-features; see python -m extract "
                                             "--help", metavar="NAME")
    folds: int = setting(DEFAULT_FOLDS, "how many folds", least=2)
    fold_seed: int = setting(DEFAULT_SEED, "of the deal of albums into folds", least=0)
    jobs: int = setting(1, "folds side by side", least=1)
    resamples: int = _resamples(1000)
    meteor: bool = setting(False, "score METEOR too, where Java is")
    extraction: tuple[str, ...] = ()
    training: tuple[str, ...] = ()

    @property
    def features_path(self) -> Path:
        """The features folder."""
        return self.features or self.out / "features"

    def words(self, fold: int) -> str:
        """The name of a fold's word set: features may hold those of other deals beside it."""
        return f"fold-{fold}-of-{self.folds}-seed-{self.fold_seed}"


@dataclass(frozen=True, kw_only=True)
class AbConfig(Checked):
    """What a blind sheet asks."""

    num_stories: int = setting(40, "questions at most", least=1, flag="stories")
    split: str = _split("of the features folder")
    words: str = setting("default", "word set", metavar="NAME")
    t: int = _t("frames seen before the sentence that is judged")
    seed: int = setting(42, "of stories, order, sides", least=0)


@dataclass(frozen=True, kw_only=True)
class StoryConfig(Checked):
    """What is shown to which run, and how it answers; photos in order, a caption a photo or none."""

    photos: tuple[Path, ...]
    run: Path = setting(meaning="the run folder")
    captions: tuple[str, ...] = ()
    features: Path | None = setting(None, "folder whose photos are matched (default: the run's)")
    weights: str | None = setting(None, "of the backbone (default: as this machine made the folder)",
                                  metavar="random|imagenet|PATH")
    backbone: str | None = setting(None, "where the folder's is a plug-in: a folder does not choose what runs here",
                                   metavar="MODULE:FACTORY")
    text_encoder: str | None = setting(None, "of captions that are given, where the run reads text features",
                                       metavar="NAME")
    top: int = setting(5, "matching photos", least=0)
    device: str = setting("auto", "where to run", choices=DEVICES)
    writing: WritingConfig = field(default_factory=WritingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photos:
            raise UserError("expected the photos of a story, found none; name its first 1 to 4 photos, in order")
        if self.captions and len(self.captions) != len(self.photos):
            raise UserError(f"expected a --caption for each of the {len(self.photos)} photos or none, found "
                            f"{len(self.captions)}; give one a photo, in their order")


@dataclass(frozen=True, kw_only=True)
class AppConfig(Checked):
    """Which run tells the stories of the page, and where the page is."""

    run: Path = setting(meaning="the run folder")
    features: Path | None = setting(None, "folder whose photos are shown beside (default: the run's)")
    weights: str | None = setting(None, "of the backbone (default: as this machine made the folder)",
                                  metavar="random|imagenet|PATH")
    backbone: str | None = setting(None, "where the folder's is a plug-in: a folder does not choose what runs here",
                                   metavar="MODULE:FACTORY")
    text_encoder: str | None = setting(None, "of captions, where the run reads text features", metavar="NAME")
    port: int = setting(8765, "of this machine alone; 0: any that is free", least=0, most=65535)
    keep: Path | None = setting(None, "keep the photos that are given, as they are, under the names that a saved story "
                                      "has for them (default: none is kept)", metavar="DIR")
    device: str = setting("auto", "where to run", choices=DEVICES)
