"""What an extraction would do: counts, what is missing, bytes against the free disk, hours to go. Keeps nothing."""
import argparse
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import UserError, printable
from data.pictures.photos import scan_photos
from data.progress import spell_seconds
from extract.command import read_config
from extract.config import ExtractConfig
from extract.extraction import ask, choose_tokens, look_at_photos
from extract.flags import TIMED_PHOTOS
from extract.folder.canaries import NUM_CANARIES
from extract.folder.ledger import NO_FILE
from extract.folder.plan import Plan, PlannedShard, plan_folder, read_limited
from extract.folder.text_writer import NONE, open_encoder
from extract.folder.work import Asked, Work, find_work
from extract.verification.findings import format_facts

if TYPE_CHECKING:
    from data.annotations.stories import Dataset
    from data.folder.manifest import Manifest
    from extract.backbones.backbone import Backbone
    from extract.backbones.mapper import Mapper

TIMED_SECONDS = 3.0  # at least, where there are as many photos
THUMBNAIL_BITS = 2.0  # a pixel of a small JPEG, roughly
SPARE = 1.05  # of the bytes reckoned: headers, pages, manifest


@dataclass(frozen=True)
class Measured:
    """Speed of the pipeline over some photos: photos a second, thumbnail bytes a photo, and both as a sentence says."""

    rate: float
    thumbnail: float
    said: str


def run(arguments: argparse.Namespace) -> None:
    """Print the plan, or refuse what the extraction would refuse too."""
    given = dict(vars(arguments))
    timing = given.pop("timing")
    config = read_config(argparse.Namespace(**given))
    print(f"plan for {printable(config.out)} from {printable(config.dataset)}")
    print("\n".join(format_facts(describe_plan(config, timing))), flush=True)


def describe_plan(config: ExtractConfig, timing: bool = True) -> dict[str, str]:
    """What an extraction with this configuration would do, as facts by name."""
    photos, notes = scan_photos(config.dataset)
    dataset = read_limited(config)
    plan, manifest = plan_folder(config, dataset, photos)
    backbone, substituted = _build(config)
    recipe, mapper = _settle(config, backbone, manifest, substituted, timing)
    side = config.thumbnails or (manifest.counts.get("thumbnail_side", 0) if manifest is not None else 0)
    asked = ask(config, recipe, side, manifest)
    works = find_work(plan, config.out, asked)
    facts = _count(dataset, plan, works, notes)
    measured = _measure(config, plan, works, asked, mapper, side) if mapper is not None else None
    text, text_bytes = _reckon_text(config, dataset)
    facts |= _reckon_bytes(config, dataset, plan, works, backbone, asked, side, measured, text_bytes) | text
    if measured is not None:
        facts["measured"] = measured.said
    if substituted:
        facts["weights"] = substituted
    facts["to go"] = _spell_time(_rows_to_read(plan, works), measured, config, timing)
    return facts


def _build(config: ExtractConfig) -> "tuple[Backbone, str]":
    """The backbone, and a sentence where its weights are not here yet: random ones are as fast, nothing is fetched."""
    from extract.backbones.backbone import build_backbone
    from extract.backbones.named import describe_named, is_named
    from extract.backbones.weights import IMAGENET, RANDOM, imagenet_path
    absent = ""
    if config.weights == IMAGENET and is_named(config.backbone):
        absent = describe_named(config.backbone).describe_absence()
    elif config.weights == IMAGENET and ":" not in config.backbone:
        from torchvision import models
        known = config.backbone in models.list_models(module=models)
        entry = getattr(models.get_model_weights(config.backbone), "IMAGENET1K_V1", None) if known else None
        if entry is not None and not imagenet_path(entry.url).exists():
            absent = (f"not here yet: the extraction would download {entry.url} to {imagenet_path(entry.url)}; timed "
                      "with random ones, which are as fast")
    return build_backbone(config.backbone, RANDOM if absent else config.weights, config.resize), absent


def _settle(config: ExtractConfig, backbone: "Backbone", manifest: "Manifest | None", substituted: str,
            timing: bool) -> "tuple[str, Mapper | None]":
    """The recipe's id that published shards must have, and the mapper to time with."""
    from extract.backbones.mapper import Mapper, choose_device
    from extract.folder.recipe import list_made_by, recall_recipe
    from extract.pipeline.backbone_setup import is_note_bound, settle_batch, settle_recipe
    noted, is_bound = recall_recipe(config.out), is_note_bound(config)
    device = choose_device(config.device, config.local_rank)
    expected = manifest.recipe if manifest is not None else noted["recipe"] if noted and is_bound else None
    if expected is not None and substituted:
        recipe = expected
    else:
        recipe = settle_recipe(config, backbone, device, expected, noted["made_with"] if noted else "")
    if not timing:
        return recipe["id"], None
    precision, made_by = recipe["fields"]["precision"], list_made_by(config.out, manifest, is_bound)
    tokens = choose_tokens(config, manifest)
    size = settle_batch(config, backbone, device, precision, made_by, tokens)
    return recipe["id"], Mapper(backbone, device, precision, size, config.compiled, tokens)


