"""The end of a run: every shard is there, so the folder says what it is. The manifest comes last."""
import csv
import io
import logging
import math
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.annotations.annotation_file import Skipped
from data.annotations.stories import SPLITS
from data.files import TEMPORARY, settle_text, sha256_file
from data.folder.identity import Identity, identify, source_digest
from data.folder.manifest import Manifest, Shard, WordsEntry
from data.folder.shards import map_shard
from data.lock import is_gone
from data.pictures.augmentation import VERSION as AUGMENTATION_VERSION
from data.pictures.photos import MISSING, OK, PLACEHOLDER_ALBUMS, PLACEHOLDER_IDS, STATUS
from extract.folder.canaries import GROUP as CANARIES
from extract.folder.canaries import write_canaries
from extract.folder.card import write_card
from extract.folder.ledger import Entry, hash_ids, read_ledger
from extract.folder.occupancy import lock_paths
from extract.folder.plan import Plan
from extract.folder.recipe import package_versions
from extract.folder.told import NO_SPLIT
from extract.folder.work import Asked, find_unread, usable_source

SOURCE_VERSION = 1
STALE_SECONDS = 90.0  # of a half-written file: its writer is dead
COLUMNS = ("kind", "id", "split", "cause", "detail")  # of skipped.csv
UNUSED = "unused"  # photos that no story names, in the counts by split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """What the manifest is written from, beside the shards.

    Attributes:
        recipe: identity. width: D. weights, licence: of the backbone, for the card. words, words_entry: name and entry
        of the word set. word_shards: its shards by group. skipped: what the annotations lost. tokens, views: of every
        photo. made_by: see `data.folder.manifest`.
    """

    recipe: Identity
    width: int
    weights: str
    licence: str
    thumbnail_side: int
    words: str
    word_shards: dict[str, tuple[Shard, ...]]
    words_entry: WordsEntry
    skipped: list[Skipped]
    tokens: int = 1
    views: int = 0
    made_by: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class PhotoTable:
    """All rows: status (N,), content (N, 32), and the (cause, detail) of every bad row."""

    status: np.ndarray
    content: np.ndarray
    bad: dict[int, tuple[str, str]]


def complete_entries(plan: Plan, folder: Path, asked: Asked) -> list[Entry] | None:
    """The published shards of the whole plan, or None while some rows wait for this or another process.

    Args:
        asked: what to read again is past by now and plays no part.
    """
    asked = replace(asked, retry=False, rehash=False)
    newest: dict[str, Entry] = {}
    for entry in read_ledger(folder).values():
        if entry.ids not in newest or newest[entry.ids].turn <= entry.turn:
            newest[entry.ids] = entry
    entries = []
    for planned in plan.shards:
        ids = hash_ids(plan.photo_id[plan.rows_of(planned)])
        source = usable_source(newest.get(ids, planned.published), folder, asked)
        if source is None or find_unread(plan, planned, source, asked).any():
            return None
        entries.append(source)
    return entries


def publish_folder(plan: Plan, folder: Path, entries: list[Entry], ending: Ending, old: Manifest | None) -> Manifest:
    """Write canaries, skipped.csv, card and manifest over the published shards.

    Args:
        entries: one for every planned shard. old: the manifest until now.
    """
    table = read_photo_table(plan, folder, entries)
    placeholders = find_placeholders(plan, table, old)
    shards = {group: parts for group, parts in (old.shards if old is not None else {}).items()
              if not group.startswith(f"words/{ending.words}/")} | place_shards(plan, entries) | ending.word_shards
    sets = {**(old.words if old is not None else {}), ending.words: ending.words_entry}
    source = identify({"version": SOURCE_VERSION, "photos": source_digest(plan.photo_id, table.content, table.status)})
    shards[CANARIES], canaries = write_canaries(folder, plan, entries, table.status, table.content, placeholders,
                                                ending.recipe["fields"], old)
    manifest = Manifest(
        recipe=ending.recipe, source=source, width=ending.width, shards=dict(sorted(shards.items())), words=sets,
        placeholders=tuple(placeholders),
        counts=count_photos(plan, table, placeholders, ending),
        versions={**package_versions(), "weights": ending.weights, "licence": ending.licence},
        canaries=canaries, made_by=ending.made_by)
    texts = (settle_text(folder / "skipped.csv", format_skipped(
        plan, table, placeholders, list_lost(folder, plan, ending.skipped, list(sets)))),
             write_card(folder, manifest))
    manifest = replace(manifest, files={path.name: sha256_file(path) for path in texts})
    manifest.save(folder)
    remove_leftovers(folder)
    return manifest


def place_shards(plan: Plan, entries: list[Entry]) -> dict[str, tuple[Shard, ...]]:
    """The published files of every kind in the order of the plan, each with its first row."""
    kinds: dict[str, list[Shard]] = {}
    for planned, entry in zip(plan.shards, entries):
        for kind, shard in entry.files.items():
            kinds.setdefault(kind, []).append(replace(shard, offset=planned.first, rows=planned.rows))
    return {kind: tuple(shards) for kind, shards in kinds.items() if len(shards) == len(entries)}


def read_photo_table(plan: Plan, folder: Path, entries: list[Entry]) -> PhotoTable:
    """Collect status and content of every row."""
    status, content = np.zeros(len(plan), np.uint8), np.zeros((len(plan), 32), np.uint8)
    bad: dict[int, tuple[str, str]] = {}
    for planned, entry in zip(plan.shards, entries):
        arrays = map_shard(folder / entry.name, "photos")
        status[plan.rows_of(planned)], content[plan.rows_of(planned)] = arrays["status"], arrays["content"]
        bad.update({planned.first + row: cause for row, cause in entry.bad.items()})
    for row in np.flatnonzero(status).tolist():
        bad.setdefault(row, (STATUS[status[row]], ""))
    return PhotoTable(status, content, bad)


def group_contents(table: PhotoTable) -> np.ndarray:
    """(N,) int64: rows of good photos with equal contents have equal numbers from 0 on, other rows have -1.

    By the first eight bytes of the sha256: enough to tell contents apart, a quarter of the memory.
    """
    group = np.full(len(table.status), -1, np.int64)
    good = table.status == OK
    prefix = np.ascontiguousarray(table.content[:, :8]).view(np.uint64).ravel()
    group[good] = np.unique(prefix[good], return_inverse=True)[1]
    return group


def find_placeholders(plan: Plan, table: PhotoTable, old: Manifest | None) -> list[dict[str, Any]]:
    """Contents that stand under many ids in many albums: "this photo is no longer available".

    Args:
        old: the manifest until now; it knows of albums of another dataset that no story tells of.
    """
    group = group_contents(table)
    known = {found["content"]: found["albums"] for found in (old.placeholders if old is not None else ())}
    found = []
    for index in np.flatnonzero(np.bincount(group[group >= 0]) >= PLACEHOLDER_IDS).tolist():
        members = np.flatnonzero(group == index)
        albums = len(np.unique(plan.story_album[np.isin(plan.story_album[:, 0], members), 1]))
        content = table.content[members[0]].tobytes().hex()
        if plan.foreign[members].any():
            albums = max(albums, known.get(content, 0))
        if albums >= PLACEHOLDER_ALBUMS:
            found.append({"content": content, "photos": len(members), "albums": albums})
    return sorted(found, key=lambda placeholder: placeholder["content"])


def count_photos(plan: Plan, table: PhotoTable, placeholders: list[dict[str, Any]], ending: Ending) -> dict[str, Any]:
    """What the folder's photos come to, by status, cause and recurrence."""
    by_status = {name: int((table.status == index).sum()) for index, name in enumerate(STATUS)}
    group = group_contents(table)
    told = (group >= 0) & (plan.split != NO_SPLIT)
    splits = np.zeros((int(group.max(initial=-1)) + 1, len(SPLITS)), bool)
    splits[group[told], plan.split[told]] = True
    return {"photos": len(plan), "status": by_status, "causes": dict(Counter(cause for cause, _ in table.bad.values())),
            "distinct_contents": len(splits), "contents_in_several_splits": int((splits.sum(axis=1) > 1).sum()),
            "placeholder_photos": sum(placeholder["photos"] for placeholder in placeholders),
            "by_split": {split: int((plan.split == index).sum()) for index, split in enumerate((*SPLITS, UNUSED))},
            "thumbnail_side": ending.thumbnail_side,
            **({"tokens": ending.tokens} if ending.tokens > 1 else {}),
            **({"views": {"number": ending.views, "augmentation": AUGMENTATION_VERSION}} if ending.views else {})}


