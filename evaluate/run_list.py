"""List runs: what differs between them, how far they came, and what they scored."""
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json
from evaluate.metrics import format_value, list_metrics
from evaluate.terminal import align
from train.config import FREE_SETTINGS
from train.run_folder.runs import CONFIG, RunRecord, read_metrics, read_record

logger = logging.getLogger(__name__)

LISTED = list_metrics("listed")
NAME_WIDTH = 40
SPLITS = ("test", "val")  # of these the first that was evaluated is shown


@dataclass(frozen=True)
class ListedRun:
    """A run folder: settings, epochs done, best val loss (unweighted image + text), scores by metric."""

    path: Path
    record: RunRecord
    epochs: int
    best_val: float | None
    split: str
    scores: dict[str, float | None]


def find_runs(roots: Sequence[Path]) -> list[ListedRun]:
    """Every run below some folders, in the order of their paths; broken ones are told and left out.

    Raises:
        UserError: if a folder does not exist or there is no run at all.
    """
    runs = []
    for root in roots:
        if not root.is_dir():
            raise UserError(f"expected a folder with runs at {root}, found none; name one: make runs RUNS=FOLDER")
        for config in sorted(root.rglob(CONFIG)):
            try:
                runs.append(_read_run(config.parent))
            except UserError as error:
                logger.warning("left out: %s", error)
    if not runs:
        raise UserError(f"expected runs below {', '.join(map(str, roots))}, found none; train one with: make train")
    return runs


def format_runs(runs: Sequence[ListedRun]) -> str:
    """A table of the runs below the folder that holds all of them, and of the settings in which they differ."""
    folder = Path(os.path.commonpath([run.path.parent for run in runs]))
    settings = [{**asdict(run.record.config), "features": run.record.features} for run in runs]
    differing = [name for name in settings[0] if name not in FREE_SETTINGS
                 and len({repr(row[name]) for row in settings}) > 1]
    metrics = [metric for metric in LISTED if any(run.scores.get(metric.name) is not None for run in runs)]
    cells = [["run", *differing, "epochs", "best val", "scored on", *(metric.label for metric in metrics)]]
    for run, row in zip(runs, settings):
        cells.append([str(run.path.relative_to(folder)), *(str(row[name]) for name in differing),
                      f"{run.epochs} of {run.record.fitted.epochs}", format_value(run.best_val), run.split,
                      *(format_value(run.scores.get(metric.name)) for metric in metrics)])
    return f"Runs below {folder}\n\n{align(cells, name_width=NAME_WIDTH)}"


def _read_run(path: Path) -> ListedRun:
    record, metrics = read_record(path), read_metrics(path)
    losses = [loss for line in metrics if (loss := _unweighted(line.get("val"))) is not None]
    split = next((split for split in SPLITS if (path / f"eval-{split}.json").exists()), "")
    return ListedRun(path, record, len(metrics), min(losses, default=None), split,
                     _read_scores(path / f"eval-{split}.json") if split else {})


def _unweighted(losses: Any) -> float | None:
    """What training selects by: image + text, the parts there are."""
    parts = [losses[name] for name in ("image", "text") if losses.get(name) is not None] if losses else []
    return sum(parts) if parts else None


def _read_scores(path: Path) -> dict[str, float | None]:
    raw = read_json(path, "a run's numbers", "evaluate it again")
    try:
        return {metric.name: raw["rows"]["model"].get(metric.name, {}).get("value") for metric in LISTED}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"expected a run's numbers in {path}, found {type(error).__name__}: {error}; evaluate it again"
                        ) from None
