"""The reader: photo files to pictures, in threads; Pillow lets go of the interpreter while it decodes."""
import collections
import hashlib
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.pictures.augmentation import augment_picture, draw_augmentation
from data.pictures.photos import MISSING, OK, BadPhoto, read_photo
from data.pictures.pictures import Resize, blame_photo, make_thumbnail, open_picture, resize_picture


@dataclass(frozen=True, slots=True)
class Task:
    """A photo to read: its place, its file (None: missing), whether its thumbnail is wanted in any case, its album."""

    shard: int
    row: int
    path: Path | None
    thumbnail: bool
    album_id: str = ""


@dataclass(slots=True)
class ReadPhoto:
    """What reading gave.

    Attributes:
        content: sha256 of the file's bytes; empty where there were none. seconds: of the thread.
        picture: (size, size, 3) uint8, None where the photo is bad or its content known. thumbnail: JPEG or empty.
        views: augmented pictures, as many as were asked for; none where the photo is bad.
    """

    shard: int
    row: int
    status: int
    content: bytes = b""
    picture: np.ndarray | None = None
    views: tuple[np.ndarray, ...] = ()
    thumbnail: bytes = b""
    cause: str = ""
    detail: str = ""
    bytes_read: int = 0
    seconds: float = 0.0


class Reader:
    """Reads photos with `workers` threads, at most `ahead` of them before they are taken.

    Args:
        thumbnail_side: 0 for none. known: contents whose features are there already, which may grow; such a photo is
            not decoded, unless views are asked for: those depend on the album too.
        views: how many augmented pictures of every photo; all photos of an album are changed alike.
    """

    kind = "threads"

    def __init__(self, resize: Resize, thumbnail_side: int, workers: int, ahead: int,
                 known: dict[bytes, tuple[int, int]], views: int = 0) -> None:
        self.resize, self.thumbnail_side, self.workers, self.ahead = resize, thumbnail_side, workers, ahead
        self.known, self.views = known, views
        self.busy_seconds = 0.0
        self.bytes_read = 0

    def read(self, tasks: Iterable[Task]) -> Generator[ReadPhoto, None, None]:
        """Read photos and give them in the order of the tasks; a picture is good until the next photo is asked for."""
        waiting: collections.deque[Future[ReadPhoto]] = collections.deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="reader")
        try:
            for task in tasks:
                waiting.append(pool.submit(self.read_one, task))
                if len(waiting) >= self.ahead:
                    yield self.count(waiting.popleft().result())
            while waiting:
                yield self.count(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def count(self, photo: ReadPhoto) -> ReadPhoto:
        """Add what reading a photo took to the sums."""
        self.busy_seconds += photo.seconds
        self.bytes_read += photo.bytes_read
        return photo

    def read_one(self, task: Task) -> ReadPhoto:
        """Read a photo here and now; whatever is wrong with it is in what is given."""
        started = time.perf_counter()
        photo = ReadPhoto(task.shard, task.row, OK)
        try:
            if task.path is None:
                raise BadPhoto(MISSING, "missing")
            raw = read_photo(task.path)
            photo.bytes_read, photo.content = len(raw), hashlib.sha256(raw).digest()
            is_known = photo.content in self.known
            if not is_known or task.thumbnail or self.views:
                with blame_photo(raw):
                    self._decode(raw, photo, task.album_id, is_known)
        except BadPhoto as error:
            photo.status, photo.cause, photo.detail = error.status, error.cause, error.detail
            photo.picture, photo.views = None, ()
        photo.seconds = time.perf_counter() - started
        return photo

    def _decode(self, raw: bytes, photo: ReadPhoto, album_id: str, is_known: bool) -> None:
        picture = open_picture(raw, self.resize)
        if not is_known or self.views:
            resized = resize_picture(picture, self.resize)
            photo.picture = None if is_known else resized
            photo.views = tuple(augment_picture(resized, draw_augmentation("album", album_id, view))
                                for view in range(self.views))
        if self.thumbnail_side:
            photo.thumbnail = make_thumbnail(picture, self.thumbnail_side)
