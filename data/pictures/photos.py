"""Photos of a data folder: found by id, read as bytes. What the bytes show is `data.pictures.pictures`' business.

A photo is any file `<id>.<jpg|jpeg|png|gif|webp>`, in any case, anywhere below the folder; hidden files and folders
are passed over. Symbolic links are followed: the data folder is the user's own, and large sets are often linked in.
"""
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError

STATUS = ("ok", "missing", "unreadable", "too large")
OK, MISSING, UNREADABLE, TOO_LARGE = range(4)
ENDINGS = ("jpg", "jpeg", "png", "gif", "webp")
PLACEHOLDER_IDS = PLACEHOLDER_ALBUMS = 5  # one content under so many ids in so many albums is no photo of anything
MAX_BYTES = 1 << 28  # a file of 256 MB is no photo; nobody waits for it

_NO_FILE = (errno.ENXIO, errno.ENODEV, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
_FILE_NAME = re.compile(rf"((?!\.)[A-Za-z0-9_.@-]+)\.(?:{'|'.join(ENDINGS)})", re.ASCII | re.IGNORECASE)


class FoundPhoto(NamedTuple):
    """A photo file: its path, what tells that it has not changed (bytes, nanoseconds), and its inode.

    The inode only tells a file that is met again through a link: network disks and FUSE give new ones at every mount.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int


class BadPhoto(Exception):
    """A photo that cannot be used: a `status` that indexes STATUS, a short `cause`, and a detail."""

    def __init__(self, status: int, cause: str, detail: str = "") -> None:
        super().__init__(cause)
        self.status, self.cause, self.detail = status, cause, " ".join(detail.split())[:200]


def scan_photos(root: Path) -> tuple[dict[str, FoundPhoto], list[str]]:
    """Find every photo below a folder in one walk.

    Args:
        root: the data folder.

    Returns:
        Photos by id, and warnings. Of two files for one id the one with the smallest path is taken.

    Raises:
        UserError: if there is no such folder, or a link below it (a name without an ending) leads nowhere.
    """
    if not root.is_dir():
        raise UserError(f"expected a data folder at {root}, found {'a file' if root.exists() else 'nothing'}; name the "
                        "folder that holds annotations and photos")
    found: dict[str, FoundPhoto] = {}
    rivals: set[str] = set()
    unreadable: list[str] = []
    for path in _walk(str(root), unreadable):
        name = os.path.basename(path)
        match = _FILE_NAME.fullmatch(name)
        if match is None:
            if "." not in name and os.path.islink(path) and not os.path.exists(path):
                # a linked folder is away: all that it held would count as missing
                raise UserError(f"expected a folder where the link {path} leads, {os.readlink(path)}, found "
                                "nothing; put that folder back, or make the link anew (that of a fold with: python -m "
                                "data folds)")
            continue
        try:
            status = os.stat(path)
        except OSError:
            continue  # a link to nowhere: no photo is there
        photo = FoundPhoto(path, status.st_size, status.st_mtime_ns, status.st_ino)
        known = found.setdefault(match[1], photo)
        if known is not photo:
            if known[1:] != photo[1:]:  # else one file, met again through a link
                rivals.add(match[1])
            found[match[1]] = min(known, photo)
    notes = []
    if rivals:
        first = min(rivals)
        notes.append(f"{len(rivals)} photo ids have more than one file; the smallest path is taken "
                     f"(first: {first}, {os.path.relpath(found[first].path, root)} taken)")
    if unreadable:
        notes.append(f"{len(unreadable)} folders below {root} cannot be listed (first: {min(unreadable)}); "
                     "their photos count as missing")
    return found, notes


def find_photos(root: Path) -> dict[str, Path]:
    """Find every photo below a folder; see `scan_photos`."""
    return {photo_id: Path(photo.path) for photo_id, photo in scan_photos(root)[0].items()}


def _walk(root: str, unreadable: list[str]) -> Iterator[str]:
    """Every file below a folder; hidden ones are passed over, links are followed, once: one may lead back up."""
    seen: set[tuple[int, int]] = set()

    def is_new(folder: str) -> bool:
        status = os.stat(folder)
        known = len(seen)
        seen.add((status.st_dev, status.st_ino))
        return len(seen) > known

    def note(error: OSError) -> None:
        unreadable.append(error.filename)
    is_new(root)
    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        paths = [os.path.join(folder, name) for name in folders if name[0] != "."]
        folders[:] = [os.path.basename(path) for path in paths if not os.path.islink(path) or is_new(path)]
        yield from (os.path.join(folder, name) for name in names if name[0] != ".")


def read_photo(path: str | Path) -> bytes:
    """Read a photo's bytes without ever waiting on something that is no file.

    Raises:
        BadPhoto: if it is missing, empty, no regular file, too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe would block for ever
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ENXIO, "no regular file")
            if status.st_size > MAX_BYTES:
                raise BadPhoto(TOO_LARGE, "too large", f"{status.st_size} bytes")
            content = file.read(MAX_BYTES)
    except FileNotFoundError:
        raise BadPhoto(MISSING, "missing") from None
    except PermissionError:
        raise BadPhoto(UNREADABLE, "no permission") from None
    except OSError as error:
        what = "no regular file" if error.errno in _NO_FILE else "read error"
        raise BadPhoto(UNREADABLE, what, error.strerror or "") from None
    if not content:
        raise BadPhoto(UNREADABLE, "empty file")
    return content
