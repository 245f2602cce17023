"""verify and gc of a folder that was extracted here: what is damaged is set aside and made anew."""
import errno
import os
import shutil

import pytest

from data.errors import UserError, run_command
from data.folder.manifest import load_manifest
from data.lock import hold
from extract.command import main
from extract.verification.verify import verify_folder
from tests.extraction import BACKBONE
from tests.photo_dataset import write_dataset
from tests.test_verify import flip, found, published


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A data folder and what was extracted from it."""
    root = tmp_path_factory.mktemp("extracted")
    extract(write_dataset(root / "data"), root / "made")
    return root


@pytest.fixture
def made(extracted, tmp_path):
    """A folder with its ledger, and the function that brings it up to date."""
    root = shutil.copytree(extracted / "made", tmp_path / "made")
    return root, lambda: extract(extracted / "data", root)


def extract(dataset, root):
    main(["--data", str(dataset), "--out", str(root), "--backbone", BACKBONE, "--weights", "random", "--batch-size",
          "4", "--shard-rows", "8", "--readers", "2", "--thumbnails", "24"])


@pytest.mark.parametrize("names", [
    ["photos/00001.h5"], ["photos/00000.h5", "thumbs/00000.h5"], ["thumbs/00002.h5"], ["README.md", "skipped.csv"],
    ["words/default/train-00000.h5"], ["words/default/vocabulary.json", "words/default/tags.json"],
    ["canaries"], ["manifest.json"]])
def test_what_is_damaged_is_set_aside_and_made_anew(made, names):
    root, make_features_again = made
    before = {shard.sha256 for shards in load_manifest(root).shards.values() for shard in shards}
    texts = {path.name: path.read_bytes() for path in published(root) if path.suffix in (".md", ".csv")}
    for name in names:
        flip(next((root / name).glob("*.h5")) if name == "canaries" else root / name)
    damaged = verify_folder(root, full=True).damaged
    assert damaged and all(finding.set_aside for finding in damaged if names != ["manifest.json"]
                           or finding.file == "manifest.json")
    assert len(list((root / ".local/damaged").rglob("*.*"))) == len(names)
    make_features_again()
    assert not found(root, full=True)
    assert {shard.sha256 for shards in load_manifest(root).shards.values() for shard in shards} == before
    assert all((root / name).read_bytes() == text for name, text in texts.items() if name != "README.md")
    main(["gc", str(root)])
    assert not verify_folder(root, full=True).findings


def test_nothing_is_moved_while_somebody_writes(made):
    root, _ = made
    flip(root / "photos/00001.h5")
    with hold(root / ".local/lock-3", "an extraction"):
        report = verify_folder(root, full=True)
    assert (root / "photos/00001.h5").exists() and not report.damaged[0].set_aside
    assert "held by process" in report.findings[-1].found
    assert verify_folder(root, full=True, keep=True) and (root / "photos/00001.h5").exists()


def test_a_folder_without_a_manifest_yet_is_checked_by_its_ledger(made):
    root, make_features_again = made
    (root / "manifest.json").unlink()
    assert not found(root, full=True)
    flip(root / "photos/00001.h5")
    assert "photos/00001.h5" in found(root, full=True)
    make_features_again()
    assert not found(root, full=True)


def test_lines_of_the_ledger_that_changed_count_as_never_written(made):
    root, _ = made
    flip(next((root / ".local/ledger").glob("*.jsonl")))
    report = verify_folder(root)
    assert not report.damaged and any("cut short or changed" in finding.found for finding in report.findings)


def test_a_disk_that_may_not_be_written_is_said_in_one_sentence(made, monkeypatch, capsys):
    real = os.open

    def refuse(path, flags, *arguments, **settings):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *arguments, **settings)
    monkeypatch.setattr("os.open", refuse)
    assert run_command(lambda: main(["gc", str(made[0])])) == 2
    said = capsys.readouterr().err
    assert "found: Read-only file system" in said and said.count("\n") == 1
    flip(made[0] / "photos/00000.h5")
    assert "nothing was moved" in "".join(finding.found for finding in verify_folder(made[0], full=True).findings)


def test_gc_keeps_what_is_needed(made, capsys):
    root, _ = made
    before = published(root)
    (root / "photos/00000-7.h5").write_bytes(b"replaced")
    (root / "canaries/.x.h5.1-ab.part").write_bytes(b"killed")
    main(["gc", str(root), "--dry-run"])
    assert "would remove 2 files" in capsys.readouterr().out and len(published(root)) == len(before) + 2
    with hold(root / ".local/lock-1", "an extraction"), pytest.raises(UserError, match="held by process"):
        main(["gc", str(root)])
    main(["gc", str(root)])
    assert published(root) == before
    (root / "manifest.json").unlink()
    main(["gc", str(root)])
    assert {path.name for path in published(root) if path.parent.name in ("photos", "thumbs")} == {
        path.name for path in before if path.parent.name in ("photos", "thumbs")}


def test_gc_leaves_other_folders_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.h5").write_bytes(b"x")
    with pytest.raises(UserError, match="neither manifest.json nor a ledger"):
        main(["gc", str(tmp_path)])
    assert (tmp_path / "photos/mine.h5").exists() and not (tmp_path / ".local").exists()


def test_what_was_just_made_is_clean(made):
    for full in (False, True):
        assert verify_folder(made[0], full).findings == []
