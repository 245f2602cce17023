"""Every setting of an evaluation and its default. No torch here: the flags of `--help` are made from this class."""
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from evaluate.captions.writing_config import WritingConfig

SPLITS = ("train", "val", "test")
MISSING = ("mask", "drop")
TS = (1, 2, 3, 4)  # frames seen before the one that is predicted
HEADLINE_T = 4


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """What is evaluated, on what, and how."""

    run: Path
    features: Path | None = None   # None: the folder the run was trained on
    split: str = "test"
    dataset: Path | None = None    # annotations and photos; only to show photos and to compare pixels
    words: str | None = None       # word set of the folder; None: the run's
    missing: str = "mask"          # mask: every story of the split counts; drop: only those with five usable photos
    limit: int = 0                 # at most so many stories of each split; 0: all
    resamples: int = 1000          # bootstrap draws over albums
    seed: int = 42                 # of draws, distractors and permutations
    batch_size: int = 64
    device: str = "auto"
    strict: bool = False           # refuse a folder with other photos than the run's
    baselines: bool = True         # off: the model alone, for quick looks
    meteor: bool = True            # off: spare the time of METEOR's jar
    sense: int | None = None       # stories to put in order; None: a twentieth, 200 at most; 0: and no cloze
    writing: WritingConfig = field(default_factory=WritingConfig)

    def __post_init__(self) -> None:
        for name, found, allowed in (("split", self.split, SPLITS), ("missing", self.missing, MISSING),
                                     ("device", self.device, ("auto", "cpu", "cuda"))):
            if found not in allowed:
                raise UserError(f"setting {name}: expected one of {', '.join(allowed)}, found {found!r}; change "
                                f"--{name}")
        for name, number, least in (("resamples", self.resamples, 0), ("limit", self.limit, 0),
                                    ("batch_size", self.batch_size, 1), ("sense", self.sense or 0, 0),
                                    ("seed", self.seed, 0)):
            if number < least:
                raise UserError(f"setting {name}: expected at least {least}, found {number}; change "
                                f"--{name.replace('_', '-')}")
