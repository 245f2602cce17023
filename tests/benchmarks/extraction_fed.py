"""Whether a device that is faster than this machine would be fed: a device that only takes its time.

    python -m tests.benchmarks.extraction_fed [--photos 512] [--megapixels 1] [--ready 20000]

First photos that are decoded, for a device faster than the readers: the whole pipe against the readers alone. Then
readers that hand out ready pictures, so that what is left is assembly, finite check and writer.
"""
import argparse
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import torch

from data.folder.manifest import Manifest
from data.pictures.photos import OK, scan_photos
from data.progress import Progress
from extract.backbones.backbone import Spec
from extract.backbones.mapper import Mapped, count_own_cores
from extract.config import ExtractConfig
from extract.folder.plan import plan_folder, read_limited
from extract.folder.work import Asked, find_work
from extract.pipeline.pipeline import Looking
from extract.pipeline.reader import Reader, ReadPhoto, Task
from extract.pipeline.reader_processes import ProcessReader
from extract.pipeline.timing import Timing
from tests.benchmarks.extraction import PHOTOS_PER_ALBUM, write_photos
from tests.benchmarks.figures import Figure, report
from tests.photo_dataset import write_stories

FED_SHARE, READY_RATE, MAIN_MICROSECONDS = 0.95, 5000.0, 60.0
FAST = 20_000.0  # photos a second of the device
SPEC = Spec(2048, 224, "squash", 224, "bilinear", (0.5,) * 3, (0.5,) * 3)


class SleepingDevice:
    """A mapper whose device looks at `rate` photos a second, one batch after another, and sees nothing."""

    threads, num_buffers, batch_size, precision, spec = 1, 3, 128, "float16", SPEC
    device = torch.device("cpu")

    def __init__(self, rate: float) -> None:
        self.rate, self.free_at = rate, 0.0
        self.features = np.ones((self.batch_size, SPEC.width), np.float16)

    def make_buffer(self) -> np.ndarray:
        return np.zeros((self.batch_size, SPEC.size, SPEC.size, 3), np.uint8)

    def submit(self, pictures: np.ndarray) -> "SleepingBatch":
        self.free_at = max(self.free_at, time.perf_counter()) + self.batch_size / self.rate
        return SleepingBatch(self.free_at, self.features)


class SleepingBatch:
    """A batch that is looked at when its time has come."""

    def __init__(self, ready_at: float, features: np.ndarray) -> None:
        self.ready_at, self.features = ready_at, features

    def result(self) -> Mapped:
        time.sleep(max(0.0, self.ready_at - time.perf_counter()))
        return Mapped(self.features, None)


class ReadyReader(Reader):
    """Hands out one picture under many contents."""

    def read(self, tasks: Iterable[Task]) -> Generator[ReadPhoto, None, None]:
        picture = np.random.default_rng(0).integers(0, 256, (SPEC.size, SPEC.size, 3), dtype=np.uint8)
        for number, task in enumerate(tasks):
            yield ReadPhoto(task.shard, task.row, OK, number.to_bytes(32, "big"), picture)


def run_pipe(root: Path, out: Path, reader: Reader) -> tuple[Timing, float, float]:
    """The pipe's times, and processor seconds of its main thread and of the whole process."""
    config = ExtractConfig(root, out, "random")
    plan, manifest = plan_folder(config, read_limited(config), scan_photos(root)[0])
    assert not isinstance(manifest, Manifest), "a folder of its own"
    asked = Asked("simulated", False)
    looking = Looking(plan, out, find_work(plan, out, asked), asked, SleepingDevice(FAST),  # type: ignore[arg-type]
                      reader, 0, lambda: None, Progress(len(plan), "photos", quiet=True))
    own, whole = time.thread_time(), time.process_time()
    timing = looking.run()
    return timing, time.thread_time() - own, time.process_time() - whole


def read_alone(paths: list[Path], reader: Reader) -> float:
    """Photos a second of a reader that nobody waits for."""
    first = 0.0
    for _ in reader.read(Task(0, row, path, False) for row, path in enumerate(paths)):
        first = first or time.perf_counter()
    return len(paths) / (time.perf_counter() - first)


def measure_fed(kind: type[Reader], num_photos: int, megapixels: float) -> list[Figure]:
    """The pipe against its readers."""
    def make() -> Reader:
        return kind(SPEC.resize_for(False), 0, count_own_cores(), 256, {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_photos(folder / "data", num_photos, megapixels)
        alone = read_alone(paths, make())
        timing, own, _ = run_pipe(folder / "data", folder / "features", make())
        alone = max(alone, read_alone(paths, make()))
        return [Figure(name=f"a pipe fed by {count_own_cores()} {kind.kind} at {megapixels:g} MP", value=timing.rate,
                       unit="photos/s", ratio=timing.rate / alone, at_least=FED_SHARE,
                       peer=f"these readers alone {alone:.0f}"), _name_own(own, timing)]


def measure_ready(num_photos: int) -> list[Figure]:
    """The pipe without reading."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_stories(folder / "data", "train", num_photos // PHOTOS_PER_ALBUM, stories_per_album=1,
                      photos_per_album=PHOTOS_PER_ALBUM)
        reader = ReadyReader(SPEC.resize_for(False), 0, 1, 1, {})
        timing, own, whole = run_pipe(folder / "data", folder / "features", reader)
        return [Figure(name="a pipe fed with ready pictures", value=timing.rate, unit="photos/s",
                       ratio=timing.rate / READY_RATE, at_least=1.0, peer=f"wanted {READY_RATE:.0f}"),
                _name_own(own, timing),
                Figure(name="all its threads", value=whole / timing.photos * 1e6, unit="core-us a photo",
                       at_most=1e6 / READY_RATE)]


def _name_own(seconds: float, timing: Timing) -> Figure:
    return Figure(name="its main thread", value=seconds / timing.photos * 1e6, unit="core-us a photo",
                  at_most=MAIN_MICROSECONDS)


def main(argv: list[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--ready", type=int, default=20_000)
    arguments = parser.parse_args(argv)
    fed = [figure for kind in (Reader, ProcessReader)
           for figure in measure_fed(kind, arguments.photos, arguments.megapixels)]
    return report([*fed, *measure_ready(arguments.ready)])


if __name__ == "__main__":
    main()
