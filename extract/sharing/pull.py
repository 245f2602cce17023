"""pull: a features folder, or a part of it, from a folder, a tar or an address, into one that is whole or not there."""
import argparse
import logging
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from data.errors import UserError, printable, shell_word
from data.files import require_room, settle_text
from data.folder.identity import require_same
from data.folder.manifest import MANIFEST, Manifest, load_manifest
from data.folder.part import PART, PULLING, REST, describe_lacks, read_lacks, without, write_part
from extract.folder.garbage import hold_alone
from extract.folder.ledger import read_ledger
from extract.sharing.contents import Choice, File, choose_rows, choose_stories, choose_texts, list_files, read_offer
from extract.sharing.download import Download, Source
from extract.sharing.transport import THREADS, IgnoresRanges, parse_address

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    root: Path = arguments.folder
    started = time.monotonic()
    fetched, size = pull_folder(arguments.url, root, Choice(arguments.splits, arguments.words, arguments.leave_out))
    seconds = time.monotonic() - started
    manifest, lacks = load_manifest(root), read_lacks(root)
    print(f"pulled {root}: {fetched} files, {size / 1e6:.1f} MB in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s)")
    if lacks:
        print(printable(f"a part: it lacks {describe_lacks(manifest, lacks)}; {REST}"))
    weights = printable(manifest.versions.get("weights", "PATH"))
    print(f"do weights and transforms here agree with it? python -m extract verify {shell_word(root)} --weights "
          f"{shell_word(weights)}" if manifest.shards.get("canaries") else "it has no canaries to check weights with")


def pull_folder(url: str, root: Path, choice: Choice) -> tuple[int, int]:
    """Fetch what of a choice is not there yet; the manifest appears last, so a half-pulled folder is none.

    Args:
        root: need not exist; one with another manifest of the same recipe is brought up to date.

    Returns:
        Files that were fetched, and bytes.

    Raises:
        UserError: if there is nothing to be had, or not what its manifest says; what came is kept for the next call.
    """
    address = parse_address(url)
    download = Download(Source(address), root)
    if address.is_tar:
        _open_tar(download)
    text, part = download.read(MANIFEST), download.read(PART)
    if text is None:
        raise UserError(f"expected a features folder or a tar of one at {address.shown}, found no {MANIFEST} there; "
                        "check the address, or wait for the push that is under way to end")
    whole, lacks = read_offer(text, part, address.shown)
    visible = without(whole, lacks)
    stories = choose_stories(visible, choice, address.shown)
    _check_target(root, text, whole)
    require_room(root, "a features folder")
    with hold_alone(root, "pull"):
        (root / PULLING).mkdir(exist_ok=True)
        with closing(download.show(sum(shard.bytes for shard in stories))):
            fetched = _fetch_all(download, map(File.of, stories))
        rows = [shard for shard in choose_rows(root, visible, stories, choice) if shard.name not in lacks]
        total = sum(shard.bytes for shard in rows if not (root / shard.name).exists())
        require_room(root, "a features folder", total)
        story_bytes = download.fetched_bytes
        with closing(download.show(sum(shard.bytes for shard in rows))):
            fetched += _fetch_all(download, map(File.of, rows))
            fetched += _fetch_all(download, choose_texts(visible, choice))
        write_part(root, (name for name in list_files(whole) if not (root / name).exists()))
        settle_text(root / MANIFEST, text.decode("utf-8"))  # from now on there is a folder
        shutil.rmtree(root / PULLING)
    return fetched, story_bytes + download.fetched_bytes


def _open_tar(download: Download) -> None:
    """Look through a tar's headers; where a server only sends it from its beginning, get it whole first."""
    address = download.source.address

    def read(start: int, stop: int) -> bytes:
        piece = download.read("", start, stop)
        if piece is None:
            raise UserError(f"expected a tar at {address.shown}, found no such file; check the address")
        return piece

    try:
        download.source.use_tar(read)
    except IgnoresRanges:
        log.info("%s cannot be read in pieces: the whole tar is fetched first", address.shown)
        path = download.root / PULLING / "whole.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        download.save(path)
        download.source = Source(replace(address, scheme="file", place=str(path), query=""))
        download.source.use_tar(read)


def _check_target(root: Path, text: bytes, whole: Manifest) -> None:
    """Refuse to mix two folders."""
    is_there = (root / MANIFEST).exists()
    if is_there and (root / MANIFEST).read_bytes() == text:
        return
    if read_ledger(root):
        raise UserError(f"expected another folder to pull into, found that {root} was made here from photos and is not "
                        "what is pulled; name another one")
    if is_there:
        require_same("recipe", load_manifest(root).recipe, whole.recipe, f"features folder {root}",
                     "what is pulled", "pull into another folder")


def _fetch_all(download: Download, files: Iterable[File]) -> int:
    """Fetch files side by side; the first that cannot be had stops the others where they are."""
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(download.fetch, file) for file in files]
        try:
            return sum(task.result() for task in as_completed(tasks))
        except BaseException:
            download.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
