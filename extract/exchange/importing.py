"""A features folder of other people's features: `python -m extract import-features SOURCE --data DIR --out FEATURES`.

The recipe says what is known and no more: that they were imported, what their maker called the backbone, and a sha256
over every id and value, the same in whatever container they came. There are no photos, so `content` is the sha256 of a
feature's bytes, by which equal pictures, and so placeholders, are still found; and there are no canaries.
"""
import argparse
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from data.files import require_room
from data.folder.identity import Identity, identify, require_same
from data.pictures.photos import MISSING, OK, UNREADABLE
from extract.config import ExtractConfig
from extract.exchange.sources import Source
from extract.folder.ledger import Entry, append_entry
from extract.folder.occupancy import hold_folder, take_turns
from extract.folder.plan import Plan, choose_name, plan_folder, read_limited
from extract.folder.publication import Ending, complete_entries, publish_folder, summarise
from extract.folder.recipe import LOCAL
from extract.folder.text_writer import open_encoder, require_text, write_text
from extract.folder.word_writer import order_words, write_words
from extract.folder.work import Asked, Work, find_work
from extract.folder.writer import publish_shard

VERSION = 1
SCRATCH = "import.part"
NOT_THERE, NOT_FINITE = "not among the imported", "feature not finite"

log = logging.getLogger(__name__)


@dataclass
class Gathered:
    """What a source holds, in the order of a plan's N rows.

    Attributes:
        feature: (N, D) float16. content: (N, 32) uint8. status: (N,) uint8. digests: id -> sha256 of its bytes.
    """

    content: np.ndarray
    status: np.ndarray
    feature: np.ndarray | None = None
    dtype: str = ""
    digests: dict[str, bytes] = field(default_factory=dict)


def run(arguments: argparse.Namespace) -> None:
    """Import, then compare with features of our own where --check says so."""
    given = dict(vars(arguments))
    source = Source(given.pop("source"), given.pop("ids"), given.pop("features"), given.pop("dtype"))
    licence, check, checked = given.pop("licence"), given.pop("check"), given.pop("check_backbone")
    config = ExtractConfig(**given)
    import_features(config, source, licence)
    if check is not None:
        from extract.exchange.agreement import describe_agreement
        print("\n".join(describe_agreement(config, checked or config.backbone, check)))


def import_features(config: ExtractConfig, source: Source, licence: str) -> Path:
    """Make a features folder of a data folder's annotations and a source's features.

    Args:
        config: `backbone` is what their maker calls it; what concerns photos plays no part.

    Returns:
        The folder.

    Raises:
        UserError: if the source is none, names no photo of the dataset, or the folder holds other features.
    """
    require_room(config.out, "a features folder")
    dataset, encoder = read_limited(config), open_encoder(config)
    with hold_folder(config.out, 0, 1) as still_held:
        plan, manifest = plan_folder(config, dataset, {})
        require_text(config, dataset, manifest)
        scratch = config.out / LOCAL / SCRATCH
        try:
            gathered = _gather(source, plan, scratch)
            values = b"".join(name.encode("utf-8", "replace") + b"\t" + gathered.digests[name]
                              for name in sorted(gathered.digests))
            recipe = identify({"version": VERSION, "imported": True, "backbone": config.backbone,
                               "source": hashlib.sha256(values).hexdigest(), "given_as": gathered.dtype,
                               "storage": "float16"})
            if manifest is not None:
                require_same("recipe", manifest.recipe, recipe, f"features folder {config.out}", str(source.path),
                             "name another folder with --out")
            asked = Asked(recipe["id"], thumbnails=False)
            for work in find_work(plan, config.out, asked):
                _publish(config.out, plan, work, gathered, recipe, still_held)
        finally:
            scratch.unlink(missing_ok=True)
        with take_turns(config.out):
            entries = complete_entries(plan, config.out, asked)
            assert entries is not None and gathered.feature is not None, "every shard was just published"
            shards, words = write_text(config, *write_words(config, dataset, order_words(config, dataset), plan,
                                                            manifest), encoder, manifest)
            ending = Ending(recipe, gathered.feature.shape[1], "imported", licence, 0, config.words, shards, words,
                            dataset.skipped)
            log.info("%s is complete: %s", config.out, summarise(publish_folder(plan, config.out, entries, ending,
                                                                                manifest)))
    return config.out


def _gather(source: Source, plan: Plan, scratch: Path) -> Gathered:
    """One pass over the source; wanted rows go to a file, so that memory holds a block."""
    rows = {name.decode(): row for row, name in enumerate(plan.photo_id.tolist())}
    found = Gathered(np.zeros((len(plan), 32), np.uint8), np.full(len(plan), MISSING, np.uint8))
    for names, block in source.read():
        if found.feature is None:
            found.dtype = block.dtype.name
            scratch.parent.mkdir(parents=True, exist_ok=True)
            found.feature = np.memmap(scratch, np.float16, "w+", shape=(max(1, len(plan)), block.shape[1]))
        if block.shape[1] != found.feature.shape[1] or block.dtype.name != found.dtype:
            raise UserError(f"expected {found.feature.shape[1]} numbers of {found.dtype} for every id in "
                            f"{source.path}, found {block.shape[1]} of {block.dtype.name} for {names[0]}; keep those")
        block = np.ascontiguousarray(block)
        with np.errstate(over="ignore"):  # what float16 does not hold becomes no number, and is told of
            half = block.astype(np.float16)
        for name, whole, vector in zip(names, block, half):
            digest = hashlib.sha256(whole.tobytes()).digest()
            if found.digests.setdefault(name, digest) != digest:
                raise UserError(f"expected one feature of every photo in {source.path}, found two of {name}; keep one "
                                "of them")
            if (row := rows.get(name)) is not None:
                is_finite = np.isfinite(vector).all()
                found.status[row] = OK if is_finite else UNREADABLE
                found.feature[row] = vector if is_finite else 0
                found.content[row] = np.frombuffer(digest, np.uint8)
    used = int((found.status != MISSING).sum())
    if not used:
        first = ", ".join(list(found.digests)[:3]) or "none"
        raise UserError(f"expected features by photo id in {source.path}, found {len(found.digests)} ids of which the "
                        f"stories name none (first: {first}); name the column or dataset of ids with --ids")
    log.info("%d of %d photos are in %s, which holds %d", used, len(plan), source.path, len(found.digests))
    return found


def _publish(folder: Path, plan: Plan, work: Work, gathered: Gathered, recipe: Identity,
             still_held: Callable[[], None]) -> None:
    still_held()
    assert gathered.feature is not None
    planned, rows = work.planned, plan.rows_of(work.planned)
    status, content = gathered.status[rows], gathered.content[rows]
    arrays: dict[str, Any] = {"feature": np.array(gathered.feature[rows]), "photo_id": plan.photo_id[rows],
                              "content": content, "status": status}
    name = choose_name("photos", planned.number, plan.taken)
    shard = publish_shard(folder, name, "photos", arrays, planned.rows)
    plan.taken.setdefault("photos", set()).add(name)
    bad = {row: (NOT_THERE if status[row] == MISSING else NOT_FINITE, "") for row in np.flatnonzero(status).tolist()}
    append_entry(folder, 0, Entry(planned.number, recipe["id"], {"photos": shard}, plan.photo_id[rows], plan.stat[rows],
                                  bad, plan.turn))
