"""part.json: what a folder that was handed on in part lacks, and what stands in for it.

{"format": 1, "lacks": [path inside the folder, ...]}

A file counts as lacking where it is named there and is not in the folder: who puts it there later need not change
anything. The manifest stays the whole folder's, so that identities, rows and the sha256 of every file hold.
"""
import math
import mmap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import format_json, read_json, settle_text
from data.folder.manifest import MAX_BYTES, Manifest, Shard
from data.folder.shards import SCHEMA
from data.pictures.photos import MISSING

PART = "part.json"
PULLING = ".local/pull"  # a folder that is on its way has this, and no manifest yet
FORMAT = 1
REST = "get the rest with: python -m extract pull URL FEATURES"
MAX_ROWS = 1 << 31  # of all photo shards: stories name rows by int32
MAX_SHARD_BYTES = 1 << 36
_REMEDY = "get the folder again"


def read_lacks(root: Path) -> frozenset[str]:
    """The files that a folder lacks on purpose, by their paths inside it; empty for a whole folder.

    Raises:
        UserError: if part.json is none.
    """
    path = root / PART
    if not path.exists():
        return frozenset()
    raw = read_json(path, "what a part of a features folder lacks", _REMEDY, MAX_BYTES)
    lacks = raw.get("lacks") if isinstance(raw, dict) and raw.get("format") == FORMAT else None
    if not isinstance(lacks, list) or not all(isinstance(name, str) for name in lacks):
        raise UserError(f"expected a list of files of format {FORMAT} in {path}, found another thing; {_REMEDY}")
    return frozenset(name for name in lacks if not (root / name).exists())


def format_part(lacks: Iterable[str]) -> str:
    """The text of part.json."""
    return format_json({"format": FORMAT, "lacks": sorted(lacks)})


def write_part(root: Path, lacks: Iterable[str]) -> None:
    """Write part.json, or remove it where nothing lacks."""
    if names := sorted(lacks):
        settle_text(root / PART, format_part(names))
    else:
        (root / PART).unlink(missing_ok=True)


def without(manifest: Manifest, lacks: frozenset[str]) -> Manifest:
    """A manifest less the word sets, splits and kinds that lack altogether; photo rows all stay where they are."""
    if not lacks:
        return manifest
    words = {name: entry for name, entry in manifest.words.items()
             if not any(f"words/{name}/{file}" in lacks for file in entry.files)}
    shards = {group: parts for group, parts in manifest.shards.items()
              if group == "photos" or _is_there(group, parts, lacks)}
    return replace(manifest, words=words, shards={
        group: parts for group, parts in shards.items()
        if not group.startswith("words/") or group.split("/")[1] in words})


def _is_there(group: str, parts: Iterable[Shard], lacks: frozenset[str]) -> bool:
    there = [shard.name not in lacks for shard in parts]
    return all(there) if group.startswith("words/") else any(there)  # of stories all or none


def describe_lacks(manifest: Manifest, lacks: frozenset[str]) -> str:
    """What a part lacks, in words: splits of word sets, then shards by kind."""
    told = []
    for group, parts in manifest.shards.items():
        if away := sum(shard.name in lacks for shard in parts):
            told.append(group if away == len(parts) else f"{away} of {len(parts)} {group} shards")
    return ", ".join(told) or ", ".join(sorted(lacks)[:3])


def stand_in(shard: Shard, kind: str, manifest: Manifest) -> dict[str, np.ndarray]:
    """Arrays in place of a shard that lacks: rows without a photo, in pages that take no memory until they are read."""
    views = manifest.counts.get("views", {"number": 1})["number"]
    sizes = {"N": shard.rows, "N+1": shard.rows + 1, "D": manifest.width, "P": manifest.num_tokens,
             "W": views, "M": 0}
    arrays = {}
    for name, field in SCHEMA[kind].items():
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in field.shape)
        dtype = np.dtype("S1" if field.dtype == "S" else field.dtype)
        if shard.offset + shard.rows > MAX_ROWS or (size := math.prod(shape) * dtype.itemsize) > MAX_SHARD_BYTES:
            raise UserError(f"expected a shard as they are made, found {shard.rows} rows of width {manifest.width} for "
                            f"{shard.name}, which is not there; {_REMEDY}")
        arrays[name] = np.ndarray(shape, dtype, buffer=mmap.mmap(-1, max(1, size)))
    if "status" in arrays:
        arrays["status"][:] = MISSING
    return arrays
