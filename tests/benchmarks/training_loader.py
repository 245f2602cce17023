"""Stories per second into the model: mapped, streamed, and two named peers reading the same fields in the same run.

    python -m tests.benchmarks.training_loader [--stories 20000] [--repeats 5] [--folder DIR]

One core, batch 64, warm disk, whole shuffled epochs taken in turn; the median counts. We give masks and tag sources
beside the peers' fields, and PyTorch tensors where they give NumPy arrays.
"""
import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from data.folder.folder import Features
from tests.benchmarks.features_folder import write_large_folder
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.timing import Times, measure_in_turn
from tests.benchmarks.training_peers import Read, Story, write_datasets, write_webdataset
from train.batches import Batch, StoryDataset
from train.order import shuffle_stories, split_windows

BATCH = 64
BLOCK, WINDOW = 512, 16
TARGETS = {"mapped": 150_000, "streamed": 60_000}
PEER_FACTOR = 5
OUR_EPOCHS = 10  # of ours in one repeat, so that it takes about as long as one of a peer's


def read_epoch(dataset: StoryDataset, streamed: bool, epoch: int = 1) -> Iterator[Batch]:
    """One epoch as the training loop reads it."""
    block = BLOCK if streamed else 0
    order = shuffle_stories(len(dataset), 42, epoch, block, WINDOW)
    size = split_windows(len(order), block, WINDOW)
    for start in range(0, len(order), BATCH):
        if streamed and start % size < BATCH:
            dataset.prefetch(order[start + size:start + 2 * size])
        yield dataset.__getitems__(order[start:start + BATCH])


def iterate_stories(dataset: StoryDataset) -> Iterator[Story]:
    """Every story's fields as the folder stores them."""
    for index, row in enumerate(dataset.story_rows):
        batch = dataset.__getitems__([index])
        yield {"image_features": batch["image_features"][0].numpy(), "token_ids": dataset.arrays.token.take([row])[0],
               "tag_targets": dataset.arrays.tag.take([row])[0]}


def measure(root: Path, num_stories: int, repeats: int) -> dict[str, Times]:
    """Seconds of an epoch by every way of reading, on one core."""
    dataset = StoryDataset(Features.open(write_large_folder(root / "features", num_stories)), "train")
    peers: dict[str, Read] = {**write_webdataset(root / "webdataset", lambda: iterate_stories(dataset), BATCH),
                              **write_datasets(root / "datasets", lambda: iterate_stories(dataset), BATCH)}
    versions: dict[str, Callable[[int], object]] = {
        "mapped": lambda number: exhaust(dataset, False, number),
        "streamed": lambda number: exhaust(dataset, True, number),
        **{name: _read_with(read) for name, read in peers.items()}}
    with on_one_core():
        times = measure_in_turn(versions, repeats)
    return {name: found.scale(1 / OUR_EPOCHS) if name in TARGETS else found for name, found in times.items()}


def exhaust(dataset: StoryDataset, streamed: bool, number: int, epochs: int = OUR_EPOCHS) -> None:
    """Read epochs to their end, each in an order of its own."""
    for epoch in range(epochs):
        for _ in read_epoch(dataset, streamed, number * epochs + epoch + 1):
            pass


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Keep the whole process on one core, where the system can."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


def _read_with(read: Read) -> Callable[[int], object]:
    def run(number: int) -> None:
        _exhaust(read())
    return run


def _exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        times = measure(Path(name), arguments.stories, arguments.repeats)
    rate = {name: arguments.stories / found.wall for name, found in times.items()}
    figures = [Figure(name=f"loader, {name}, one core", value=rate[name], unit="stories/s", at_least=least)
               for name, least in TARGETS.items()]
    for peer in (name for name in times if name not in TARGETS):
        figures += [Figure(name=f"loader, {name}, against {peer}", value=rate[name], unit="stories/s",
                           ratio=rate[name] / rate[peer], at_least=PEER_FACTOR,
                           peer=f"{peer}, {rate[peer]:,.0f} (CPU time: {times[peer].cpu / times[name].cpu:.1f} x)")
                    for name in TARGETS]
    return report(figures)


if __name__ == "__main__":
    main()
