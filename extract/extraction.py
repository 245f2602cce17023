"""One extraction from a data folder to a features folder: what is there, what is left, do it, say that it is done."""
import errno
import gc
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import LimitExceeded, UserError
from data.files import require_room
from data.folder.manifest import MANIFEST, Manifest, load_manifest
from data.pictures.photos import FoundPhoto, scan_photos
from data.progress import Progress, spell_seconds
from extract.config import ExtractConfig
from extract.folder.occupancy import hold_folder, take_turns
from extract.folder.unchanged import digest_photos, observe, recall_unchanged, remember_state

if TYPE_CHECKING:
    from data.annotations.stories import Dataset
    from extract.backbones.mapper import Mapper
    from extract.backbones.text_encoder import TextEncoder
    from extract.folder.plan import Plan
    from extract.folder.word_writer import WordsOrder
    from extract.folder.work import Asked, Work
    from extract.pipeline.backbone_setup import Resolved
    from extract.pipeline.reader import Reader
    from extract.pipeline.timing import Timing

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
FOLDER = "a features folder"
BATCHES_AHEAD = 2  # of pictures decoded before the model wants them
TIMED_READS = 9  # the first is slower than all others

log = logging.getLogger(__name__)


def run_extraction(config: ExtractConfig) -> Path:
    """Make or bring up to date a features folder.

    Returns:
        The folder.

    Raises:
        UserError: if input, weights, settings or disk do not allow it.
        LimitExceeded: if everything is written, but more photos are bad or missing than the limits allow.
    """
    photos, notes = scan_photos(config.dataset)
    seen = digest_photos(photos)
    if not (config.retry or config.rehash):
        noted = recall_unchanged(config, seen)
        if noted is not None:
            log.info("%s is up to date: %s", config.out, noted["summary"])
            _check_limits(config, *noted["shares"])
            return config.out
    for note in notes:
        log.warning("%s", note)
    require_room(config.out, FOLDER)
    from extract.folder.plan import read_limited
    dataset = read_limited(config)  # before the folder is touched: bad input leaves nothing behind
    for warning in dataset.warnings:
        log.warning("%s", warning)
    log.info("%s", ", ".join(f"{split} {len(stories)} stories" for split, stories in dataset.stories.items()))
    try:
        with hold_folder(config.out, config.rank, config.world) as still_held:
            manifest = _bring_up_to_date(config, dataset, photos, seen, still_held)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        from extract.folder.writer import explain_disk
        raise explain_disk(error, config.out) from error
    if manifest is not None:
        from extract.folder.publication import share_bad
        _check_limits(config, *share_bad(manifest))
    return config.out


def _bring_up_to_date(config: ExtractConfig, dataset: "Dataset", photos: dict[str, FoundPhoto], seen: str,
                      still_held: Callable[[], None]) -> Manifest | None:
    from extract.folder.plan import plan_folder
    from extract.folder.text_writer import open_encoder, require_text
    from extract.folder.word_writer import order_words
    from extract.folder.work import find_work, share_of
    from extract.pipeline.backbone_setup import open_mapper, resolve_recipe
    started = time.monotonic()
    plan, manifest = plan_folder(config, dataset, photos)
    require_text(config, dataset, manifest)
    order = order_words(config, dataset)
    photos.clear()  # what is needed of them is in the plan's arrays, at a tenth of the memory
    log.info("planned %d photos in %d shards (%s)", len(plan), len(plan.shards),
             spell_seconds(time.monotonic() - started))
    side = _choose_thumbnails(config, manifest)
    resolved, encoder = resolve_recipe(config, manifest), open_encoder(config)
    asked = ask(config, resolved.recipe["id"], side, manifest)
    works = share_of(find_work(plan, config.out, asked), config.rank, config.world)
    if works:
        require_room(config.out, FOLDER, sum(work.planned.rows for work in works) * resolved.width * 2 * (
            1 + asked.views + asked.tokens * (asked.tokens > 1)))
        look_at_photos(config, plan, works, asked,
                       open_mapper(config, resolved, manifest, asked.tokens), side, still_held)
        resolved = replace(resolved, backbone=None)  # it goes before the folder is described,
        gc.collect()  # and shards are not left mapped by what refers to itself in the pipeline
    still_held()
    return _finish(config, seen, plan, asked, resolved, dataset, order, encoder, side)


