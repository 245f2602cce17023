"""The plan: which photos have a row, in which shard, and where their files are. Made before any photo is opened.

Rows follow split, album, story, so that neighbours in training are neighbours on disk. A folder's rows never move:
what is new comes after them in shards of its own, and a photo that no story names any more keeps its row. So a word
set stays true whatever is added. Of photos that other annotations brought, a second dataset's or those in another
language, a command knows nothing that has not their files: their rows stay as they are.
"""
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data.annotations.stories import SPLITS, Dataset, read_dataset
from data.errors import UserError
from data.folder.manifest import MANIFEST, Manifest, load_manifest
from data.folder.published import map_published
from data.folder.shards import BESIDE, map_shard
from data.pictures.photos import FoundPhoto
from extract.config import ExtractConfig
from extract.folder.ledger import NO_FILE, Entry, exists, hash_ids, read_ledger
from extract.folder.told import Told, find_same_pictures, find_splits, list_albums, read_told

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedShard:
    """Rows first..first + rows of the plan.

    Attributes:
        index: place in the plan. number: what its file is named by.
        published: the shard that holds these photos already, of whatever state.
    """

    index: int
    number: int
    first: int
    rows: int
    published: Entry | None = None


@dataclass
class Plan:
    """N photo rows in shards.

    Attributes:
        photo_id: (N,) bytes. split: (N,) uint8, index into SPLITS or NO_SPLIT.
        stat: (N, 2) int64, NO_FILE where there is none.
        path: the file of each row, None where none was found.
        story_album: (P, 2) int32: a row and an album that has it. album_id: (N,) bytes, the first in alphabetical order
            of the albums that have it; empty for a photo that no story names any more.
        foreign: (N,) bool, rows of other annotations, to be left as they are. shared: (N,) bool, rows of both, whose
            files differ in size or time. others: word sets of other annotations.
        orphans: published shards that hold none of these rows as they are wanted; their features may still be copied.
        taken: kind -> names that published files have.
    """

    photo_id: np.ndarray
    split: np.ndarray
    stat: np.ndarray
    path: list[str | None]
    story_album: np.ndarray
    album_id: np.ndarray
    shards: list[PlannedShard]
    foreign: np.ndarray
    shared: np.ndarray
    others: list[Told] = field(default_factory=list)
    orphans: list[Entry] = field(default_factory=list)
    taken: dict[str, set[str]] = field(default_factory=dict)
    turn: int = 0

    def __len__(self) -> int:
        return len(self.photo_id)

    def photo_path(self, row: int) -> Path | None:
        """The file of a row, or None where none was found."""
        path = self.path[row]
        return None if path is None else Path(path)

    def rows_of(self, shard: PlannedShard) -> slice:
        """The shard's rows as a slice of the plan's arrays."""
        return slice(shard.first, shard.first + shard.rows)


def read_limited(config: ExtractConfig) -> Dataset:
    """The dataset, less what --limit leaves out: the first stories of every split stay."""
    dataset = read_dataset(config.dataset, config.seed)
    return replace(dataset, stories={split: stories[:config.limit] for split, stories in dataset.stories.items()})


