"""Which contents were looked at already, and where their features are."""
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.folder.shards import map_shard
from data.pictures.photos import OK

KEPT = 16  # bytes of a sha256
_EMPTY = -1


class ContentIndex:
    """A hash table from a file's sha256 to the (shard, row) that has its feature; 30 bytes an entry.

    One thread adds, any may look. A look during growth may miss, never lie: half of every sha256 is kept, 128 bits,
    which no two contents share.

    Args:
        expected: entries there is room for before it grows.
    """

    def __init__(self, expected: int = 64) -> None:
        expected = max(64, expected)
        self._content = np.zeros((expected, KEPT), np.uint8)
        self._place = np.zeros((expected, 2), np.int32)
        self._slots = np.full(1 << (expected * 3 // 2).bit_length(), _EMPTY, np.int32)  # at most two in three are taken
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, content: bytes) -> tuple[int, int] | None:
        """The (shard, row) of a content's feature, or None."""
        slots = self._slots
        slot = int.from_bytes(content[:8], "little") & (len(slots) - 1)
        while (entry := slots[slot]) != _EMPTY:
            if self._content[entry].tobytes() == content[:KEPT]:
                shard, row = self._place[entry].tolist()
                return shard, row
            slot = (slot + 1) & (len(slots) - 1)
        return None

    def add(self, content: bytes, shard: int, row: int) -> None:
        """Note where a content's feature is; the first place stays."""
        if self.find(content) is not None:
            return
        if self._count == len(self._content):
            self._grow()
        self._content[self._count] = np.frombuffer(content[:KEPT], np.uint8)
        self._place[self._count] = shard, row
        self._insert(self._slots, self._count)
        self._count += 1

    def _insert(self, slots: np.ndarray, entry: int) -> None:
        slot = int.from_bytes(self._content[entry, :8].tobytes(), "little") & (len(slots) - 1)
        while slots[slot] != _EMPTY:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = entry

    def _grow(self) -> None:
        self._content = np.concatenate([self._content, np.zeros_like(self._content)])
        self._place = np.concatenate([self._place, np.zeros_like(self._place)])
        slots = np.full(2 * len(self._slots), _EMPTY, np.int32)
        for entry in range(self._count):
            self._insert(slots, entry)
        self._slots = slots  # last, and at once: readers see the old table or the new one


class PublishedShard:
    """A published shard's arrays, mapped when they are asked for."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self.paths = paths

    def load(self, kind: str) -> dict[str, np.ndarray] | None:
        """The arrays of "photos", "thumbs" or "grid"; None where there is no such file."""
        return map_shard(self.paths[kind], kind) if kind in self.paths else None


class ShardCache:
    """The last few shards that features were copied from, mapped."""

    SIZE = 8

    def __init__(self, open_shard: Callable[[int, str], dict[str, np.ndarray] | None]) -> None:
        self._open, self._arrays = open_shard, dict[tuple[int, str], dict[str, np.ndarray] | None]()

    def load(self, shard: int, kind: str) -> dict[str, np.ndarray] | None:
        """The arrays of one kind of a shard, or None where it has none."""
        if (shard, kind) not in self._arrays:
            if len(self._arrays) >= self.SIZE:
                del self._arrays[next(iter(self._arrays))]
            self._arrays[shard, kind] = self._open(shard, kind)
        return self._arrays[shard, kind]


def add_published(index: ContentIndex, shard: int, path: Path) -> None:
    """Add the contents of a published photo shard that were looked at."""
    arrays = map_shard(path, "photos")
    for row in np.flatnonzero(arrays["status"] == OK).tolist():
        index.add(arrays["content"][row].tobytes(), shard, row)
