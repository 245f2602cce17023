"""push: a features folder, or a part of it, to where others can pull it; the manifest comes last."""
import argparse
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import replace_file
from data.folder.identity import require_same
from data.folder.manifest import MANIFEST, Manifest
from data.folder.part import PART
from data.folder.published import refuse_links
from data.progress import Progress
from extract.extras import require_extra
from extract.sharing.contents import Choice, File, Parcel, check_contents, list_files, read_offer, write_notes
from extract.sharing.pack import prepare
from extract.sharing.transport import EXTRA, THREADS, first_line, open_store, parse_address

COMMIT_FILES = 64  # that go to the hub at a time: it counts commits
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
        UserError: if the folder is damaged, another one is there, the place cannot be written to (what came there is
            found again by the next call), or the package that it takes is not installed.
    """
    address = parse_address(url)
    if address.scheme.startswith("http") or address.is_tar:
        raise UserError(f"expected a folder, an s3:// or an hf:// address to push to, found {address.shown}; name one, "
                        "or write a tar with: make pack")
    target = Target(Path(address.place)) if address.scheme == "file" else (
        HubTarget if address.scheme == "hf" else StoreTarget)(address.place, open_store(address))
    parcel, whole = prepare(folder, choice)
    try:
        return _push(target, parcel, whole, address.shown)
    except Exception as error:  # each library has its own kinds, without a common root
        if isinstance(error, UserError) or address.scheme == "file":
            raise
        raise UserError(f"expected to be able to write to {address.shown}, found {first_line(error)}; mend that and "
                        "give the same command again: it goes on where this one stopped") from None


def _push(target: "Target", parcel: Parcel, whole: Manifest, shown: str) -> tuple[int, int]:
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


def _find_trusted(target: "Target", parcel: Parcel, whole: Manifest, shown: str) -> dict[str, str]:
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


def _finish(target: "Target", parcel: Parcel, whole: Manifest, others: list[File], sizes: dict[str, int]) -> None:
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


class Target:
    """A place to push to: here a folder of this machine or of what is mounted on it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self) -> dict[str, int]:
        """The size of every file there by its name inside the folder."""
        return {path.relative_to(self._root).as_posix(): path.stat().st_size for path in self._root.rglob("*")
                if path.is_file() and not path.is_symlink()}

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        path = self._root / name
        return path.read_bytes() if path.is_file() else None

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> Iterator[str]:
        """Write files, each whole or not at all; gives the name of each when it is there."""
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda file: self._put(*file), files)

    def _put(self, name: str, content: Path | bytes) -> str:
        refuse_links(self._root, name)
        with replace_file(self._root / name) as partial:
            partial.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(content, partial)
        return name

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        (self._root / name).unlink()


class StoreTarget(Target):
    """A place in S3: an object is there whole or not at all."""

    def __init__(self, place: str, store: Any) -> None:
        self._place, self._store = place.rstrip("/"), store

    def sizes(self) -> dict[str, int]:
        try:
            found = self._store.find(self._place, detail=True)
        except FileNotFoundError:
            return {}
        return {name.lstrip("/")[len(self._place) + 1:]: int(entry["size"]) for name, entry in found.items()}

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self._store.cat_file(f"{self._place}/{name}"))
        except FileNotFoundError:
            return None

    def _put(self, name: str, content: Path | bytes) -> str:
        if isinstance(content, bytes):
            self._store.pipe_file(f"{self._place}/{name}", content)
        else:
            self._store.put_file(str(content), f"{self._place}/{name}")
        return name

    def remove(self, name: str) -> None:
        self._store.rm_file(f"{self._place}/{name}")


class HubTarget(StoreTarget):
    """A repository of the Hugging Face hub: files go in commits, large ones are not sent twice."""

    def __init__(self, place: str, store: Any) -> None:
        super().__init__(place, store)
        self._hub = require_extra("huggingface_hub", EXTRA, place)
        self._repo = store.resolve_path(self._place)

    def put(self, files: Iterable[tuple[str, Path | bytes]]) -> Iterator[str]:
        waiting = iter(files)
        while batch := list(islice(waiting, COMMIT_FILES)):
            added = [self._hub.CommitOperationAdd(f"{self._repo.path_in_repo}/{name}".lstrip("/"), content)
                     for name, content in batch]
            self._hub.HfApi().create_commit(
                self._repo.repo_id, added, repo_type=self._repo.repo_type, revision=self._repo.revision,
                commit_message=f"Add {len(added)} files")
            yield from (name for name, _ in batch)
