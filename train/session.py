"""A training run from its first epoch to its last; interrupted anywhere, it goes on there."""
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.files import write_json
from data.folder.folder import Features
from data.folder.word_reader import DII
from data.words.tag_table import SHIPPED_PATH, load_entries
from data.words.tokens import find_rare_words
from train.augment import SynonymSwaps
from train.batches import StoryDataset
from train.config import TrainConfig
from train.distributed import World, join_world
from train.monitor import Monitor, import_wandb, write_samples
from train.order import draw_curriculum, shuffle_stories, split_windows
from train.prepare import COMPLETE, FRESH, agree_on_plan, open_splits, resolve
from train.run_folder.checkpoint import Progress, load_checkpoint, save_checkpoint
from train.run_folder.runs import (
    BEST,
    LAST,
    VOCABULARY,
    RunRecord,
    build_model,
    measure_sizes,
    read_text,
    write_record,
    write_weights,
)
from train.start.beginnings import begin_on_blend, begin_on_ngrams, begin_on_probe, begin_on_tag_shares
from train.start.statistics import measure_captions, measure_covariance, measure_features
from train.start.takeover import require_source, take_over
from train.trainer import Trainer, TrainingDiverged, require_finite, select
from train.yardsticks import Yardsticks, measure_yardsticks

logger = logging.getLogger(__name__)
NUM_SAMPLES = 4  # captions written for TensorBoard after every epoch


def run_training(config: TrainConfig, features_path: Path, run_path: Path, force: bool = False) -> Path:
    """Train, or go on training, a run.

    Args:
        config: the settings. features_path: the features folder. run_path: the run folder.
        force: start anew; the folder that is there is moved beside.

    Returns:
        run_path, with everything in it.

    Raises:
        UserError: if the input is bad, the run was begun with other settings, or somebody else is at work in it.
        TrainingDiverged: if a loss is no finite number.
        KeyboardInterrupt: if a signal asked to stop; the state is saved.
    """
    world = join_world(config.device)
    try:
        _run_in_world(config, features_path, run_path, force, world)
        world.wait()
        return run_path
    finally:
        world.leave()


def _run_in_world(config: TrainConfig, features_path: Path, run_path: Path, force: bool, world: World) -> None:
    features = Features.open(features_path)
    config, train_set, val_set = open_splits(config, features)
    words = train_set.words
    record = RunRecord(
        config, measure_sizes(config, features.width, words), features.recipe, words.identity, features.source,
        str(features_path), {"train": len(train_set), "val": len(val_set) if val_set else 0,
                             "dropped": train_set.num_dropped, "photos": train_set.num_photos},
        resolve(config, features, len(train_set), world), text=read_text(config, words))
    if force or not (run_path / LAST).exists():  # before a folder is made or moved
        if config.init:
            require_source(Path(config.init))
        if config.wandb:
            import_wandb()
    if config.contrastive_weight and world.size > 1 and world.is_writer:
        logger.warning("the contrastive loss sees the photos of one process at a time: expected one process for losses "
                       "that can be compared, found %d", world.size)
    with ExitStack() as stack:
        plan, record = agree_on_plan(run_path, record, force, world, stack)
        if plan == COMPLETE:
            if world.is_writer:
                logger.info("%s is complete: nothing to do (--force starts anew beside it)", run_path)
            return
        trainer = build_trainer(record, train_set, world)
        if plan == FRESH:
            _initialise(trainer, record, features, train_set, val_set, world)
        open_run(TrainingRun, run_path, record, trainer, train_set, val_set, plan).finish()


def open_run(kind: "type[TrainingRun]", run_path: Path, record: RunRecord, trainer: Trainer, train_set: StoryDataset,
             val_set: StoryDataset | None, plan: str) -> "TrainingRun":
    """A run at its beginning, its folder labelled, or where its last.pt stands.

    Args:
        kind: of run. trainer: initialised where the plan is FRESH.
    """
    progress, world = Progress(), trainer.world
    if plan != FRESH:
        progress = load_checkpoint(run_path / LAST, trainer.sums, trainer.parts, world)
        logger.info("going on with %s at epoch %d, batch %d", run_path, progress.epoch, progress.step + 1)
    elif world.is_writer:
        words = train_set.words
        write_json(run_path / VOCABULARY, {"words": words.vocabulary, "tags": words.tag_names})
        write_record(run_path, record)
    monitor = None
    if world.is_writer:
        yardsticks = measure_yardsticks(trainer.criterion, train_set, val_set) if val_set else {}
        monitor = Monitor(run_path, record.fitted, progress.epoch, yardsticks)
        if plan == FRESH:
            _announce(record, yardsticks)
    return kind(run_path, record, trainer, train_set, val_set, monitor, progress)


