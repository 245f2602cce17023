"""Files from a source: asked for again when it fails, resumed, and only published when their sha256 is right."""
import hashlib
import os
import random
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from data.errors import UserError
from data.files import sha256_file, sync
from data.folder.part import PULLING
from data.folder.published import refuse_links
from data.progress import Progress
from extract.sharing.contents import File
from extract.sharing.source import Source
from extract.sharing.transport import Absent, Failed, IgnoresRanges

ATTEMPTS = 6  # without getting further
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, MAX_WAIT_SECONDS = 0.5, 30.0, 300.0
GOT_FURTHER = 1 << 16
MAX_TEXT_BYTES = 1 << 28
MEGABYTE = 20

T = TypeVar("T")


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
            pieces, size, limit = [], 0, MAX_TEXT_BYTES if stop is None else stop - start
            with closing(self.source.stream(name, start, stop)) as stream:  # type: ignore[type-var]
                for piece in stream:
                    pieces.append(piece)
                    size += len(piece)
                    if size >= limit:
                        break
            if size > limit and stop is None:
                raise UserError(f"expected at most {limit} bytes in {name} of {self.source.address.shown}, found more; "
                                "this is no features folder")
            return b"".join(pieces)[:limit]

        try:
            return self._insist(attempt, name)
        except Absent:
            return None

    def save(self, path: Path) -> None:
        """Bring a whole tar, from its beginning."""
        def attempt() -> None:
            with open(path, "wb") as out, closing(self.source.stream("")) as stream:  # type: ignore[type-var]
                for piece in stream:
                    out.write(piece)

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
