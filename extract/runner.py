"""One extraction from a data folder to a features folder."""
import gc
import logging
import os
import time
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import LimitExceeded, UserError
from data.lock import hold
from data.manifest import MANIFEST, Manifest, load_manifest
from data.photos import FoundPhoto, scan_photos
from extract.config import ExtractConfig
from extract.progress import Progress, spell_seconds
from extract.recipe import (LOCAL, describe_recipe, expected_recipe, flags_of, recall_recipe, remember_recipe,
                            request_key, require_recipe)
from extract.unchanged import observe, recall_unchanged, remember_state

if TYPE_CHECKING:
    from data.stories import Dataset
    from extract.backbone import Backbone
    from extract.looking import Timing
    from extract.mapper import Mapper
    from extract.plan import Plan
    from extract.work import Asked, Work

CPU_BATCH, CUDA_BATCH = 32, 128
BATCHES_AHEAD = 3  # of pictures decoded before the model wants them

log = logging.getLogger(__name__)


@dataclass
class Opened:
    """A backbone ready to look: on its device, at the recipe's batch shape."""

    backbone: "Backbone"
    mapper: "Mapper"


@dataclass(frozen=True)
class Resolved:
    """The recipe of the folder and what belongs to it; `opened` only where torch was needed to know."""

    recipe: dict[str, Any]
    width: int
    weights: str
    licence: str
    files: tuple[str, ...]
    opened: Opened | None


def run_extraction(config: ExtractConfig) -> Path:
    """Make or bring up to date a features folder.

    Returns:
        The folder.

    Raises:
        UserError: if input, weights, settings or disk do not allow it.
        LimitExceeded: if everything is written, but more photos are bad or missing than the limits allow.
    """
    photos, notes = scan_photos(config.dataset)
    if not (config.retry or config.rehash):
        noted = recall_unchanged(config, photos)
        if noted is not None:
            log.info("%s is up to date: %s", config.out, noted["summary"])
            _check_limits(config, *noted["shares"])
            return config.out
    for note in notes:
        log.warning("%s", note)
    with _hold_folder(config):
        manifest = _write_folder(config, photos)
    if manifest is not None:
        from extract.publishing import share_bad
        _check_limits(config, *share_bad(manifest))
    return config.out


def _write_folder(config: ExtractConfig, photos: dict[str, FoundPhoto]) -> Manifest | None:
    from extract.ledger import read_ledger
    from extract.plan import limit_stories, make_plan
    from extract.work import find_work, share_of
    from extract.wordsets import stage_words
    from data.stories import read_dataset
    started = time.monotonic()
    manifest = load_manifest(config.out) if (config.out / MANIFEST).exists() else None
    dataset = limit_stories(read_dataset(config.dataset, config.seed), config.limit)
    _say_dataset(dataset)
    plan = make_plan(dataset, photos, config, manifest, read_ledger(config.out))
    staged = stage_words(config, dataset, plan)
    skipped = dataset.skipped
    del dataset
    gc.collect()
    log.info("planned %d photos in %d shards (%s)", len(plan), len(plan.shards),
             spell_seconds(time.monotonic() - started))
    side = _thumbnail_side(config, manifest)
    resolved = resolve_recipe(config, manifest)
    asked = _ask(config, resolved, side)
    works = share_of(find_work(plan, config.out, asked), config.rank, config.world)
    if works:
        resolved = _look(config, plan, works, asked, resolved, manifest, side)
    return _finish(config, photos, plan, asked, resolved, staged, skipped, side)


def _finish(config: ExtractConfig, photos: dict[str, FoundPhoto], plan: "Plan", asked: "Asked", resolved: Resolved,
            staged: dict[str, Any], skipped: list, side: int) -> Manifest | None:
    from extract.publishing import Ending, complete_entries, publish_folder, share_bad, summarise
    with _hold_finish(config):
        entries = complete_entries(plan, config.out, asked)
        if entries is None:
            log.info("rank %d of %d is done; other processes have shards left, the last one finishes the folder",
                     config.rank, config.world)
            return None
        old = load_manifest(config.out) if (config.out / MANIFEST).exists() else None
        ending = Ending(resolved.recipe, resolved.width, resolved.weights, resolved.licence, side, config.words, staged,
                        skipped)
        manifest = publish_folder(plan, config.out, entries, ending, old)
        names = [MANIFEST, "README.md", "skipped.csv",
                 *(shard.name for shards in manifest.shards.values() for shard in shards),
                 *(f"words/{name}/{file}" for name, entry in manifest.words.items() for file in entry.files)]
        state = observe(config, photos, names, list(resolved.files))
        summary = summarise(manifest)
        remember_state(config, state, share_bad(manifest), summary)
    log.info("%s is complete: %s", config.out, summary)
    return manifest


def resolve_recipe(config: ExtractConfig, manifest: Manifest | None) -> Resolved:
    """The recipe this run works by: known from an earlier run where nothing it depends on changed, else built.

    Raises:
        UserError: if the folder was made by another recipe, naming what differs.
    """
    remembered = recall_recipe(config.out)
    expected = expected_recipe(manifest, remembered)
    if remembered is not None and expected == remembered["recipe"] \
            and request_key(config, remembered["files"]) == remembered["key"]:
        return Resolved(remembered["recipe"], remembered["width"], remembered["weights"], remembered["licence"],
                        tuple(remembered["files"]), None)
    return _build(config, expected, remembered)


