"""Who works on a features folder: one extraction at a time, of one process or of several that share the shards."""
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from data.lock import hold, hold_when_free, is_gone, read_token, refuse_strangers
from extract.folder.recipe import LOCAL

LOCK = "lock-{rank}"
FINISHING = "finishing"


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


def take_turns(folder: Path) -> AbstractContextManager[Callable[[], None]]:
    """Wait until no other process settles the recipe or finishes the folder, then be the one."""
    return hold_when_free(folder / LOCAL / FINISHING, f"the end of features folder {folder}")


def is_held_by(folder: Path, token: str | None) -> bool:
    """Whether a living process of an extraction of this folder has that token; see `own_token`."""
    return token is not None and any(read_token(path) == token and not is_gone(path) for path in lock_paths(folder))


def own_token(folder: Path, rank: int) -> str | None:
    """What tells this process, which holds the folder, from others."""
    return read_token(folder / LOCAL / LOCK.format(rank=rank))
