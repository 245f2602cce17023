"""The files of a features folder somewhere else, a folder or one tar of which single files are read: asked for again
when it fails, resumed, and only published when their sha256 is right."""
import hashlib
import io
import os
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from data.errors import UserError
from data.files import sha256_file, sync
from data.folder.part import PULLING
from data.folder.published import refuse_links
from data.progress import Progress
from extract.sharing.contents import File
from extract.sharing.transport import Absent, Address, Failed, IgnoresRanges, make_transport

ATTEMPTS = 6  # without getting further
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, MAX_WAIT_SECONDS = 0.5, 30.0, 300.0
GOT_FURTHER = 1 << 16
MAX_TEXT_BYTES = 1 << 28
MEGABYTE = 20
HEADER_BYTES = 1 << 14  # read at a time while a tar's headers are looked through
MAX_MEMBERS = 1 << 20

T = TypeVar("T")


class Source:
    """Reads files by their names inside a folder; nothing that it holds is trusted to be a path.

    Attributes:
        members: where each plain file of a tar lies, (first byte, size) by name; None for a folder.
    """

    def __init__(self, address: Address) -> None:
        self.address, self.transport = address, make_transport(address)
        self.members: dict[str, tuple[int, int]] | None = None

    def stream(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of a file, of the tar itself for "", from `start` on; see `Transport.stream`."""
        if self.members is None or not name:
            return self.transport.stream(self.address.inside(name), start, stop)
        if name not in self.members:
            raise Absent(name)
        first, size = self.members[name]
        return self.transport.stream(self.address.inside(""), first + start, first + min(size, size if stop is None
                                                                                         else stop))

    def use_tar(self, read: Callable[[int, int], bytes]) -> None:
        """Read from a tar from now on.

        Args:
            read: its bytes from a first position up to another, fewer at its end.

        Raises:
            UserError: if it is no whole tar.
        """
        self.members = {}
        raw: Any = _Bytes(read)
        try:
            with tarfile.open(fileobj=io.BufferedReader(raw, HEADER_BYTES), mode="r:") as tar:
                for number, member in enumerate(tar):
                    if member.isreg() and not member.issparse():
                        self.members[member.name.removeprefix("./")] = (member.offset_data, member.size)
                    if number > MAX_MEMBERS:
                        raise tarfile.ReadError(f"more than {MAX_MEMBERS} members")
        except (tarfile.TarError, OverflowError) as error:
            raise UserError(f"expected an uncompressed tar at {self.address.shown}, found: {error}; get it again, or "
                            "make one with: make pack") from None


class _Bytes(io.RawIOBase):
    """A file of which only pieces are read."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read, self._place = read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end is not known")
        self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self._read(self._place, self._place + len(buffer))
        buffer[:len(piece)] = piece
        self._place += len(piece)
        return len(piece)


