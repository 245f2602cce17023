"""Looking at photos: reader, mapper and writer at work together; only this file knows all three and times each."""
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.folder.manifest import Shard
from data.folder.shards import map_shard
from data.pictures.photos import OK
from data.progress import Progress
from extract.backbones.mapper import Mapper, PendingBatch
from extract.folder.ledger import Entry, append_entry
from extract.folder.plan import Plan, choose_name
from extract.folder.work import Asked, Work, usable_source
from extract.folder.writer import Writer, holds_arrays, publish_shard
from extract.pipeline.assembly import Assembly
from extract.pipeline.broken import FiniteCheck
from extract.pipeline.reader import Reader, ReadPhoto, Task
from extract.pipeline.timing import Timing

SHARDS_MAPPED = 8  # of those that features are copied from

log = logging.getLogger(__name__)


@dataclass
class Slots:
    """A batch being filled: pictures (B, S, S, 3), the (assembly, row) of each, its view (0: as it is)."""

    pictures: np.ndarray
    places: list[tuple[Assembly, int]] = field(default_factory=list)
    views: list[int] = field(default_factory=list)


class Looking:
    """One process's share of the work, from photo files to published shards.

    Args:
        works: in the order of the plan. reader: its `known` learns the contents of every shard. rank: names the ledger
            file. still_ours: raises when the folder was taken over by somebody else.
    """

    def __init__(self, plan: Plan, folder: Path, works: list[Work], asked: Asked, mapper: Mapper, reader: Reader,
                 rank: int, still_ours: Callable[[], None], progress: Progress) -> None:
        self.plan, self.folder, self.works, self.asked, self.rank = plan, folder, works, asked, rank
        self.mapper, self.reader, self.index, self.progress = mapper, reader, reader.known, progress
        self.timing = Timing()
        self._still_ours = still_ours
        self._sources = [usable_source(entry, folder, asked) for entry in
                         (*(planned.published for planned in plan.shards), *plan.orphans)]
        self._load = lru_cache(SHARDS_MAPPED)(self._open_source)
        self._assemblies: dict[int, Assembly] = {}
        self._done: dict[int, dict[str, Shard]] = {}
        self._queue: deque[int] = deque()
        self._free = [Slots(mapper.make_buffer()) for _ in range(mapper.num_buffers)]
        self._filling = self._free.pop()
        self._pending: deque[tuple[PendingBatch, Slots]] = deque()
        for key, source in enumerate(self._sources):
            if source is not None and (self.asked.tokens == 1 or "tokens" in source.files):  # else looked at anew
                arrays = map_shard(folder / source.files["photos"].name, "photos")
                for row in np.flatnonzero(arrays["status"] == OK).tolist():
                    self.index.setdefault(arrays["content"][row].tobytes(), (key, row))
        self._finite = FiniteCheck(len(self.index) > 0, mapper.precision)
        self._writer = Writer()

    def run(self) -> Timing:
        """Do the work; shards are published as they are complete.

        Raises:
            UserError: if the folder was taken over, or no photo has a finite feature.
            OSError: if a disk is full. torch.OutOfMemoryError: if the device has no room for the recipe's batch.
        """
        try:
            with closing(self.reader.read(self._tasks())) as photos:
                while (photo := self._next(photos)) is not None:
                    self._take(photo)
                    self._publish_complete()
            if self._filling.places:
                self._submit()
            while self._pending:
                self._collect()
            self._finite.require_proof()
            self._publish_complete()
            assert not self._queue, "every shard is complete when every photo was read"
        finally:
            started = time.perf_counter()
            self._writer.close()
            self.timing.ended = time.perf_counter()
            self.timing.write += self.timing.ended - started
        return self.timing

    def _tasks(self) -> Iterator[Task]:
        needs_thumbnails = self.asked.thumbnails and any(
            source is not None and "thumbs" not in source.files for source in self._sources)
        for work in self.works:
            self._begin(work)
            rows = np.flatnonzero(work.unread).tolist()
            for row in rows:
                place = work.planned.first + row
                yield Task(work.planned.index, row, self.plan.photo_path(place), needs_thumbnails,
                           self.plan.album_id[place].decode())

    def _begin(self, work: Work) -> None:
        rows = self.plan.rows_of(work.planned)
        assembly = Assembly.begin(work.planned, self.plan.photo_id[rows], self.plan.stat[rows], self.mapper.spec.width,
                                  self.asked.thumbnails, self.asked.tokens, self.asked.views)
        assembly.unread = int(work.unread.sum())
        if work.source is not None and not work.unread.all():
            arrays = {kind: map_shard(self.folder / shard.name, kind) for kind, shard in work.source.files.items()}
            assembly.keep(np.flatnonzero(~work.unread), arrays["photos"], arrays.get("thumbs"), arrays.get("tokens"),
                          dict(work.source.bad), arrays.get("views"))
        self._assemblies[work.planned.index] = assembly
        self._queue.append(work.planned.index)

    def _next(self, photos: Iterator[ReadPhoto]) -> ReadPhoto | None:
        started = time.perf_counter()
        photo = next(photos, None)
        now = time.perf_counter()
        if not self.timing.photos:
            self.timing.first = now  # until here readers were starting
        else:
            self.timing.read += now - started
        return photo

    def _take(self, photo: ReadPhoto) -> None:
        assembly = self._assemblies[photo.shard]
        assembly.unread -= 1
        assembly.set_content(photo.row, photo.content)
        if assembly.thumbnails is not None:
            assembly.thumbnails[photo.row] = photo.thumbnail
        self.timing.photos += 1
        if photo.status != OK:
            assembly.set_bad(photo.row, photo.status, photo.cause, photo.detail)
            self.timing.bad += 1
        elif (place := self.index.get(photo.content)) is not None:
            assembly.copies[photo.row] = place
            self.timing.copied += 1
        else:
            assert photo.picture is not None, "only photos of known content come without a picture"
            self.index[photo.content] = len(self._sources) + photo.shard, photo.row
            self._fill(photo.picture, assembly, photo.row, 0)
        for view, picture in enumerate(photo.views, start=1):
            self._fill(picture, assembly, photo.row, view)
        self.progress.add(1, int(photo.status != OK))

    def _fill(self, picture: np.ndarray, assembly: Assembly, row: int, view: int) -> None:
        slots = self._filling
        slots.pictures[len(slots.places)] = picture
        slots.places.append((assembly, row))
        slots.views.append(view)
        assembly.in_flight += 1
        if len(slots.places) == self.mapper.batch_size:
            self._submit()

    def _submit(self) -> None:
        slots = self._filling
        slots.pictures[len(slots.places):] = 0
        started = time.perf_counter()
        self._pending.append((self.mapper.submit(slots.pictures), slots))
        self.timing.compute += time.perf_counter() - started
        if not self._free:
            self._collect()
        self._filling = self._free.pop()

    def _collect(self) -> None:
        started = time.perf_counter()
        pending, slots = self._pending.popleft()
        mapped = pending.result()
        self.timing.compute += time.perf_counter() - started
        is_finite = self._finite.look(mapped, len(slots.places))
        for slot, ((assembly, row), view) in enumerate(zip(slots.places, slots.views)):
            assembly.in_flight -= 1
            if view:
                assert assembly.views is not None
                assembly.views[row, view - 1] = mapped.features[slot]
            elif is_finite[slot]:
                assembly.feature[row] = mapped.features[slot]
                if assembly.tokens is not None and mapped.tokens is not None:
                    assembly.tokens[row] = mapped.tokens[slot]
            else:
                self._mark_broken(assembly, row)
        self.timing.looked_at += slots.views.count(0)
        slots.places.clear()
        slots.views.clear()
        self._free.append(slots)

    def _mark_broken(self, assembly: Assembly, row: int) -> None:
        self._finite.mark(assembly, row)
        self.timing.bad += 1

    def _publish_complete(self) -> None:
        while not self._finite.is_open and self._queue and self._assemblies[self._queue[0]].is_complete:
            assembly = self._assemblies[self._queue.popleft()]
            self._resolve_copies(assembly)
            assembly.settle()
            started = time.perf_counter()
            self._writer.put(lambda assembly=assembly: self._publish(assembly))  # type: ignore[misc]
            self.timing.write += time.perf_counter() - started

    def _resolve_copies(self, assembly: Assembly) -> None:
        for row, (key, source_row) in assembly.copies.items():
            earlier = self._assemblies.get(key - len(self._sources))
            if earlier is not None:
                if earlier.status[source_row] != OK:
                    self._mark_broken(assembly, row)
                    continue
                assembly.feature[row] = earlier.feature[source_row]
                if assembly.tokens is not None and earlier.tokens is not None:
                    assembly.tokens[row] = earlier.tokens[source_row]
                if assembly.thumbnails is not None and earlier.thumbnails is not None:
                    assembly.thumbnails[row] = earlier.thumbnails[source_row]
                continue
            photos = self._load(key, "photos")
            assert photos is not None, "what is in the index was published"
            if photos["status"][source_row] != OK:  # by this very run: else it is not in the index
                self._mark_broken(assembly, row)
                continue
            assembly.feature[row] = photos["feature"][source_row]
            assembly.take_beside(row, self._load(key, "thumbs") if self.asked.thumbnails else None,
                                 self._load(key, "tokens") if self.asked.tokens > 1 else None, source_row)

    def _open_source(self, key: int, kind: str) -> dict[str, np.ndarray] | None:
        if key >= len(self._sources):
            files = self._done[key - len(self._sources)]
        else:
            source = self._sources[key]
            assert source is not None
            files = dict(source.files)
        return map_shard(self.folder / files[kind].name, kind) if kind in files else None

    def _publish(self, assembly: Assembly) -> None:
        """The writer thread's job: write what changed, note the shard in the ledger, let go of its rows."""
        self._still_ours()
        planned = assembly.planned
        before = planned.published.files if planned.published is not None else {}
        files: dict[str, Shard] = {}
        for kind, arrays in assembly.arrays().items():
            old = before.get(kind)
            if old is not None and holds_arrays(self.folder, old, kind, arrays):
                files[kind] = old
                continue
            name = choose_name(kind, planned.number, self.plan.taken)
            files[kind] = publish_shard(self.folder, name, kind, arrays, planned.rows)
            self.plan.taken.setdefault(kind, set()).add(name)
        entry = Entry(planned.number, self.asked.recipe, files, assembly.photo_id, assembly.stat, assembly.bad,
                      self.plan.turn)
        append_entry(self.folder, self.rank, entry)
        self._done[planned.index] = files
        del self._assemblies[planned.index]
