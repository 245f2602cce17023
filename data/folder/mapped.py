"""Rows over several mapped arrays, read as if they were one."""
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from data.folder.joined import JoinedRows, join_pieces


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
        piece_index = np.searchsorted(self.starts, rows, side="right") - 1
        if self._joined is not None:
            return self._joined.array.take(rows + self._shift[piece_index], axis=0)
        taken = np.empty((len(rows), *self.row_shape), self.dtype)
        for index in np.unique(piece_index):
            here = np.flatnonzero(piece_index == index)
            taken[here] = self.pieces[index][rows[here] - self.starts[index]]
        return taken

    def prefetch(self, rows: np.ndarray) -> None:
        """Ask the system to read rows ahead of `take`, in the order of the disk; where it can be asked."""
        if self._joined is not None and len(rows):
            self._joined.prefetch(rows + self._shift[np.searchsorted(self.starts, rows, side="right") - 1])

    @cached_property
    def _joined(self) -> JoinedRows | None:
        """The pieces in one range of addresses, laid out at the first use."""
        return join_pieces(self.pieces) if len({piece.dtype for piece in self.pieces}) == 1 else None

    @cached_property
    def _shift(self) -> np.ndarray:
        """(pieces,) from a row to where it lies in the joined range."""
        assert self._joined is not None
        return self._joined.starts - self.starts[:-1]

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop in order: a view where they lie in one shard, else a copy."""
        index = int(np.searchsorted(self.starts, start, side="right")) - 1
        if stop <= self.starts[index + 1]:
            return self.pieces[index][start - self.starts[index]:stop - self.starts[index]]
        return self.take(np.arange(start, stop))

    def all(self) -> np.ndarray:
        """Every row as one array: a view of the file where there is one shard, else a copy."""
        return self.pieces[0] if len(self.pieces) == 1 else np.concatenate(self.pieces)