class Download:
    """Fetches files of one source into one folder, from several threads at a time.

    Args:
        root: the folder; what is on its way lies in `.local/pull`, by sha256, for the next call to go on with.
    """

    def __init__(self, source: Source, root: Path) -> None:
        self.source, self.root, self.fetched_bytes = source, root, 0
        self.stopped = threading.Event()
        self._progress: Progress | None = None
        self._lock = threading.Lock()

    def show(self, total_bytes: int) -> Progress:
        """Tell how far the files are from now on; to be closed."""
        self.fetched_bytes, self._progress = 0, Progress(total_bytes >> MEGABYTE, "MB")
        return self._progress

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """A small file, or a piece of one; None where there is none."""
        def attempt() -> bytes:
            content, limit = bytearray(), MAX_TEXT_BYTES if stop is None else stop - start
            with closing(self.source.stream(name, start, stop)) as stream:  # type: ignore[type-var]
                while len(content) < limit and (piece := next(stream, b"")):
                    content += piece
            if len(content) > limit and stop is None:
                raise UserError(f"expected at most {limit} bytes in {name} of {self.source.address.shown}, found more; "
                                "this is no features folder")
            return bytes(content[:limit])

        try:
            return self._insist(attempt, name or "a file")
        except Absent:
            return None

    def save(self, path: Path) -> None:
        """Bring a whole tar, from its beginning."""
        def attempt() -> None:
            with open(path, "wb") as out, closing(self.source.stream("")) as stream:  # type: ignore[type-var]
                out.writelines(stream)

        self._insist(attempt, "the tar")

    def fetch(self, file: File) -> bool:
        """Bring one file into the folder, unless it is there.

        Returns:
            Whether it had to be fetched.

        Raises:
            UserError: if it cannot be had, or is not what the manifest says.
        """
        target = self.root / file.name  # equal files are brought side by side
        partial = self.root / PULLING / f"{file.sha256}-{file.name.replace('/', '@')}.part"
        for name in (file.name, partial.relative_to(self.root).as_posix()):
            refuse_links(self.root, name)
        if target.is_file() and file.bytes in (None, target.stat().st_size) and sha256_file(target) == file.sha256:
            self._count(file.bytes or 0)
            return False
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._insist(lambda: self._receive(file, partial), file.name,
                         lambda: partial.stat().st_size if partial.exists() else 0)
        except Absent:
            raise UserError(f"expected {file.name} at {self.source.address.shown} as its manifest says, found no such "
                            "file; a push may be under way, else tell whoever shares it") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        sync(partial)
        os.replace(partial, target)
        sync(target.parent)
        return True

    def _receive(self, file: File, partial: Path) -> None:
        """Append what comes to what came before; one attempt."""
        limit = MAX_TEXT_BYTES if file.bytes is None else file.bytes
        with open(partial, "ab") as out:
            start = out.tell()
            digest = hashlib.sha256()
            if start:
                with open(partial, "rb") as before:
                    digest = hashlib.file_digest(before, "sha256")
            try:
                with closing(self.source.stream(file.name, start, file.bytes)) as stream:  # type: ignore[type-var]
                    for piece in stream:
                        if self.stopped.is_set():
                            raise Failed("stopped")
                        if out.tell() + len(piece) > limit:
                            out.truncate(0)
                            raise Failed(f"more than {limit} bytes")
                        out.write(piece)
                        digest.update(piece)
                        self._count(len(piece))
            except IgnoresRanges:
                out.truncate(0)
                raise Failed("the server sends files from their beginning only") from None
        size = partial.stat().st_size
        if file.bytes is not None and size < file.bytes:
            raise Failed(f"{size} of {file.bytes} bytes")
        if digest.hexdigest() != file.sha256:
            partial.unlink()
            raise Failed(f"other bytes: sha256 {digest.hexdigest():.12}, where the manifest says {file.sha256:.12}")

    def _insist(self, attempt: Callable[[], T], what: str, reached: Callable[[], int] = lambda: 0) -> T:
        """Try until it comes out well, or comes no further; waits longer each time, and as long as it is asked to."""
        failures = most = 0
        while True:
            try:
                return attempt()
            except Failed as failure:
                failures = 1 if reached() > most + GOT_FURTHER else failures + 1
                most = max(most, reached())
                pause = min(BACKOFF_SECONDS * 2 ** (failures - 1), MAX_BACKOFF_SECONDS) * random.uniform(0.5, 1)
                pause = max(pause, failure.wait or 0)
                if failures >= ATTEMPTS or pause > MAX_WAIT_SECONDS or self.stopped.wait(pause):
                    raise UserError(f"expected {what} from {self.source.address.shown}, found {failure} "
                                    f"({failures} times in a row); give the same command again later: it goes on where "
                                    "this one stopped") from None

    def _count(self, num_bytes: int) -> None:
        with self._lock:
            self.fetched_bytes += num_bytes
            if self._progress is not None:
                self._progress.add((self.fetched_bytes >> MEGABYTE) - self._progress.done)
