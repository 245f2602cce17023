"""Extraction against its own ceiling and against a plain loop, on the same photos in one run.

    python -m tests.benchmarks.extraction [--photos 512] [--megapixels 1] [--backbone resnet50] [--compile]

The ceiling is cores / (forward core-seconds + decode core-seconds), each measured alone: nothing that decodes and
looks on the same cores can be faster. The plain loop is what people write first: full decoding in PIL, float32, a
DataLoader without workers, batches of 16.
"""
import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from data.cores import count_cores
from extract.backbones.backbone import Spec, build_backbone
from extract.backbones.mapper import Mapper, choose_device, resolve_precision, time_model
from extract.config import ExtractConfig
from extract.extraction import run_extraction
from extract.pipeline.backbone_setup import CPU_BATCH
from extract.pipeline.pipeline import Looking
from extract.pipeline.reader import Reader, Task
from extract.pipeline.timing import Timing
from tests.benchmarks.figures import Figure, report
from tests.photo_dataset import photo_id, write_stories

CEILING_SHARE = 0.92
PLAIN_RATIOS = {1: 3.0, 12: 5.0}
COMPILED_RATIO = 3.5
PHOTOS_PER_ALBUM = 5


@dataclass(frozen=True)
class Rates:
    """Photos a second: of extraction, of the ceiling, of the plain loop; of the bare forward pass, of one decoder."""

    ours: float
    ceiling: float
    plain: float
    forward: float
    decode: float


class Photos(Dataset):
    """The plain loop's dataset."""

    def __init__(self, paths: list[Path], spec: Spec) -> None:
        self.paths = paths
        self.transform = transforms.Compose([transforms.Resize((spec.size, spec.size)), transforms.ToTensor(),
                                             transforms.Normalize(spec.mean, spec.std)])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as picture:
            return self.transform(picture.convert("RGB"))


def measure(num_photos: int, megapixels: float, backbone: str, compiled: bool) -> Rates:
    """Measure all rates on drawn photos."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_photos(folder / "data", num_photos, megapixels)
        cores = count_cores()
        torch.set_num_threads(cores)
        few = paths[:64]
        first = time_forward(backbone, compiled), time_decode(backbone, few), alone(time_plain_loop, backbone, few)
        ours = time_extraction(folder, backbone, compiled).rate
        again = time_forward(backbone, compiled), time_decode(backbone, few), alone(time_plain_loop, backbone, few)
        forward, decode, plain = (max(pair) for pair in zip(first, again))  # the machine may have been busy once
    return Rates(ours, cores / (cores / forward + 1 / decode), plain, forward, decode)


def write_photos(root: Path, num_photos: int, megapixels: float) -> list[Path]:
    """Draw photos of soft shapes with grain, and stories that name them: 0.3 MB at 1 MP, 1.8 MB at 12 MP, as cameras
    give them (VIST's originals have 1.4 MB in the mean)."""
    random = np.random.default_rng(0)
    albums = -(-num_photos // PHOTOS_PER_ALBUM)
    write_stories(root, "train", albums, stories_per_album=1, photos_per_album=PHOTOS_PER_ALBUM)
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    grain = random.normal(0, 6 if megapixels < 6 else 3, (height, width, 1)).astype(np.float32)
    (root / "images").mkdir()
    paths = []
    for index in range(albums * PHOTOS_PER_ALBUM):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        shapes = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        paths.append(root / "images" / f"{photo_id('train', *divmod(index, PHOTOS_PER_ALBUM))}.jpg")
        Image.fromarray((shapes + np.roll(grain, index, 0)).clip(0, 255).astype(np.uint8)).save(paths[-1], quality=88)
    return paths


def alone(measure_: Callable[..., float], *arguments: object) -> float:
    """What a function measures in a fresh process, which nothing of ours has tuned."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure_, *arguments).result()


def time_forward(backbone: str, compiled: bool, rounds: int = 16) -> float:
    """Photos a second of the model alone, on all cores."""
    built, device = build_backbone(backbone, "random"), choose_device("auto", 0)
    return time_model(Mapper(built, device, resolve_precision("auto", device), CPU_BATCH, compiled), rounds)


def time_decode(backbone: str, paths: list[Path]) -> float:
    """Photos a second of one thread that reads, hashes and decodes."""
    spec = build_backbone(backbone, "random").spec
    reader = Reader(spec.resize_for(exact=False), 0, 1, 1, {})
    started = time.perf_counter()
    for _ in reader.read(Task(0, row, path, False) for row, path in enumerate(paths)):
        pass
    return len(paths) / (time.perf_counter() - started)


def time_extraction(folder: Path, backbone: str, compiled: bool) -> Timing:
    """The times of an extraction."""
    taken: list[Timing] = []
    real = Looking.run

    def run(self: Looking) -> Timing:
        if compiled:  # compiling takes half a minute once; a long run does not notice
            self.mapper.submit(self.mapper.make_buffer()).result()
        taken.append(real(self))
        return taken[0]
    Looking.run = run  # type: ignore[method-assign]
    try:
        run_extraction(ExtractConfig(folder / "data", folder / "features", "random", backbone, compiled=compiled))
    finally:
        Looking.run = real  # type: ignore[method-assign]
    return taken[0]


def time_plain_loop(backbone: str, paths: list[Path]) -> float:
    """Photos a second of the loop that people write first."""
    built = build_backbone(backbone, "random")
    started = time.perf_counter()
    with torch.no_grad():
        found = [built.module(images).numpy() for images in DataLoader(Photos(paths, built.spec), batch_size=16)]
    assert len(np.concatenate(found)) == len(paths)
    return len(paths) / (time.perf_counter() - started)


def main(argv: list[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args(argv)
    rates = measure(arguments.photos, arguments.megapixels, arguments.backbone, arguments.compile)
    wanted = COMPILED_RATIO if arguments.compile else PLAIN_RATIOS.get(round(arguments.megapixels))
    name = f"extraction at {arguments.megapixels:g} MP{', compiled' if arguments.compile else ''}"
    return report([
        Figure(name=name, value=rates.ours, unit="photos/s", ratio=rates.ours / rates.ceiling, at_least=CEILING_SHARE,
               peer=f"ceiling {rates.ceiling:.1f} (forward {rates.forward:.1f}, a decoder {rates.decode:.1f})"),
        Figure(name=name, value=rates.ours, unit="photos/s", ratio=rates.ours / rates.plain, at_least=wanted,
               peer=f"plain loop {rates.plain:.1f}")])


if __name__ == "__main__":
    main()
