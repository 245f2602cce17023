"""Photos for a page: small JPEGs as base64, one per distinct content."""
import base64
import io
import logging
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from data.folder.folder import OK, STATUS, Features
from data.pictures.photos import BadPhoto, find_photos, read_photo
from data.pictures.pictures import Resize, open_picture

log = logging.getLogger(__name__)

HEIGHT, WIDTH, QUALITY = 160, 320, 76  # pixels at most; a picture this size takes 5 to 9 KB
MAX_BYTES = 40_000  # a stored thumbnail above this is encoded again
NOT_EMBEDDED = "left out for the size of this page"
NO_PICTURE = "no picture at hand"


class Pictures:
    """The photos of a folder by page number: byte-equal photos share one, so each is embedded once.

    Args:
        features: the folder; its thumbnails are taken first.
        dataset_root: where the photos themselves lie, for a folder without thumbnails; None to do without.
    """

    def __init__(self, features: Features, dataset_root: Path | None = None) -> None:
        self._features = features
        self._paths = find_photos(dataset_root) if dataset_root is not None else {}
        self._number_of: dict[bytes, int] = {}
        self.photo_ids: list[str] = []
        self.encoded: list[str | None] = []  # base64 JPEG; "" where there is none; None while not asked for
        self._notes: list[str] = []

    def number(self, photo_id: str) -> int:
        """The photo's number on the page, counted from 0 in the order of first mention."""
        row = self._features.row_of.get(photo_id)
        is_whole = row is not None and int(self._features.status[row]) == OK
        key = self._features.content.take(np.array([row]))[0].tobytes() if is_whole else photo_id.encode()
        if key not in self._number_of:
            self._number_of[key] = len(self.photo_ids)
            self.photo_ids.append(photo_id)
            self.encoded.append(None)
            self._notes.append("not in the features folder" if row is None else
                               "" if is_whole else STATUS[int(self._features.status[row])])
        return self._number_of[key]

    def encode(self, number: int) -> str:
        """The photo as base64 JPEG of at most WIDTH x HEIGHT, read on first use; "" where it cannot be shown."""
        known = self.encoded[number]
        if known is None:
            known = self.encoded[number] = self._read(self.photo_ids[number]) if not self._notes[number] else ""
            if not known and not self._notes[number]:
                self._notes[number] = NO_PICTURE
        return known

    def notes(self) -> list[str]:
        """Why each photo is not shown; "" where it is."""
        return [note or ("" if encoded else NOT_EMBEDDED) for note, encoded in zip(self._notes, self.encoded)]

    def _read(self, photo_id: str) -> str:
        stored = self._features.thumbnail(self._features.row_of[photo_id])
        if stored is None and photo_id not in self._paths:
            return ""
        try:
            content = stored if stored is not None else read_photo(self._paths[photo_id])
            return base64.b64encode(shrink(content)).decode("ascii")
        except BadPhoto as error:
            log.warning("photo %s is not shown: %s", photo_id, error)
            return ""


def shrink(content: bytes) -> bytes:
    """Encode a photo as a plain JPEG of at most WIDTH x HEIGHT pixels, upright, without metadata.

    Raises:
        BadPhoto: if it is no photo, or a broken one.
    """
    if len(content) <= MAX_BYTES and content.startswith(b"\xff\xd8") and b"Exif\0\0" not in content:
        with suppress(OSError, ValueError, SyntaxError), Image.open(io.BytesIO(content), formats=["JPEG"]) as small:
            if small.width <= WIDTH and small.height <= HEIGHT:
                return content  # shown as it is; not with EXIF, which may say where it was taken
    photo = open_picture(content, Resize("squash", HEIGHT, HEIGHT))
    photo.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=QUALITY, optimize=True)
    return encoded.getvalue()
