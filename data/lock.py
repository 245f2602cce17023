"""One writer per folder: filelock's kernel lock on a file that says who holds it.

The kernel lets go of a lock when its process ends, however it ends: nobody has to judge whether a holder is dead, and
no lock is ever taken away. NFS tells its clients' locks to each other; a mount that keeps them to one machine (NFS with
`nolock`, most of FUSE) does not see holders elsewhere. Mounts without any (NFS without its lock daemon, Lustre without
`flock`) get filelock's lease beside the file: that a process elsewhere died holding it only its user can say.
"""
import errno
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from data.errors import UserError

PATIENCE_SECONDS = 0.2  # somebody may be looking who holds the lock, for a moment
RETRY_SECONDS = 0.02
LEASE_SECONDS = 90.0
MAX_BYTES = 1 << 16
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524)  # 524: the kernel's own "not supported", from NFS

Holder = dict[str, Any]


class HeldError(UserError):
    """Somebody alive holds what was asked for."""


@contextmanager
def hold(path: Path, what: str, group: str = "", patience: float | None = None) -> Iterator[Callable[[], None]]:
    """Hold a folder for as long as the block runs.

    Args:
        path: the lock file; its folder is made when absent.
        what: what is held and by which work, for the one refused ("run artifacts/run (training)").
        group: processes with locks of their own that work together say the same; see `refuse_strangers`.
        patience: seconds to wait for a holder, below 0 for ever.

    Yields:
        A function that raises a UserError when the lock's file was deleted, or is another's. To be asked before what
        must not be done twice.

    Raises:
        HeldError: if somebody alive holds it: names process, machine, since when and for what.
        UserError: if something that is no lock file lies there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    lock = _acquire(path, PATIENCE_SECONDS if patience is None else patience)
    if lock is None:
        raise HeldError(_refusal(path, what))

    def check() -> None:
        if _read(path).get("token") != token:
            raise UserError(f"expected to hold {what}, found its lock {path} taken away: somebody deleted it; give the "
                            "same command again")
    try:
        path.write_text(json.dumps({"token": token, "what": what, "group": group, "host": socket.gethostname(),
                                    "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
        yield check
    finally:
        with suppress(OSError):
            if _read(path).get("token") == token:
                path.unlink()  # before it is free: whoever waits for this file sees that it is gone, and opens anew
        lock.release()


def hold_when_free(path: Path, what: str) -> AbstractContextManager[Callable[[], None]]:
    """Wait until nobody alive holds it, then be the one; see `hold`."""
    return hold(path, what, patience=-1)


def read_token(path: Path) -> str | None:
    """What tells the holder of a lock from every other there was or will be; None where nobody has written it."""
    return _read(path).get("token")


def refuse_strangers(paths: Iterable[Path], what: str, group: str) -> None:
    """Refuse living holders of sibling locks that do not belong to one's group.

    Args:
        paths: lock files; those that are absent, or whose holder is gone, hinder nobody.

    Raises:
        HeldError: naming the first stranger.
    """
    for path in paths:
        if _read(path).get("group") != group and not is_gone(path) and _read(path).get("group") != group:
            raise HeldError(_refusal(path, what))


def is_gone(path: Path) -> bool:
    """Whether a lock's holder is dead, or the lock is not there."""
    if not path.exists():
        return True
    lock = _acquire(path, PATIENCE_SECONDS)
    if lock is not None:
        lock.release()
    return lock is not None


def _acquire(path: Path, patience: float) -> BaseFileLock | None:
    """The lock, or the lease of a mount without locks; None where somebody holds it for longer than that."""
    with suppress(FileNotFoundError):  # its holder may remove it at any moment
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UserError(f"expected a lock file at {path}, found something else; remove it")
    settings: dict[str, Any] = {"timeout": patience, "poll_interval": RETRY_SECONDS, "thread_local": False}
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False, **settings)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock = SoftFileLease(_lease_path(path), lease_duration=LEASE_SECONDS, **settings)
        try:
            lock.acquire()
        except Timeout:
            return None
    return lock


def _read(path: Path) -> Holder:
    try:
        with open(path, "rb") as file:
            raw = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _lease_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lease")  # hidden, so that it is not among the locks of a folder


def _refusal(path: Path, what: str) -> str:
    holder = _read(path)
    locks = [path, *([_lease_path(path)] if _lease_path(path).exists() else [])]
    return (f"expected {what} to be free, found it held by process {holder.get('pid', 'unknown')} on "
            f"{holder.get('host', 'an unknown machine')} since {holder.get('since', 'an unknown time')} "
            f"({holder.get('what', 'unknown work')}), lock {' and '.join(map(str, locks))}; wait for it to end, or "
            f"delete {'that file' if len(locks) == 1 else 'both'} if you are sure that it has")