def _build(config: ExtractConfig, expected: dict[str, Any] | None, remembered: dict[str, Any] | None) -> Resolved:
    log.info("loading %s with weights %s", config.backbone, config.weights)
    from extract.backbone import build_backbone
    from extract.mapper import Mapper, choose_device, fit_batch_size, resolve_precision
    backbone = build_backbone(config.backbone, config.weights, config.resize)
    device = choose_device(config.device, config.local_rank)
    _fix_threads()
    fields = expected["fields"] if expected is not None else {}
    precision = config.precision if config.precision != "auto" else fields.get("precision") \
        or resolve_precision("auto", device)
    size = config.batch_size or (fields["batch_shape"][0] if fields else None)
    if size is None:
        size = fit_batch_size(backbone, device, precision, CUDA_BATCH, config.grid) if device.type == "cuda" \
            else CPU_BATCH
    recipe = describe_recipe(backbone, precision, size, config)
    if expected is not None:
        require_recipe(config.out, expected, recipe, remembered["made_with"] if remembered is not None else "")
    mapper = Mapper(backbone, device, precision, size, config.compiled, config.grid)
    files = tuple(sorted(str(path.absolute()) for path in backbone.files))
    resolved = Resolved(recipe, backbone.spec.width, backbone.weights, backbone.spec.licence, files,
                        Opened(backbone, mapper))
    remember_recipe(config.out, {
        "recipe": recipe, "made_with": flags_of(config), "width": resolved.width, "weights": resolved.weights,
        "licence": resolved.licence, "files": list(files), "key": request_key(config, files)})
    return resolved


def _look(config: ExtractConfig, plan: "Plan", works: "list[Work]", asked: "Asked", resolved: Resolved,
          manifest: Manifest | None, side: int) -> Resolved:
    from extract.contents import ContentIndex
    from extract.looking import Looking
    from extract.reader import Reader
    if resolved.opened is None:
        resolved = _build(config, resolved.recipe, recall_recipe(config.out))
    assert resolved.opened is not None
    mapper, index = resolved.opened.mapper, ContentIndex()
    threads = config.readers or len(os.sched_getaffinity(0))
    reader = Reader(resolved.opened.backbone.spec.resize_for(config.exact), side, threads,
                    BATCHES_AHEAD * mapper.batch_size + threads, lambda content: index.find(content) is not None)
    total = sum(int(work.unread.sum()) for work in works)
    log.info("reading %d photos in %d shards with %d threads on %s, %s, batches of %d", total, len(works), threads,
             mapper.device, mapper.precision, mapper.batch_size)
    progress = Progress(total, "photos", quiet=config.local_rank != 0)
    looking = Looking(plan, config.out, works, asked, mapper, reader, index, config.rank, lambda: None, progress)
    looking.fill_index()
    try:
        timing = looking.run()
    finally:
        progress.close()
    _say_timing(timing, reader)
    return resolved


def _ask(config: ExtractConfig, resolved: Resolved, side: int) -> "Asked":
    from extract.work import Asked
    return Asked(resolved.recipe["id"], side > 0, config.grid, config.retry, config.rehash)


def _thumbnail_side(config: ExtractConfig, manifest: Manifest | None) -> int:
    made = manifest.counts.get("thumbnail_side", 0) if manifest is not None else 0
    if made and config.thumbnails and made != config.thumbnails:
        raise UserError(f"expected thumbnails of {made} pixels in {config.out} as it was made with, found --thumbnails "
                        f"{config.thumbnails}; leave the flag away, or name another folder with --out")
    return config.thumbnails or made


def _fix_threads() -> None:
    """As many threads as there are cores, whatever the number of processes, so that sums come out alike."""
    import torch
    torch.set_num_threads(len(os.sched_getaffinity(0)))


@contextmanager
def _hold_folder(config: ExtractConfig) -> Iterator[None]:
    with hold(config.out / LOCAL / f"lock-{config.rank}", f"features folder {config.out} (extraction)"):
        yield


@contextmanager
def _hold_finish(config: ExtractConfig) -> Iterator[None]:
    yield


def _check_limits(config: ExtractConfig, bad: float, missing: float) -> None:
    for name, share, limit, what in (("max-bad", bad, config.max_bad, "present photos that are of no use"),
                                     ("max-missing", missing, config.max_missing, "missing photos")):
        if share > limit:
            raise LimitExceeded(f"expected at most {limit:.2%} {what}, found {share:.2%}; everything good is written, "
                                f"skipped.csv in {config.out} lists them: mend them and give the same command with "
                                f"--retry, or allow more with --{name}")


def _say_dataset(dataset: "Dataset") -> None:
    for warning in dataset.warnings:
        log.warning("%s", warning)
    log.info("%s", ", ".join(f"{split} {len(stories)} stories" for split, stories in dataset.stories.items()))


def _say_timing(timing: "Timing", reader: Any) -> None:
    total = time.perf_counter() - timing.started
    log.info("%d photos in %s, %.1f/s: looked at %d, %d of known content, %d bad; waited %.1f s on reading, %.1f s on "
             "the model, %.1f s on writing (the bottleneck is %s); readers busy %.1f s for %.1f MB", timing.photos,
             spell_seconds(total), timing.photos / total, timing.looked_at, timing.copied, timing.bad, timing.read,
             timing.compute, timing.write, timing.bottleneck, reader.busy_seconds, reader.bytes_read / 2**20)
