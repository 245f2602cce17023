"""The writer: a shard is written beside its name, closed, read back, synced, renamed, and noted in the ledger."""
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import replace_file, sha256_file, sync
from data.folder.manifest import Shard
from data.folder.published import map_published
from data.folder.shards import map_shard, write_shard


def publish_shard(folder: Path, name: str, kind: str, arrays: Mapping[str, np.ndarray], rows: int) -> Shard:
    """Write one shard under a name that nobody has, whole or not at all.

    Args:
        name: path inside the folder. rows: for its manifest entry.

    Raises:
        UserError: if the disk gives back other bytes than it was given.
        OSError: if it has no room; see `explain_disk`.
    """
    path = folder / name
    with replace_file(path) as partial:
        write_shard(partial, kind, arrays)
        sync(partial, forget=True)
        for field, array in map_shard(partial, kind).items():
            if array.shape != arrays[field].shape or array.tobytes() != arrays[field].tobytes():
                raise UserError(f"expected the disk to give back what was written to {path}, found other bytes in "
                                f"{field!r}; check the disk, then give the same command again")
        return Shard(name, rows, 0, partial.stat().st_size, sha256_file(partial))


def holds_arrays(folder: Path, shard: Shard, kind: str, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a published file is there and has these very arrays."""
    try:
        published = map_published(folder, shard, kind)
    except UserError:
        return False
    return all(published[name].shape == array.shape and published[name].tobytes() == array.tobytes()
               for name, array in arrays.items())


def explain_disk(error: OSError, folder: Path) -> UserError:
    """Say what a failed write means and what to do."""
    try:
        free = f"{shutil.disk_usage(folder).free / 2**20:.0f} MB free"
    except OSError:
        free = "an unknown amount free"
    return UserError(f"expected to be able to write in {folder}, found: {error.strerror or error} ({free}); what was "
                     "published is kept: mend it and give the same command again")


class Writer:
    """One thread that runs jobs in order, so that the disk never holds up the model; at most one job waits.

    An error of a job comes up in the next call.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self.busy_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Hand over a job; waits while another one waits."""
        self._raise_error()
        self._jobs.put(job)

    def close(self) -> None:
        """Wait for all jobs."""
        self._jobs.put(None)
        self._thread.join()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is not None:
                continue  # emptied, so that nobody waits for ever
            started = time.perf_counter()
            try:
                job()
            except BaseException as error:  # comes up in the thread that asked
                self._error = error
            self.busy_seconds += time.perf_counter() - started
