"""What an extraction would do: counts, what is missing, bytes against the free disk, hours to go. Writes nothing."""
import argparse
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import printable
from data.pictures.photos import scan_photos
from data.progress import spell_seconds
from extract.config import ExtractConfig
from extract.flags import TIMED_PHOTOS
from extract.folder.canaries import NUM_CANARIES
from extract.folder.ledger import NO_FILE
from extract.verification.findings import format_facts

if TYPE_CHECKING:
    from data.annotations.stories import Dataset
    from data.folder.manifest import Manifest
    from extract.backbones.backbone import Backbone
    from extract.backbones.mapper import Mapper, PendingBatch
    from extract.folder.plan import Plan
    from extract.folder.work import Work

THUMBNAIL_BITS = 2.0  # a pixel of a small JPEG, roughly
SPARE = 1.05  # of the bytes reckoned: headers, pages, manifest


@dataclass(frozen=True)
class Measured:
    """Speed of the whole pipe over some photos: photos a second; seconds a photo of a reading thread and of the model;
    thumbnail bytes a photo (0 without)."""

    photos: int
    rate: float
    read: float
    compute: float
    thumbnail: float
    where: str


def run(arguments: argparse.Namespace) -> None:
    """Print the plan.

    Raises:
        UserError: where the extraction would refuse too.
    """
    from extract.command import read_config
    given = dict(vars(arguments))
    timing = given.pop("timing")
    config = read_config(argparse.Namespace(**given))
    print(f"plan for {printable(config.out)} from {printable(config.dataset)}")
    print("\n".join(format_facts(describe_plan(config, timing))), flush=True)


def describe_plan(config: ExtractConfig, timing: bool = True) -> dict[str, str]:
    """What an extraction with this configuration would do, as facts by name."""
    from extract.extraction import plan_folder, read_limited
    photos, notes = scan_photos(config.dataset)
    dataset = read_limited(config)
    plan, manifest = plan_folder(config, dataset, photos)
    backbone, substituted = _build(config, timing)
    recipe, mapper = _settle(config, backbone, manifest, substituted, timing)
    side = config.thumbnails or (manifest.counts.get("thumbnail_side", 0) if manifest is not None else 0)
    works = _find_works(plan, config, recipe, side)
    facts = _count(dataset, plan, works, notes)
    measured = _measure(config, plan, works, backbone, mapper, side) if mapper is not None else None
    facts |= _reckon_bytes(config, dataset, plan, works, backbone, side, measured)
    if measured is not None:
        facts["measured"] = (f"{measured.photos} photos at {measured.rate:.1f}/s on {measured.where}; a photo costs a "
                             f"reading thread {measured.read * 1e3:.0f} ms, the model {measured.compute * 1e3:.0f} ms")
    if substituted:
        facts["weights"] = substituted
    facts["to go"] = _spell_time(_rows_to_read(plan, works), measured, config, timing)
    return facts


def _build(config: ExtractConfig, timing: bool) -> "tuple[Backbone, str]":
    """The backbone, and a sentence where its weights are not here yet: random ones are as fast, nothing is fetched."""
    from extract.backbones.backbone import build_backbone
    from extract.backbones.named import describe_named, is_named
    from extract.backbones.weights import IMAGENET, RANDOM, imagenet_path
    if config.weights == IMAGENET and is_named(config.backbone) and (
            absent := describe_named(config.backbone).describe_absence()):
        return build_backbone(config.backbone, RANDOM, config.resize), absent
    if config.weights == IMAGENET and ":" not in config.backbone:
        from torchvision import models
        known = config.backbone in models.list_models(module=models)
        entry = getattr(models.get_model_weights(config.backbone), "IMAGENET1K_V1", None) if known else None
        if entry is not None and not imagenet_path(entry.url).exists():
            return build_backbone(config.backbone, RANDOM, config.resize), (
                f"not here yet: the extraction would download {entry.url} to {imagenet_path(entry.url)}; timed with "
                "random ones, which are as fast")
    return build_backbone(config.backbone, config.weights, config.resize), ""


def _settle(config: ExtractConfig, backbone: "Backbone", manifest: "Manifest | None", substituted: str,
            timing: bool) -> "tuple[str, Mapper | None]":
    """The recipe's id that published shards must have, and the mapper to time with."""
    from extract.backbones.mapper import Mapper, choose_device
    from extract.folder.ledger import read_ledger
    from extract.folder.recipe import recall_recipe, require_recipe
    from extract.pipeline.backbone_setup import settle_recipe
    remembered = recall_recipe(config.out)
    expected = manifest.recipe if manifest is not None else None
    if expected is None and remembered is not None and read_ledger(config.out):
        expected = remembered["recipe"]
    device = choose_device(config.device, config.local_rank)
    recipe, precision, batch_size = settle_recipe(config, backbone, device, expected)
    if expected is not None and not substituted:
        require_recipe(config.out, expected, recipe, remembered["made_with"] if remembered is not None else "")
    mapper = Mapper(backbone, device, precision, batch_size, config.compiled, config.grid) if timing else None
    return (expected or recipe)["id"], mapper


def _find_works(plan: "Plan", config: ExtractConfig, recipe: str, side: int) -> "list[Work]":
    from extract.folder.work import Asked, find_work
    return find_work(plan, config.out, Asked(recipe, side > 0, config.grid, config.retry, config.rehash, config.views))


