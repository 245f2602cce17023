"""Checks of a folder's photo rows and what lies beside them; arrays as `data.folder.shards` has them, N rows."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.annotations.annotation_file import is_plain_name
from data.errors import UserError
from data.folder.identity import source_digest
from data.folder.manifest import Manifest
from data.folder.published import map_published
from data.folder.shards import BESIDE
from data.pictures.photos import MISSING, OK, STATUS
from extract.verification.findings import Report

BLOCK_ROWS = 4096
JPEG_START = b"\xff\xd8"


def check_photos(root: Path, manifest: Manifest, report: Report) -> None:
    """Check every photo shard, then what only all of them together show."""
    parts: list[dict[str, np.ndarray]] = []
    for shard in manifest.shards.get("photos", ()):
        with report.blame(shard.name):
            arrays = map_published(root, shard, "photos")
            if arrays["feature"].shape[1] != manifest.width:
                raise UserError(f"expected features of width {manifest.width}, found {arrays['feature'].shape[1]}; -")
            for message in describe_bad_rows(arrays):
                report.damage(shard.name, message)
            parts.append({name: arrays[name] for name in ("photo_id", "content", "status")})
    rows = sum(shard.rows for shard in manifest.shards.get("photos", ()))
    if sum(len(part["status"]) for part in parts) != rows:
        return  # a shard cannot be read: said above
    if not rows:
        report.contradict("photos", "expected photo shards, found none", "make the folder with: make features")
        return
    photo_id, content, status = (np.concatenate([part[name] for part in parts])
                                 for name in ("photo_id", "content", "status"))
    names, counts = np.unique(photo_id, return_counts=True)
    if (counts > 1).any():
        report.contradict("photos", f"expected every photo id once, found {int((counts > 1).sum())} more often "
                          f"(first: {decode_id(names[counts > 1][0])!r})")
    elif source_digest(photo_id, content, status) != manifest.source["fields"].get("photos"):
        report.contradict("photos", "expected the photos that the source identity was taken over, found others: a "
                          "shard was swapped for another folder's, or changed",
                          "run verify with --full, which names the file; else get the folder again")
    report.facts["photos"] = f"{rows} rows in {len(parts)} shards; " + ", ".join(
        f"{int((status == index).sum())} {name}" for index, name in enumerate(STATUS) if index != OK)


def describe_bad_rows(arrays: dict[str, np.ndarray]) -> Iterator[str]:
    """A sentence for every kind of impossible row in a photo shard."""
    status, content = arrays["status"], arrays["content"].any(axis=1)
    is_zero, is_finite = _look_at_features(arrays["feature"])
    checks = {
        "a status from 0 to 3": status >= len(STATUS),
        "finite numbers": ~is_finite,
        "a feature where the status is ok": (status == OK) & is_zero,
        "zeros where the status is not ok": (status != OK) & ~is_zero,
        "the sha256 of the file where the status is ok": (status == OK) & ~content,
        "no sha256 where the photo is missing": (status == MISSING) & content,
        "plain photo ids": ~np.array([is_plain_name(decode_id(name)) for name in arrays["photo_id"].tolist()], bool),
    }
    for expected, broken in checks.items():
        if broken.any():
            row = int(broken.argmax())
            yield (f"expected {expected}, found otherwise in {int(broken.sum())} of {len(broken)} rows, first in row "
                   f"{row} (photo {decode_id(arrays['photo_id'][row])!r}, status {status[row]})")


def decode_id(name: bytes) -> str:
    """An id as text, whatever a stranger put there."""
    return name.decode("ascii", "replace")


def check_beside(root: Path, manifest: Manifest, report: Report) -> None:
    """Check that thumbnails, maps and views have the rows of the photo shards they lie beside."""
    photo_rows = [shard.rows for shard in manifest.shards.get("photos", ())]
    for kind in BESIDE:
        shards = manifest.shards.get(kind, ())
        if shards and [shard.rows for shard in shards] != photo_rows:
            report.contradict(kind, f"expected rows beside those of the photo shards, found {len(shards)} shards with "
                              f"{sum(shard.rows for shard in shards)} rows beside {len(photo_rows)} with "
                              f"{sum(photo_rows)}")
        for shard in shards:
            with report.blame(shard.name):
                arrays = map_published(root, shard, kind)
                _check_thumbnails(arrays) if kind == "thumbs" else _check_finite(arrays["feature"], manifest, kind)


def check_canaries(root: Path, manifest: Manifest, report: Report) -> None:
    """Check that the canaries' features are those of their rows."""
    for shard in manifest.shards.get("canaries", ()):
        with report.blame(shard.name):
            arrays = map_published(root, shard, "canaries")
            for index, row in enumerate(arrays["photo"].tolist()):
                holder = next((photos for photos in manifest.shards.get("photos", ())
                               if photos.offset <= row < photos.offset + photos.rows), None)
                if holder is None:
                    raise UserError(f"expected canaries among the photo rows, found row {row}; -")
                if holder.name in report.damaged_files or holder.name in report.lacks:
                    continue
                photos, local = map_published(root, holder, "photos"), row - holder.offset
                if any((photos[name][local] != arrays[name][index]).any() for name in ("feature", "content")):
                    raise UserError(f"expected canary {index} to equal row {local} of {holder.name}, found another "
                                    "feature or content; -")


def _look_at_features(feature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For (N, ...) float16: which rows are all zeros, which are all finite; read block by block."""
    is_zero, is_finite = np.empty(len(feature), bool), np.empty(len(feature), bool)
    bits = feature.reshape(len(feature), int(np.prod(feature.shape[1:]))).view(np.uint16)
    for start in range(0, len(feature), BLOCK_ROWS):
        block = bits[start:start + BLOCK_ROWS] & 0x7FFF  # without the sign
        largest = block.max(axis=1, initial=0)
        is_zero[start:start + BLOCK_ROWS] = largest == 0
        is_finite[start:start + BLOCK_ROWS] = largest < 0x7C00  # float16's infinity; NaNs lie above
    return is_zero, is_finite


def _check_finite(feature: np.ndarray, manifest: Manifest, kind: str) -> None:
    width = feature.shape[2 if kind == "views" else 1]
    if width != manifest.width:
        raise UserError(f"expected features of width {manifest.width}, found {width}; -")
    _, is_finite = _look_at_features(feature)
    if not is_finite.all():
        raise UserError(f"expected finite numbers, found others in {int((~is_finite).sum())} of {len(feature)} rows; -")


def _check_thumbnails(arrays: dict[str, np.ndarray]) -> None:
    blob, offset = arrays["blob"], arrays["offset"]
    if offset[0] != 0 or offset[-1] != len(blob) or (np.diff(offset) < 0).any():
        raise UserError(f"expected offsets that rise from 0 to {len(blob)}, found {offset[0]} to {offset[-1]}; -")
    broken = [row for row, (start, stop) in enumerate(zip(offset[:-1].tolist(), offset[1:].tolist()))
              if stop > start and blob[start:start + 2].tobytes() != JPEG_START]
    if broken:
        raise UserError(f"expected JPEG files, found {len(broken)} that are none, first in row {broken[0]}; -")
