"""List runs: what differs between them, how far they came, and what they scored."""
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json
from evaluate.metrics import format_value
from evaluate.runs.listed import IDENTITIES, LISTED, SPLITS, ListedRun, read_card
from evaluate.terminal import align
from train.config import FREE_SETTINGS
from train.run_folder.runs import CONFIG, read_metrics, read_record

logger = logging.getLogger(__name__)

NAME_WIDTH = 40


def find_runs(roots: Sequence[str]) -> list[ListedRun]:
    """Every run below some folders, in the order of their paths, and those of cards; broken ones are told and left out.

    Args:
        roots: folders, cards, and addresses of cards (http(s)://, s3://, hf://).

    Raises:
        UserError: if a folder does not exist or there is no run at all.
    """
    runs: list[ListedRun] = []
    broken: list[UserError] = []
    for root in roots:
        is_folder = Path(root).is_dir()
        if not is_folder and "://" not in root and not Path(root).is_file():
            raise UserError(f"expected a folder with runs, or a card, at {root}, found none; name one: make runs "
                            "RUNS=FOLDER")
        for place in sorted(Path(root).rglob(CONFIG)) if is_folder else [root]:
            try:
                runs.append(_read_run(place.parent) if isinstance(place, Path) else read_card(place))
            except UserError as error:
                broken.append(error)
    if not runs:
        raise broken[0] if broken else UserError(f"expected runs below {', '.join(roots)}, found none; train one with: "
                                                 "make train")
    for told in broken:
        logger.warning("left out: %s", told)
    return runs


def format_runs(runs: Sequence[ListedRun]) -> str:
    """A table of the runs below the folder that holds all of them, and of the settings in which they differ.

    With cards among them features are told by their identities: where a folder lay says nothing to others.
    """
    folders = [run.path for run in runs if run.path is not None]
    if len({path.is_absolute() for path in folders}) > 1:
        folders = [path.absolute() for path in folders]
    folder = Path(os.path.commonpath([path.parent for path in folders])) if folders else None
    settings = [{**run.settings, **({"features": run.features} if len(folders) == len(runs) else {
        name: run.identities[name][:12] for name in IDENTITIES if name != "words"} | {
        "word set": run.identities["words"][:12]})} for run in runs]
    names = dict.fromkeys(name for row in settings for name in row)
    differing = [name for name in names if name not in FREE_SETTINGS
                 and len({_show(row.get(name)) for row in settings}) > 1]
    metrics = [metric for metric in LISTED if any(run.scores.get(metric.name) is not None for run in runs)]
    cells = [["run", *differing, "epochs", "best val", "scored on", *(metric.label for metric in metrics)]]
    for run, row in zip(runs, settings):
        name = run.name if run.path is None or folder is None else os.path.relpath(run.path, folder)
        cells.append([name, *(_show(row.get(name)) for name in differing),
                      f"{run.epochs} of {run.planned}", format_value(run.best_val), run.split,
                      *(format_value(run.scores.get(metric.name)) for metric in metrics)])
    return f"Runs{f' below {folder}' if folder else ''}\n\n{align(cells, name_width=NAME_WIDTH)}"


def read_progress(run_path: Path) -> tuple[int, float | None]:
    """Epochs done, and the lowest val loss that training selects by: image + text, the parts there are."""
    metrics = read_metrics(run_path)
    losses = [loss for line in metrics if (loss := _unweighted(line.get("val"))) is not None]
    return len(metrics), min(losses, default=None)


def _show(value: Any) -> str:
    """A setting as a card may have it too: JSON knows lists alone."""
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _read_run(path: Path) -> ListedRun:
    record, (epochs, best_val) = read_record(path), read_progress(path)
    split = next((split for split in SPLITS if (path / f"eval-{split}.json").exists()), "")
    return ListedRun(path.name, path, asdict(record.config), {name: getattr(record, name)["id"] for name in IDENTITIES},
                     record.features, epochs, record.fitted.epochs, best_val, split,
                     _read_scores(path / f"eval-{split}.json") if split else {})


def _unweighted(losses: Any) -> float | None:
    parts = [losses[name] for name in ("image", "text") if losses.get(name) is not None] if losses else []
    return sum(parts) if parts else None


def _read_scores(path: Path) -> dict[str, float | None]:
    raw = read_json(path, "a run's numbers", "evaluate it again")
    try:
        return {metric.name: raw["rows"]["model"].get(metric.name, {}).get("value") for metric in LISTED}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"expected a run's numbers in {path}, found {type(error).__name__}: {error}; evaluate it again"
                        ) from None