def _count(dataset: "Dataset", plan: "Plan", works: "list[Work]", notes: list[str]) -> dict[str, str]:
    found = (plan.stat != NO_FILE).any(axis=1)
    rows = _rows_to_read(plan, works)
    facts = {"stories": ", ".join(f"{split} {len(stories)}" for split, stories in dataset.stories.items()),
             "photos": f"{len(plan)} named, {int(found.sum())} found ({spell_bytes(plan.stat[found, 0].sum())}), "
                       f"{int((~found).sum())} missing"}
    if dataset.skipped:
        facts["skipped"] = f"{len(dataset.skipped)} things in the annotations: python -m data check lists them"
    facts["done"] = f"{len(plan) - len(rows)} photos; {len(plan.shards) - len(works)} of {len(plan.shards)} shards"
    facts["to do"] = (f"{len(rows)} photos in {len(works)} shards, {int(found[rows].sum())} of them to be read "
                      f"({spell_bytes(plan.stat[rows[found[rows]], 0].sum())}); equal ones are looked at once")
    return facts | {f"note {number}": note for number, note in enumerate((*dataset.warnings, *notes), 1)}


def _rows_to_read(plan: "Plan", works: "list[Work]") -> np.ndarray:
    rows = [work.planned.first + np.flatnonzero(work.unread) for work in works]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)


def _reckon_bytes(config: ExtractConfig, dataset: "Dataset", plan: "Plan", works: "list[Work]", backbone: "Backbone",
                  side: int, measured: Measured | None) -> dict[str, str]:
    rows, spec = sum(work.planned.rows for work in works), backbone.spec
    thumbnail = measured.thumbnail if measured is not None else side * side * 0.75 * THUMBNAIL_BITS / 8
    vectors = 1 + (49 if config.grid else 0) + config.views
    row_bytes = spec.width * 2 * vectors + 33 + plan.photo_id.dtype.itemsize + thumbnail
    stories = [story for split in dataset.stories.values() for story in split]
    captions = sum(len(caption) for story in stories for caption in story.captions)
    words = 2 * (captions + len(stories) * (5 * (2 * config.caption_length + 70) + 64))  # staged, then published
    canaries = min(NUM_CANARIES, len(plan)) * spec.size * spec.size * 3
    total = SPARE * (rows * row_bytes + words + canaries)
    free = shutil.disk_usage(_nearest(config.out)).free
    return {"to write": f"about {spell_bytes(total)}: {spell_bytes(rows * row_bytes)} of photo rows, "
                        f"{spell_bytes(words)} of words, {spell_bytes(canaries)} of canaries",
            "disk": f"{spell_bytes(free)} free: " + ("enough" if free > total else
                                                     f"NOT ENOUGH, make room for {spell_bytes(total - free)} more")}


def _nearest(path: Path) -> Path:
    path = path.absolute()
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _measure(config: ExtractConfig, plan: "Plan", works: "list[Work]", backbone: "Backbone", mapper: "Mapper",
             side: int) -> Measured | None:
    """Send some of the photos through reader and model as the extraction would, and keep nothing."""
    from extract.backbones.mapper import count_cores, time_model
    from extract.pipeline.reader import Reader, Task
    rows = _rows_to_read(plan, works)
    rows = rows[(plan.stat[rows] != NO_FILE).any(axis=1)]
    if not len(rows):
        return None
    picked = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), TIMED_PHOTOS)).astype(int))]
    reader = Reader(backbone.spec.resize_for(config.exact), side, config.readers or count_cores(),
                    2 * mapper.batch_size, lambda content: False)
    compute = 1 / time_model(mapper)
    free, thumbnails = [mapper.make_buffer() for _ in range(mapper.num_buffers)], 0
    pending: deque[tuple[PendingBatch, np.ndarray]] = deque()
    buffer, filled, started = free.pop(), 0, time.perf_counter()
    tasks = [Task(0, row, plan.photo_path(row), side > 0) for row in picked.tolist()]
    for photo in _and_end(reader.read(tasks)):
        if photo is not None and photo.picture is not None:
            buffer[filled] = photo.picture
            filled, thumbnails = filled + 1, thumbnails + len(photo.thumbnail)
        if filled == mapper.batch_size or (photo is None and filled):
            pending.append((mapper.submit(buffer), buffer))
            if not free:
                done, buffer = pending.popleft()
                done.result()
                free.append(buffer)
            buffer, filled = free.pop(), 0
    for done, _ in pending:
        done.result()
    elapsed = time.perf_counter() - started
    return Measured(len(picked), len(picked) / elapsed, reader.busy_seconds / len(picked), compute,
                    thumbnails / len(picked), f"{mapper.device}, {mapper.precision}, batches of {mapper.batch_size}")


def _and_end(photos: Iterator[Any]) -> Iterator[Any]:
    yield from photos
    yield None


def _spell_time(rows: np.ndarray, measured: Measured | None, config: ExtractConfig, timing: bool) -> str:
    if not len(rows):
        return "nothing: no photo needs to be looked at"
    if measured is None:
        return "no photo is there to be timed" if timing else "not measured (--no-timing)"
    # a view costs the model as much as the photo, and the readers nearly nothing
    seconds = len(rows) * (1 / measured.rate + config.views * measured.compute) / config.world
    return f"about {spell_seconds(seconds)}" + (f" with {config.world} processes like this one" if config.world > 1
                                                else "")


def spell_bytes(count: float) -> str:
    """Bytes in the unit that reads well."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
