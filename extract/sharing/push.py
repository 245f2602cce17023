"""push: a features folder, or a part of it, to where others can pull it; the manifest comes last."""
import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from data.errors import UserError
from data.folder.identity import require_same
from data.folder.manifest import MANIFEST, Manifest
from data.folder.part import PART
from data.progress import Progress
from extract.sharing.address import parse_address
from extract.sharing.contents import Choice, File, Parcel, check_contents, list_files, read_offer, write_notes
from extract.sharing.pack import prepare
from extract.sharing.target import FolderTarget, StoreTarget, open_target
from extract.sharing.transport import first_line

Target: TypeAlias = FolderTarget | StoreTarget
INCOMING = "incoming.json"  # the manifest of a push that has not ended: what it brought so far can be told by it


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    started = time.monotonic()
    choice = Choice(arguments.splits, arguments.words, arguments.leave_out)
    sent, size = push_folder(arguments.folder, arguments.url, choice)
    seconds = time.monotonic() - started
    print(f"pushed {sent} files, {size / 1e6:.1f} MB in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s) to "
          f"{parse_address(arguments.url).shown}")


def push_folder(folder: Path, url: str, choice: Choice) -> tuple[int, int]:
    """Bring to a place what of a folder is not there yet: shards, then texts, then the manifest.

    Returns:
        Files that were sent beside the notes, and bytes.

    Raises:
        UserError: if the folder is damaged, another one is there, or the place cannot be written to; what came there
            is found again by the next call.
    """
    address = parse_address(url)
    target = open_target(address)
    parcel, whole = prepare(folder, choice)
    try:
        return _push(target, parcel, whole, address.shown)
    except Exception as error:  # each library has its own kinds, without a common root
        if isinstance(error, UserError) or address.scheme == "file":
            raise
        raise UserError(f"expected to be able to write to {address.shown}, found {first_line(error)}; mend that and "
                        "give the same command again: it goes on where this one stopped") from None


def _push(target: Target, parcel: Parcel, whole: Manifest, shown: str) -> tuple[int, int]:
    sizes = target.sizes()
    trusted = _find_trusted(target, parcel, whole, shown)
    there = {name: file for name, file in list_files(whole).items() if trusted.get(name) == file.sha256
             and name in sizes and file.bytes in (None, sizes[name])}
    missing = sorted((file for file in parcel.files if file.name not in there),
                     key=lambda file: (file.bytes is None, file.name))  # shards, then texts
    for file in missing:  # what an earlier push of another folder left would be taken for ours
        if file.bytes is not None and file.name in sizes:
            target.remove(file.name)
    manifest = (parcel.root / MANIFEST).read_bytes()
    list(target.put([(INCOMING, manifest)]))
    progress = Progress(sum(parcel.sizes[file.name] for file in missing) >> 20, "MB")
    sent = 0
    checked = ((file.name, parcel.root / file.name) for file in check_contents(replace(parcel, files=missing)))
    for name in target.put(checked):  # each is hashed before it is sent
        sent += parcel.sizes[name]
        progress.add((sent >> 20) - progress.done)
    progress.close()
    _finish(target, parcel, whole, [file for file in there.values() if file.name not in parcel.sizes], sizes)
    return len(missing), sent


def _find_trusted(target: Target, parcel: Parcel, whole: Manifest, shown: str) -> dict[str, str]:
    """The sha256 of what is there by name: as its manifest says, and as far as an earlier push of this folder came.

    Raises:
        UserError: if another folder is there.
    """
    text = target.read(MANIFEST)
    trusted: dict[str, str] = {}
    if text is not None:
        there, _ = read_offer(text, None, shown)
        require_same("recipe", there.recipe, whole.recipe, f"features folder {shown}", str(parcel.root),
                     "push to another place")
        trusted = {name: file.sha256 for name, file in list_files(there).items()}
        if clash := [file.name for file in parcel.files
                     if file.bytes is not None and trusted.get(file.name, file.sha256) != file.sha256]:
            raise UserError(f"expected an earlier state of {parcel.root} at {shown}, found another folder with a "
                            f"{clash[0]} of its own; push to another place")
    if target.read(INCOMING) == (parcel.root / MANIFEST).read_bytes():
        trusted |= {file.name: file.sha256 for file in parcel.files if file.bytes is not None}
    return trusted


def _finish(target: Target, parcel: Parcel, whole: Manifest, others: list[File], sizes: dict[str, int]) -> None:
    """Write the notes over all that is there now, the manifest last."""
    complete = replace(parcel, files=[*parcel.files, *others],
                       sizes=parcel.sizes | {file.name: sizes[file.name] for file in others})
    lacks = list_files(whole).keys() - complete.sizes.keys()
    write_notes(complete, whole, lacks)
    list(target.put((name, text) for name, text in complete.notes.items() if name != MANIFEST))
    list(target.put([(MANIFEST, complete.notes[MANIFEST])]))
    if not lacks and PART in sizes:
        target.remove(PART)
    target.remove(INCOMING)