def plan_folder(config: ExtractConfig, dataset: Dataset,
                photos: dict[str, FoundPhoto]) -> tuple[Plan, Manifest | None]:
    """Place every wanted photo; writes nothing, needs no torch, and reads no photo but those that another dataset of
    the folder names too.

    Args:
        photos: as `data.pictures.photos.scan_photos` finds them.

    Returns:
        The plan, and the folder's manifest as it is, None before its first whole run.

    Raises:
        UserError: if a shard of the manifest is damaged and no ledger tells which photos it held, the word set would
            take the place of another dataset's, or two datasets mean different pictures by one id.
    """
    manifest = load_manifest(config.out) if (config.out / MANIFEST).exists() else None
    ledger = read_ledger(config.out)
    wanted = list(wanted_photos(dataset, config.photos))
    published = published_shards(config.out, manifest, ledger)
    listed = [photo_id for entry in published for photo_id in entry.photo_ids.tolist()]
    others = read_told(config.out, manifest, listed, dataset, config.words)
    known, new = set(listed), dict[bytes, str]()
    for split, _, name in wanted:
        if (encoded := name.encode("ascii")) not in known:
            new.setdefault(encoded, split)
    shards: list[PlannedShard] = []
    first = 0
    for entry in published:
        shards.append(PlannedShard(len(shards), entry.number, first, len(entry.photo_ids), entry))
        first += len(entry.photo_ids)
    number = 1 + max((entry.number for entry in published), default=-1)
    for start, stop in _cut_at_splits(list(new.values()), config.shard_rows):
        shards.append(PlannedShard(len(shards), number, first + start, stop - start))
        number += 1
    ids = [*listed, *new]
    photo_id = np.array(ids) if ids else np.zeros(0, "S1")
    shards, orphans = _match(shards, photo_id, published, ledger)
    taken: dict[str, set[str]] = {}
    for entry in (*published, *ledger.values()):
        for kind, shard in entry.files.items():
            if exists(config.out, [shard]):  # what was lost comes back under its name
                taken.setdefault(kind, set()).add(shard.name)
    found = [photos.get(name.decode("ascii")) for name in ids]
    stat = np.array([photo[1:3] if photo else NO_FILE for photo in found], np.int64).reshape(-1, 2)
    foreign, shared = _tell_apart(stat, shards, {name.encode("ascii") for _, _, name in wanted}, photo_id, others)
    plan = Plan(photo_id, find_splits(config.words, dataset, ids, others), stat,
                [photo.path if photo and not away else None for photo, away in zip(found, foreign.tolist())],
                *list_albums(wanted, ids, others), shards, foreign, shared, others, orphans, taken,
                turn=1 + max((entry.turn for entry in ledger.values()), default=0))
    if not config.rehash:
        _settle_shared(plan, config.out)
    if gone := len(plan) - len(np.unique(plan.story_album[:, 0])):
        log.info("%d photo(s) of the folder are named by no story any more; they keep their rows", gone)
    return plan, manifest


def wanted_photos(dataset: Dataset, which: str) -> Iterator[tuple[str, str, str]]:
    """(split, album id, photo id) in the order split, album, story; photos come as often as they are named.

    Args:
        which: "stories", or "albums" to have an album's untold photos after its told ones.
    """
    for split in SPLITS:
        untold: dict[str, list[str]] = {}
        if which == "albums":
            for album_id, photo_id in dataset.album_photos[split]:
                untold.setdefault(album_id, []).append(photo_id)
        album = None
        for story in dataset.stories[split]:
            if album is not None and story.album_id != album:
                yield from ((split, album, photo_id) for photo_id in sorted(untold.pop(album, ())))
            album = story.album_id
            yield from ((split, album, photo_id) for photo_id in story.photo_ids)
        for album_id in sorted(untold):
            yield from ((split, album_id, photo_id) for photo_id in sorted(untold[album_id]))


def published_shards(folder: Path, manifest: Manifest | None, ledger: dict[str, Entry]) -> list[Entry]:
    """The photo shards of a folder's manifest in row order, with what the ledger knows of each.

    A folder that came from elsewhere has no ledger: what its photos looked like on disk is unknown then, so that they
    are read again, but not looked at again.
    """
    if manifest is None:
        return []
    entries = []
    for place, shard in enumerate(manifest.shards.get("photos", ())):
        files = {kind: manifest.shards[kind][place] for kind in ("photos", *BESIDE)
                 if manifest.shards.get(kind)}
        known = ledger.get(shard.name)
        if known is not None and known.files["photos"].sha256 == shard.sha256:
            entries.append(replace(known, files={**files, **known.files}))
        else:
            try:
                photo_ids = np.array(map_published(folder, shard, "photos")["photo_id"])
            except UserError as error:
                raise UserError(f"{error}; and no ledger tells which photos it held: get the folder again, or make a "
                                "new one with another --out") from None
            digits = Path(shard.name).stem.partition("-")[0]
            entries.append(Entry(int(digits) if digits.isdecimal() else 0, manifest.recipe["id"], files, photo_ids,
                                 np.full((shard.rows, 2), -1, np.int64)))
    return entries


