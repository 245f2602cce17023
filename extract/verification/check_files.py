"""Checks of a folder's files: what the manifest names is there and whole, and nothing else is."""
import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.cores import count_cores
from data.errors import UserError
from data.files import TEMPORARY, sha256_file
from data.folder.identity import follows_from_fields
from data.folder.manifest import MANIFEST, Manifest, Shard, is_sealed
from data.folder.published import refuse_links
from data.folder.shards import SCHEMA
from data.progress import Progress
from extract.folder.ledger import LEDGER, count_cut_lines, read_ledger
from extract.folder.recipe import LOCAL
from extract.verification.findings import Report

OWN_FILES = ("README.md", "skipped.csv")
MAX_LISTED = 20
MAX_CARD_BYTES = 1 << 28


def check_manifest(root: Path, manifest: Manifest, report: Report) -> None:
    """Check that the manifest is what was written, that its identities follow from their fields, and its own files."""
    if not is_sealed(root):
        report.damage(MANIFEST, "expected the sha256 that it carries over itself, found another: it was changed after "
                      "it was written, so what it says of the other files may be wrong too")
    for name, identity in (("recipe", manifest.recipe), ("source", manifest.source)):
        if not follows_from_fields(identity):
            report.contradict(MANIFEST, f"expected the {name} identity to be the sha256 of its fields, found another")
    width = manifest.recipe["fields"].get("width", manifest.width)
    if width != manifest.width:
        report.contradict(MANIFEST, f"expected the width of the recipe, {width}, found {manifest.width}")
    for name in OWN_FILES:  # the card, and the list of what was skipped
        if name not in manifest.files:
            report.note(name, "the manifest has no sha256 of it: it was not checked")
            continue
        with report.blame(name):
            require_digest(root, name, manifest.files[name], MAX_CARD_BYTES)


def require_digest(root: Path, name: str, expected: str | None, max_bytes: int) -> None:
    """Refuse a file of the folder that is a link, absent, too large or of another sha256."""
    refuse_links(root, name)
    path = root / name
    size = path.stat().st_size if path.is_file() else -1
    if not 0 <= size <= max_bytes:
        found = f"{size}" if size >= 0 else "no such file"
        raise UserError(f"expected at most {max_bytes} bytes in {path}, found {found}; -")
    if (found := sha256_file(path)) != expected:
        raise UserError(f"expected sha256 {expected!s:.12}... in {path}, found {found:.12}...: it was changed; -")


def check_hashes(root: Path, shards: Iterable[Shard], report: Report) -> None:
    """Read shards and compare their sha256; damage that is known already is not said twice."""
    known = set(report.damaged_files)
    shards = [shard for shard in shards if shard.name not in known]
    progress = Progress(sum(shard.bytes for shard in shards) >> 20, "MB")
    def look(shard: Shard) -> str:
        try:
            return sha256_file(root / shard.name)
        except OSError as error:
            return f"nothing ({error.strerror})"

    with ThreadPoolExecutor(count_cores()) as pool:  # hashing lets go of the interpreter
        for shard, found in zip(shards, pool.map(look, shards)):
            progress.add(shard.bytes >> 20)
            if found != shard.sha256:
                twin = next((other.name for other in shards if other.sha256 == found), None)
                report.damage(shard.name, f"expected sha256 {shard.sha256:.12}..., found {found:.12}..."
                              + (f": it holds what belongs into {twin}" if twin else ""))
    progress.close()
    report.facts["bytes"] = f"{sum(shard.bytes for shard in shards)} read and compared in {len(shards)} shards"


def check_foreign(root: Path, named: Iterable[str], report: Report) -> None:
    """Say which files are not the folder's, and which of its own nobody names any more."""
    expected, published = set(named), set(read_ledger(root))
    foreign: dict[str, list[str]] = defaultdict(list)
    for path, folders, names in os.walk(root):
        if Path(path) == root and LOCAL in folders:
            folders.remove(LOCAL)
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        for name in sorted([*names, *links]):
            relative = (Path(path) / name).relative_to(root).as_posix()
            if relative not in expected:
                is_ours = relative in published or (name.endswith(".h5") and relative.split("/")[0] in SCHEMA)
                kind = "partial" if name.endswith(TEMPORARY) else "unnamed" if is_ours else "stranger"
                foreign[kind].append(relative)
    for kind, found, remedy in (
            ("stranger", "no file of a features folder", "move it away: nothing reads it, but it would be shared"),
            ("unnamed", "the manifest does not name it: replaced, or published by a run that has not ended",
             "if no extraction is to go on: python -m extract gc"),
            ("partial", "half-written by a run that was killed", "python -m extract gc")):
        for name in foreign[kind][:MAX_LISTED]:
            report.warn(name, found, remedy)
        if len(foreign[kind]) > MAX_LISTED:
            report.warn(f"{len(foreign[kind]) - MAX_LISTED} more", found, remedy)


def check_ledger(root: Path, manifest: Manifest, report: Report) -> bool:
    """Say where ledger and manifest differ.

    Returns:
        Whether this machine has a ledger of the folder, so that what is damaged can be made again from the photos.
    """
    folder = root / LEDGER
    if not folder.is_dir():
        return False
    entries, cut = read_ledger(root), count_cut_lines(root)
    if cut:
        report.warn(LEDGER, f"{cut} line(s) cut short or changed: what they noted counts as never written",
                    "nothing: the next make features looks at those photos again")
    named = {shard.name: shard.sha256 for shard in manifest.shards.get("photos", ())}
    for name in sorted(named.keys() & entries.keys()):
        if entries[name].files["photos"].sha256 != named[name]:
            report.warn(name, "the ledger notes another sha256 than the manifest", "run make features again")
    unnamed = len(entries.keys() - named.keys())
    report.facts["ledger"] = f"{len(entries)} shards noted, {unnamed} of them not (or no longer) in the manifest"
    return bool(entries)
