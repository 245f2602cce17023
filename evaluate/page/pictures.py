"""Photos for a page: small JPEGs as base64, one per distinct content."""
import base64
import io
import logging
from pathlib import Path

from PIL import Image, ImageOps

from data.folder import OK, STATUS, Features

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
        self._paths = _find_paths(dataset_root, features)
        self._number_of: dict[bytes, int] = {}
        self.photo_ids: list[str] = []
        self.encoded: list[str | None] = []  # base64 JPEG; "" where there is none; None while not asked for
        self._notes: list[str] = []

    def number(self, photo_id: str) -> int:
        """The photo's number on the page, counted from 0 in the order of first mention."""
        row = self._features.row_of.get(photo_id)
        is_whole = row is not None and int(self._features.status[row]) == OK
        key = self._features.content.take([row])[0].tobytes() if is_whole else photo_id.encode()
        if key not in self._number_of:
            self._number_of[key] = len(self.photo_ids)
            self.photo_ids.append(photo_id)
            self.encoded.append(None)
            self._notes.append("" if is_whole else self._cause(row))
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

    def _cause(self, row: int | None) -> str:
        return "not in the features folder" if row is None else STATUS[int(self._features.status[row])]

    def _read(self, photo_id: str) -> str:
        try:
            thumbnail = self._features.thumbnail(self._features.row_of[photo_id])
            content = thumbnail if thumbnail is not None else _read_photo(self._paths.get(photo_id))
            return base64.b64encode(shrink(content)).decode("ascii") if content else ""
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, on broken files
            log.warning("photo %s is not shown: %s: %s", photo_id, type(error).__name__, error)
            return ""


def shrink(content: bytes) -> bytes:
    """Encode a photo as a plain JPEG of at most WIDTH x HEIGHT pixels, upright, without metadata.

    Small JPEGs are kept as they are.

    Raises:
        OSError, ValueError, SyntaxError: if it is no photo that Pillow reads.
    """
    with Image.open(io.BytesIO(content)) as photo:
        if photo.format == "JPEG" and photo.height <= HEIGHT and photo.width <= WIDTH and len(content) <= MAX_BYTES:
            return content
        photo.draft("RGB", (2 * WIDTH, 2 * HEIGHT))
        upright = ImageOps.exif_transpose(photo)
        upright.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        upright.convert("RGB").save(encoded, "JPEG", quality=QUALITY, optimize=True, progressive=False)
        return encoded.getvalue()


def _find_paths(dataset_root: Path | None, features: Features) -> dict[str, Path]:
    return {}


def _read_photo(path: Path | None) -> bytes:
    return path.read_bytes() if path is not None else b""
