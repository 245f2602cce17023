"""Verify a features folder: is it, to the bit, what was written, and can what it says be?

Quick looks at everything but the bytes' sha256: manifest, names, sizes, shapes, row counts, identities, statuses,
features that are zeros or no numbers, token ids, tags, photo rows. `--full` reads and hashes every file. A damaged file
is set aside in `.local/damaged` where this machine can make it again; it is never deleted.
"""
import argparse
import json
import os
from itertools import chain, count
from pathlib import Path

from data.errors import UserError, shell_word
from data.files import sync
from data.folder.manifest import MANIFEST, Manifest, load_manifest
from data.folder.part import PART, REST, describe_lacks, read_lacks
from extract.folder.garbage import DAMAGED, hold_alone
from extract.folder.ledger import exists, read_ledger
from extract.verification import check_files
from extract.verification.check_photos import check_beside, check_canaries, check_photos
from extract.verification.check_words import FILES, check_words
from extract.verification.findings import Report

FOR_THE_WAY = ("croissant.json", "SHA256SUMS")  # that a packed folder brings, see extract.sharing
REBUILD = "give the command that made the folder again (make features): it makes this file anew"
DOUBTFUL = "it may be the manifest that is wrong: verify again when that was made anew"
GET_AGAIN = "get the folder again: without a ledger nothing here can make this file anew"


def run(arguments: argparse.Namespace) -> None:
    """Print the report, and end with an error where anything is damaged."""
    report = verify_folder(arguments.folder, arguments.full, keep=arguments.keep)
    if arguments.weights is not None:
        from extract.verification.check_weights import check_weights
        check_weights(arguments.folder, arguments.weights, report, arguments.backbone, arguments.dataset,
                      arguments.device)
    print(json.dumps(report.plain(), indent=1) if arguments.json else "\n".join(report.lines()), flush=True)
    if report.damaged:
        raise UserError(f"expected a whole features folder at {arguments.folder}, found {len(report.damaged)} "
                        f"thing(s) wrong (first: {report.damaged[0].where}); the report says what to do about each")


def verify_folder(root: Path, full: bool = False, keep: bool = False) -> Report:
    """Check a features folder, whoever it comes from, and set damaged files aside where they can be made again.

    Args:
        full: hash every file. keep: leave damaged files where they are.

    Raises:
        UserError: if there is no features folder.
    """
    if not root.is_dir():
        raise UserError(f"expected a features folder at {root}, found none; make it with: make features "
                        f"FEATURES={shell_word(root)}")
    report = Report(root)
    with report.blame(PART):
        report.lacks = read_lacks(root)
    is_ours = bool(read_ledger(root))
    manifest: Manifest | None = None
    if (root / MANIFEST).exists():
        with report.blame(MANIFEST):
            manifest = load_manifest(root)
    elif is_ours:
        _check_unfinished(root, full, report)
    else:
        raise UserError(f"expected a features folder's manifest at {root / MANIFEST}, found no such file; get the "
                        "folder again, or make it with: make features")
    if manifest is not None:
        _check_finished(root, manifest, full, report)
        is_ours = check_files.check_ledger(root, manifest, report)
    for finding in report.damaged:
        blames_manifest = MANIFEST in report.damaged_files and finding.where != MANIFEST
        finding.remedy = DOUBTFUL if blames_manifest else finding.remedy or (REBUILD if is_ours else GET_AGAIN)
    if is_ours and not keep and report.damaged_files:
        _set_aside(root, report)
    return report


def _check_finished(root: Path, manifest: Manifest, full: bool, report: Report) -> None:
    fields = manifest.recipe["fields"]
    report.facts["recipe"] = f"{manifest.recipe['id']:.12} ({fields.get('backbone')}, {fields.get('precision')})"
    if report.lacks:
        report.note(PART, f"the folder is a part, what is there was looked at: it lacks "
                    f"{describe_lacks(manifest, report.lacks)}; {REST}")
    check_files.check_manifest(root, manifest, report)

    check_photos(root, manifest, report)
    check_beside(root, manifest, report)
    check_canaries(root, manifest, report)
    check_words(root, manifest, report)
    shards = [shard for shards in manifest.shards.values() for shard in shards]
    if full:
        check_files.check_hashes(root, shards, report)
    else:
        report.facts["bytes"] = "sizes compared, contents not: --full finds any flipped bit"
    texts = (f"words/{name}/{file}" for name, entry in manifest.words.items() for file in {*FILES, *entry.files})
    check_files.check_foreign(root, {MANIFEST, PART, *FOR_THE_WAY, *check_files.OWN_FILES, *texts,
                                     *(shard.name for shard in shards)}, report)


def _check_unfinished(root: Path, full: bool, report: Report) -> None:
    entries = read_ledger(root)
    report.note("extraction", "it has not ended yet: there is no manifest, only published shards were looked at")
    shards = [shard for entry in entries.values() for shard in entry.files.values()]
    for shard in shards:
        if not exists(root, [shard]):
            report.damage(shard.name, f"expected {shard.bytes} bytes, found another size or no such file")
    if full:
        check_files.check_hashes(root, shards, report)
    report.facts["ledger"] = f"{len(entries)} shards noted"


def _set_aside(root: Path, report: Report) -> None:
    """Move damaged files out of the way; against a damaged manifest nothing else can be called damaged for sure."""
    names = [MANIFEST] if MANIFEST in report.damaged_files else report.damaged_files
    try:
        with hold_alone(root, "verify"):
            for name in names:
                if not os.path.lexists(source := root / name):
                    continue
                places = chain([root / DAMAGED / name], (root / DAMAGED / f"{name}.{turn}" for turn in count(1)))
                target = next(path for path in places if not os.path.lexists(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target)
                sync(source.parent)
                for finding in report.damaged:
                    if finding.file == name:
                        finding.set_aside = target.relative_to(root).as_posix()
    except (UserError, OSError) as error:  # held by somebody, or a disk that is read only
        report.warn("setting aside", f"nothing was moved: {error}")
