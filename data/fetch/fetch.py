"""Fetch the missing photos of a data folder: `python -m data fetch DATA`.

One loop knows who is asked when: photos wait in the line of their host, so many of a host are asked at a time, who
asked for patience (429, 503, Retry-After) gets it, and who does not answer at all is left in peace. A photo has
several addresses (`url_o`, then `url_m`); it is gone when none of them has it.
"""
import asyncio
import heapq
import itertools
import random
import re
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from data.annotations.annotation_file import load_annotations
from data.annotations.stories import Dataset, find_files, read_dataset
from data.errors import LimitExceeded, shell_word
from data.fetch.config import FetchConfig
from data.fetch.download import MOVED, Downloader, Outcome
from data.fetch.journal import FAILED, FOLDER, GONE, SAVED, Journal, Line, summarise, write_report
from data.files import require_room
from data.lock import hold
from data.pictures.photos import PLACEHOLDER_ALBUMS, PLACEHOLDER_IDS, scan_photos
from data.progress import Progress

URL_FIELDS = ("url_o", "url_m")
PHOTOS = "photos"  # the folder below DATA
MAX_REDIRECTS = 5
BACK_OFF, LONGEST_BACK_OFF = 1.0, 60.0  # seconds after the first failure, doubled after each
LONGEST_WAIT = 300.0  # that a host may ask for; who wants more is asked by the next run
SILENT = 25  # attempts in a row without a whole answer, and a host counts as away
PLACEHOLDER_NAME = re.compile(r"unavailable|placeholder", re.IGNORECASE)  # where Flickr sends those who come too late
DECODERS = 4
BY_SETTING = ("private address", "larger than")  # what another setting may let in is asked for every time


@dataclass
class Photo:
    """A photo and where it stands: `place` in its addresses, `url` it is asked for at now, redirects included."""

    id: str
    album: str
    urls: tuple[str, ...]
    place: int = 0
    url: str = ""
    tries: int = 0
    hops: int = 0
    causes: list[str] = field(default_factory=list)
    is_passing: bool = False


@dataclass
class Host:
    """A host's line, how many of it are being asked for, when it may be asked again, attempts without an answer."""

    line: deque[Photo] = field(default_factory=deque)
    active: int = 0
    not_before: float = 0.0
    silent: int = 0


def fetch_photos(config: FetchConfig) -> str:
    """Fetch what is missing, write the report, and return it in short.

    Raises:
        UserError: if the data folder cannot be read or written to.
        LimitExceeded: if some photos could not be had for now; the message ends with what to do.
    """
    wanted = list_wanted(config, read_dataset(config.root))
    present = wanted.keys() & scan_photos(config.root)[0].keys()
    if len(present) == len(wanted) and not (config.root / FOLDER).exists():
        return summarise(config.root, len(wanted), len(wanted), [], [])  # a folder that lacks nothing is only read
    require_room(config.root, "photos")
    with hold(config.root / FOLDER / "lock", f"data folder {config.root} (fetching photos)"):
        journal = Journal(config.root)
        fetching = Fetching(config, wanted, present, journal)
        try:
            asyncio.run(fetching.run())
        finally:
            journal.close()
            absent = [journal.lines[photo_id] for photo_id in sorted(wanted) if photo_id not in fetching.present
                      and photo_id in journal.lines]
            write_report(config.root, absent, {photo.id: photo.album for photo in wanted.values()})
    saved = [line for line in journal.lines.values() if line.id in fetching.fetched]
    text = summarise(config.root, len(wanted), len(fetching.present) - len(saved), saved, absent)
    failed = sum(line.result == FAILED for line in absent)
    if failed:
        print(text)
        raise LimitExceeded(f"expected every host to answer, found {failed} photos that could not be fetched for now; "
                            f"give the same command again later: python -m data fetch {shell_word(config.root)}")
    return text


def list_wanted(config: FetchConfig, dataset: Dataset) -> dict[str, Photo]:
    """Every wanted photo by id, with the addresses that the annotations' images give it."""
    albums: dict[str, str] = {}
    for stories in dataset.stories.values():
        for story in stories:
            for photo_id in story.photo_ids:
                albums.setdefault(photo_id, story.album_id)
    if config.photos == "albums":
        for pairs in dataset.album_photos.values():
            for album_id, photo_id in pairs:
                albums.setdefault(photo_id, album_id)
    urls: dict[str, dict[tuple[int, str], None]] = defaultdict(dict)
    for tier in ("story-in-sequence", "description-in-isolation"):
        for path in find_files(config.root, tier)[0].values():
            for image in load_annotations(path)[0]["images"]:
                known = isinstance(image, dict) and isinstance(image.get("id"), str) and image["id"] in albums
                for rank, name in enumerate(URL_FIELDS if known else ()):
                    if isinstance(image.get(name), str):
                        urls[image["id"]][rank, image[name].strip()] = None
    return {photo_id: Photo(photo_id, album_id, tuple(dict.fromkeys(url for _, url in sorted(urls[photo_id]))))
            for photo_id, album_id in albums.items()}


