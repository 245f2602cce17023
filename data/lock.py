"""One writer per folder: the kernel's lock on a file that says who holds it.

The kernel lets go of its lock when a process ends, however it ends: nobody has to judge whether a holder is dead, and
no lock is ever taken away. Some mounts know such locks on one machine alone (NFS with `nolock`, most of FUSE): there a
holder elsewhere is respected while it renews the file's modification time. Mounts without any (NFS without its lock
daemon, Lustre without `flock`) get filelock's lease beside the file. Measured against that lease alone: it takes a
process that has died and that nobody asked about for alive, and never frees a dead holder's lock on NFS.
"""
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout, lock_descriptor

from data.errors import UserError

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0  # of a holder on another machine; on the clock of the disk, by a file just touched there
PATIENCE_SECONDS = 0.2  # somebody may be looking who holds the lock, for a moment
RETRY_SECONDS = 0.01
MAX_BYTES = 1 << 16
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, 524)  # 524: the kernel's own "not supported", from NFS

Holder = dict[str, Any]


class HeldError(UserError):
    """Somebody alive holds what was asked for."""


@contextmanager
def hold(path: Path, what: str, group: str = "") -> Iterator[Callable[[], None]]:
    """Hold a folder for as long as the block runs.

    Args:
        path: the lock file; its folder is made when absent.
        what: what is held and by which work, for the one refused ("run artifacts/run (training)").
        group: processes with locks of their own that work together say the same; see `refuse_strangers`.

    Yields:
        A function that raises a UserError when the lock is lost: somebody deleted its file, or this process was silent
        for so long that another machine took it for dead. To be asked before what must not be done twice.

    Raises:
        HeldError: if somebody alive holds it: names process, machine, since when and for what.
        UserError: if something that is no lock file lies there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    holder = {"token": token, "what": what, "group": group, "host": socket.gethostname(), "boot": _machine(),
              "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    handle, lease = _acquire(path, what, holder)

    def check() -> None:
        if _read(path).get("token") != token:
            raise UserError(f"expected to hold {what}, found its lock {path} taken away: somebody deleted it, or this "
                            f"process was silent for over {STALE_SECONDS:.0f} s; give the same command again")

    ended = threading.Event()
    beat = threading.Thread(target=_renew, args=(handle, ended), daemon=True)
    beat.start()
    try:
        yield check
    finally:
        ended.set()
        beat.join()
        with suppress(OSError):
            if _read(path).get("token") == token:
                path.unlink()  # before it is free: whoever waits for this file sees that it is gone, and opens anew
        os.close(handle)
        if lease is not None:
            lease.release()


@contextmanager
def hold_when_free(path: Path, what: str) -> Iterator[Callable[[], None]]:
    """Wait until nobody alive holds it, then be the one; see `hold`."""
    with ExitStack() as stack:
        while True:
            try:
                still_held = stack.enter_context(hold(path, what))
                break
            except HeldError:
                time.sleep(PATIENCE_SECONDS)
        yield still_held


def living_token(path: Path) -> str | None:
    """What tells the living holder of a lock from every other there was or will be; None where nobody holds it."""
    return None if is_gone(path) else _read_settled(path).get("token")


def refuse_strangers(paths: Iterable[Path], what: str, group: str) -> None:
    """Refuse living holders of sibling locks that do not belong to one's group.

    Args:
        paths: lock files; those that are absent, or whose holder is gone, hinder nobody.

    Raises:
        HeldError: naming the first stranger.
    """
    for path in paths:
        if not is_gone(path) and (holder := _read_settled(path)).get("group") != group and not is_gone(path):
            raise HeldError(_refusal(path, what, holder))


def is_gone(path: Path) -> bool:
    """Whether a lock's holder is dead, or the lock is not there."""
    try:
        handle = _open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look do not see each other
        return not _lives_elsewhere(path)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return not _is_beating(path)
    finally:
        os.close(handle)


def _acquire(path: Path, what: str, holder: Holder) -> tuple[int, SoftFileLease | None]:
    """The open lock file, locked and with the holder written into it, and the lease of a mount without locks."""
    patient_until = time.monotonic() + PATIENCE_SECONDS
    while True:
        handle = _open(path, os.O_RDWR | os.O_CREAT)
        lease = None
        try:
            is_ours, lease = _lock(handle, path)
            if is_ours and not _lives_elsewhere(path):
                _write(handle, holder, path)
                if _read(path).get("token") == holder["token"]:  # else its last holder removed it since it was opened
                    return handle, lease
        except BaseException:
            _let_go(handle, lease)
            raise
        _let_go(handle, lease)
        if time.monotonic() > patient_until:
            raise HeldError(_refusal(path, what, _read_settled(path)))
        time.sleep(RETRY_SECONDS)


def _lock(handle: int, path: Path) -> tuple[bool, SoftFileLease | None]:
    try:
        return lock_descriptor(handle, blocking=False), None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    lease = SoftFileLease(_lease_path(path), lease_duration=STALE_SECONDS, heartbeat_interval=HEARTBEAT_SECONDS,
                          thread_local=False)
    silent = _lease_path(path).exists() and not _is_beating(path)
    try:  # the library frees a lease that it has itself seen silent for that long
        lease.acquire(timeout=STALE_SECONDS + HEARTBEAT_SECONDS if silent else 0)
    except Timeout:
        return False, None
    return True, lease


def _let_go(handle: int, lease: SoftFileLease | None) -> None:
    os.close(handle)
    if lease is not None:
        lease.release()


def _open(path: Path, flags: int) -> int:
    """Open a lock file and nothing else: a folder that somebody handed on may hold a link or a pipe in its place."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
    else:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
    raise UserError(f"expected a lock file at {path}, found something else; remove it")


def _write(handle: int, holder: Holder, path: Path) -> None:
    content = json.dumps(holder).encode()
    try:
        os.pwrite(handle, content, 0)
        os.ftruncate(handle, len(content))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _read(path: Path) -> Holder:
    try:
        with open(_open(path, os.O_RDONLY), "rb") as file:
            raw = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):  # a UserError is a ValueError
        return {}
    return raw if isinstance(raw, dict) else {}


def _read_settled(path: Path) -> Holder:
    """Who holds a lock, which a holder writes just after it has it."""
    patient_until = time.monotonic() + PATIENCE_SECONDS
    while not (holder := _read(path)) and path.exists() and time.monotonic() < patient_until:
        time.sleep(RETRY_SECONDS)
    return holder


def _renew(handle: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):  # a disk that is away for a moment: the next beat tries again
            os.utime(handle)


def _lives_elsewhere(path: Path) -> bool:
    """Whether a file that is locked by nobody here names a holder on another machine that goes on renewing it."""
    holder = _read(path)
    return bool(holder) and holder.get("boot") != _machine() and _is_beating(path)


def _is_beating(path: Path) -> bool:
    probe = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _machine() -> str:
    """Tells machines apart, and a machine before its restart; containers of one machine share its kernel's locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _lease_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lease")  # hidden, so that it is not among the locks of a folder


def _refusal(path: Path, what: str, holder: Holder) -> str:
    locks = [path, *([_lease_path(path)] if _lease_path(path).exists() else [])]
    return (f"expected {what} to be free, found it held by process {holder.get('pid', 'unknown')} on "
            f"{holder.get('host', 'an unknown machine')} since {holder.get('since', 'an unknown time')} "
            f"({holder.get('what', 'unknown work')}), lock {' and '.join(map(str, locks))}; wait for it to end, or "
            f"delete {'that file' if len(locks) == 1 else 'both'} if you are sure that it has")