def list_lost(folder: Path, plan: Plan, skipped: list[Skipped], words: list[str]) -> list[tuple[str, ...]]:
    """What the annotations lost, as the first rows of skipped.csv with their heading.

    Where there are several datasets, a sixth column names the first word set of each: rows of the others are kept.

    Args:
        words: names of the folder's word sets.
    """
    own = [(row.kind, row.id, row.split, row.cause, row.detail) for row in skipped]
    others = {told.name for told in plan.others}
    kept: list[tuple[str, ...]] = []
    if others and (folder / "skipped.csv").exists():
        known = set(plan.photo_id.tolist())
        with open(folder / "skipped.csv", encoding="utf-8", errors="replace", newline="") as file:
            for row in list(csv.reader(file))[1:]:
                if len(row) >= len(COLUMNS) and (row[0] != "photo" or row[1].encode() not in known):
                    kept.append((*row[:len(COLUMNS)], *(row[len(COLUMNS):] or [min(others)])))
        kept = [row for row in kept if row[-1] in others]
    if not others or not kept and not own:
        return [COLUMNS, *own]
    name = min({*words} - others)
    return [(*COLUMNS, "words"), *sorted([*kept, *((*row, name) for row in own)], key=lambda row: row[-1])]


def format_skipped(plan: Plan, table: PhotoTable, placeholders: list[dict[str, Any]],
                   lost: list[tuple[str, ...]]) -> str:
    """skipped.csv: what the annotations lost (see `list_lost`), then every photo that is no use, in row order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(lost)
    contents = {placeholder["content"]: placeholder for placeholder in placeholders}
    for row, name in enumerate(plan.photo_id):
        split = (*SPLITS, "")[plan.split[row]]
        if row in table.bad:
            writer.writerow(("photo", name.decode(), split, *table.bad[row]))
        elif contents and (found := contents.get(table.content[row].tobytes().hex())):
            writer.writerow(("photo", name.decode(), split, "placeholder",
                             f"one picture under {found['photos']} ids in {found['albums']} albums"))
    return text.getvalue()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left half-written; while other processes live, only what is too old to be theirs."""
    living = sum(not is_gone(path) for path in lock_paths(folder))  # this process is one of them
    newest = time.time() - STALE_SECONDS if living > 1 else math.inf
    for partial in (*folder.glob(f".*{TEMPORARY}"), *folder.glob(f"*/.*{TEMPORARY}"),
                    *folder.glob(f"words/*/.*{TEMPORARY}")):
        with suppress(FileNotFoundError):  # renamed by its writer meanwhile
            if partial.lstat().st_mtime < newest:
                partial.unlink()


def summarise(manifest: Manifest) -> str:
    """One line about a folder's photos."""
    counts = manifest.counts
    bad = ", ".join(f"{number} {cause}" for cause, number in sorted(counts["causes"].items())) or "none bad"
    return (f"{counts['photos']} photos ({bad}; {counts['placeholder_photos']} placeholders), "
            f"{counts['distinct_contents']} distinct contents, {counts['contents_in_several_splits']} of them in "
            "several splits")


def share_bad(manifest: Manifest) -> tuple[float, float]:
    """The shares of photos that are present but of no use, and that are missing."""
    status, total = manifest.counts["status"], max(1, manifest.counts["photos"])
    missing = status[STATUS[MISSING]]
    present = max(1, total - missing)
    return (total - missing - status[STATUS[OK]]) / present, missing / total