def ask(config: ExtractConfig, recipe: str, thumbnail_side: int, manifest: Manifest | None) -> "Asked":
    """What a run asks of every shard; a folder keeps the tokens and views that it was made with."""
    from extract.folder.work import Asked
    return Asked(recipe, thumbnail_side > 0, choose_tokens(config, manifest), config.retry, config.rehash,
                 choose_views(config, manifest))


def look_at_photos(config: ExtractConfig, plan: "Plan", works: "list[Work]", asked: "Asked", mapper: "Mapper",
                   side: int, still_held: Callable[[], None]) -> "tuple[Timing, Reader]":
    """Look at this process's share of the photos and publish its shards."""
    from extract.pipeline.pipeline import Looking
    total = sum(int(work.unread.sum()) for work in works)
    reader = _make_reader(config, plan, works, asked, mapper, side)
    log.info("reading %d photos in %d shards with %d %s; %s, %s, batches of %d", total, len(works), reader.workers,
             reader.kind, mapper.device, mapper.precision, mapper.batch_size)
    progress = Progress(total, "photos", quiet=config.local_rank != 0)
    looking = Looking(plan, config.out, works, asked, mapper, reader, config.rank, still_held, progress)
    try:
        timing = looking.run()
    finally:
        progress.close()
    _say_timing(timing, reader)
    return timing, reader


def _make_reader(config: ExtractConfig, plan: "Plan", works: "list[Work]", asked: "Asked", mapper: "Mapper",
                 side: int) -> "Reader":
    """A reader of the kind and number that suit cores, photos and device."""
    import numpy as np

    from extract.backbones.mapper import count_own_cores, time_model
    from extract.pipeline.reader import Reader, Task
    from extract.pipeline.reader_processes import ProcessReader, choose_readers
    on_device, resize = mapper.device.type != "cpu", mapper.spec.resize_for(config.exact)
    looked_at = read_seconds = 1.0
    if on_device:
        rows = np.concatenate([work.planned.first + np.flatnonzero(work.unread) for work in works])
        one = Reader(resize, side, 1, 1, {}, asked.views)
        found = [one.read_one(Task(0, 0, plan.photo_path(row), side > 0)).seconds
                 for row in rows[np.linspace(0, len(rows) - 1, TIMED_READS).astype(int)].tolist()]
        looked_at, read_seconds = time_model(mapper) / (1 + asked.views), sum(found[1:]) / (TIMED_READS - 1)
    choice = choose_readers(count_own_cores(), on_device, looked_at, read_seconds, config.readers, config.reader_kind)
    if choice.warning:
        log.warning("%s", choice.warning)
    ahead = BATCHES_AHEAD * mapper.threads * mapper.batch_size // (1 + asked.views) + choice.workers
    kind = ProcessReader if choice.kind == "processes" else Reader
    return kind(resize, side, choice.workers, ahead, {}, asked.views)


