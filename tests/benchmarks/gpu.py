"""What a GPU makes of it, on one page.

    python -m tests.benchmarks.gpu [--photos 8192] [--megapixels 0.4]

Extraction, images a second: the whole command with its default precision, what it waited on, and as ratios the bare
compiled forward pass in channels-last half precision, and a plain DataLoader loop with a worker a core.
"""
import argparse
import logging
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from data.cores import count_cores
from extract.backbones.backbone import build_backbone
from extract.backbones.mapper import Mapper, resolve_precision, time_model
from extract.pipeline.backbone_setup import CUDA_BATCH
from tests.benchmarks.extraction import Photos, time_extraction, write_photos
from tests.benchmarks.figures import Figure, report

BACKBONE = "resnet50"
DRAWN = 256  # different pictures; the others are the same under other contents
BARE_SHARE, PLAIN_RATIO = 0.9, 1.0
WARM_UP, ROUNDS = 5, 50


def measure_extraction(num_photos: int, megapixels: float, device: torch.device) -> list[Figure]:
    """The command against the bare forward pass and the plain loop, on the same card and photos."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_many_photos(folder / "data", num_photos, megapixels)
        bare, plain = time_bare_forward(device), time_plain_loop(paths, device)
        mapper = Mapper(build_backbone(BACKBONE, "random"), device, resolve_precision("auto", device), CUDA_BATCH)
        ours, timing = time_model(mapper), time_extraction(folder, BACKBONE, compiled=False)
        waited = f"waited {timing.read:.1f} s on reading, {timing.compute:.1f} s on the model, {timing.write:.1f} s " \
                 f"on writing; {timing.bottleneck} binds"
        name = f"extraction at {megapixels:g} MP, {count_cores()} cores"
        return [Figure(name=f"{name}: {waited}", value=timing.rate, unit="photos/s", ratio=timing.rate / bare,
                       peer=f"bare compiled forward {bare:.0f}", at_least=BARE_SHARE),
                Figure(name=name, value=timing.rate, unit="photos/s", ratio=timing.rate / plain, at_least=PLAIN_RATIO,
                       peer=f"DataLoader loop {plain:.0f}"),
                Figure(name="the model alone as extraction runs it, copies included", value=ours, unit="photos/s",
                       ratio=ours / bare, peer=f"bare compiled forward {bare:.0f}")]


def write_many_photos(root: Path, count: int, megapixels: float) -> list[Path]:
    """Few pictures under many contents: what follows a JPEG's end is not looked at."""
    from tests.benchmarks.extraction import PHOTOS_PER_ALBUM
    from tests.photo_dataset import photo_id, write_stories
    drawn = [path.read_bytes() for path in write_photos(root, min(count, DRAWN), megapixels)]
    write_stories(root, "train", count // PHOTOS_PER_ALBUM, stories_per_album=1, photos_per_album=PHOTOS_PER_ALBUM)
    paths = []
    for index in range(count // PHOTOS_PER_ALBUM * PHOTOS_PER_ALBUM):
        paths.append(root / "images" / f"{photo_id('train', *divmod(index, PHOTOS_PER_ALBUM))}.jpg")
        paths[-1].write_bytes(drawn[index % len(drawn)] + index.to_bytes(8, "big"))
    return paths


def time_bare_forward(device: torch.device) -> float:
    """Photos a second of the compiled module on one batch that is there already."""
    module: nn.Module = build_backbone(BACKBONE, "random").module
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    module = module.to(device, half).to(memory_format=torch.channels_last)
    images = torch.rand(CUDA_BATCH, 3, 224, 224, device=device, dtype=half).to(memory_format=torch.channels_last)
    compiled = torch.compile(module) if device.type == "cuda" else module
    with torch.inference_mode():
        for _ in range(WARM_UP):
            compiled(images)
        _wait(device)
        started = time.perf_counter()
        for _ in range(ROUNDS if device.type == "cuda" else 1):
            compiled(images)
        _wait(device)
    return (ROUNDS if device.type == "cuda" else 1) * CUDA_BATCH / (time.perf_counter() - started)


def time_plain_loop(paths: list[Path], device: torch.device) -> float:
    """Photos a second of a DataLoader with a worker a core and autocast, from its second batch on."""
    built = build_backbone(BACKBONE, "random")
    module = built.module.to(device)
    loader = DataLoader(Photos(paths, built.spec), batch_size=CUDA_BATCH, num_workers=count_cores(),
                        pin_memory=device.type == "cuda")
    started, looked_at = 0.0, 0
    with torch.inference_mode(), torch.autocast(device.type, enabled=device.type == "cuda"):
        for images in loader:
            module(images.to(device, non_blocking=True)).cpu()
            looked_at += len(images) if started else 0
            started = started or time.perf_counter()
    return looked_at / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: list[str] | None = None) -> list[Figure]:
    """Measure and print; without a card say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=8192)
    parser.add_argument("--megapixels", type=float, default=0.4)
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing is measured")
        return []
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(torch.cuda.get_device_name(0))
    return report(measure_extraction(arguments.photos, arguments.megapixels, torch.device("cuda", 0)))


if __name__ == "__main__":
    main()
