"""Remove what no manifest names: shards that were replaced, files that a killed writer left."""
import argparse
import logging
from pathlib import Path

from data.lock import hold
from data.manifest import load_manifest
from extract.recipe import LOCAL

FOLDERS = ("photos", "thumbs", "grid", "views", "words/*")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    with hold(arguments.folder / LOCAL / "lock-0", f"features folder {arguments.folder} (gc)"):
        removed = collect_garbage(arguments.folder, arguments.dry_run)
    size = sum(removed.values())
    print(f"{'would remove' if arguments.dry_run else 'removed'} {len(removed)} files, {size / 2**20:.1f} MB")


def collect_garbage(folder: Path, dry_run: bool = False) -> dict[str, int]:
    """Remove every shard of a folder that its manifest does not name.

    Returns:
        Bytes by path inside the folder.

    Raises:
        UserError: if the folder has no manifest: nothing tells what it needs then.
    """
    manifest = load_manifest(folder)
    named = {shard.name for shards in manifest.shards.values() for shard in shards}
    removed = {}
    for pattern in FOLDERS:
        for path in sorted(folder.glob(f"{pattern}/*.h5")) + sorted(folder.glob(f"{pattern}/.*.part")):
            name = path.relative_to(folder).as_posix()
            if name not in named:
                removed[name] = path.stat().st_size
                if not dry_run:
                    path.unlink()
                    log.info("removed %s", name)
    return removed
