"""One training step of the paper preset against the plain padded float32 version of the same mathematics.

    python -m tests.benchmarks.training_step [--batch 16] [--steps 10] [--preset paper]

Captions have VIST's length (11.3 words on average). Both learn the same weights from the same batches; the test beside
holds that their losses agree.
"""
import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from data.words import END, START
from tests.plain_model import PlainLoss
from train.config import TrainConfig, make_config
from train.criterion import StoryCriterion
from train.model import StoryModel

TARGET = 2.0
LENGTH, NUM_TAGS = 30, 51


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
            "photo_mask": torch.ones(size, 5, dtype=torch.bool), "token_ids": torch.from_numpy(token_ids),
            "tag_targets": torch.from_numpy((random.random((size, 5, NUM_TAGS)) < 0.05).astype(np.float32))})
    return batches


def make_fast_step(model: StoryModel, config: TrainConfig, precision: str) -> Callable[[dict[str, Tensor]], float]:
    """The product's step: trimmed, packed, real tokens alone, fused Adam, autocast."""
    criterion = StoryCriterion(config, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

    def step(batch: dict[str, Tensor]) -> float:
        longest = int((batch["token_ids"] != 0).sum(dim=-1).max())
        trimmed = {**batch, "token_ids": batch["token_ids"][..., :longest]}
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = model(trimmed, padded=False)
        total = criterion.total({name: term.sum / term.count for name, term in criterion(outputs, trimmed).items()})
        return learn(total, model, optimizer, config)

    return step


def make_plain_step(model: StoryModel, config: TrainConfig) -> Callable[[dict[str, Tensor]], float]:
    """What one writes first."""
    plain = PlainLoss(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return lambda batch: learn(plain(batch)["total"], model, optimizer, config)


def learn(total: Tensor, model: StoryModel, optimizer: torch.optim.Optimizer, config: TrainConfig) -> float:
    """Backward, clip, update; the loss as it was."""
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    return float(total.detach())


def measure(preset: str, batch_size: int, num_steps: int, feature_dim: int = 2048,
            vocabulary_size: int = 10_000) -> dict[str, float]:
    """Frames per second of every version; the middle of all steps counts."""
    config = make_config({"preset": preset})
    batches = make_batches(num_steps + 1, batch_size, feature_dim, vocabulary_size)
    rates = {}
    for name in ("plain float32", "fast float32", "fast bfloat16"):
        torch.manual_seed(0)
        model = StoryModel(config, feature_dim, vocabulary_size, NUM_TAGS)
        step = (make_plain_step(model, config) if name.startswith("plain")
                else make_fast_step(model, config, name.split()[1]))
        step(batches[0])
        seconds = []
        for batch in batches[1:]:
            began = time.perf_counter()
            step(batch)
            seconds.append(time.perf_counter() - began)
        rates[name] = 5 * batch_size / float(np.median(seconds))
        del model, step
    return rates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--preset", default="paper")
    arguments = parser.parse_args()
    rates = measure(arguments.preset, arguments.batch, arguments.steps)
    for name, rate in rates.items():
        print(f"{name:15s} {rate:8.1f} frames/s   {rate / rates['plain float32']:.2f} x")
    best = max(rates.values()) / rates["plain float32"]
    print(f"target {TARGET} x: {'reached' if best >= TARGET else 'missed'}")


if __name__ == "__main__":
    main()