def _announce(record: RunRecord, yardsticks: Yardsticks) -> None:
    """Say how long training is, and what who learned nothing scores."""
    config, stories = record.fitted, record.stories["train"]
    logger.info("%d train stories: at most %d epochs of %d steps, stopping after %d without a better val loss", stories,
                config.epochs, -(-stories // config.batch_size), config.early_stopping)
    if yardsticks:
        logger.info("who learned nothing scores on val: %s", "; ".join(
            f"{term} " + ", ".join(f"{name} {loss:.4f}" for name, loss in others.items())
            for term, others in yardsticks.items()))


class TrainingRun:
    """The loop over epochs and steps, with everything that has to be kept on the way."""

    def __init__(self, run_path: Path, record: RunRecord, trainer: Trainer, train_set: StoryDataset,
                 val_set: StoryDataset | None, monitor: Monitor | None, progress: Progress) -> None:
        self.run_path, self.config, self.trainer = run_path, record.fitted, trainer
        self.train_set, self.val_set, self.monitor, self.progress = train_set, val_set, monitor, progress
        self.block = self.config.block if record.resolved["reader"] == "streamed" else 0
        self._saved: tuple[int, int] | None = None

    def finish(self) -> None:
        """Run every epoch that is left, then draw the curves."""
        try:
            with _stop_on_signals(self.trainer):
                while not self.progress.complete:
                    self._run_epoch()
                    self._end_epoch()
        except TrainingDiverged:
            if self.trainer.world.device.type == "cpu":  # on CUDA the weights are some steps past it by now
                self._save()
            raise
        finally:
            if self.monitor:
                self.monitor.close()

    def keeps(self, epoch: int) -> bool:
        """Whether an epoch's weights are kept under a name of their own."""
        return self.config.keep_every > 0 and epoch % self.config.keep_every == 0

    def _run_epoch(self) -> None:
        progress, trainer = self.progress, self.trainer
        self.train_set.begin_epoch(progress.epoch)
        order = self._order_stories(progress.epoch)
        starts = range(0, len(order), self.config.batch_size)
        began, before, first = time.monotonic(), progress.seconds, progress.step
        if self.monitor:
            self.monitor.begin_epoch(progress.epoch, len(starts), first)
        for step in range(first, len(starts)):
            self._prefetch(order, starts[step], is_first=step == first)
            indices = order[starts[step]:starts[step] + self.config.batch_size]
            trainer.step(self.train_set, indices, progress.epoch, step)
            progress.step, progress.seconds = step + 1, before + time.monotonic() - began
            if self.monitor and self.monitor.advance():
                self._show(self.monitor, len(starts))
            if trainer.must_stop:
                self._save()
                raise KeyboardInterrupt
            if self.config.save_every and progress.step % self.config.save_every == 0 and step + 1 < len(starts):
                self._save()

    def _end_epoch(self) -> None:
        progress, trainer, config = self.progress, self.trainer, self.config
        means = trainer.take_means()
        val = trainer.validate(self.val_set) if self.val_set else {}
        require_finite({**means, **{f"val {name}": value for name, value in val.items()}}, progress.epoch)
        lr, is_best = trainer.lr, True
        if val:
            chosen = select(val)
            trainer.plateau.step(chosen)
            is_best = chosen < progress.best
            progress.best = min(chosen, progress.best)
        progress.stale = 0 if is_best else progress.stale + 1
        progress.best_epoch = progress.epoch if is_best else progress.best_epoch
        num_stories = len(self._order_stories(progress.epoch))
        line = {"epoch": progress.epoch, "train": trainer.summarise(means),
                "val": trainer.summarise(val) if val else None, "lr": lr, "seconds": round(progress.seconds, 3),
                "stories_per_second": round(num_stories / max(progress.seconds, 1e-9), 2),
                **({"yardsticks": self.monitor.yardsticks} if self.monitor else {})}
        seconds = progress.seconds
        progress.epoch, progress.step, progress.seconds = progress.epoch + 1, 0, 0.0
        progress.complete = progress.epoch > config.epochs or progress.stale >= config.early_stopping
        trainer.clear()
        if self.monitor:
            trainer.world.still_held()
            self._write_epoch(line, means.get("gradient", 0.0), is_best, seconds)
        self._save()

    def _write_epoch(self, line: dict[str, Any], gradient: float, is_best: bool, seconds: float) -> None:
        assert self.monitor is not None
        progress, epoch = self.progress, line["epoch"]
        if is_best:
            write_weights(self.run_path / BEST, self.trainer.model, epoch)
        if self.keeps(epoch):
            write_weights(self.run_path / f"epoch-{epoch:04d}.safetensors", self.trainer.model, epoch)
        samples = self._write_samples()
        left = 0.0 if progress.complete else seconds * (self.config.epochs - epoch)
        self.monitor.end_epoch(line, gradient, is_best, left, samples)
        if progress.complete and progress.stale >= self.config.early_stopping:
            logger.info("stopped early: no better validation loss in %d epochs", progress.stale)

    def _order_stories(self, epoch: int) -> np.ndarray:
        order = shuffle_stories(len(self.train_set), self.config.seed, epoch, self.block, self.config.window)
        if not self.config.curriculum:
            return order
        lengths = self.train_set.caption_length[self.train_set.story_rows].sum(axis=1)
        chosen = draw_curriculum(lengths, epoch, self.config.epochs, self.config.curriculum)
        return order[np.isin(order, chosen)]

    def _prefetch(self, order: np.ndarray, start: int, is_first: bool) -> None:
        """Ask the disk for the next window's photos while this one is learned from."""
        if not self.block:
            return
        size = split_windows(len(order), self.block, self.config.window)
        if is_first:
            self.train_set.prefetch(order[start:start + size])
        if is_first or start % size < self.config.batch_size:
            self.train_set.prefetch(order[start + size:start + 2 * size])

    def _show(self, monitor: Monitor, num_steps: int) -> None:
        progress, per_step = self.progress, self.progress.seconds / self.progress.step
        steps_left = num_steps * (self.config.epochs - progress.epoch + 1) - progress.step
        monitor.show(progress.epoch, progress.step, num_steps, self.trainer.take_means(everywhere=False),
                     self.trainer.lr, self.config.batch_size / per_step, per_step * steps_left)

    def _save(self) -> None:
        """Write last.pt; called by every process, written by one."""
        sums = self.trainer.world.gather(self.trainer.sums)
        if self.monitor and self.trainer.is_finite():
            self.trainer.world.still_held()
            save_checkpoint(self.run_path / LAST, self.progress, sums, self.trainer.parts)

    def _write_samples(self) -> str:
        dataset = self.val_set or self.train_set
        batch = dataset.__getitems__(np.arange(min(NUM_SAMPLES, len(dataset))))
        with torch.no_grad():
            moved = self.trainer.move(batch)
        return write_samples(self.trainer.model, moved, dataset.words.vocabulary)


def build_trainer(record: RunRecord, train_set: StoryDataset, world: World,
                  make: Callable[..., Trainer] = Trainer) -> Trainer:
    """A trainer with a fresh model of the run's seed and sizes; `make` takes the arguments of Trainer."""
    config = record.fitted
    torch.manual_seed(config.seed)
    model = build_model(config, record.sizes).to(world.device)
    swaps = None
    if config.synonym_swaps:
        _, entries = load_entries(SHIPPED_PATH)
        forms = [[form for form in entry.forms if " " not in form] for entry in entries.values()]
        swaps = SynonymSwaps(forms, train_set.words.vocabulary)
    if world.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    rare = None
    if config.rare_as_unknown:
        token_ids = train_set.arrays.token.take(train_set.story_rows)
        rare = torch.from_numpy(find_rare_words(token_ids, record.sizes["vocabulary_size"]))
    described = train_set.arrays.tag_source.take(train_set.story_rows) & DII > 0
    apart = not config.undescribed_negatives and bool(described.any() and not described.all())
    return make(config, model, world, record.resolved["precision"], swaps, rare, apart)


def _initialise(trainer: Trainer, record: RunRecord, features: Features, train_set: StoryDataset,
                val_set: StoryDataset | None, world: World) -> None:
    """Give a fresh model its weights and statistics."""
    config = record.config
    if config.tag_start:
        begin_on_tag_shares(trainer.model, train_set)
    if config.init:  # words and tags that it knows keep its biases
        report = take_over(trainer.model, Path(config.init), train_set.words, record.recipe, record.text)
        if world.is_writer:
            logger.info("%s", report)
    rows = train_set.photo_rows()
    mean, std = measure_features(features, rows, config.std_floor)
    trainer.model.set_statistics(mean, std)
    if trainer.model.text_vectors is not None:
        trainer.model.text_vectors.set_statistics(*measure_captions(train_set, config.std_floor))
    begin_on_ngrams(trainer.model, train_set, val_set)
    if trainer.model.seen_probe is not None and train_set.num_photos and not config.init:
        begin_on_probe(trainer.model, train_set, val_set)
    if trainer.model.photo_carry is not None and train_set.num_photos:
        begin_on_blend(trainer.model, train_set)
        if trainer.model.photo_query is not None:
            trainer.model.photo_query.fit(measure_covariance(trainer.model, features, rows))
    if world.is_writer and not train_set.num_photos:
        logger.warning("no usable photo in train: the photo loss is off, captions and tags are learned alone")


@contextmanager
def _stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a stop after the step under way; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if trainer.stop_asked:
            raise KeyboardInterrupt
        trainer.stop_asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
