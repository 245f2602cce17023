"""Canaries: the pixels and features of a few photos, kept in the folder for anybody to make anew and compare.

Chosen are the good photos whose contents have the smallest sha256: a random sample that hardly changes when photos
are added. Their pixels are what the backbone was shown, decoded once more from the files.
"""
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from data.folder.manifest import Manifest, Shard
from data.folder.published import map_published
from data.folder.shards import map_shard
from data.pictures.photos import OK, BadPhoto, read_photo
from data.pictures.pictures import Resize, decode_photo
from extract.folder.ledger import Entry, exists
from extract.folder.plan import Plan
from extract.folder.writer import publish_shard

NUM_CANARIES = 32
GROUP = "canaries"

log = logging.getLogger(__name__)


def write_canaries(folder: Path, plan: Plan, entries: Sequence[Entry], status: np.ndarray, content: np.ndarray,
                   placeholders: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any],
                   old: Manifest | None) -> tuple[tuple[Shard, ...], dict[str, Any]]:
    """Publish the canaries of a folder whose photo shards are there; equal ones keep their file.

    Args:
        entries: the published shard of every planned one. status: (N,) uint8. content: (N, 32) uint8.
        placeholders: contents that are no photos. recipe: its fields. old: the manifest until now.

    Returns:
        The shards for the manifest's group GROUP (none where no photo is good), and its `canaries`.
    """
    if "size" not in recipe:  # imported: nobody here knows what was shown
        return (), {}
    known = _read_known(folder, old)
    resize = read_resize(recipe)
    rows, pictures = [], []
    for row in rank_candidates(status, content, placeholders):
        picture = known.get(content[row].tobytes())
        picture = _decode(plan.photo_path(row), content[row].tobytes(), resize) if picture is None else picture
        if picture is not None:
            rows.append(row)
            pictures.append(picture)
        if len(rows) == NUM_CANARIES:
            break
    if not rows:
        return (), {}
    arrays = {"picture": np.stack(pictures), "feature": _take_features(folder, plan, entries, rows),
              "photo": np.array(rows, np.int32), "content": content[rows]}
    chosen = {"photos": [plan.photo_id[row].decode("ascii") for row in rows]}
    name = _name(arrays)
    for shard in old.shards.get(GROUP, ()) if old is not None else ():
        if shard.name == name and exists(folder, [shard]):
            return (shard,), chosen
    return (publish_shard(folder, name, GROUP, arrays, len(rows)),), chosen


def rank_candidates(status: np.ndarray, content: np.ndarray,
                    placeholders: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """One row for every distinct content of a good photo, in the order of the contents' sha256."""
    pretended = {bytes.fromhex(placeholder["content"]) for placeholder in placeholders}
    last = b""
    for row in map(int, _sort_by_content(status, content)):
        key = content[row].tobytes()
        if key != last and key not in pretended:
            yield row
        last = key


def read_resize(recipe: Mapping[str, Any]) -> Resize:
    """How a photo becomes the backbone's input, from a recipe's fields.

    Raises:
        UserError: if the fields are no such thing.
    """
    try:
        size = recipe["size"]
        return Resize(recipe["resize"], size, recipe.get("short_side", size), recipe["interpolation"],
                      recipe["reduced_decoding"] == "none")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"expected a recipe that says how photos are resized, found {type(error).__name__}: {error}; "
                        "get the folder again, or make it anew") from None


def _sort_by_content(status: np.ndarray, content: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(status == OK)
    prefix = content[rows, :8].view(">u8").ravel()  # enough to sort by, an eighth to hold
    return rows[np.argsort(prefix, kind="stable")]


def _decode(path: Path | None, content: bytes, resize: Resize) -> np.ndarray | None:
    if path is None:
        return None
    try:
        raw = read_photo(path)
        return decode_photo(raw, resize) if hashlib.sha256(raw).digest() == content else None
    except BadPhoto:  # gone or changed since it was looked at: another one is chosen
        return None


def _read_known(folder: Path, old: Manifest | None) -> dict[bytes, np.ndarray]:
    known: dict[bytes, np.ndarray] = {}
    for shard in old.shards.get(GROUP, ()) if old is not None else ():
        if exists(folder, [shard]):
            arrays = map_published(folder, shard, GROUP)
            known.update(zip(map(bytes, arrays["content"]), arrays["picture"]))
    return known


def _take_features(folder: Path, plan: Plan, entries: Sequence[Entry], rows: list[int]) -> np.ndarray:
    return np.stack(list(_feature_rows(folder, plan, entries, rows)))


def _feature_rows(folder: Path, plan: Plan, entries: Sequence[Entry], rows: list[int]) -> Iterator[np.ndarray]:
    starts = [planned.first for planned in plan.shards]
    for row in rows:
        index = int(np.searchsorted(starts, row, side="right")) - 1
        yield map_shard(folder / entries[index].name, "photos")["feature"][row - starts[index]]


def _name(arrays: Mapping[str, np.ndarray]) -> str:
    """A name by content: a published file never changes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return f"{GROUP}/{digest.hexdigest()[:12]}.h5"
