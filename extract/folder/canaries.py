"""Canaries: the pixels and features of a few photos, kept in the folder for anybody to make anew and compare.

Chosen are the good photos whose contents have the smallest sha256: a random sample that hardly changes when photos
are added. Their pixels are what the backbone was shown, decoded once more from the files.
"""
import hashlib
import logging
from collections.abc import Mapping, Sequence
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
    known: dict[bytes, np.ndarray] = {}
    before = [shard for shard in (old.shards.get(GROUP, ()) if old is not None else ()) if exists(folder, [shard])]
    for shard in before:
        mapped = map_published(folder, shard, GROUP)
        known.update(zip(map(bytes, mapped["content"]), mapped["picture"]))
    resize = read_resize(recipe)
    rows, pictures = [], []
    for row in rank_candidates(status, content, placeholders):
        picture = known.get(content[row].tobytes())
        if picture is None:
            picture = decode_unchanged(plan.photo_path(row), content[row].tobytes(), resize)
        if picture is not None:
            rows.append(row)
            pictures.append(picture)
        if len(rows) == NUM_CANARIES:
            break
    if not rows:
        return (), {}
    starts = [planned.first for planned in plan.shards]
    shard_of = (np.searchsorted(starts, rows, side="right") - 1).tolist()
    feature = np.stack([map_shard(folder / entries[index].name, "photos")["feature"][row - starts[index]]
                        for row, index in zip(rows, shard_of)])
    arrays = {"picture": np.stack(pictures), "feature": feature,
              "photo": np.array(rows, np.int32), "content": content[rows]}
    chosen = {"photos": [plan.photo_id[row].decode("ascii") for row in rows]}
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(arrays[field]).tobytes() for field in sorted(arrays)))
    name = f"{GROUP}/{digest.hexdigest()[:12]}.h5"  # by content: a published file never changes
    for shard in before:
        if shard.name == name:
            return (shard,), chosen
    return (publish_shard(folder, name, GROUP, arrays, len(rows)),), chosen


def rank_candidates(status: np.ndarray, content: np.ndarray, placeholders: Sequence[Mapping[str, Any]]) -> list[int]:
    """One row for every distinct content of a good photo, in the order of the contents' sha256."""
    rows = np.flatnonzero(status == OK)
    keys, first = np.unique(np.ascontiguousarray(content[rows]).view("V32").ravel(), return_index=True)
    pretended = {bytes.fromhex(placeholder["content"]) for placeholder in placeholders}
    return [row for key, row in zip(keys.tolist(), rows[first].tolist()) if key not in pretended]


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


def decode_unchanged(path: Path | None, content: bytes, resize: Resize) -> np.ndarray | None:
    """The pixels of a photo whose sha256 is still `content`; None where it is gone, changed or bad."""
    try:
        raw = read_photo(path) if path is not None else b""
        return decode_photo(raw, resize) if hashlib.sha256(raw).digest() == content else None
    except BadPhoto:
        return None
