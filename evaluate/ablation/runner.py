"""Train a grid, evaluate every run on val, hold every row against the reference.

What is there already is not done again, so an interrupted grid goes on: a training that was under way goes on where it
saved itself. Each training is a process of its own with its share of the cores; its words go to seed-<n>.log beside the
run.
"""
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import require_room
from data.folder.folder import Features
from data.folder.identity import differences
from evaluate.ablation.grid import DEFAULT_GRID, Grid, Training, plan_trainings, read_grid, spread_fractions
from evaluate.comparison.lines import lines_by_frame, measure_lines
from evaluate.comparison.story_lines import measure_stories, read_story_lines
from evaluate.config import HEADLINE_T, AblationConfig
from evaluate.metrics import LOSS, METRICS
from evaluate.processes import Processes, work_off
from evaluate.statistics.bootstrap import Estimate
from evaluate.statistics.seeds import SeedMean, average_seeds
from train.config import TrainConfig, list_differences
from train.run_folder.checkpoint import is_complete
from train.run_folder.runs import BEST, CONFIG, LAST, read_metrics, read_record, read_text

logger = logging.getLogger(__name__)

SPLIT = "val"
SHOWN = tuple(name for name, metric in METRICS.items() if {"tested", "ablated"} & set(metric.uses))


@dataclass(frozen=True)
class Ablation:
    """A finished grid.

    Attributes:
        estimates: row -> metric -> mean over seeds. deviations: over seeds of the whole sample. differences: row -
            reference, paired by seed and album. seconds: row -> training, mean over seeds.
        left_out: tags that some row was trained without; they are scored in none.
    """

    grid: Grid
    out: Path
    estimates: dict[str, dict[str, SeedMean]]
    deviations: dict[str, dict[str, float]]
    differences: dict[str, dict[str, SeedMean]]
    seconds: dict[str, float]
    num_albums: int
    trainings: list[Training]
    left_out: list[str] = field(default_factory=list)


def run_ablation(config: AblationConfig) -> Ablation:
    """Train what is not there yet, evaluate it on val, and measure.

    Raises:
        UserError: if the grid is bad, a run that is there was begun with other settings, or a training fails.
    """
    grid = read_grid(config.grid or DEFAULT_GRID)
    out = config.out or config.features.resolve().parent / "ablations" / grid.path.stem.replace("_", "-")
    require_room(out, "the folder of an ablation")
    if config.fractions:
        grid = spread_fractions(grid, config.fractions)
    trainings = plan_trainings(grid, out)
    open_ones = [training for training in trainings if not is_done(training.run_path)]
    features = Features.open(config.features)
    for training in trainings:
        require_same_run(training.run_path, training.config, features, bool(open_ones), f"row {training.row!r}", "grid")
    if open_ones:
        logger.info("%d of %d trainings are there; %d to go into %s", len(trainings) - len(open_ones), len(trainings),
                    len(open_ones), out)
        work_off(open_ones, config.jobs, lambda training, processes: _run_one(training, config.features, processes))
    return measure_ablation(grid, trainings, out, config.resamples, config.seed, list_left_out(trainings, features))


def is_done(run_path: Path, split: str = SPLIT) -> bool:
    """Whether a run is trained to its end and evaluated since."""
    numbers, best, last = run_path / f"eval-{split}.json", run_path / BEST, run_path / LAST
    return (numbers.exists() and best.exists() and last.exists()
            and numbers.stat().st_mtime_ns >= best.stat().st_mtime_ns and is_complete(last))


def list_left_out(trainings: Sequence[Training], features: Features) -> list[str]:
    """The tags that any row is trained without: no row is held against another by them."""
    return sorted({name for training in trainings if training.config.leave_out_tags
                   for name, category in features.words(training.config.words).tag_categories.items()
                   if category == training.config.leave_out_tags})


