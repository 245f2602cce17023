"""The rows of a features folder that inspection looks at: those published, also while others are being made."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.folder.manifest import MANIFEST, Manifest, Shard, load_manifest
from data.folder.mapped import MappedRows
from data.folder.part import read_lacks, without
from data.folder.published import map_published
from data.folder.word_reader import SplitWords
from data.pictures.photos import OK, STATUS
from data.words.tokens import PAD
from extract.folder.ledger import exists, read_ledger

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class PhotoRows:
    """The photo rows that are published; N rows of width D.

    Attributes:
        feature (N, D), photo_id (N,), content (N, 32), status (N,): as `data.folder.shards` has them.
        usable: (N,) bool: status ok and no placeholder. shards: what was mapped. thumbs: beside them, or empty.
    """

    feature: MappedRows
    photo_id: np.ndarray
    content: np.ndarray
    status: np.ndarray
    usable: np.ndarray
    shards: tuple[Shard, ...]
    thumbs: tuple[Shard, ...]

    def __len__(self) -> int:
        return len(self.status)


def open_rows(folder: Path) -> tuple[Manifest | None, PhotoRows]:
    """Map the photo shards of the manifest or, before there is one, of the ledger.

    Raises:
        UserError: if the folder has neither, or a shard is damaged.
    """
    lacks = read_lacks(folder)
    manifest = without(load_manifest(folder), lacks) if (folder / MANIFEST).exists() else None
    if manifest is not None:
        shards, thumbs = (tuple(shard for shard in manifest.shards.get(kind, ()) if shard.name not in lacks)
                          for kind in ("photos", "thumbs"))
    else:
        entries = sorted(read_ledger(folder).values(), key=lambda entry: (entry.number, entry.turn))
        newest = {entry.ids: entry for entry in entries if exists(folder, entry.files.values())}
        shards = tuple(entry.files["photos"] for entry in newest.values())
        thumbs = tuple(entry.files["thumbs"] for entry in newest.values() if "thumbs" in entry.files)
    if not shards:
        raise UserError(f"expected a features folder with photo shards at {folder}, found none; make it with: make "
                        "features, or wait until its first shard is published")
    mapped = [map_published(folder, shard, "photos") for shard in shards]
    if len({arrays["feature"].shape[1] for arrays in mapped}) > 1:
        raise UserError(f"expected features of one width in {folder}, found several; run verify")
    feature, photo_id, content, status = (MappedRows([arrays[name] for arrays in mapped])
                                          for name in ("feature", "photo_id", "content", "status"))
    return manifest, PhotoRows(feature, photo_id.all(), content.all(), status.all(),
                               _find_usable(manifest, content.all(), status.all()), shards,
                               thumbs if len(thumbs) == len(shards) else ())


def find_row(rows: PhotoRows, photo_id: str) -> int:
    """The row of a photo whose feature can be compared.

    Raises:
        UserError: if there is no such photo, or it could not be used.
    """
    found = np.flatnonzero(rows.photo_id == photo_id.encode("ascii", "backslashreplace"))
    if not len(found):
        some = ", ".join(name.decode("ascii", "replace") for name in rows.photo_id[rows.usable][:3].tolist())
        raise UserError(f"expected the id of a published photo, found {photo_id!r}; name one as the annotations do"
                        + (f", for example {some}" if some else ""))
    row = int(found[0])
    if not rows.usable[row]:
        what = STATUS[rows.status[row]] if OK < rows.status[row] < len(STATUS) else "a placeholder under many ids"
        raise UserError(f"expected a photo that was read, found that {photo_id} is {what}; name another")
    return row


def measure_norms(rows: PhotoRows) -> np.ndarray:
    """The Euclidean norm of the feature of every usable row."""
    usable = np.flatnonzero(rows.usable)
    norms = [np.linalg.norm(rows.feature.take(usable[start:start + BLOCK_ROWS]).astype(np.float32), axis=1)
             for start in range(0, len(usable), BLOCK_ROWS)]
    return np.concatenate(norms) if norms else np.zeros(0, np.float32)


def measure_lengths(part: SplitWords) -> np.ndarray:
    """The number of words of every caption, unknown ones included."""
    return (part.token.all() != PAD).sum(axis=2).ravel().astype(np.int64) - 2


def _find_usable(manifest: Manifest | None, content: np.ndarray, status: np.ndarray) -> np.ndarray:
    usable = status == OK
    for placeholder in manifest.placeholders if manifest is not None else ():
        usable &= ~(content == np.frombuffer(bytes.fromhex(placeholder["content"]), np.uint8)).all(axis=1)
    return usable
