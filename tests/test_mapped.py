"""Rows gathered over many shards are the rows of the shards, one after another."""
import mmap

import numpy as np
import pytest

from data.folder.mapped import MappedRows


class Told(mmap.mmap):
    """A mapping that notes what the system was asked to read ahead."""

    def madvise(self, option, start, length):
        self.asked = [*getattr(self, "asked", []), (start, length)]
        super().madvise(option, start, length)


def map_pieces(folder, sizes, width, offset=0):
    pieces = []
    for index, size in enumerate(sizes):
        path = folder / f"{index}.bin"
        values = np.random.default_rng(index).integers(0, 1000, (size, width)).astype(np.uint16)
        path.write_bytes(b"\0" * offset + values.tobytes() + b"behind")
        with open(path, "rb") as file:
            opened = Told(file.fileno(), 0, access=mmap.ACCESS_READ)
        pieces.append(np.ndarray((size, width), np.uint16, buffer=opened, offset=offset))
    return pieces


@pytest.mark.parametrize("width", [5, 640, 2048, 3000], ids="width {}".format)
@pytest.mark.parametrize("offset", [0, 100, 4096])
def test_rows_are_those_of_the_pieces_in_the_order_asked_for(tmp_path, width, offset):
    pieces = map_pieces(tmp_path, (7, 1, 130, 0, 12), width, offset)
    rows = np.random.default_rng(0).integers(0, 150, 400)
    mapped = MappedRows(pieces)
    assert np.array_equal(mapped.take(rows), np.concatenate(pieces)[rows])
    assert np.array_equal(mapped.slice(3, 140), np.concatenate(pieces)[3:140])
    assert mapped.take(np.zeros(0, np.int64)).shape == (0, width)


def test_what_is_read_ahead_covers_the_rows_and_little_else(tmp_path):
    pieces = map_pieces(tmp_path, (300, 300, 300), 2048, 4096)
    MappedRows(pieces).prefetch(np.array([899, 5, 3, 250, 610, 5]))
    wanted = [[(3, 5), (250, 250)], None, [(10, 10), (299, 299)]]  # rows 3 and 5 lie near each other: one run
    for piece, runs in zip(pieces, wanted):
        expected = [(4096 * (1 + first), 4096 * (last - first + 1)) for first, last in runs or ()]
        assert getattr(piece.base, "asked", []) == expected


def test_pieces_in_memory_are_gathered_too():
    pieces = [np.arange(10).reshape(5, 2), np.arange(8).reshape(4, 2)]
    rows = np.array([8, 0, 4, 5, 5])
    mapped = MappedRows(pieces)
    mapped.prefetch(rows)
    assert np.array_equal(mapped.take(rows), np.concatenate(pieces)[rows])


def test_a_row_outside_is_refused(tmp_path):
    for row in (16, -1):
        with pytest.raises(IndexError):
            MappedRows(map_pieces(tmp_path, (7, 9), 8)).take(np.array([row]))