def measure_ablation(grid: Grid, trainings: Sequence[Training], out: Path, num_resamples: int, seed: int,
                     left_out: Sequence[str] = ()) -> Ablation:
    """Read every run's predictions on val; average over seeds, see `statistics.seeds`.

    Rows share seeds and the resamples of albums, so differences are paired: an easy album is easy for all.
    """
    measured: dict[str, dict[int, dict[str, Estimate]]] = {row: {} for row in grid.rows}
    num_albums = 0
    keys: dict[Training, frozenset[tuple[str, int]]] = {}
    for training in trainings:
        path = training.run_path / f"predictions-{SPLIT}.jsonl"
        told = read_story_lines(path)
        if told:
            keys[training] = frozenset((line.story_id, line.t) for line in told)
            of_run, num_albums = measure_stories(told, num_resamples, seed, frozenset(left_out))
        else:
            lines = lines_by_frame(path)
            told = [line for key, line in sorted(lines.items()) if key[1] == HEADLINE_T]
            keys[training] = frozenset(lines)
            of_run, num_albums = measure_lines(told, num_resamples, seed, frozenset(left_out))
        measured[training.row][training.seed] = {**of_run, LOSS: _val_loss(training, of_run)}
    _refuse_unequal(keys)
    metrics = [metric for metric in (*SHOWN, LOSS) if all(
        metric in of_seed for of_seeds in measured.values() for of_seed in of_seeds.values())]
    stacked = {row: {metric: [of_seeds[number][metric] for number in grid.seeds] for metric in metrics}
               for row, of_seeds in measured.items()}
    estimates = {row: {metric: average_seeds(of_seeds, num_albums) for metric, of_seeds in found.items()}
                 for row, found in stacked.items()}
    deviations = {row: {metric: float(np.std([seed.draws[0] for seed in of_seeds], ddof=1)) if len(of_seeds) > 1
                        else float("nan") for metric, of_seeds in found.items()} for row, found in stacked.items()}
    differences = {row: {metric: average_seeds([mine - theirs for mine, theirs in zip(
        found[metric], stacked[grid.reference][metric])], num_albums) for metric in metrics}
        for row, found in stacked.items() if row != grid.reference}
    seconds = {row: float(np.mean([sum(line["seconds"] for line in read_metrics(training.run_path))
                                   for training in trainings if training.row == row])) for row in grid.rows}
    return Ablation(grid, out, estimates, deviations, differences, seconds, num_albums, list(trainings),
                    list(left_out))


def _val_loss(training: Training, estimates: dict[str, Estimate]) -> Estimate:
    """The best epoch's unweighted loss: known for the whole val split only, so the same in every draw."""
    terms = [[line["val"].get(name) for name in ("image", "text")] for line in read_metrics(training.run_path)
             if line.get("val")]
    losses = [sum(known) for of_epoch in terms if (known := [term for term in of_epoch if term is not None])]
    like = next(iter(estimates.values()))
    return Estimate(np.full(len(like.draws), min(losses, default=np.nan)), like.n)


def require_same_run(run_path: Path, config: TrainConfig, features: Features, is_open: bool, who: str, what: str
                     ) -> None:
    """Refuse a run that is there with other settings, or of another folder.

    Args:
        is_open: its photos must be the folder's, because trainings are to come. who, what: named in the error.
    """
    if not (run_path / CONFIG).exists():
        return
    record = read_record(run_path)
    if record.stories.get("photos") == 0:
        config = replace(config, missing=record.config.missing)  # nothing to drop: training masks then
    changed = list_differences(record.config, config)
    words = features.words(config.words)
    kinds = {"recipe": features.recipe, "words": words.identity, "text": read_text(config, words),
             **({"source": features.source} if is_open else {})}
    for kind, here in kinds.items():
        changed += [f"features folder's {kind}, {line}" for line in differences(getattr(record, kind), here)]
    if changed:
        raise UserError(f"{who}: expected the run {run_path} to be of the settings and the folder of the {what}, found "
                        f"others: {'; '.join(changed)}; name another folder with --out, or delete that run")


def _refuse_unequal(told: dict[Training, frozenset[tuple[str, int]]]) -> None:
    """All runs must have answered for the same stories: the draws of albums are shared."""
    first = next(iter(told))
    for training, keys in told.items():
        if keys != told[first]:
            raise UserError(f"row {training.row!r}, seed {training.seed}: expected predictions for the "
                            f"{len(told[first])} stories of {first.run_path}, found {len(keys)} in "
                            f"{training.run_path}; delete eval-{SPLIT}.json there and give the same command again")


def _run_one(training: Training, features: Path, processes: Processes) -> str:
    who = f"row {training.row!r}, seed {training.seed}"
    processes.train_and_evaluate(training.run_path, features, ["--config", str(training.settings_path)],
                                 ["--split", SPLIT, "--no-baselines"], who)
    return who
