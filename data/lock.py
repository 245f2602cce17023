"""One writer per folder: a lock file with who holds it and a heartbeat, for local and network disks alike.

File-system locks fail on NFS and Lustre, so the lock is a file that appears by `link` (atomic everywhere) and whose
modification time its holder renews. A holder is gone when its process on this machine is, or when it lives
elsewhere and its heartbeat stopped.
"""
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import UserError

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0  # on the clock of the disk, compared with a file just touched there
RETRY_SECONDS = 0.01


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
        A function that raises a UserError when the lock is lost: this process was away for so long (a laptop asleep,
        a disk that hung) that it was taken for dead and somebody else went on. To be asked before what must not be
        done twice.

    Raises:
        HeldError: if somebody alive holds it: names process and machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = _acquire(path, what, group)

    def check() -> None:
        if _read(path).get("token") != token:
            raise UserError(f"expected to hold {what}, found its lock {path} taken away: this process was silent for "
                            f"over {STALE_SECONDS:.0f} s or somebody deleted it; give the same command again")

    ended = threading.Event()
    beat = threading.Thread(target=_renew, args=(path, token, ended), daemon=True)
    beat.start()
    try:
        yield check
    finally:
        ended.set()
        beat.join()
        if _read(path).get("token") == token:
            path.unlink(missing_ok=True)


def refuse_strangers(paths: Iterable[Path], what: str, group: str) -> None:
    """Refuse living holders of sibling locks that do not belong to one's group.

    Args:
        paths: lock files; those that are absent, or whose holder is gone, hinder nobody.

    Raises:
        HeldError: naming the first stranger.
    """
    for path in paths:
        holder = _read(path)
        if holder and holder.get("group") != group and not is_gone(path):
            raise HeldError(_refusal(path, what, holder))


def is_gone(path: Path) -> bool:
    """Whether a lock's holder is dead, or the lock is not there."""
    probe = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        probe.touch()
        return _is_gone(path, _read(path), probe)
    finally:
        probe.unlink(missing_ok=True)


def _acquire(path: Path, what: str, group: str) -> str:
    token = secrets.token_hex(8)
    mine = path.with_name(f".{path.name}.{token}")
    holder = {"token": token, "what": what, "group": group, "host": socket.gethostname(), "pid": os.getpid(),
              "started": _started(os.getpid()), "namespace": _namespace()}
    try:
        mine.write_text(json.dumps(holder), encoding="utf-8")
        for _ in range(20):
            try:
                _appear(mine, path)
                return token
            except FileExistsError:
                holder = _read(path)
                if not _is_gone(path, holder, mine):
                    raise HeldError(_refusal(path, what, holder)) from None
                _remove(path, holder, mine)
        raise UserError(f"expected to get hold of {path}, found others taking it again and again; try once more")
    finally:
        mine.unlink(missing_ok=True)


def _appear(mine: Path, path: Path) -> None:
    try:
        os.link(mine, path)  # whole at once, and fails where the lock exists, on network disks too
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        with open(path, "x", encoding="utf-8") as file:
            file.write(mine.read_text(encoding="utf-8"))


def _remove(path: Path, holder: dict[str, Any], mine: Path) -> None:
    """Take a dead holder's lock away, one process at a time: nobody takes away what another has put there since."""
    turn = path.with_name(f".{path.name}.removing")
    try:
        _appear(mine, turn)
    except FileExistsError:
        if _is_gone(turn, _read(turn), mine):  # killed within that millisecond
            turn.unlink(missing_ok=True)
        time.sleep(RETRY_SECONDS)
        return
    try:
        if _read(path).get("token") == holder.get("token"):
            path.unlink(missing_ok=True)
    finally:
        turn.unlink(missing_ok=True)


def _renew(path: Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            if _read(path).get("token") == token:
                os.utime(path)
        except OSError:  # a disk that is away for a moment: the next beat tries again
            continue


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _is_gone(path: Path, holder: dict[str, Any], mine: Path) -> bool:
    same_machine = (holder.get("host"), holder.get("namespace")) == (socket.gethostname(), _namespace())
    if same_machine and isinstance(holder.get("pid"), int) and 0 < holder["pid"] < 1 << 31:
        return _started(holder["pid"]) != holder.get("started")
    try:
        os.utime(mine)
        return mine.stat().st_mtime - path.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:
        return not path.exists()


def _started(pid: int) -> str:
    """When a process of this machine began, in the kernel's ticks; empty when there is none of that id.

    One that has died and that its parent has not asked about yet (in many containers nobody ever does) is none.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if state[0] in "ZX" else state[19]
    except OSError:
        pass
    try:  # no /proc: alive or not is all we learn
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "" if os.path.isdir("/proc/self") else "alive"


def _namespace() -> str:
    """Tells apart containers that share a host name but not their process ids; the boot is part of it."""
    parts = []
    for source in (lambda: os.readlink("/proc/self/ns/pid"),
                   lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()):
        try:
            parts.append(source())
        except OSError:
            continue
    return " ".join(parts)


def _refusal(path: Path, what: str, holder: dict[str, Any]) -> str:
    return (f"expected {what} to be free, found it held by process {holder.get('pid', 'unknown')} on "
            f"{holder.get('host', 'an unknown machine')} ({holder.get('what', 'unknown work')}), lock {path}; wait for "
            "it to end, or delete that file if you are sure that it has")