def choose_name(kind: str, number: int, taken: dict[str, set[str]]) -> str:
    """A name that no published file of the folder has or had: 00003.h5, then 00003-1.h5, ..."""
    names = (f"{kind}/{number:05d}{f'-{generation}' if generation else ''}.h5" for generation in itertools.count())
    return next(name for name in names if name not in taken.get(kind, ()))


def _cut_at_splits(splits: list[str], rows: int) -> Iterator[tuple[int, int]]:
    start = 0
    for _, group in itertools.groupby(splits):
        stop = start + len(list(group))
        yield from ((first, min(first + rows, stop)) for first in range(start, stop, rows))
        start = stop


def _match(shards: list[PlannedShard], photo_id: np.ndarray, published: list[Entry],
           ledger: dict[str, Entry]) -> tuple[list[PlannedShard], list[Entry]]:
    """Give every planned shard the newest published one of the same photos."""
    by_ids: dict[str, Entry] = {entry.ids: entry for entry in published}
    for entry in ledger.values():
        known = by_ids.get(entry.ids)
        if known is None or known.turn < entry.turn:
            by_ids[entry.ids] = entry
    matched = [replace(shard, published=by_ids.pop(hash_ids(photo_id[shard.first:shard.first + shard.rows]), None))
               for shard in shards]
    return matched, sorted(by_ids.values(), key=lambda entry: entry.name)


def _tell_apart(stat: np.ndarray, shards: list[PlannedShard], wanted: set[bytes], photo_id: np.ndarray,
                others: list[Told]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool each: a plan's foreign rows, whose stat becomes what it was, and its shared ones."""
    foreign = shared = np.zeros(len(stat), bool)
    if others:
        was, theirs = stat.copy(), np.zeros(len(stat), bool)
        for shard in shards:
            if shard.published is not None:
                was[shard.first:shard.first + shard.rows] = shard.published.stat
        theirs[np.concatenate([told.rows for told in others])] = True
        is_wanted = np.array([name in wanted for name in photo_id.tolist()])
        is_found, is_changed = (stat != NO_FILE).any(axis=1), (stat != was).any(axis=1)
        foreign = is_changed & (~is_wanted | theirs & ~is_found)
        shared = is_wanted & theirs & is_found & is_changed
        stat[foreign] = was[foreign]
    return foreign, shared


def _settle_shared(plan: Plan, folder: Path) -> None:
    """Take what other annotations name too as it is in the folder, where it is the same picture; one that was missing
    there, or is another one now, is read.

    Raises:
        UserError: if a dataset that shares no story means another picture by one id.
    """
    strange = np.concatenate([np.zeros(0, np.int32), *(told.rows for told in plan.others if not told.is_akin)])
    for planned in plan.shards:
        rows = planned.first + np.flatnonzero(plan.shared[plan.rows_of(planned)])
        source = planned.published
        if source is None or not len(rows) or not exists(folder, [source.files["photos"]]):
            continue
        content = map_shard(folder / source.name, "photos")["content"][rows - planned.first]
        rows, content = rows[content.any(axis=1)], content[content.any(axis=1)]
        paths = [plan.photo_path(row) for row in rows.tolist()]
        rows = rows[find_same_pictures(folder, plan.photo_id[rows], paths, content, np.isin(rows, strange))]
        plan.stat[rows] = source.stat[rows - planned.first]
