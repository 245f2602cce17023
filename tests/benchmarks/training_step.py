"""One training step of the paper preset against the plain padded float32 version of the same mathematics.

    python -m tests.benchmarks.training_step [--batch 16] [--steps 10] [--preset paper]

Captions have VIST's length (11.3 words on average). The product's step is `Trainer.step` itself, its precision the one
that `--precision auto` picks on this machine. Both learn the same weights from the same batches, step by step in turn;
tests/test_fast_step.py holds that their losses agree.
"""
import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from data.words.tokens import END, START
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.timing import Times, divide, measure_in_turn
from tests.plain_model import PlainLoss
from train.config import TrainConfig, make_config
from train.distributed import World
from train.model.story_model import StoryModel
from train.prepare import pick_precision
from train.trainer import Trainer

TARGET = 2.0
LENGTH, NUM_TAGS = 30, 51
CPU = torch.device("cpu")
Step = Callable[[dict[str, Tensor]], float]


class HeldBatch:
    """A dataset that gives one batch whatever it is asked for, trimmed to its longest caption as the loader does."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        longest = int((batch["token_ids"] != 0).sum(dim=-1).max())
        self.batch = {**batch, "token_ids": batch["token_ids"][..., :longest]}

    def __getitems__(self, indices: np.ndarray) -> dict[str, Tensor]:
        return dict(self.batch)


def make_batches(num: int, size: int, feature_dim: int, vocabulary_size: int) -> list[dict[str, Tensor]]:
    """Batches as wide as the folder stores them: (size, 5, LENGTH) token ids."""
    random = np.random.default_rng(0)
    batches = []
    for _ in range(num):
        token_ids = np.zeros((size, 5, LENGTH), np.int64)
        for row in token_ids.reshape(-1, LENGTH):
            words = int(np.clip(random.gamma(4.3, 11.3 / 4.3), 3, LENGTH - 2))
            row[:words + 2] = [START, *random.integers(4, vocabulary_size, words), END]
        batches.append({
            "image_features": torch.from_numpy(random.standard_normal((size, 5, feature_dim)).astype(np.float16)),
            "photo_mask": torch.ones(size, 5, dtype=torch.bool), "content": torch.arange(size * 5).view(size, 5),
            "token_ids": torch.from_numpy(token_ids),
            "tag_source": torch.ones(size, 5, dtype=torch.uint8),
            "tag_targets": torch.from_numpy((random.random((size, 5, NUM_TAGS)) < 0.05).astype(np.float32))})
    return batches


def make_fast_step(model: StoryModel, config: TrainConfig, precision: str) -> Step:
    """The product's step; gives the loss that it took."""
    trainer = Trainer(config, model, World(0, 1, CPU), precision)

    def step(batch: dict[str, Tensor]) -> float:
        trainer.clear()
        trainer.step(HeldBatch(batch), np.arange(len(batch["token_ids"])), 1, 0)  # type: ignore[arg-type]
        return float(trainer.summarise(trainer.take_means())["total"] or 0)

    return step


def make_plain_step(model: StoryModel, config: TrainConfig) -> Step:
    """What one writes first."""
    plain = PlainLoss(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)

    def step(batch: dict[str, Tensor]) -> float:
        total = plain(batch)["total"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        return float(total.detach())

    return step


def measure(preset: str, batch_size: int, num_steps: int, feature_dim: int = 2048,
            vocabulary_size: int = 10_000) -> dict[str, Times]:
    """Seconds of the steps of every version."""
    config = make_config({"preset": preset})
    batches = make_batches(num_steps + 1, batch_size, feature_dim, vocabulary_size)
    versions: dict[str, Callable[[int], object]] = {}
    for name in ("plain float32", "fast float32", "fast bfloat16"):
        torch.manual_seed(0)
        model = StoryModel(config, feature_dim, vocabulary_size, NUM_TAGS)
        step = (make_plain_step(model, config) if name.startswith("plain")
                else make_fast_step(model, config, name.split()[1]))
        versions[name] = partial(_take_step, step, batches)
    return measure_in_turn(versions, num_steps)


def _take_step(step: Step, batches: list[dict[str, Tensor]], number: int) -> None:
    step(batches[number])


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--preset", default="paper")
    arguments = parser.parse_args(argv)
    times = measure(arguments.preset, arguments.batch, arguments.steps)
    plain, frames = times["plain float32"], 5 * arguments.batch
    precision = make_config({"preset": arguments.preset}).precision
    picked = f"fast {pick_precision(CPU) if precision == 'auto' else precision}"
    return report([
        Figure(name=f"training step, {arguments.preset}, {name}{' (auto)' if name == picked else ''}",
               value=frames / times[name].wall, unit="frames/s", ratio=divide(plain, times[name]),
               peer=f"plain padded float32, {frames / plain.wall:.1f} (CPU time: {plain.cpu / times[name].cpu:.2f} x)",
               at_least=TARGET if name == picked else None)
        for name in ("fast float32", "fast bfloat16")])


if __name__ == "__main__":
    main()
