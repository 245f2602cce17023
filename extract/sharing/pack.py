"""pack: a features folder, or a part of it, as one tar of which equal folders give equal bytes."""
import argparse
import os
import tarfile
import time
from pathlib import Path
from typing import BinaryIO

from data.errors import UserError
from data.files import replace_file, require_room
from data.folder.folder import require_folder
from data.folder.manifest import Manifest, load_manifest
from data.folder.part import read_lacks, without
from data.progress import Progress
from extract.sharing.contents import Choice, Parcel, check_contents, gather, list_files, write_notes

BLOCK, RECORD = 512, 10240
COPY_BYTES = 1 << 24


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        UserError: if there is no features folder, or it is damaged.
    """
    folder: Path = arguments.folder
    target = arguments.out or folder.with_name(f"{folder.resolve().name}.tar")
    started = time.monotonic()
    pack_folder(folder, target, Choice(arguments.splits, arguments.words, arguments.leave_out))
    size, seconds = target.stat().st_size / 1e6, time.monotonic() - started
    print(f"packed {target}: {size:.1f} MB in {seconds:.1f} s ({size / max(seconds, 1e-3):.0f} MB/s)")


def pack_folder(folder: Path, target: Path, choice: Choice) -> Path:
    """Write one uncompressed tar: notes first, then files by name; times, owners and modes say nothing.

    The folder is only read, and need not be writable.

    Raises:
        UserError: if there is no features folder, the choice is none, or a file is not what the manifest says.
    """
    parcel, _ = prepare(folder, choice)
    if target.absolute().is_relative_to(folder.absolute()):
        raise UserError(f"expected the tar outside of {folder}, found {target}; name another place with --out")
    total = sum(parcel.sizes.values())
    require_room(target.parent, "a tar", total)
    progress = Progress(total >> 20, "MB")
    with replace_file(target) as partial, open(partial, "wb") as tar:
        for name, text in parcel.notes.items():
            _write_header(tar, name, len(text))
            tar.write(text)
            _pad(tar, BLOCK)
        for file in check_contents(parcel):
            _write_header(tar, file.name, parcel.sizes[file.name])
            _append(tar, parcel.root / file.name, parcel.sizes[file.name])
            _pad(tar, BLOCK)
            progress.add(parcel.sizes[file.name] >> 20)
        tar.write(bytes(2 * BLOCK))
        _pad(tar, RECORD)
    progress.close()
    return target


def prepare(folder: Path, choice: Choice) -> tuple[Parcel, Manifest]:
    """What is handed on of a folder, with its notes, and its manifest; see `extract.sharing.contents.gather`."""
    require_folder(folder)
    whole, lacks = load_manifest(folder), read_lacks(folder)
    parcel = gather(folder, without(whole, lacks), lacks, choice)
    write_notes(parcel, whole, list_files(whole).keys() - parcel.sizes.keys())
    return parcel, whole


def _write_header(tar: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    tar.write(info.tobuf(tarfile.PAX_FORMAT, "ascii", "strict"))


def _append(tar: BinaryIO, path: Path, size: int) -> None:
    """Let the system copy a file into the tar."""
    tar.flush()
    with open(path, "rb") as source:
        while size:
            copied = os.sendfile(tar.fileno(), source.fileno(), None, min(size, COPY_BYTES))
            if not copied:
                raise UserError(f"expected {size} more bytes in {path}, found its end; run verify")
            size -= copied
    tar.seek(0, os.SEEK_END)


def _pad(tar: BinaryIO, block: int) -> None:
    tar.write(bytes(-tar.tell() % block))
