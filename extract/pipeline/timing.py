"""Where the time of an extraction went."""
import time
from dataclasses import dataclass, field


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
