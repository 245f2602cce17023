"""Files that appear whole or not at all: written beside the target, synced, renamed."""
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data.errors import UserError

TEMPORARY = ".part"
MAX_JSON_BYTES = 1 << 30  # larger than any annotation file there is; what a folder brings has limits of its own


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, sync it and rename it to `path`.

    Args:
        path: the final name. Its folder is made when absent.

    Yields:
        The path to write to. It is removed when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well it takes the place of what is there.

    Args:
        path: the final name. Its parent is made when absent.

    Yields:
        The folder to write to, empty. It is removed when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}"
    partial, spent = path.with_name(name + TEMPORARY), path.with_name(f"{name}-old{TEMPORARY}")
    try:
        partial.mkdir()
        yield partial
        if path.exists():
            os.replace(path, spent)
        os.replace(partial, path)
        sync(path.parent)
        shutil.rmtree(spent, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync(path: Path, forget: bool = False) -> None:
    """Flush a file's or a folder's content to the disk.

    Args:
        forget: and out of memory, so that whoever reads it next reads what the disk has.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        if forget and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically and return its path."""
    with replace_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def settle_text(path: Path, text: str) -> Path:
    """Like `write_text`, but a file that holds this text already is left alone, time and all."""
    try:
        if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
            return path
    except OSError:  # what cannot be read is written anew
        pass
    return write_text(path, text)


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically: sorted keys, indented, so that equal values give equal bytes."""
    return write_text(path, format_json(value))


def format_json(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_json(path: Path, what: str, remedy: str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file that a user or a teammate gave us.

    Args:
        path: the file.
        what: its role in words, for the error ("the folder's manifest").
        remedy: what to do when it cannot be read.
        max_bytes: a larger file is refused unread.

    Raises:
        UserError: if it is absent, no regular file, too large, no UTF-8, no JSON, or nested beyond reason.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise UserError(f"expected {what} as a file at {path}, found something else; {remedy}")
        if status.st_size > max_bytes:
            raise UserError(f"expected {what} of at most {max_bytes} bytes in {path}, found {status.st_size}; {remedy}")
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=take_each_key_once)
    except FileNotFoundError:
        raise UserError(f"expected {what} at {path}, found no such file; {remedy}") from None
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number without end
        raise UserError(f"expected {what} as JSON in {path}, found {type(error).__name__}: {error}; {remedy}") from None


def take_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; for `json.loads`, which takes the last of two values of one key in silence.

    Raises:
        ValueError: naming a key that stands there twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.40} more than once in one object (its keys: {', '.join(names)[:120]})")
    return value


def write_sealed_json(path: Path, value: dict[str, Any]) -> Path:
    """Write JSON with a sha256 over itself, for notes of our own that can be made again; see `read_sealed_json`."""
    return write_json(path, {**value, "sha256": seal(value)})


def read_sealed_json(path: Path) -> dict[str, Any] | None:
    """What `write_sealed_json` wrote, to the last value; None where there is no such file or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if value.pop("sha256") == seal(value) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def seal(value: Any) -> str:
    """The sha256 over a value as `write_json` writes it."""
    return hashlib.sha256(format_json(value).encode()).hexdigest()


def require_room(folder: Path, what: str, num_bytes: float = 0) -> None:
    """Refuse, before any work, a folder that cannot be made or written into; a file is put there for a moment.

    Args:
        folder: need not exist. what: its role in words, for the error ("a run folder").
        num_bytes: at least so many will be written.

    Raises:
        UserError: if a file lies in its way, its disk may not be written to, or has less room than that.
    """
    absolute = folder.absolute()
    place = next(parent for parent in (absolute, *absolute.parents) if os.path.lexists(parent))
    if not place.is_dir():
        raise UserError(f"expected {what} at {folder}, found that {place} is no folder; name another one")
    free = shutil.disk_usage(place).free
    if free < num_bytes:
        raise UserError(f"expected room for {num_bytes / 2**20:.0f} MB or more in {place} for {what}, found "
                        f"{free / 2**20:.0f} MB free; make room, or name a folder on another disk")
    probe = place / f".{secrets.token_hex(8)}{TEMPORARY}"
    try:
        probe.write_bytes(bytes(4096))
        sync(probe)
    except OSError as error:
        raise UserError(f"expected to be able to write {what} into {place}, found: {error.strerror} "
                        f"({free / 2**20:.0f} MB free); mend that, or name another folder") from None
    finally:
        with suppress(OSError):
            probe.unlink()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
