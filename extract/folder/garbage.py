"""Remove what nothing names: shards that were replaced, files that a killed writer left."""
import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from data.errors import UserError
from data.files import TEMPORARY
from data.folder.manifest import MANIFEST, load_manifest
from data.lock import hold
from extract.folder.ledger import read_ledger
from extract.folder.occupancy import LOCK, lock_paths
from extract.folder.recipe import LOCAL

FOLDERS = ("photos", "thumbs", "tokens", "grid", "views", "canaries", "words/*")
DAMAGED = f"{LOCAL}/damaged"

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    folder: Path = arguments.folder
    if not (folder / MANIFEST).exists() and not read_ledger(folder):
        raise UserError(f"expected a features folder at {folder}, found neither {MANIFEST} nor a ledger; name another")
    with hold_alone(folder, "gc"):
        removed = collect_garbage(folder, arguments.dry_run, arguments.damaged)
    for name, size in removed.items():
        print(f"{size / 2**20:10.1f} MB  {name}")
    print(f"{'would remove' if arguments.dry_run else 'removed'} {len(removed)} files, "
          f"{sum(removed.values()) / 2**20:.1f} MB")


def collect_garbage(folder: Path, dry_run: bool = False, damaged: bool = False) -> dict[str, int]:
    """Remove every shard of a folder that neither its manifest names nor an unfinished run needs.

    Args:
        dry_run: remove nothing. damaged: also what verify set aside.

    Returns:
        Bytes by path inside the folder.
    """
    needed = name_needed(folder)
    unneeded = [path for pattern in FOLDERS for path in sorted(folder.glob(f"{pattern}/*.h5"))
                if path.relative_to(folder).as_posix() not in needed]
    unneeded += [path for pattern in ("", *(f"{pattern}/" for pattern in (*FOLDERS, LOCAL)))
                 for path in sorted(folder.glob(f"{pattern}.*{TEMPORARY}"))]
    if damaged:
        unneeded += sorted(path for path in (folder / DAMAGED).rglob("*") if not path.is_dir())
    removed = {}
    for path in unneeded:
        removed[path.relative_to(folder).as_posix()] = path.lstat().st_size
        if not dry_run:
            path.unlink()
    return removed


def name_needed(folder: Path) -> set[str]:
    """The shards that the manifest names, and those that runs have published since it was written."""
    entries = read_ledger(folder)
    if not (folder / MANIFEST).exists():
        return {shard.name for entry in entries.values() for shard in entry.files.values()}
    manifest = load_manifest(folder)
    named = {shard.name for shards in manifest.shards.values() for shard in shards}
    finished = max((entry.turn for name, entry in entries.items() if name in named), default=0)
    return named | {shard.name for entry in entries.values() if entry.turn > finished
                    for shard in entry.files.values()}


@contextmanager
def hold_alone(folder: Path, what: str) -> Iterator[None]:
    """Hold a features folder against every process of an extraction.

    Raises:
        UserError: if one of them is alive: names it.
    """
    with ExitStack() as stack:
        for path in sorted({folder / LOCAL / LOCK.format(rank=0), *lock_paths(folder)}):
            stack.enter_context(hold(path, f"features folder {folder} ({what})"))
        yield
