"""Seeing a run: progress, metrics.jsonl, TensorBoard, Weights & Biases, curves.png, sample captions."""
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from data.errors import UserError
from data.files import replace_file, write_text
from data.words.tokens import END, PAD, START
from train.config import TrainConfig
from train.model.story_model import Batch, StoryModel
from train.model.text import Context
from train.run_folder.runs import CURVES, METRICS, read_metrics
from train.writing.captions import write_captions
from train.writing.config import WritingConfig
from train.yardsticks import Yardsticks

logger = logging.getLogger(__name__)
LINE_SECONDS = 10.0  # between two lines where there is no terminal


class Monitor:
    """Shows and records what the loop tells it; made by the writing process alone.

    Args:
        run_path: the run folder. config: its settings. epoch: the one it begins or goes on with.
        yardsticks: what who learned nothing scores on val; stands beside every loss.
    """

    def __init__(self, run_path: Path, config: TrainConfig, epoch: int, yardsticks: Yardsticks) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run_path, self.config, self.yardsticks = run_path, config, yardsticks
        self.metrics = [line for line in read_metrics(run_path) if line["epoch"] < epoch]
        self._events = SummaryWriter(str(run_path), purge_step=epoch)
        self._wandb = start_wandb(run_path, config) if config.wandb else None
        self._bar: tqdm | None = None
        self._last_line = time.monotonic()

    def begin_epoch(self, epoch: int, num_steps: int, step: int) -> None:
        """Start the bar of an epoch, at `step` of `num_steps`."""
        self._bar = tqdm(total=num_steps, initial=step, desc=f"epoch {epoch}/{self.config.epochs}", unit="batch",
                         leave=False, disable=not sys.stderr.isatty())

    def advance(self) -> bool:
        """Count a step; True where it is time to `show` the losses."""
        assert self._bar is not None
        self._bar.update()
        return time.monotonic() - self._last_line >= (LINE_SECONDS if self._bar.disable else 1.0)

    def show(self, epoch: int, step: int, num_steps: int, means: dict[str, float], lr: float, rate: float,
             seconds_left: float) -> None:
        """Show the losses within an epoch."""
        assert self._bar is not None
        self._last_line = time.monotonic()
        self._bar.set_postfix_str(f"{format_means(means)} lr {lr:.1e} {rate:.0f} stories/s")
        if self._bar.disable:
            logger.info("epoch %d/%d, %d of %d batches: %s, lr %.1e, %.0f stories/s, %s to go", epoch,
                        self.config.epochs, step, num_steps, format_means(means), lr, rate,
                        format_time(seconds_left))

    def end_epoch(self, line: dict[str, Any], gradient: float, is_best: bool, seconds_left: float,
                  samples: str) -> None:
        """Record a finished epoch: `line` goes to metrics.jsonl as it is."""
        if self._bar is not None:
            self._bar.close()
        self.metrics.append(line)
        write_text(self.run_path / METRICS, "".join(json.dumps(line) + "\n" for line in self.metrics))
        flat = {f"{part}/{name}": value for part in ("train", "val") for name, value in (line[part] or {}).items()
                if value is not None}
        flat |= {"lr": line["lr"], "gradient_norm": gradient, "stories_per_second": line["stories_per_second"]}
        for name, value in flat.items():
            self._events.add_scalar(name, value, line["epoch"])
        if samples:
            self._events.add_text("captions", samples, line["epoch"])
        self._events.flush()
        if self._wandb is not None:
            self._wandb.log(flat, step=line["epoch"])
        self._last_line = time.monotonic()
        logger.info("epoch %d/%d: train %s | val %s%s | lr %.1e, %.0f stories/s, %s to go", line["epoch"],
                    self.config.epochs, format_means(line["train"]),
                    format_means(line["val"], self.yardsticks) if line["val"] else "none",
                    " (best)" if is_best else "", line["lr"],
                    line["stories_per_second"], format_time(seconds_left))

    def close(self) -> None:
        """Draw the curves and close everything."""
        if self._bar is not None:
            self._bar.close()
        self._events.close()
        if self.metrics:
            draw_curves(self.run_path / CURVES, self.metrics)
        if self._wandb is not None:
            self._wandb.finish()


def import_wandb() -> Any:
    """The package wandb.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise UserError("setting wandb: expected the package wandb, found none; install it with: pip install wandb, "
                        "or leave --wandb out") from None
    return wandb


def start_wandb(run_path: Path, config: TrainConfig) -> Any:
    """Open a Weights & Biases run; without a key it stays on this machine (`wandb sync` sends it later)."""
    wandb = import_wandb()
    has_key = "WANDB_API_KEY" in os.environ or (Path.home() / ".netrc").exists()
    mode = os.environ.get("WANDB_MODE", "online" if has_key else "offline")
    return wandb.init(project=config.wandb, name=run_path.name, dir=str(run_path), config=asdict(config), mode=mode,
                      resume="allow")


def format_means(means: Mapping[str, float | None], yardsticks: Yardsticks | None = None) -> str:
    """Loss terms in one line, each with what who learned nothing scores."""
    short = {"tag_seen": "seen", "tag_next": "next"}
    terms = []
    for name, value in means.items():
        if value is None or name in ("gradient", "image_raw"):
            continue
        others = ", ".join(f"{other} {loss:.4f}" for other, loss in (yardsticks or {}).get(name, {}).items())
        terms.append(f"{short.get(name, name)} {value:.4f}" + (f" ({others})" if others else ""))
    return " ".join(terms)


def format_time(seconds: float) -> str:
    """Seconds as minutes:seconds, or with hours in front."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


@torch.no_grad()
def write_samples(model: StoryModel, batch: Batch, vocabulary: list[str]) -> str:
    """The last caption of every story of a batch, true and written word by word, as Markdown for TensorBoard."""
    model.eval()
    context = Context.of(model.encode(batch)).select((slice(None), -1))
    written = write_captions(model.text_decoder, context, WritingConfig())
    return "\n\n".join(f"**true** {_spell(true.tolist(), vocabulary)}  \n**written** "
                       f"{_spell(caption.token_ids, vocabulary)}"
                       for true, caption in zip(batch["token_ids"][:, -1], written))


def draw_curves(path: Path, metrics: list[dict[str, Any]]) -> Path:
    """Draw every loss term over the epochs, train and val, as a picture."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    terms = [name for name in metrics[-1]["train"] if any(line["train"].get(name) is not None for line in metrics)]
    figure, axes = pyplot.subplots(1, len(terms), figsize=(3.2 * len(terms), 2.8), constrained_layout=True,
                                   squeeze=False)
    for axis, name in zip(axes[0], terms):
        for part in ("train", "val"):
            points = [(line["epoch"], line[part][name]) for line in metrics
                      if line[part] and line[part].get(name) is not None]
            if points:
                axis.plot(*zip(*points), label=part, marker="." if len(points) < 40 else None)
        axis.set_title(name)
        axis.set_xlabel("epoch")
    axes[0][0].legend()
    with replace_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    pyplot.close(figure)
    return path


def _spell(token_ids: list[int], vocabulary: list[str]) -> str:
    return " ".join(vocabulary[token] for token in token_ids if token not in (PAD, START, END))
