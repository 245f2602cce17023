"""The HDF5 layout of a features folder; no other file of the project opens one.

Every shard is one flat HDF5 file of contiguous, unfiltered arrays that start on a page of 4096 bytes, so that a
reader maps them into memory straight from the file. N rows, D feature width, S stories, K = 5 frames, T tokens of a
row of ids, G tag columns, M bytes, E numbers of a text encoder. Indices are 0-based.

kind    field       shape      dtype    meaning
photos  feature     (N, D)     float16  backbone output; zeros where status is not 0
        photo_id    (N,)       S        fixed-length ASCII
        content     (N, 32)    uint8    sha256 of the file's bytes; zeros where there is no file
        status      (N,)       uint8    0 ok, 1 missing, 2 unreadable, 3 too large
thumbs  blob        (M,)       uint8    JPEG files, one after another
        offset      (N + 1,)   int64    row i is blob[offset[i]:offset[i + 1]]; empty where there is no picture
tokens  feature     (N, P, D)  float16  P tokens, the map before pooling row by row, row for row beside `photos`; in
                                        files of earlier versions (N, D, 7, 7), read as P = 49
views   feature     (N, W, D)  float16  W augmented views, row for row beside `photos`
canaries picture  (N, H, W, 3) uint8   what the backbone was shown for N of the photos, before normalising
        feature    (N, D)     float16  what it made of them: a copy of their rows
        photo      (N,)       int32    row over all photo shards
        content    (N, 32)    uint8    sha256 of the file's bytes
words   token       (S, K, T)  uint16   <START>=1, words, <END>=2, <PAD>=0
        tag         (S, K, G)  uint8    multi-hot; column 0 never set, column 1 = no tag found
        tag_source  (S, K)     uint8    bit 0: labels from the story's caption; bit 1: the photo had descriptions
        photo       (S, K)     int32    row over all photo shards
        tokenised   (S, K)     uint8    1: the caption is split on white space; 0: it went through the tokenizer
        story_id    (S,)       S
        album_id    (S,)       S
        caption     (M,)       uint8    raw UTF-8 captions, one after another, stories first, then frames
        offset      (S*K + 1,) int64    frame k of story s is caption[offset[s*K + k]:offset[s*K + k + 1]]
text    feature     (S, K, E)  float16  a frozen text encoder's vector of every caption, row for row beside `words`
        captions    (32,)      uint8    sha256 of that shard's `offset` and `caption`: which captions these are of
"""
import errno
import mmap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from data.errors import UserError

PAGE = 4096
MAX_FIELDS = 32
MAX_PACKED = 1032  # times smaller: what deflate does to constants, and the most that it can
MAX_PACKED_BIG, BIG = 64, 1 << 28  # a whole file of large arrays never shrinks as much
MAX_OPEN_FILES = 1 << 16


class Field(NamedTuple):
    """What a dataset must be: numpy dtype kind + item size ("S" of any length), and its dimensions by letter."""

    dtype: str
    shape: tuple[str | int, ...]


SCHEMA: dict[str, dict[str, Field]] = {
    "photos": {"feature": Field("f2", ("N", "D")), "photo_id": Field("S", ("N",)),
               "content": Field("u1", ("N", 32)), "status": Field("u1", ("N",))},
    "thumbs": {"blob": Field("u1", ("M",)), "offset": Field("i8", ("N+1",))},
    "tokens": {"feature": Field("f2", ("N", "P", "D"))},
    "views": {"feature": Field("f2", ("N", "W", "D"))},
    "canaries": {"picture": Field("u1", ("N", "H", "W", 3)), "feature": Field("f2", ("N", "D")),
                 "photo": Field("i4", ("N",)), "content": Field("u1", ("N", 32))},
    "words": {"token": Field("u2", ("N", 5, "T")), "tag": Field("u1", ("N", 5, "G")),
              "tag_source": Field("u1", ("N", 5)), "photo": Field("i4", ("N", 5)),
              "tokenised": Field("u1", ("N", 5)), "story_id": Field("S", ("N",)), "album_id": Field("S", ("N",)),
              "caption": Field("u1", ("M",)), "offset": Field("i8", ("5N+1",))},
    "text": {"feature": Field("f2", ("N", 5, "E")), "captions": Field("u1", (32,))},
}
BESIDE = ("thumbs", "tokens", "views")  # row for row beside `photos`, where a folder has them