def _count(dataset: "Dataset", plan: Plan, works: list[Work], notes: list[str]) -> dict[str, str]:
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


def _rows_to_read(plan: Plan, works: list[Work]) -> np.ndarray:
    rows = [work.planned.first + np.flatnonzero(work.unread) for work in works]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)


def _reckon_bytes(config: ExtractConfig, dataset: "Dataset", plan: Plan, works: list[Work], backbone: "Backbone",
                  asked: Asked, side: int, measured: Measured | None, text: float) -> dict[str, str]:
    rows, spec = sum(work.planned.rows for work in works), backbone.spec
    thumbnail = measured.thumbnail if measured is not None else side * side * 0.75 * THUMBNAIL_BITS / 8
    tokens = rows * spec.width * 2 * asked.tokens * (asked.tokens > 1)
    photos = rows * (spec.width * 2 * (1 + asked.views) + 33 + plan.photo_id.dtype.itemsize + thumbnail)
    stories = [story for split in dataset.stories.values() for story in split]
    captions = sum(len(caption) for story in stories for caption in story.captions)
    words = captions + len(stories) * (5 * (2 * config.caption_length + 70) + 64)
    canaries = min(NUM_CANARIES, len(plan)) * spec.size * spec.size * 3
    total = SPARE * (photos + tokens + words + text + canaries)
    out = config.out.absolute()
    free = shutil.disk_usage(next(path for path in (out, *out.parents) if path.exists())).free
    return {"to write": f"about {spell_bytes(total)}: {spell_bytes(photos)} of photo rows, "
                        + (f"{spell_bytes(tokens)} of {asked.tokens} tokens a photo, " if tokens else "")
                        + f"{spell_bytes(words)} of words, {spell_bytes(canaries)} of canaries",
            "disk": f"{spell_bytes(free)} free: " + ("enough" if free > total else
                                                     f"NOT ENOUGH, make room for {spell_bytes(total - free)} more")}


def _reckon_text(config: ExtractConfig, dataset: "Dataset") -> tuple[dict[str, str], float]:
    """Captions and bytes of text features, downloading nothing; where the encoder's files are not here yet, what to do
    about it."""
    if config.text_encoder in (None, NONE):
        return {}, 0
    from extract.backbones.text_encoder import SENTENCES
    captions = [caption for stories in dataset.stories.values() for story in stories for caption in story.captions]
    try:
        encoder = open_encoder(config, download=False)
    except UserError as error:
        if not str(config.text_encoder).startswith(SENTENCES):
            raise
        return {"text features": f"of {len(set(captions))} different captions; {error}"}, 0
    assert encoder is not None
    size = len(captions) * encoder.width * 2
    return {"text features": f"{encoder.width} numbers for {len(captions)} captions, {len(set(captions))} of them "
                             f"different: {spell_bytes(size)}"}, size


def _measure(config: ExtractConfig, plan: Plan, works: list[Work], asked: Asked, mapper: "Mapper",
             side: int) -> Measured | None:
    """Extract some of the photos into a folder of no use: long enough that starting does not matter."""
    rows = _rows_to_read(plan, works)
    rows = rows[(plan.stat[rows] != NO_FILE).any(axis=1)]
    count = TIMED_PHOTOS
    while len(rows):
        count = min(count, len(rows))
        sample = _take(plan, rows[np.linspace(0, len(rows) - 1, count).astype(int)])
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            timing, reader = look_at_photos(replace(config, out=out), sample, find_work(sample, out, asked), asked,
                                            mapper, side, lambda: None)
            thumbnails = sum(path.stat().st_size for path in out.glob("thumbs/*"))
        if count == len(rows) or timing.ended - timing.first >= TIMED_SECONDS:
            where = f"{mapper.device}, {mapper.precision}, batches of {mapper.batch_size}"
            return Measured(timing.rate, thumbnails / count, (
                f"{count} photos at {timing.rate:.1f}/s on {where}; {timing.bottleneck} binds; a photo costs each of "
                f"{reader.workers} reading {reader.kind} {reader.busy_seconds / count * 1e3:.1f} ms"))
        count = max(2 * count, round(timing.rate * 1.5 * TIMED_SECONDS))
    return None


def _take(plan: Plan, rows: np.ndarray) -> Plan:
    """A plan of these rows alone, in one shard."""
    return replace(plan, photo_id=plan.photo_id[rows], split=plan.split[rows], stat=plan.stat[rows],
                   path=[plan.path[row] for row in rows], album_id=plan.album_id[rows],
                   foreign=plan.foreign[rows], shared=plan.shared[rows],
                   shards=[PlannedShard(0, 0, 0, len(rows))], orphans=[], taken={})


def _spell_time(rows: np.ndarray, measured: Measured | None, config: ExtractConfig, timing: bool) -> str:
    if not len(rows):
        return "nothing: no photo needs to be looked at"
    if measured is None:
        return "no photo is there to be timed" if timing else "not measured (--no-timing)"
    seconds = len(rows) / measured.rate / config.world
    return f"about {spell_seconds(seconds)}" + (f" with {config.world} processes like this one" if config.world > 1
                                                else "")


def spell_bytes(count: float) -> str:
    """Bytes in the unit that reads well."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
