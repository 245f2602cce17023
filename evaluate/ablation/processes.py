"""Our own commands as processes side by side, each with its share of the cores; whoever stops us stops them."""
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO


def share_cores(jobs: int) -> dict[str, str]:
    """The environment of each of `jobs` processes that run side by side.

    More threads than cores make every one of them slower by a factor, and threads that wait busily take the cores from
    those that work.
    """
    environment = dict(os.environ)
    if jobs > 1:
        environment |= {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // jobs)),
                        "OMP_WAIT_POLICY": "PASSIVE"}
    return environment


class Processes:
    """The processes that were started and have not ended; used from several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def call(self, arguments: Sequence[str], words: IO[str]) -> int:
        """Run `python -m` with arguments to its end, what it says into a file; its exit code."""
        with self._lock:
            if self._stopped:
                return -signal.SIGTERM
            # a session of its own: an interrupt from the keyboard reaches it through `stop`, once
            process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=words, stderr=subprocess.STDOUT,
                                       env=self._environment, start_new_session=True)
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def stop(self) -> None:
        """Ask every process to save and end, and start no other."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end this block as an interrupt from the keyboard does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