def _finish(config: ExtractConfig, seen: str, plan: "Plan", asked: "Asked", resolved: "Resolved", dataset: "Dataset",
            order: "WordsOrder", encoder: "TextEncoder | None", side: int) -> Manifest | None:
    from extract.folder.publication import Ending, complete_entries, publish_folder, share_bad, summarise
    from extract.folder.recipe import list_made_by
    from extract.folder.text_writer import write_text
    from extract.folder.word_writer import write_words
    with take_turns(config.out):
        entries = complete_entries(plan, config.out, asked)
        if entries is None:
            log.info("process %d of %d is done; others have shards left, the last one finishes the folder",
                     config.rank + 1, config.world)
            return None
        old = load_manifest(config.out) if (config.out / MANIFEST).exists() else None
        shards, words = write_text(config, *write_words(config, dataset, order, plan, old), encoder, old)
        ending = Ending(resolved.recipe, resolved.width, resolved.weights, resolved.licence, side, config.words, shards,
                        words, dataset.skipped, asked.tokens, asked.views,
                        tuple(list_made_by(config.out, old, is_bound=True)))
        manifest = publish_folder(plan, config.out, entries, ending, old)
        names = [MANIFEST, "README.md", "skipped.csv",
                 *(shard.name for shards in manifest.shards.values() for shard in shards),
                 *(f"words/{name}/{file}" for name, entry in manifest.words.items() for file in entry.files)]
        summary = summarise(manifest)
        files = [*resolved.files, *(str(path.absolute()) for path in (encoder.files if encoder is not None else ()))]
        remember_state(config, observe(config, seen, names, files), share_bad(manifest), summary)
    log.info("%s is complete: %s", config.out, summary)
    return manifest


def _choose_thumbnails(config: ExtractConfig, manifest: Manifest | None) -> int:
    made = manifest.counts.get("thumbnail_side", 0) if manifest is not None else 0
    if made and config.thumbnails and made != config.thumbnails:
        raise UserError(f"expected thumbnails of {made} pixels in {config.out} as it was made with, found --thumbnails "
                        f"{config.thumbnails}; leave the flag away, or name another folder with --out")
    return config.thumbnails or made


def choose_tokens(config: ExtractConfig, manifest: Manifest | None) -> int:
    """How many tokens of every photo the folder gets: those it has, or those asked for.

    Raises:
        UserError: if it has others.
    """
    made = manifest.num_tokens if manifest is not None else 1
    if 1 not in (made, config.tokens) and made != config.tokens:
        raise UserError(f"expected {made} tokens of every photo in {config.out} as it was made with, found --tokens "
                        f"{config.tokens}; leave the flag away, or name another folder with --out")
    return max(made, config.tokens)


def choose_views(config: ExtractConfig, manifest: Manifest | None) -> int:
    """How many augmented views the folder gets: those it has, or those asked for.

    Raises:
        UserError: if it has others.
    """
    made = manifest.counts.get("views") if manifest is not None else None
    if not isinstance(made, dict):
        return config.views
    from data.pictures.augmentation import VERSION
    number = made.get("number", 0)
    if made != {"number": config.views or number, "augmentation": VERSION}:
        raise UserError(f"expected {number} views by augmentation {made.get('augmentation')} in {config.out} as it was "
                        f"made with, found --views {config.views} by augmentation {VERSION}; leave the flag away, or "
                        "name another folder with --out")
    return int(number)


def _check_limits(config: ExtractConfig, bad: float, missing: float) -> None:
    for name, share, limit, what in (("max-bad", bad, config.max_bad, "present photos that are of no use"),
                                     ("max-missing", missing, config.max_missing, "missing photos")):
        if share > limit:
            raise LimitExceeded(f"expected at most {limit:.2%} {what}, found {share:.2%}; everything good is written, "
                                f"skipped.csv in {config.out} lists them: mend them and give the same command with "
                                f"--retry, or allow more with --{name}")


def _say_timing(timing: "Timing", reader: "Reader") -> None:
    total = timing.ended - timing.started
    log.info("%d photos in %s, %.1f/s: looked at %d, %d of known content, %d bad; waited %.1f s on reading, %.1f s on "
             "the model, %.1f s on writing (the bottleneck is %s); readers busy %.1f s for %.1f MB", timing.photos,
             spell_seconds(total), timing.rate, timing.looked_at, timing.copied, timing.bad, timing.read,
             timing.compute, timing.write, timing.bottleneck, reader.busy_seconds, reader.bytes_read / 2**20)
