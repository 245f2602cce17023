"""Rows over several mapped arrays, read as if they were one."""
import mmap
from collections.abc import Iterator, Sequence

import numpy as np

GAP = 64  # rows not asked for that are read ahead along with others, to keep runs long


class MappedRows:
    """The rows of one field over all shards of a kind, in manifest order.

    Args:
        pieces: arrays of equal trailing shape and dtype, one a shard; views of mapped files.
    """

    def __init__(self, pieces: Sequence[np.ndarray]) -> None:
        self.pieces = [piece for piece in pieces if len(piece)] or list(pieces[:1])
        self.starts = np.concatenate([[0], np.cumsum([len(piece) for piece in self.pieces])]).astype(np.int64)
        self.dtype = np.result_type(*{piece.dtype for piece in self.pieces})  # ids: the widest of the shards
        self.row_shape = self.pieces[0].shape[1:]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy rows.

        Args:
            rows: (n,) integers, 0 <= row < len(self), in any order, repeats allowed.

        Returns:
            (n, *row_shape), in the order asked for.

        Raises:
            IndexError: if a row lies outside.
        """
        rows = np.asarray(rows)
        if len(self.pieces) == 1:
            return self.pieces[0].take(rows, axis=0)  # numpy checks the bounds
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of {len(self)}")
        taken = np.empty((len(rows), *self.row_shape), self.dtype)
        for piece, places, local in self._by_piece(rows):
            taken[places] = piece[local]
        return taken

    def prefetch(self, rows: np.ndarray) -> None:
        """Ask the system to read rows ahead of `take`, in the order of the disk; where it can be asked."""
        for piece, _, local in self._by_piece(np.unique(rows)):
            if isinstance(piece.base, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
                row_bytes = piece.strides[0]
                head = piece.ctypes.data - np.frombuffer(piece.base, np.uint8).ctypes.data
                for run in np.split(local, np.flatnonzero(np.diff(local) > GAP) + 1):
                    start = (head + int(run[0]) * row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
                    piece.base.madvise(mmap.MADV_WILLNEED, start, head + int(run[-1] + 1) * row_bytes - start)

    def _by_piece(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Every piece that is asked for, the places in `rows` that ask for it, and its own rows there."""
        index = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(index, kind="stable")
        bounds = [0, *(np.flatnonzero(np.diff(index[order])) + 1).tolist(), len(rows)]
        for first, last in zip(bounds, bounds[1:]):
            if first < last:
                places, number = order[first:last], index[order[first]]
                yield self.pieces[number], places, rows[places] - self.starts[number]

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop in order: a view where they lie in one shard, else a copy."""
        index = int(np.searchsorted(self.starts, start, side="right")) - 1
        if stop <= self.starts[index + 1]:
            return self.pieces[index][start - self.starts[index]:stop - self.starts[index]]
        return self.take(np.arange(start, stop))

    def all(self) -> np.ndarray:
        """Every row as one array: a view of the file where there is one shard, else a copy."""
        return self.pieces[0] if len(self.pieces) == 1 else np.concatenate(self.pieces)
