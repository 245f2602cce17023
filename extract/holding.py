"""Who works on a features folder: one extraction at a time, of one process or of several that share the shards."""
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from data.lock import HeldError, hold, refuse_strangers
from extract.recipe import LOCAL

LOCK = "lock-{rank}"
FINISHING = "finishing"
PATIENCE_SECONDS = 0.1


@contextmanager
def hold_folder(folder: Path, rank: int, world: int) -> Iterator[Callable[[], None]]:
    """Hold a folder as one of `world` processes; those of another number are strangers.

    Yields:
        A function that raises when the folder was taken over; see `data.lock.hold`.

    Raises:
        HeldError: if this rank's place, or the folder, is held by somebody alive: names who.
    """
    what = f"features folder {folder} (extraction, process {rank + 1} of {world})"
    group = f"world {world}"
    path = folder / LOCAL / LOCK.format(rank=rank)
    with hold(path, what, group) as still_held:
        refuse_strangers(lock_paths(folder), what, group)
        yield still_held


def lock_paths(folder: Path) -> list[Path]:
    """The lock files of all processes, dead or alive."""
    return sorted((folder / LOCAL).glob(LOCK.format(rank="*")))


@contextmanager
def take_turns(folder: Path) -> Iterator[None]:
    """Wait until no other process stages words or finishes the folder, then be the one."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(folder / LOCAL / FINISHING, f"the end of features folder {folder}"))
                break
            except HeldError:
                time.sleep(PATIENCE_SECONDS)
        yield
