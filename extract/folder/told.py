"""What a second dataset in one folder tells of its photos: the first one's rows are not those of the second to change.

Two word sets are of one dataset where they share a story with its photos: it grew, or its words are made otherwise.
"""
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.annotations.stories import SPLITS, Dataset
from data.errors import UserError
from data.folder.manifest import Manifest
from data.folder.shards import fixed_bytes
from data.folder.word_reader import WordSet

NO_SPLIT = len(SPLITS)  # of a photo that no story names: one of an album that nobody told of, or told of no more
NAMED = 3  # ids of those that are refused


@dataclass(frozen=True)
class Told:
    """A word set of another dataset.

    Attributes:
        photo: (S, 5) int32, row over all photo shards, by split. album_id: (S,) bytes by split.
    """

    name: str
    photo: dict[str, np.ndarray]
    album_id: dict[str, np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        """Every photo row that its stories name, in ascending order."""
        return np.unique(np.concatenate([np.zeros(0, np.int32), *(rows.ravel() for rows in self.photo.values())]))


def read_told(folder: Path, manifest: Manifest | None, photo_id: list[bytes], dataset: Dataset,
              words: str) -> list[Told]:
    """The folder's word sets that are of another dataset than the one that is read now, by name.

    Args:
        photo_id: of the folder's rows. words: name of the word set that is being made.

    Raises:
        UserError: if the word set of that name is one of them: it would be lost, and its runs with it; or if a word
            set is damaged, so that its photos are not known.
    """
    stories = {(story.story_id.encode(), tuple(name.encode() for name in story.photo_ids))
               for told in dataset.stories.values() for story in told}
    if manifest is None:
        return []
    others = []
    for name in sorted(manifest.words):
        try:
            told, theirs = _read(folder, manifest, name, photo_id)
        except UserError:
            if name == words or manifest.words[name].counts.get("annotations") == dataset.files:
                continue  # of this dataset, or about to be written anew
            raise
        if not stories or not theirs or stories & theirs:
            continue
        if name == words:
            raise UserError(f"expected stories of the word set {words!r} of {folder} among those read now, found none: "
                            "this is a second dataset; give it a word set of its own beside the first with --words "
                            "NAME, or name another folder with --out")
        others.append(told)
    return others


def find_splits(words: str, dataset: Dataset, ids: list[bytes], others: list[Told]) -> np.ndarray:
    """(N,) uint8: the split of every row by the first word set, then the first split, that names it."""
    row_of = {name: row for row, name in enumerate(ids)}
    told = {other.name: other.photo for other in others} | {words: {
        split: np.array([row_of[name.encode()] for story in dataset.stories[split] for name in story.photo_ids], int)
        for split in SPLITS}}
    found = np.full(len(ids), NO_SPLIT, np.uint8)
    for name in sorted(told, reverse=True):
        for index, split in reversed(list(enumerate(SPLITS))):
            found[told[name].get(split, [])] = index
    return found


def list_albums(wanted: list[tuple[str, str, str]], ids: list[bytes],
                 others: list[Told]) -> tuple[np.ndarray, np.ndarray]:
    """What a plan says of albums: (row, album) pairs, and the first album's id of every row for this dataset."""
    albums: dict[bytes, set[str]] = {}
    for _, album_id, photo_id in wanted:
        albums.setdefault(photo_id.encode("ascii"), set()).add(album_id)
    number = {album_id: index for index, album_id in enumerate(dict.fromkeys(album_id for _, album_id, _ in wanted))}
    pairs = {(row, number[album_id]) for row, name in enumerate(ids) for album_id in albums.get(name, ())}
    pairs |= {(row, number.setdefault(album_id.decode(), len(number))) for told in others for split in told.photo
              for rows, album_id in zip(told.photo[split].tolist(), told.album_id[split].tolist()) for row in rows}
    return np.array(sorted(pairs), np.int32).reshape(-1, 2), fixed_bytes([min(albums.get(name, [""])) for name in ids])


def require_same_pictures(folder: Path, photo_id: np.ndarray, paths: list[Path | None], content: np.ndarray) -> None:
    """Refuse photo ids by which two datasets mean different pictures.

    Args:
        photo_id: (n,) bytes. paths: their files in the second dataset. content: (n, 32), sha256 in the folder.

    Raises:
        UserError: naming some of them.
    """
    clashes = []
    for name, path, digest in zip(photo_id.tolist(), paths, content):
        assert path is not None, "what is not there is not shared"
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").digest() != digest.tobytes():
                clashes.append(name.decode("ascii"))
    if clashes:
        raise UserError(f"expected one picture by each photo id that two datasets of {folder} name, found "
                        f"{len(clashes)} with another in each ({', '.join(clashes[:NAMED])}); name another "
                        "folder with --out, or, if these pictures replace the former ones for both, add --rehash")


def _read(folder: Path, manifest: Manifest, name: str, photo_id: list[bytes]
          ) -> tuple[Told, set[tuple[bytes, tuple[bytes, ...]]]]:
    words, stories = WordSet(folder, name, manifest), set()
    told = Told(name, {}, {})
    for split in words.splits:
        part = words.split(split)
        told.photo[split], told.album_id[split] = part.photo.all(), part.album_id.all()
        stories |= {(story_id, tuple(photo_id[row] for row in rows)) for story_id, rows in
                    zip(part.story_id.all().tolist(), told.photo[split].tolist())}
    return told, stories
