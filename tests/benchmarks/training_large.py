"""A generated folder of 8 GB against a small one: rate of reading, and memory beyond the model.

    python -m tests.benchmarks.training_large [--gibibytes 8] [--stories 20000] [--repeats 3] [--folder DIR]

Memory is what is anonymous (mapped files do not count, the system takes their pages back when it needs them), at its
peak over all that a training does with a folder: opening, statistics, epochs; less what the process had with the model
built. The folder is written, measured and removed; it takes that much disk.
"""
import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from data.folder.folder import Features
from tests.benchmarks.features_folder import PHOTOS_PER_STORY, write_large_folder
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.memory import Peak
from tests.benchmarks.timing import Times, measure_in_turn
from tests.benchmarks.training_loader import exhaust, on_one_core
from train.batches import StoryDataset
from train.config import TrainConfig, make_config
from train.model.story_model import StoryModel
from train.start.statistics import measure_features

WIDTH, NUM_WORDS, NUM_TAGS = 2048, 10_000, 51
LEAST_SHARE, MOST_MEGABYTES = 0.7, 500.0
STORY_BYTES = PHOTOS_PER_STORY * WIDTH * 2


def prepare(path: Path, config: TrainConfig, model: StoryModel) -> StoryDataset:
    """Open a folder and do what a training does with it before its first step."""
    features = Features.open(path)
    dataset = StoryDataset(features, "train")
    model.set_statistics(*measure_features(features, dataset.photo_rows(), config.std_floor))
    return dataset


def measure(root: Path, small_stories: int, large_stories: int, repeats: int) -> tuple[dict[str, Times], float]:
    """Seconds a story by folder and way of reading, and megabytes of anonymous memory."""
    paths = {"small": write_large_folder(root / "small", small_stories),
             "large": write_large_folder(root / "large", large_stories)}
    config = make_config({"preset": "small"})
    model = StoryModel(config, WIDTH, NUM_WORDS, NUM_TAGS)
    with Peak() as peak:
        datasets = {name: prepare(path, config, model) for name, path in paths.items()}
        epochs = {"small": max(1, round(large_stories / small_stories)), "large": 1}
        versions: dict[str, Callable[[int], object]] = {
            f"{name}, {way}": partial(exhaust, dataset, way == "streamed", epochs=epochs[name])
            for way in ("mapped", "streamed") for name, dataset in datasets.items()}
        with on_one_core():
            times = measure_in_turn(versions, repeats)
    stories = {name: len(dataset) * epochs[name] for name, dataset in datasets.items()}
    return {name: found.scale(1 / stories[name.partition(",")[0]]) for name, found in times.items()}, peak.megabytes


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, default=8.0)
    parser.add_argument("--stories", type=int, default=20_000, help="of the small folder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder by default")
    arguments = parser.parse_args(argv)
    large = int(arguments.gibibytes * 2 ** 30 / STORY_BYTES)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        times, megabytes = measure(Path(name), arguments.stories, large, arguments.repeats)
    size = f"{arguments.gibibytes:g} GiB folder"
    figures = [Figure(name=f"{size}, anonymous memory beyond the model", value=megabytes, unit="MB",
                      at_most=MOST_MEGABYTES)]
    for way in ("streamed", "mapped"):
        ours, small = times[f"large, {way}"], times[f"small, {way}"]
        figures.append(Figure(name=f"{size}, {way}, one core", value=1 / ours.wall, unit="stories/s",
                              ratio=small.wall / ours.wall, at_least=LEAST_SHARE,
                              peer=f"folder of {arguments.stories * STORY_BYTES / 2 ** 30:.2g} GiB, "
                                   f"{1 / small.wall:,.0f} (CPU time: {small.cpu / ours.cpu:.2f} x)"))
    return report(figures)


if __name__ == "__main__":
    main()
