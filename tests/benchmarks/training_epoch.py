"""A training epoch through the loader against the same epoch with every tensor in memory.

    python -m tests.benchmarks.training_epoch [--stories 1000] [--repeats 5] [--folder DIR]

The preset small, whose steps are the shortest, so that reading weighs most.
"""
import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from data.folder.folder import Features
from tests.benchmarks.features_folder import write_large_folder
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.timing import Times, divide, measure_in_turn
from train.batches import Batch, StoryDataset
from train.config import make_config
from train.distributed import World
from train.order import shuffle_stories
from train.run_folder.runs import build_model, measure_sizes
from train.trainer import Trainer

MOST = 1.03


class InMemory(StoryDataset):
    """Everything as ready tensors, the features among them."""

    whole: Batch

    def load(self) -> None:
        """Read all."""
        self.whole = super().__getitems__(np.arange(len(self)))

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Index every tensor."""
        chosen = torch.as_tensor(np.asarray(indices))
        batch = {name: tensor[chosen] for name, tensor in self.whole.items()}
        longest = int((batch["token_ids"] != 0).sum(dim=-1).max())
        return {**batch, "token_ids": batch["token_ids"][..., :longest]}


def measure(features: Features, repeats: int) -> dict[str, Times]:
    """Seconds of an epoch both ways."""
    config = make_config({"preset": "small", "device": "cpu"})
    mapped, memory = StoryDataset(features, "train"), InMemory(features, "train")
    memory.load()
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, mapped.words))
    trainer = Trainer(config, model, World(0, 1, torch.device("cpu")), "float32")

    def run_epoch(dataset: StoryDataset, number: int) -> None:
        order = shuffle_stories(len(dataset), 1, number)
        for step, start in enumerate(range(0, len(order), config.batch_size)):
            trainer.step(dataset, order[start:start + config.batch_size], 1, step)

    versions: dict[str, Callable[[int], object]] = {"loader": partial(run_epoch, mapped),
                                                    "memory": partial(run_epoch, memory)}
    return measure_in_turn(versions, repeats)


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        times = measure(Features.open(write_large_folder(Path(name), arguments.stories)), arguments.repeats)
    loader, memory = times["loader"], times["memory"]
    return report([Figure(name="training epoch through the loader", value=loader.wall, unit="s", at_most=MOST,
                          ratio=divide(loader, memory), peer=f"all tensors in memory, {memory.wall:.2f} (CPU time: "
                                                             f"{loader.cpu / memory.cpu:.3f} x)")])


if __name__ == "__main__":
    main()
