"""What is left to do: which shards of the plan have rows that must be read. Needs neither torch nor a photo."""
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.folder.manifest import Shard
from data.folder.shards import BESIDE, map_shard
from extract.folder.ledger import Entry, exists
from extract.folder.plan import Plan, PlannedShard

KINDS = ("photos", *BESIDE)


@dataclass(frozen=True)
class Work:
    """A shard with rows to read.

    Attributes:
        source: the published shard that other rows are taken from, None where there is none.
        unread: (n,) bool.
    """

    planned: PlannedShard
    source: Entry | None
    unread: np.ndarray


@dataclass(frozen=True)
class Asked:
    """What a run asks of every shard: its recipe's id, the files beside the features, what to read again.

    Attributes:
        tokens: P of every photo; 1 for its feature alone. views: W, how many augmented views of it; 0 for none.
    """

    recipe: str
    thumbnails: bool
    tokens: int = 1
    retry: bool = False
    rehash: bool = False
    views: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of file that a shard consists of."""
        return tuple(kind for kind, is_asked in zip(
            KINDS, (True, self.thumbnails, self.tokens > 1, self.views > 0)) if is_asked)


def find_work(plan: Plan, folder: Path, asked: Asked) -> list[Work]:
    """The shards with rows to read, of all ranks, in the order of the plan."""
    works = []
    for planned in plan.shards:
        source = usable_source(planned.published, folder, asked)
        unread = find_unread(plan, planned, source, asked)
        if unread.any():
            works.append(Work(planned, source, unread))
    return works


def usable_source(entry: Entry | None, folder: Path, asked: Asked) -> Entry | None:
    """A published shard less files that are gone, of another size, of other tokens or views; None without features."""
    if entry is None or entry.recipe != asked.recipe:
        return None
    files: dict[str, Shard] = {kind: shard for kind, shard in entry.files.items() if exists(folder, [shard])}
    for kind, number in (("tokens", asked.tokens), ("views", asked.views)):
        if kind in asked.kinds and kind in files and not _holds(folder, files[kind], kind, number):
            del files[kind]
    return replace(entry, files=files) if "photos" in files else None


def _holds(folder: Path, shard: Shard, kind: str, number: int) -> bool:
    try:
        return map_shard(folder / shard.name, kind)["feature"].shape[1] == number
    except UserError:
        return False


def find_unread(plan: Plan, planned: PlannedShard, source: Entry | None, asked: Asked) -> np.ndarray:
    """(n,) bool: rows that are new, changed on disk, or asked for again; never those of another dataset.

    Raises:
        UserError: if the shard lacks a kind of file and has rows of another dataset, whose photos are not known here.
    """
    rows = plan.rows_of(planned)
    lacks = [kind for kind in asked.kinds if source is None or kind not in source.files]
    if lacks and plan.foreign[rows].any():
        names = plan.photo_id[rows][plan.foreign[rows]]
        raise UserError(f"expected all photos of a shard to make its {', '.join(lacks)} anew, found {len(names)} that "
                        f"are another dataset's ({names[0].decode('ascii')}, ...); bring back what was lost with that "
                        "one's command, or make a new folder with these flags, one dataset after the other")
    if source is None or lacks or asked.rehash:
        return ~plan.foreign[rows]
    unread = (source.stat != plan.stat[rows]).any(axis=1)
    if asked.retry:
        unread[list(source.bad)] = True
    return unread & ~plan.foreign[rows]


def share_of(works: list[Work], rank: int, world: int) -> list[Work]:
    """The shards that one of several processes does: dealt by their place in the plan, so that all agree unasked."""
    return [work for work in works if work.planned.index % world == rank]
