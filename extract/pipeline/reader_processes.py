"""Readers as processes, for a device that looks at photos faster than threads of one interpreter can read them.

Pictures come back through a ring of shared memory, everything else of a photo through a pipe. The memory has no name:
it needs no room in /dev/shm and is gone with the last process, however that ended.
"""
import collections
import itertools
import math
import mmap
import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from data.pictures.pictures import Resize
from extract.pipeline.reader import Reader, ReadPhoto, Task

CHUNK = 8  # photos that a process is given at a time: what handing over costs is shared among them
THREADS_SUFFICE = 2  # readers; Python's own part of a photo, half a millisecond, is one thread's at a time
SPARE = 1.25  # times the readers reckoned: photos differ

KINDS = ("auto", "threads", "processes")


@dataclass(frozen=True)
class Choice:
    """How many readers of which kind, and what the user should know: empty, or that the device will wait."""

    kind: str
    workers: int
    warning: str = ""


def choose_readers(cores: int, on_device: bool, looked_at: float, read_seconds: float, workers: int | None = None,
                   kind: str = "auto") -> Choice:
    """Decide how photos are read.

    Args:
        cores: of this process. on_device: whether a GPU looks; else the model needs every core, and threads, which
            wait while it computes, are all that helps. looked_at: photos a second of the device alone.
        read_seconds: that one reader needs for a photo. workers: as the user wants it. kind: of KINDS.
    """
    needed = max(1, math.ceil(SPARE * looked_at * read_seconds)) if on_device else cores
    spare = max(1, cores - 1) if on_device else cores  # a core hands photos over to the device
    chosen = workers or min(needed, spare)
    if kind == "auto":
        kind = "processes" if on_device and cores > 2 and chosen > THREADS_SUFFICE else "threads"
    if chosen / read_seconds >= looked_at or not on_device:
        return Choice(kind, chosen)
    return Choice(kind, chosen, f"{chosen} readers give about {chosen / read_seconds:.0f} photos/s, the device looks "
                  f"at {looked_at:.0f} and will wait: {needed} readers would keep it busy, here are {cores} cores")


class ProcessReader(Reader):
    """Reads photos with `workers` processes; what became known while it reads is decoded all the same."""

    kind = "processes"

    def read(self, tasks: Iterable[Task]) -> Generator[ReadPhoto, None, None]:
        """Read photos and give them in the order of the tasks; a picture is good until the next photo is asked for.

        Raises:
            UserError: if a process was ended, for want of memory or by a decoder that broke.
        """
        chunks = max(-(-self.ahead // CHUNK), self.workers + 2)
        handle = os.memfd_create("pictures")
        shape = (chunks * CHUNK, 1 + self.views, self.resize.size, self.resize.size, 3)
        os.ftruncate(handle, math.prod(shape))
        ring = _map_ring(handle, shape)
        settings = self.resize, self.thumbnail_side, self.views, frozenset(self.known)
        pool = ProcessPoolExecutor(self.workers, mp.get_context("spawn"), _start,
                                   (f"/proc/{os.getpid()}/fd/{handle}", shape, settings))
        waiting: collections.deque[tuple[int, list[Task], Future[list[tuple[ReadPhoto, int]]]]] = collections.deque()
        try:
            for place, chunk in zip(itertools.cycle(range(0, len(ring), CHUNK)), _cut(tasks)):
                waiting.append((place, chunk, pool.submit(_read_chunk, place, chunk)))
                if len(waiting) == chunks:  # else the next would be written over the first
                    yield from self._take(ring, *waiting.popleft())
            while waiting:
                yield from self._take(ring, *waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            os.close(handle)

    def _take(self, ring: np.ndarray, place: int, chunk: list[Task],
              read: "Future[list[tuple[ReadPhoto, int]]]") -> Generator[ReadPhoto, None, None]:
        try:
            photos = read.result()
        except BrokenProcessPool:
            raise UserError(f"expected {self.workers} reading processes to last, found that one was ended while "
                            f"{chunk[0].path} and the photos after it were read: for want of memory, or by what broke "
                            "a decoder; give the same command again with fewer --readers") from None
        for slot, (photo, pictures) in enumerate(photos, place):
            if pictures & 1:
                photo.picture = ring[slot, 0]
            photo.views = tuple(ring[slot, 1:]) if pictures & 2 else ()
            yield self.count(photo)


def _cut(tasks: Iterable[Task]) -> Generator[list[Task], None, None]:
    rest = iter(tasks)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk


def _map_ring(handle: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(mmap.mmap(handle, math.prod(shape)), np.uint8).reshape(shape)


_reader: Reader
_ring: np.ndarray


def _start(memory: str, shape: tuple[int, ...], settings: tuple[Resize, int, int, frozenset[bytes]]) -> None:
    """Make this process a reader that ends with its parent, killed or not, and leaves interruptions to it."""
    global _reader, _ring
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = mp.parent_process()
    assert parent is not None, "readers are started by an extraction"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import torch  # scales pictures
    torch.set_num_threads(1)
    resize, thumbnail_side, views, known = settings
    handle = os.open(memory, os.O_RDWR)
    _ring = _map_ring(handle, shape)
    os.close(handle)
    _reader = Reader(resize, thumbnail_side, 1, 1, dict.fromkeys(known, (0, 0)), views)


def _end_with(parent: "mp.process.BaseProcess") -> None:
    parent.join()
    os._exit(1)


def _read_chunk(place: int, tasks: list[Task]) -> list[tuple[ReadPhoto, int]]:
    """Read photos into the ring from a place on; with each, whether its picture (1) and its views (2) are there."""
    found = []
    for slot, task in enumerate(tasks, place):
        photo = _reader.read_one(task)
        pictures = (photo.picture is not None) + 2 * bool(photo.views)
        if photo.picture is not None:
            _ring[slot, 0] = photo.picture
        for view, picture in enumerate(photo.views, 1):
            _ring[slot, view] = picture
        photo.picture, photo.views = None, ()
        found.append((photo, pictures))
    return found
