"""pack: a features folder, or a part of it, as one tar of which equal folders give equal bytes."""
import argparse
import io
import tarfile
import time
from pathlib import Path

from data.errors import UserError
from data.files import replace_file, require_room
from data.folder.folder import require_folder
from data.folder.manifest import Manifest, load_manifest
from data.folder.part import read_lacks, without
from data.progress import Progress
from extract.sharing.contents import Choice, Parcel, check_contents, gather, list_files, write_notes

COPY_BYTES = 1 << 20


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
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
    with replace_file(target) as partial, tarfile.TarFile(
            partial, "w", format=tarfile.PAX_FORMAT, encoding="ascii", errors="strict", copybufsize=COPY_BYTES) as tar:
        for name, text in parcel.notes.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
        for file in check_contents(parcel):
            member, path = tarfile.TarInfo(file.name), parcel.root / file.name
            member.size = parcel.sizes[file.name]
            with open(path, "rb") as source:
                try:
                    tar.addfile(member, source)
                except OSError as error:
                    if error.errno is not None:  # of the disk; tarfile's own has no number
                        raise
                    raise UserError(f"expected {member.size - source.tell()} more bytes in {path}, found its end; run "
                                    "verify") from None
            progress.add(member.size >> 20)
    progress.close()
    return target


def prepare(folder: Path, choice: Choice) -> tuple[Parcel, Manifest]:
    """What is handed on of a folder, with its notes, and its manifest; see `extract.sharing.contents.gather`."""
    require_folder(folder)
    whole, lacks = load_manifest(folder), read_lacks(folder)
    parcel = gather(folder, without(whole, lacks), lacks, choice)
    write_notes(parcel, whole, list_files(whole).keys() - parcel.sizes.keys())
    return parcel, whole
