"""Extraction into a folder that is there: only what changed is looked at, and what was lost comes back."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import MISSING, OK, Features
from extract.command import main
from tests.extraction import (  # noqa: F401
    BACKBONE,
    count_looks,
    dataset,
    interrupted_after,
    one_matcher,
    run,
    shard_names,
    snapshot,
    snapshot_of_run,
)
from tests.photo_dataset import draw_photo, photo_id, write_stories


def times_of(folder):
    """When every published file was written."""
    return {path: (folder / path).stat().st_mtime_ns for path in snapshot(folder)}


def test_retry_looks_only_at_the_bad_ones(dataset, tmp_path, monkeypatch):
    path = dataset / "images" / f"{photo_id('train', 2, 1)}.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:400])
    before = run(dataset, tmp_path / "f", "--max-bad", "1")
    times = path.stat()
    seen = count_looks(monkeypatch, dataset)
    from extract.pipeline import reader
    read = []
    real = reader.read_photo
    monkeypatch.setattr(reader, "read_photo", lambda name: read.append(Path(name).stem) or real(name))
    run(dataset, tmp_path / "f", "--max-bad", "1", "--retry")
    assert read == [path.stem] and not seen
    assert shard_names(Features.open(tmp_path / "f")) == shard_names(before)
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = run(dataset, tmp_path / "f", "--max-bad", "1", "--retry")
    assert seen == [path.stem] and (after.status == OK).all()


def test_a_changed_photo_costs_only_its_shard(dataset, tmp_path, monkeypatch):
    before = run(dataset, tmp_path / "f", "--thumbnails", "24")
    old, times = snapshot(tmp_path / "f"), times_of(tmp_path / "f")
    name = photo_id("train", 1, 4)  # row 10, in the second shard
    draw_photo(np.random.default_rng(99)).save(dataset / "images" / f"{name}.jpg")
    seen = count_looks(monkeypatch, dataset)
    after = run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert seen == [name]
    assert shard_names(after) == ["photos/00000.h5", "photos/00001-1.h5", *shard_names(before)[2:]]
    assert shard_names(after, "thumbs")[1] == "thumbs/00001-1.h5"
    changed = (before.feature.all() != after.feature.all()).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [before.row_of[name]]
    new = snapshot(tmp_path / "f")
    assert all(new[path] == old[path] for path in old if path.endswith(".h5"))  # what was published never changes
    assert {path for path, time in times.items() if times_of(tmp_path / "f")[path] != time} == {"manifest.json"}
    fresh = run(dataset, tmp_path / "g", "--thumbnails", "24")
    assert (fresh.feature.all() == after.feature.all()).all() and fresh.source["id"] == after.source["id"]
    main(["gc", str(tmp_path / "f")])
    assert not (tmp_path / "f/photos/00001.h5").exists() and (Features.open(tmp_path / "f").status == OK).all()


def test_a_photo_that_came_late_and_one_that_went(dataset, tmp_path, monkeypatch):
    images = dataset / "images"
    late, lost = (images / f"{photo_id('train', album, 2)}.jpg" for album in (0, 2))
    late.rename(tmp_path / "late.jpg")
    run(dataset, tmp_path / "f")
    (tmp_path / "late.jpg").rename(late)
    lost.unlink()
    seen = count_looks(monkeypatch, dataset)
    after = run(dataset, tmp_path / "f")
    assert seen == [late.stem]
    assert [after.status[after.row_of[path.stem]] for path in (late, lost)] == [OK, MISSING]
    assert sum(name.endswith("-1.h5") for name in shard_names(after)) == 2
    assert (run(dataset, tmp_path / "g").feature.all() == after.feature.all()).all()


def test_new_albums_come_after_the_rows_there_are(dataset, tmp_path, monkeypatch):
    before = run(dataset, tmp_path / "f")
    write_stories(dataset, "train", 6)
    random = np.random.default_rng(7)
    new = [photo_id("train", album, number) for album in (4, 5) for number in range(6)]
    for name in new:
        draw_photo(random).save(dataset / "images" / f"{name}.jpg")
    seen = count_looks(monkeypatch, dataset)
    after = run(dataset, tmp_path / "f")
    assert seen == new and after.num_photos == 48
    assert (after.photo_id.all()[:36] == before.photo_id.all()).all()
    assert shard_names(after)[:5] == shard_names(before) and len(shard_names(after)) == 7
    words = after.words().split("train")
    assert len(words) == 12
    assert [name.decode() for name in after.photo_id.take(words.photo.all()[-1])] == [
        photo_id("train", 5, (1 + order) % 7) for order in range(5)]
    assert shard_names(after, "words/default/train") == ["words/default/train-00000-1.h5"]
    assert shard_names(after, "words/default/val") == ["words/default/val-00000.h5"]


def test_a_touched_photo_is_read_but_not_looked_at(dataset, tmp_path, monkeypatch):
    before = snapshot_of_run(dataset, tmp_path)
    os.utime(dataset / "images" / f"{photo_id('train', 1, 4)}.jpg")
    seen = count_looks(monkeypatch, dataset)
    run(dataset, tmp_path / "f")
    assert not seen and snapshot(tmp_path / "f") == before


def test_rehash_notices_a_photo_that_kept_its_time_and_size(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    path = dataset / "images" / f"{photo_id('train', 1, 4)}.jpg"
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 255
    with open(path, "r+b") as file:  # same inode
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen = count_looks(monkeypatch, dataset)
    run(dataset, tmp_path / "f", "--max-bad", "1")
    assert not seen
    run(dataset, tmp_path / "f", "--max-bad", "1", "--rehash")
    assert seen == [path.stem]


def test_photos_with_other_inodes_are_not_read_again(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    for path in sorted((dataset / "images").iterdir()):  # as another mount of a network disk, or a copy, shows them
        shutil.copy2(path, tmp_path / "copy")
        os.replace(tmp_path / "copy", path)
    from extract.backbones import backbone
    from extract.pipeline import reader
    monkeypatch.setattr(reader, "read_photo", None)
    monkeypatch.setattr(backbone, "build_backbone", None)
    before = snapshot(tmp_path / "f")
    (tmp_path / "f/.local/state.json").unlink()
    run(dataset, tmp_path / "f")
    assert snapshot(tmp_path / "f") == before


def test_a_ledger_with_inodes_is_read(tmp_path):
    from data.folder.manifest import Shard
    from extract.folder.ledger import Entry, append_entry, read_ledger
    stat = np.array([[10, 20, 30], [11, 21, 31]])
    files = {"photos": Shard("photos/00000.h5", 2, 0, 1, "0" * 64)}
    append_entry(tmp_path, 0, Entry(0, "r", files, np.array([b"a", b"b"]), stat))
    assert read_ledger(tmp_path)["photos/00000.h5"].stat.tolist() == [[10, 20], [11, 21]]


def test_a_limit_can_be_lifted(dataset, tmp_path):
    first = run(dataset, tmp_path / "f", "--limit", "2")
    assert [len(first.words().split(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    second = run(dataset, tmp_path / "f")
    assert second.num_photos == 36 and len(second.words().split("train")) == 8
    fresh = run(dataset, tmp_path / "g")
    rows = [second.row_of[name.decode()] for name in fresh.photo_id.all()]
    assert (second.feature.take(np.array(rows)) == fresh.feature.all()).all()


def test_an_unchanged_folder_is_recognised_without_torch_or_photos(dataset, tmp_path):
    before = snapshot_of_run(dataset, tmp_path)
    code = ("import sys; from extract.command import main\n"
            f"main(['--data', {str(dataset)!r}, '--out', {str(tmp_path / 'f')!r}, '--backbone', {BACKBONE!r},"
            " '--weights', 'random', '--batch-size', '4', '--shard-rows', '8'])\n"
            "print(sorted({'torch', 'h5py', 'spacy', 'PIL'} & set(sys.modules)))")
    # no photo can be opened, yet nothing is missing
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout == "[]\n" and "up to date" in done.stderr
    assert snapshot(tmp_path / "f") == before


@pytest.mark.parametrize("spoil", [
    lambda folder, dataset: (folder / "photos/00001.h5").unlink(),
    lambda folder, dataset: (folder / "skipped.csv").write_text("changed"),
    lambda folder, dataset: os.utime(next((dataset / "annotations").glob("val*"))),
    lambda folder, dataset: (dataset / "images/new1.jpg").write_bytes(b"x")])
def test_any_change_is_looked_into(dataset, tmp_path, spoil, caplog):
    before = snapshot_of_run(dataset, tmp_path)
    spoil(tmp_path / "f", dataset)
    caplog.set_level("INFO")
    run(dataset, tmp_path / "f")
    assert "is complete" in caplog.text and "up to date" not in caplog.text
    assert snapshot(tmp_path / "f") == before


def test_a_manifest_that_is_none_is_refused(dataset, tmp_path):
    run(dataset, tmp_path / "f")
    (tmp_path / "f/manifest.json").write_text("{}")
    with pytest.raises(UserError, match="expected a manifest of format 1"):
        run(dataset, tmp_path / "f")


def test_thumbnails_asked_for_later_are_made_without_looking_again(dataset, tmp_path, monkeypatch):
    before = run(dataset, tmp_path / "f")
    seen = count_looks(monkeypatch, dataset)
    after = run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert not seen and shard_names(after) == shard_names(before)
    fresh = run(dataset, tmp_path / "g", "--thumbnails", "24")
    assert all(after.thumbnail(row) == fresh.thumbnail(row) for row in range(36)) and after.thumbnail(0)
    assert run(dataset, tmp_path / "f", "--words", "more").thumbnail(5) == fresh.thumbnail(5)  # kept without the flag
    with pytest.raises(UserError, match="thumbnails of 24 pixels"):
        run(dataset, tmp_path / "f", "--thumbnails", "32")


def test_work_is_kept_when_the_annotations_changed_before_the_first_run_ended(dataset, tmp_path, monkeypatch):
    with interrupted_after(3):
        run(dataset, tmp_path / "f")
    main(["gc", str(tmp_path / "f")])  # what an unfinished run published is no garbage
    path = dataset / "annotations/train.story-in-sequence.json"
    raw = json.loads(path.read_text())
    raw["annotations"] = raw["annotations"][10:]  # the first album is gone: every shard begins elsewhere now
    path.write_text(json.dumps(raw))
    seen = count_looks(monkeypatch, dataset)
    features = run(dataset, tmp_path / "f")
    fresh = run(dataset, tmp_path / "g")
    assert features.num_photos == 30 and (features.feature.all() == fresh.feature.all()).all()
    assert len([name for name in seen[:-30]]) == 12  # of 30; the other 18 had been published


@pytest.mark.parametrize("lose", [lambda path: path.write_bytes(path.read_bytes()[:5000]), lambda path: path.unlink()])
def test_a_lost_shard_comes_back_to_the_bit(dataset, tmp_path, lose):
    before = snapshot_of_run(dataset, tmp_path, "--thumbnails", "24")
    for name in ("photos/00001.h5", "thumbs/00002.h5"):
        lose(tmp_path / "f" / name)
    run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert snapshot(tmp_path / "f") == before


def test_a_lost_shard_of_a_folder_without_a_ledger_is_said(dataset, tmp_path):
    run(dataset, tmp_path / "f")
    shutil.rmtree(tmp_path / "f/.local")
    (tmp_path / "f/photos/00001.h5").unlink()
    with pytest.raises(UserError, match="photos/00001.h5, found no such file.*no ledger tells which photos it held"):
        run(dataset, tmp_path / "f")


def test_a_folder_from_elsewhere_is_taken_over_without_looking_again(dataset, tmp_path, monkeypatch):
    before = snapshot_of_run(dataset, tmp_path)
    shutil.rmtree(tmp_path / "f/.local")
    seen = count_looks(monkeypatch, dataset)
    run(dataset, tmp_path / "f")
    assert not seen and snapshot(tmp_path / "f") == before
