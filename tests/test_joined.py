"""Rows gathered over many shards: one range of addresses or piece by piece, the same rows come out."""
import gc
import mmap

import numpy as np
import pytest

from data.folder.folder import mapped
from data.folder.joined import join_pieces
from data.folder.mapped import MappedRows


def map_pieces(folder, sizes, width, offset=0):
    pieces = []
    for index, size in enumerate(sizes):
        path = folder / f"{index}.bin"
        values = np.random.default_rng(index).integers(0, 1000, (size, width)).astype(np.uint16)
        path.write_bytes(b"\0" * offset + values.tobytes() + b"behind")
        with open(path, "rb") as file:
            opened = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pieces.append(np.ndarray((size, width), np.uint16, buffer=opened, offset=offset))
    return pieces


@pytest.mark.parametrize("width", [5, 640, 2048, 3000], ids="width {}".format)
@pytest.mark.parametrize("offset", [0, 4096])
def test_joined_rows_are_the_rows_of_the_pieces(tmp_path, width, offset):
    pieces = map_pieces(tmp_path, (7, 1, 130, 12), width, offset)
    rows = np.random.default_rng(0).integers(0, 150, 400)
    joined = MappedRows(pieces)
    assert joined._joined is not None, "nothing was joined: the test shows nothing"
    expected = np.concatenate(pieces)[rows]
    assert np.array_equal(joined.take(rows), expected)
    joined.prefetch(rows)
    del joined
    gc.collect()
    assert np.array_equal(np.concatenate(pieces)[rows], expected), "the pieces outlive the joined range"


@pytest.mark.parametrize("pieces", [
    lambda folder: [np.arange(10).reshape(5, 2), np.arange(8).reshape(4, 2)],
    lambda folder: map_pieces(folder, (5, 4), 2, offset=100)], ids=["in memory", "off the page"])
def test_what_cannot_be_joined_is_gathered_piece_by_piece(tmp_path, pieces):
    made = pieces(tmp_path)
    assert join_pieces(made) is None
    rows = np.array([8, 0, 4, 5, 5])
    assert np.array_equal(MappedRows(made).take(rows), np.concatenate(made)[rows])


def test_a_system_without_mremap_reads_the_same(tmp_path, monkeypatch):
    pieces = map_pieces(tmp_path, (7, 9), 2048)
    monkeypatch.setattr(mapped, "join_pieces", lambda pieces: None)
    rows = np.arange(16)[::-1]
    assert np.array_equal(MappedRows(pieces).take(rows), np.concatenate(pieces)[rows])


def test_a_row_outside_is_refused(tmp_path):
    with pytest.raises(IndexError):
        MappedRows(map_pieces(tmp_path, (7, 9), 8)).take(np.array([16]))
