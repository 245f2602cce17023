"""How far long work is, as a bar on a terminal and a line per interval elsewhere, and where its time went."""
import logging
import sys
import time
from dataclasses import dataclass, field

from tqdm import tqdm

INTERVAL_SECONDS = 30.0

log = logging.getLogger(__name__)


class Progress:
    """Counts things done out of a total.

    Args:
        what: plural noun. quiet: neither bar nor lines.
    """

    def __init__(self, total: int, what: str, quiet: bool = False) -> None:
        self.total, self.what, self.done, self.skipped = total, what, 0, 0
        self._started = self._said = time.monotonic()
        self._quiet = quiet
        self._bar = tqdm(total=total, unit=f" {what}", smoothing=0.05) if sys.stderr.isatty() and not quiet else None

    def add(self, count: int = 1, skipped: int = 0) -> None:
        """Count things done, and those of them that were skipped."""
        self.done += count
        self.skipped += skipped
        if self._bar is not None:
            if skipped:
                self._bar.set_postfix(skipped=self.skipped, refresh=False)
            self._bar.update(count)
        elif not self._quiet and time.monotonic() - self._said >= INTERVAL_SECONDS:
            self._said = time.monotonic()
            rate = self.done / (self._said - self._started)
            log.info("%s %d of %d, %.1f/s, %s to go, %d skipped", self.what, self.done, self.total, rate,
                     spell_seconds((self.total - self.done) / rate), self.skipped)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def spell_seconds(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads well."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@dataclass
class Timing:
    """Wall seconds by what the main thread waited on, and counts.

    Attributes:
        started, first, ended: when the run began, its first photo was there, and its last shard was written.
        read, compute, write: seconds. looked_at: distinct contents. copied: rows whose content was known.
    """

    started: float = field(default_factory=time.perf_counter)
    first: float = 0.0
    ended: float = 0.0
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    photos: int = 0
    looked_at: int = 0
    copied: int = 0
    bad: int = 0

    @property
    def rate(self) -> float:
        """Photos a second from the first one on: what a long run comes to."""
        return self.photos / max(self.ended - self.first, 1e-9)

    @property
    def bottleneck(self) -> str:
        """What the others waited on."""
        return max((("reading", self.read), ("the model", self.compute), ("writing", self.write)),
                   key=lambda pair: pair[1])[0]
