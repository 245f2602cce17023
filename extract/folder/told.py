"""What word sets made of other annotations tell of a folder's photos: what only they know of is not ours to change.

They may be a second dataset's, another language's, or those of former annotations. Where they share a story with its
photos they are akin, and one photo id means one picture; datasets that share none may mean different ones by it.
"""
import hashlib
import logging
from contextlib import suppress
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

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """A word set made of other annotations.

    Attributes:
        is_akin: whether it shares a story. photo: (S, 5) int32, row over all photo shards, by split. album_id: (S,)
            bytes by split.
    """

    name: str
    is_akin: bool
    photo: dict[str, np.ndarray]
    album_id: dict[str, np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        """Every photo row that its stories name, in ascending order."""
        return np.unique(np.concatenate([np.zeros(0, np.int32), *(rows.ravel() for rows in self.photo.values())]))


def read_told(folder: Path, manifest: Manifest | None, photo_id: list[bytes], dataset: Dataset,
              words: str) -> list[Told]:
    """The folder's word sets that are made of other annotations than those read now, by name.

    Args:
        photo_id: of the folder's rows. words: name of the word set that is being made.

    Raises:
        UserError: if the word set of that name is a second dataset's: it would be lost, and its runs with it; or if
            one is damaged, so that its photos are not known.
    """
    named = sorted(manifest.words) if manifest is not None else []
    named = [name for name in named if manifest is not None and
             manifest.words[name].counts.get("annotations") != dataset.files]
    if manifest is None or not named:
        return []
    stories = {(story.story_id.encode(), tuple(name.encode() for name in story.photo_ids))
               for told in dataset.stories.values() for story in told}
    others = []
    for name in named:
        try:
            told = _read(folder, manifest, name, photo_id, stories)
        except UserError:
            if name == words:
                continue  # it is written anew
            raise
        if name == words and (told.is_akin or not stories or not told.photo):
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


def find_same_pictures(folder: Path, photo_id: np.ndarray, paths: list[Path | None], content: np.ndarray,
                       is_strange: np.ndarray) -> np.ndarray:
    """Compare files with what the folder has; refuse photo ids by which two datasets mean different pictures.

    Args:
        photo_id: (n,) bytes. paths: their files. content: (n, 32), sha256 in the folder. is_strange: (n,) bool, those
            that a dataset names which shares no story.

    Returns:
        (n,) bool: which are the same.

    Raises:
        UserError: naming some of those that are not, and should be.
    """
    is_same = np.zeros(len(photo_id), bool)
    for row, (path, digest) in enumerate(zip(paths, content)):
        assert path is not None, "what is not there is not shared"
        with suppress(OSError), open(path, "rb") as file:
            is_same[row] = hashlib.file_digest(file, "sha256").digest() == digest.tobytes()
    if changed := int((~is_same & ~is_strange).sum()):
        log.warning("%d photo(s) changed: word sets of other annotations in %s have the new pictures from now on",
                    changed, folder)
    if clashes := [name.decode("ascii") for name in photo_id[~is_same & is_strange].tolist()]:
        raise UserError(f"expected one picture by each photo id that two datasets of {folder} name, found "
                        f"{len(clashes)} with another in each ({', '.join(clashes[:NAMED])}); name another "
                        "folder with --out, or, if these pictures replace the former ones for both, add --rehash")
    return is_same


def _read(folder: Path, manifest: Manifest, name: str, photo_id: list[bytes],
          stories: set[tuple[bytes, tuple[bytes, ...]]]) -> Told:
    words, is_akin = WordSet(folder, name, manifest), False
    photo, album_id = {}, {}
    for split in words.splits:
        part = words.split(split)
        photo[split], album_id[split] = part.photo.all(), part.album_id.all()
        is_akin = is_akin or any((story_id, tuple(photo_id[row] for row in rows)) in stories for story_id, rows in
                                 zip(part.story_id.all().tolist(), photo[split].tolist()))
    return Told(name, is_akin, photo, album_id)