class Fetching:
    """One run over all wanted photos.

    Attributes:
        present: ids whose file is there. fetched: those of them that this run put there.
    """

    def __init__(self, config: FetchConfig, wanted: dict[str, Photo], present: set[str], journal: Journal) -> None:
        self.config, self.wanted, self.present, self.journal = config, wanted, present, journal
        self.fetched: set[str] = set()
        self._hosts: dict[str, Host] = defaultdict(Host)
        self._later: list[tuple[float, int, Photo]] = []
        self._count = itertools.count()
        self._placeholders: set[str] = set()
        self._by_content: dict[str, set[str]] = defaultdict(set)
        for line in journal.lines.values():
            if line.result == SAVED and line.id in present:
                self._by_content[line.sha256].add(line.id)
                wanted[line.id].place = line.place
        known = {line.id for line in journal.lines.values() if line.result == GONE and not config.retry
                 and not any(cause in line.cause for cause in BY_SETTING)}
        missing = [photo for photo in wanted.values() if photo.id not in present and photo.id not in known]
        self._progress = Progress(len(missing), PHOTOS)
        for photo in missing:
            self._go_to(photo, 0)

    async def run(self) -> None:
        """Ask until every photo is there or given up."""
        pool = ThreadPoolExecutor(DECODERS)
        downloader = Downloader(self.config, self.config.root / PHOTOS, pool)
        running: dict[asyncio.Task[Outcome], tuple[Photo, Host]] = {}
        try:
            while True:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._queue(heapq.heappop(self._later)[2])
                for photo, host in self._take(now, self.config.connections - len(running)):
                    running[asyncio.create_task(downloader.attempt(photo.id, photo.url))] = photo, host
                wake = self._next_wake(now)
                if running:
                    done, _ = await asyncio.wait(running, timeout=wake, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        photo, host = running.pop(task)
                        host.active -= 1
                        self._settle(photo, host, task.result())
                elif wake is not None:
                    await asyncio.sleep(wake)
                else:
                    return
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await downloader.close()
            pool.shutdown()
            self._progress.close()

    def _take(self, now: float, room: int) -> Iterator[tuple[Photo, Host]]:
        for host in self._hosts.values():
            while room > 0 and host.line and host.active < self.config.per_host and host.not_before <= now:
                host.active += 1
                room -= 1
                yield host.line.popleft(), host

    def _next_wake(self, now: float) -> float | None:
        """Seconds until somebody who waits may be asked; None where nobody waits for the clock."""
        times = [host.not_before for host in self._hosts.values() if host.line and host.not_before > now]
        times += [self._later[0][0]] if self._later else []
        return max(0.0, min(times) - now) if times else None

    def _settle(self, photo: Photo, host: Host, outcome: Outcome) -> None:
        host.silent = host.silent + 1 if outcome.unheard else 0
        if outcome.kind == SAVED:
            self._keep(photo, outcome)
        elif outcome.kind == MOVED:
            photo.hops += 1
            photo.url = outcome.url
            if PLACEHOLDER_NAME.search(photo.url.partition("?")[0].rpartition("/")[2]):
                self._give_up(photo, "placeholder picture")
            elif photo.hops > MAX_REDIRECTS:
                self._give_up(photo, "too many redirects")
            else:
                self._queue(photo)
        elif outcome.kind == GONE:
            self._give_up(photo, outcome.cause)
        else:
            self._try_again(photo, host, outcome)
        if host.silent >= SILENT:
            while host.line:
                self._give_up(host.line.popleft(), "host does not answer", is_passing=True)

    def _try_again(self, photo: Photo, host: Host, outcome: Outcome) -> None:
        photo.tries += 1
        wait, now = outcome.wait or 0.0, time.monotonic()
        if wait > LONGEST_WAIT:
            self._give_up(photo, f"{outcome.cause}, come back in {wait:.0f} s", is_passing=True)
            return
        if wait:
            host.not_before = max(host.not_before, now + wait)  # it is the host that is busy, not the photo
        if photo.tries >= self.config.tries or host.silent >= SILENT:
            self._give_up(photo, outcome.cause, is_passing=True)
            return
        back_off = min(LONGEST_BACK_OFF, BACK_OFF * 2 ** (photo.tries - 1)) * random.uniform(0.5, 1.5)
        heapq.heappush(self._later, (now + max(wait, back_off), next(self._count), photo))

    def _keep(self, photo: Photo, outcome: Outcome) -> None:
        assert outcome.path is not None
        file = outcome.path.relative_to(self.config.root).as_posix()
        self.journal.note(Line(photo.id, SAVED, "", photo.place, file, outcome.sha256, outcome.size))
        self.present.add(photo.id)
        self.fetched.add(photo.id)
        self._progress.add()
        same = self._by_content[outcome.sha256]
        same.add(photo.id)
        if outcome.sha256 in self._placeholders or (len(same) >= PLACEHOLDER_IDS and len(
                {self.wanted[other].album for other in same}) >= PLACEHOLDER_ALBUMS):
            self._placeholders.add(outcome.sha256)
            for other in sorted(same):  # files of ours that turned out to be one picture under many ids
                (self.config.root / self.journal.lines[other].file).unlink(missing_ok=True)
                self.present.discard(other)
                self.fetched.discard(other)
                self._progress.add(-1)
                self._give_up(self.wanted[other], "placeholder picture")
            same.clear()

    def _give_up(self, photo: Photo, cause: str, is_passing: bool = False) -> None:
        """Leave an address; a photo without another one is not to be had, for now if one of them may come back."""
        photo.causes.append(cause)
        photo.is_passing |= is_passing
        self._go_to(photo, photo.place + 1)

    def _go_to(self, photo: Photo, place: int) -> None:
        photo.place, photo.tries, photo.hops = place, 0, 0
        if place < len(photo.urls):
            photo.url = photo.urls[place]
            self._queue(photo)
            return
        causes = "; ".join(dict.fromkeys(photo.causes)) or "no address in the annotations"
        self.journal.note(Line(photo.id, FAILED if photo.is_passing else GONE, causes))
        self._progress.add(1, skipped=1)

    def _queue(self, photo: Photo) -> None:
        try:
            host = self._hosts[urlsplit(photo.url).hostname or ""]
        except ValueError:
            self._give_up(photo, "no http(s) address")
            return
        if host.silent >= SILENT:
            self._give_up(photo, "host does not answer", is_passing=True)
        else:
            host.line.append(photo)
