"""The ledger: one line for every published shard; what has no line does not exist.

A process appends to `.local/ledger/<rank>.jsonl`, its own file, and syncs. The last line of a name counts. A line
says what the shard was made from: the recipe, the photo ids of its rows, size and modification time of each
photo when it was read, and the cause of every bad one.
"""
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.files import sync
from data.folder.manifest import Shard

LEDGER = ".local/ledger"
NO_FILE = (0, 0)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One photo shard with what lies beside it.

    Attributes:
        number: its place in the order of shards. ids: sha256 over the photo ids of its rows. recipe: identity's id.
        files: kind ("photos", "thumbs", "tokens", "views") -> published file; offsets in them mean nothing here.
        photo_ids: (n,) bytes. stat: (n, 2) int64: size, mtime in ns; NO_FILE where there was none.
        bad: row in the shard -> (cause, detail). turn: counts runs; of two lines for one name the later run's counts.
    """

    number: int
    recipe: str
    files: Mapping[str, Shard]
    photo_ids: np.ndarray
    stat: np.ndarray
    bad: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    turn: int = 0

    @property
    def ids(self) -> str:
        """What tells whether a shard holds the rows that a plan wants."""
        return hash_ids(self.photo_ids)

    @property
    def name(self) -> str:
        """The photo file's path inside the folder."""
        return self.files["photos"].name


def hash_ids(photo_ids: np.ndarray) -> str:
    """The sha256 over (n,) photo ids in row order."""
    return hashlib.sha256(b"\n".join(photo_ids.tolist()) + b"\n").hexdigest()


def append_entry(folder: Path, rank: int, entry: Entry) -> None:
    """Add a line and sync it; the shard exists from here on."""
    path = folder / LEDGER / f"{rank}.jsonl"
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(_format(entry))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)


def read_ledger(folder: Path) -> dict[str, Entry]:
    """Every shard with a whole line, by the name of its photo file.

    A line cut short by a kill is passed over. Processes never share a name while they live, so that of two lines for
    one name the one of the later run, or later in its file, is the newer.
    """
    entries: dict[str, Entry] = {}
    for path in sorted((folder / LEDGER).glob("*.jsonl")):
        cut = 0
        with open(path, "rb") as file:
            for line in file:
                if not line.strip():
                    continue
                entry = _parse(line)
                if entry is None:
                    cut += 1
                elif entry.name not in entries or entries[entry.name].turn <= entry.turn:
                    entries[entry.name] = entry
        if cut:
            log.info("%s: %d line(s) cut short by an interruption are passed over", path.name, cut)
    return entries


def count_cut_lines(folder: Path) -> int:
    """How many lines are not what was written, and so are passed over."""
    return sum(_parse(line) is None for path in (folder / LEDGER).glob("*.jsonl")
               for line in path.read_bytes().splitlines() if line.strip())


def exists(folder: Path, shards: Iterable[Shard]) -> bool:
    """Whether every file is there with its size; its content is `verify`'s business."""
    for shard in shards:
        try:
            if os.stat(folder / shard.name).st_size != shard.bytes:
                return False
        except OSError:
            return False
    return True


def _format(entry: Entry) -> bytes:
    raw = {"number": entry.number, "recipe": entry.recipe,
           "files": {kind: [shard.name, shard.rows, shard.bytes, shard.sha256] for kind, shard in entry.files.items()},
           "photos": b" ".join(entry.photo_ids.tolist()).decode("ascii"), "stat": entry.stat.ravel().tolist(),
           "bad": [[row, cause, detail] for row, (cause, detail) in sorted(entry.bad.items())], "turn": entry.turn}
    text = json.dumps(raw, separators=(",", ":"))
    # begun with a newline: the line before may have been cut short by a kill or a full disk
    return f"\n{hashlib.sha256(text.encode()).hexdigest()[:16]} {text}\n".encode()


def _parse(line: bytes) -> Entry | None:
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if hashlib.sha256(text).hexdigest()[:16].encode() != digest:
        return None
    raw: dict[str, Any] = json.loads(text)
    photo_ids = np.array(raw["photos"].encode("ascii").split(b" "))
    files = {{"grid": "tokens"}.get(kind, kind): Shard(name, rows, 0, size, sha256)  # grid: of an earlier version
             for kind, (name, rows, size, sha256) in raw["files"].items()}
    return Entry(raw["number"], raw["recipe"], files, photo_ids,
                 np.array(raw["stat"], np.int64).reshape(len(photo_ids), -1)[:, :2],  # older lines have inodes too
                 {row: (cause, detail) for row, cause, detail in raw["bad"]}, raw["turn"])