def write_shard(path: Path, kind: str, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write one shard at `path`; equal arrays give equal bytes.

    Args:
        path: where to write, usually a temporary name (see `data.files.replace_file`).
        kind: a key of SCHEMA.
        arrays: every field of that kind, in any order; shapes and dtypes as the table above.

    Raises:
        ValueError: if a field is absent, unknown, or of another shape or dtype.
        OSError: if the disk has no room.
    """
    fields = SCHEMA[kind]
    if set(arrays) != set(fields):
        raise ValueError(f"{kind} shard: expected the fields {sorted(fields)}, found {sorted(arrays)}")
    rows = _count_rows(kind, {name: arrays[name].shape for name in fields})
    for name, field in fields.items():
        _check_field(kind, name, field, arrays[name].dtype, arrays[name].shape, rows, str(path))
    # made in memory and written in one go: HDF5 crashes the process when a disk fills up under it
    with h5py.File(path.name, "w", driver="core", backing_store=False, libver=("v110", "v110"), alignment_threshold=1,
                   alignment_interval=PAGE) as file:
        for name in fields:
            file.create_dataset(name, data=np.ascontiguousarray(arrays[name]), track_times=False)
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)
    return path


def map_shard(path: Path, kind: str) -> dict[str, np.ndarray]:
    """Map a published shard into memory, trusting nothing in it.

    Args:
        path: the file. It never changes, so it is read without a lock (locks fail on NFS and Lustre).
        kind: a key of SCHEMA.

    Returns:
        Read-only arrays by field name, views of the mapped file; arrays stored in another layout than contiguous
        (a teammate's own writer) are read into memory instead.

    Raises:
        UserError: if it is no such shard: unreadable, foreign or missing fields, links, virtual or external
            storage, other dtypes or shapes, or data that reaches past the end of the file.
    """
    _allow_many_files()
    try:
        with open(path, "rb") as raw, h5py.File(path, "r", locking=False) as file:
            _check_names(path, kind, file)
            mapped = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
            arrays = {name: _map_dataset(path, name, file, mapped) for name in SCHEMA[kind]}
    except FileNotFoundError:
        raise UserError(f"expected the {kind} shard {path}, found no such file; run verify") from None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        if getattr(error, "errno", None) == errno.EMFILE:
            raise UserError(f"expected to map {path}, found that this process may have no more files open; raise the "
                            "limit (ulimit -n)") from None
        found = f"{type(error).__name__}: {error}"
        raise UserError(f"expected a {kind} shard in {path}, found {found}; run verify") from None
    if kind == "tokens" and arrays["feature"].shape[2:] == (7, 7):  # of an earlier version
        arrays["feature"] = arrays["feature"].reshape(*arrays["feature"].shape[:2], 49).swapaxes(1, 2)
    rows = _count_rows(kind, {name: array.shape for name, array in arrays.items()})
    for name, field in SCHEMA[kind].items():
        _check_field(kind, name, field, arrays[name].dtype, arrays[name].shape, rows, str(path))
    return arrays


@cache
def _allow_many_files() -> None:
    """Raise this process's limit of open files as far as it may be: every mapped shard holds one."""
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ImportError, ValueError, OSError):  # another system: what it allows must do
        return


def join_blobs(blobs: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Join byte strings into (M,) uint8 and their (len(blobs) + 1,) int64 offsets."""
    offset = np.zeros(len(blobs) + 1, np.int64)
    np.cumsum([len(blob) for blob in blobs], out=offset[1:])
    return np.frombuffer(b"".join(blobs), np.uint8), offset


def fixed_bytes(texts: list[str]) -> np.ndarray:
    """Turn ASCII ids into an (N,) fixed-length bytes array (at least one byte wide)."""
    encoded = [text.encode("ascii") for text in texts]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def _check_names(path: Path, kind: str, file: h5py.File) -> None:
    if len(file) > MAX_FIELDS or set(file) != set(SCHEMA[kind]):
        raise UserError(f"{kind} shard {path}: expected the fields {sorted(SCHEMA[kind])}, found "
                        f"{sorted(file)[:MAX_FIELDS]}; this is no file of ours: get the folder again or rebuild it")
    for name in SCHEMA[kind]:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{kind} shard {path}: expected {name!r} to lie in this file, found a link to elsewhere; "
                            "links are refused: get the folder again or rebuild it")


def _map_dataset(path: Path, name: str, file: h5py.File, mapped: mmap.mmap) -> np.ndarray:
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise UserError(f"shard {path}: expected {name!r} as plain data in this file, found a group, a virtual or an "
                        "external dataset; those are refused: get the folder again or rebuild it")
    if dataset.dtype.kind not in "fuiS" or dataset.dtype.hasobject:
        raise UserError(f"shard {path}: expected numbers or fixed-length bytes in {name!r}, found {dataset.dtype}; "
                        "objects are refused: get the folder again or rebuild it")
    size = int(np.prod(dataset.shape, dtype=np.int64)) * dataset.dtype.itemsize
    if size > MAX_PACKED * len(mapped):  # a header that promises more than any filter could have packed into this file
        raise UserError(f"shard {path}: expected {name!r} to fit its file of {len(mapped)} bytes, found a header that "
                        f"promises {size}; get the folder again or rebuild it")
    offset = dataset.id.get_offset()
    if offset is None:  # empty, compact or chunked
        stored = dataset.id.get_storage_size()
        if size > MAX_PACKED * stored or (size > BIG and size > MAX_PACKED_BIG * len(mapped)):
            raise UserError(f"shard {path}: expected {name!r} to be as large as its {stored} bytes can be, found a "
                            f"header that promises {size}; get the folder again or rebuild it")
        array = np.asarray(dataset[...])
        array.setflags(write=False)
        return array
    if offset + size > len(mapped):
        raise UserError(f"shard {path}: expected {name!r} to end within {len(mapped)} bytes, found it to end at "
                        f"{offset + size}; the file is truncated: run verify")
    return np.ndarray(dataset.shape, dataset.dtype, buffer=mapped, offset=offset)


def _count_rows(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if kind == "thumbs":
        return shapes["offset"][0] - 1
    first = next(iter(SCHEMA[kind]))
    return shapes[first][0] if shapes[first] else 0


def _check_field(kind: str, name: str, field: Field, dtype: np.dtype, shape: tuple[int, ...], rows: int,
                 where: str) -> None:
    known = {"N": rows, "N+1": rows + 1, "5N+1": 5 * rows + 1}
    expected = tuple(known.get(size, size) if isinstance(size, str) else size for size in field.shape)
    fits = len(shape) == len(expected) and all(
        isinstance(want, str) or want == have for want, have in zip(expected, shape))
    same_dtype = dtype.kind == "S" if field.dtype == "S" else dtype == np.dtype(field.dtype)
    if not fits or not same_dtype:
        raise UserError(f"{kind} shard {where}: expected {name!r} as {field.dtype} of shape "
                        f"({', '.join(map(str, expected))}), found {dtype} of shape {shape}; rebuild it")
