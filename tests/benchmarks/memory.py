"""Anonymous memory of this process, which mapped files are no part of: the system takes those back when it needs to."""
import threading
from pathlib import Path


class Peak:
    """The most anonymous memory while the block runs, looked at twenty times a second."""

    def __enter__(self) -> "Peak":
        self.begun = self.bytes = anonymous_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self.bytes = max(self.bytes, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.bytes = max(self.bytes, anonymous_bytes())

    @property
    def megabytes(self) -> float:
        """What came on top of what there was when the block began."""
        return (self.bytes - self.begun) / 1e6


def anonymous_bytes() -> int:
    """Memory of this process that is no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024
