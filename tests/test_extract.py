"""Extraction end to end, with a backbone that takes microseconds: the folder, incremental runs, refusals."""
import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import LimitExceeded, UserError
from data.folder.folder import MISSING, OK, UNREADABLE, Features
from data.pictures.pictures import Resize, decode_photo
from extract.command import main
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import draw_photo, photo_id, write_dataset, write_stories

BACKBONE = "tests.tiny_backbone:factory"


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data")


def run(dataset, folder, *flags, backbone=BACKBONE):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", backbone, "--weights", "random", "--batch-size",
          "4", "--shard-rows", "8", "--readers", "2", *flags])
    return Features.open(folder)


def times_of(folder):
    """When every published file was written."""
    return {path: (folder / path).stat().st_mtime_ns for path in snapshot(folder)}


def shard_names(features, kind="photos"):
    return [shard.name for shard in features.manifest.shards[kind]]


def count_looks(monkeypatch):
    """Count the photos that the model really sees."""
    from extract.pipeline.pipeline import Looking
    seen = []
    collect = Looking._collect

    def counting(self):
        seen.extend(assembly.photo_id[row].decode() for assembly, row in self._pending[0][1].places)
        collect(self)
    monkeypatch.setattr(Looking, "_collect", counting)
    return seen


def test_the_folder_holds_every_photo_in_order_of_split_album_and_story(dataset, tmp_path):
    features = run(dataset, tmp_path / "f", "--thumbnails", "24")
    expected = [photo_id(split, album, number) for split, albums in (("train", 4), ("val", 1), ("test", 1))
                for album in range(albums) for number in range(6)]
    assert [name.decode() for name in features.photo_id.all()] == expected
    assert [shard.rows for shard in features.manifest.shards["photos"]] == [8, 8, 8, 6, 6]
    assert (features.status == OK).all() and features.width == 8
    assert len({row.tobytes() for row in features.feature.all()}) == 36
    with Image.open(io.BytesIO(features.thumbnail(3))) as thumbnail:
        assert thumbnail.size == (24, 18)


def test_a_feature_is_what_the_backbone_says_of_the_decoded_photo(dataset, tmp_path):
    import torch

    from extract.backbones.backbone import build_backbone
    features = run(dataset, tmp_path / "f", "--precision", "float32")
    module = build_backbone(BACKBONE, "random").module
    name = photo_id("val", 0, 2)
    pixels = decode_photo((dataset / "images" / f"{name}.jpg").read_bytes(), Resize("squash", 32, 37))
    with torch.inference_mode():
        expected = module((torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25)[0].numpy()
    found = features.feature.take(np.array([features.row_of[name]]))[0]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_words_point_at_the_photos_they_were_told_of(dataset, tmp_path):
    features = run(dataset, tmp_path / "f")
    for split in ("train", "val", "test"):
        words = features.words().split(split)
        photos = words.photo.all()
        for row, story_id in enumerate(words.story_id.all()):
            album, story = story_id.decode().rsplit("-", 1)
            expected = [photo_id(split, int(album[-3:]), (int(story) + order) % 7) for order in range(5)]
            assert [features.photo_id.take(photos[row])[k].decode() for k in range(5)] == expected
    assert features.words().info == {split: {"made": split} for split in ("train", "val", "test")}
    assert "dog" in features.words().vocabulary and features.words().tag_names[:2] == ["<PAD>", "<UNK>"]


def test_every_photo_of_the_albums_can_be_taken(dataset, tmp_path):
    features = run(dataset, tmp_path / "f", "--photos", "albums")
    assert features.num_photos == 42
    assert [name.decode() for name in features.photo_id.all()[:8]] == [
        *(photo_id("train", 0, number) for number in range(7)), photo_id("train", 1, 0)]


def test_the_card_has_a_reader_that_runs(dataset, tmp_path):
    folder = tmp_path / "f"
    features = run(dataset, folder)
    card = (folder / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert len(code.strip().splitlines()) == 10
    said = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    words = features.words().split("train")
    first = said.splitlines()[0]
    assert first.startswith(photo_id("train", 0, 0)) and first.endswith(words.caption(0, 0))
    assert len(said.splitlines()) == 5


def test_nothing_published_names_clock_machine_or_place(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "elsewhere", copy_function=shutil.copy)  # other times, other path
    run(dataset, tmp_path / "f", "--thumbnails", "24")
    run(tmp_path / "elsewhere", tmp_path / "deep/g", "--thumbnails", "24", "--readers", "1")
    assert snapshot(tmp_path / "f") == snapshot(tmp_path / "deep/g")


def test_equal_contents_are_looked_at_once(dataset, tmp_path, monkeypatch):
    images = dataset / "images"
    for name in (photo_id("train", 3, 5), photo_id("test", 0, 0)):
        shutil.copy(images / f"{photo_id('train', 0, 0)}.jpg", images / f"{name}.jpg")
    seen = count_looks(monkeypatch)
    features = run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert len(seen) == len(set(seen)) == 34
    assert features.manifest.counts["distinct_contents"] == 34
    assert features.manifest.counts["contents_in_several_splits"] == 1
    names = (photo_id("train", 0, 0), photo_id("train", 3, 5), photo_id("test", 0, 0))
    rows = [features.row_of[name] for name in names]
    assert len({features.feature.take(np.array([row])).tobytes() for row in rows}) == 1
    assert len({features.thumbnail(row) for row in rows}) == 1 and features.thumbnail(rows[0])


def test_bad_photos_are_rows_of_zeros_that_are_counted_and_listed(dataset, tmp_path):
    images = dataset / "images"
    spoiled = {photo_id("train", 0, 1): ("truncated", UNREADABLE), photo_id("train", 1, 1): ("a web page", UNREADABLE),
               photo_id("val", 0, 3): ("missing", MISSING), photo_id("test", 0, 3): ("empty file", UNREADABLE)}
    whole = (images / f"{photo_id('train', 0, 0)}.jpg").read_bytes()
    (images / f"{photo_id('train', 0, 1)}.jpg").write_bytes(whole[:700])
    (images / f"{photo_id('train', 1, 1)}.jpg").write_text("<html>gone</html>")
    (images / f"{photo_id('val', 0, 3)}.jpg").unlink()
    (images / f"{photo_id('test', 0, 3)}.jpg").write_bytes(b"")
    features = run(dataset, tmp_path / "f", "--max-bad", "0.5")
    for name, (_, status) in spoiled.items():
        row = features.row_of[name]
        assert features.status[row] == status and not features.feature.take(np.array([row])).any()
    assert features.usable.sum() == 32
    with open(tmp_path / "f/skipped.csv") as file:
        listed = {row["id"]: row["cause"] for row in csv.DictReader(file) if row["kind"] == "photo"}
    assert listed == {name: cause for name, (cause, _) in spoiled.items()}
    assert features.manifest.counts["causes"] == {"truncated": 1, "a web page": 1, "missing": 1, "empty file": 1}
    assert features.manifest.counts["status"] == {"ok": 32, "missing": 1, "unreadable": 3, "too large": 0}


def test_above_the_limits_everything_good_is_written_first(dataset, tmp_path):
    images = dataset / "images"
    (images / f"{photo_id('train', 0, 1)}.jpg").write_text("<html>gone</html>")
    for _ in range(2):  # a second run, which has nothing to do, says so too
        with pytest.raises(LimitExceeded, match="at most 1.00% .*found 2.78%"):
            run(dataset, tmp_path / "f")
    assert Features.open(tmp_path / "f").usable.sum() == 35
    (images / f"{photo_id('val', 0, 1)}.jpg").unlink()
    with pytest.raises(LimitExceeded, match="missing photos"):
        run(dataset, tmp_path / "g", "--max-missing", "0.01", "--max-bad", "0.1")


def test_one_picture_under_many_ids_in_many_albums_is_a_placeholder(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 6})
    gone = (dataset / "images" / f"{photo_id('train', 0, 0)}.jpg").read_bytes()
    for album in range(1, 5):
        (dataset / "images" / f"{photo_id('train', album, 0)}.jpg").write_bytes(gone)
    features = run(dataset, tmp_path / "f")
    assert [(found["photos"], found["albums"]) for found in features.manifest.placeholders] == [(5, 5)]
    assert features.usable.sum() == 31 and (features.status == OK).all()
    assert (tmp_path / "f/skipped.csv").read_text().count("placeholder") == 5
    (dataset / "images" / f"{photo_id('train', 4, 0)}.jpg").write_bytes(gone + b" ")
    assert run(dataset, tmp_path / "f").manifest.placeholders == ()


def test_retry_looks_only_at_the_bad_ones(dataset, tmp_path, monkeypatch):
    path = dataset / "images" / f"{photo_id('train', 2, 1)}.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:400])
    before = run(dataset, tmp_path / "f", "--max-bad", "1")
    times = path.stat()
    seen = count_looks(monkeypatch)
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
    seen = count_looks(monkeypatch)
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
    seen = count_looks(monkeypatch)
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
    seen = count_looks(monkeypatch)
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
    seen = count_looks(monkeypatch)
    run(dataset, tmp_path / "f")
    assert not seen and snapshot(tmp_path / "f") == before


def snapshot_of_run(dataset, tmp_path, *flags):
    run(dataset, tmp_path / "f", *flags)
    return snapshot(tmp_path / "f")


def test_rehash_notices_a_photo_that_kept_its_time_and_size(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    path = dataset / "images" / f"{photo_id('train', 1, 4)}.jpg"
    times, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 255
    with open(path, "r+b") as file:  # same inode
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen = count_looks(monkeypatch)
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


@pytest.mark.parametrize("world", [1, 2])
def test_a_mount_without_file_locks(dataset, tmp_path, monkeypatch, world):
    before = snapshot_of_run(dataset, tmp_path)

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr("fcntl.flock", refuse)
    for rank in range(world):
        main(["--data", str(dataset), "--out", str(tmp_path / "g"), "--backbone", BACKBONE, "--weights", "random",
              "--batch-size", "4", "--shard-rows", "8", "--world", str(world), "--rank", str(rank)])
    assert snapshot(tmp_path / "g") == before
    assert not [path for path in (tmp_path / "g/.local").iterdir() if "lock" in path.name or "finishing" in path.name]


def test_a_shard_is_read_back_from_the_disk(dataset, tmp_path, monkeypatch):
    from extract.folder import writer
    said = []

    def note(module, name, word):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *arguments: said.append(word) or real(*arguments))
    note(os, "fsync", "synced")
    note(os, "posix_fadvise", "forgotten")
    note(writer, "map_shard", "read back")
    note(os, "replace", "renamed")
    arrays = {"feature": np.zeros((2, 4), np.float16), "photo_id": np.array([b"a", b"b"]),
              "content": np.zeros((2, 32), np.uint8), "status": np.zeros(2, np.uint8)}
    writer.publish_shard(tmp_path, "photos/00000.h5", "photos", arrays, 2)
    assert said[:3] == ["synced", "forgotten", "read back"] and "renamed" in said[3:]


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_note_of_a_process_that_has_ended_binds_nobody(dataset, tmp_path, is_alive):
    from data.lock import hold, living_token
    folder = tmp_path / "f"
    run(dataset, folder, "--batch-size", "8")
    note = json.loads((folder / ".local/recipe.json").read_text())
    for path in folder.iterdir():  # what is left of a run that was killed before its first shard
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / ".local").mkdir()
    with hold(folder / f".local/{'lock-1' if is_alive else 'other'}", "f", "world 2"):
        note["holder"] = living_token(folder / ".local/lock-1") or note["holder"]
        (folder / ".local/recipe.json").write_text(json.dumps(note))
        command = ["--data", str(dataset), "--out", str(folder), "--backbone", BACKBONE, "--weights", "random",
                   "--shard-rows", "8", "--world", "2", "--rank", "0", "--batch-size", "4"]
        if is_alive:
            with pytest.raises(UserError, match="batch_shape"):
                main(command)
        else:
            main(command)
            assert (folder / "photos/00000.h5").exists()


def test_new_words_open_no_photo(dataset, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    photos = {name: content for name, content in snapshot(tmp_path / "f").items() if name.startswith("photos")}
    from extract.backbones import backbone
    from extract.pipeline import reader
    monkeypatch.setattr(reader, "read_photo", None)
    monkeypatch.setattr(backbone, "build_backbone", None)
    features = run(dataset, tmp_path / "f", "--words", "short", "--caption-length", "6", "--vocabulary-size", "12")
    assert features.word_sets == ["default", "short"] and len(features.words("short").vocabulary) == 12
    assert features.words("short").split("train").token.row_shape == (5, 6)
    assert features.words().split("train").token.row_shape == (5, 30)
    assert {name: content for name, content in snapshot(tmp_path / "f").items() if name.startswith("photos")} == photos


def test_words_of_another_folder_keep_its_identity(dataset, tmp_path):
    first = run(dataset, tmp_path / "f", "--caption-length", "9")
    other = write_dataset(tmp_path / "other", {"test": 2}, seed=5)
    second = run(other, tmp_path / "g", "--words-from", str(tmp_path / "f"))
    assert second.words().identity == first.words().identity
    assert second.words().vocabulary == first.words().vocabulary
    assert second.words().split("test").token.row_shape == (5, 9)
    assert second.words().counts["annotations"].keys() == {"test.story-in-sequence.json"}


def test_the_seed_that_split_the_albums_is_part_of_the_words(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 8}, stories_per_album=1, photos_per_album=5)
    first = run(dataset, tmp_path / "f", "--seed", "1")
    assert first.words().identity["fields"]["split_seed"] == 1
    second = run(dataset, tmp_path / "f", "--seed", "2", "--words", "other").words("other")
    assert second.identity["fields"]["split_seed"] == 2
    with pytest.raises(UserError, match="split by seed 1 .*found --seed 2.*give --seed 1"):
        run(dataset, tmp_path / "g", "--seed", "2", "--words-from", str(tmp_path / "f"))
    run(dataset, tmp_path / "g", "--seed", "1", "--words-from", str(tmp_path / "f"))


def test_a_limit_can_be_lifted(dataset, tmp_path):
    first = run(dataset, tmp_path / "f", "--limit", "2")
    assert [len(first.words().split(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    second = run(dataset, tmp_path / "f")
    assert second.num_photos == 36 and len(second.words().split("train")) == 8
    fresh = run(dataset, tmp_path / "g")
    rows = [second.row_of[name.decode()] for name in fresh.photo_id.all()]
    assert (second.feature.take(np.array(rows)) == fresh.feature.all()).all()


@pytest.mark.parametrize("flags, field", [
    (["--resize", "crop"], "resize: squash there, crop here"), (["--exact"], "reduced_decoding"),
    (["--precision", "float32"], "precision")])
def test_another_recipe_is_refused_and_the_folder_left_alone(dataset, tmp_path, flags, field):
    before = snapshot_of_run(dataset, tmp_path, "--precision", "bfloat16")
    with pytest.raises(UserError, match=rf"{field}.*repeat the flags it was made with.*--precision bfloat16.*--out"):
        run(dataset, tmp_path / "f", *flags)
    assert snapshot(tmp_path / "f") == before


def test_other_weights_under_the_same_name_are_noticed(dataset, tmp_path):
    import torch

    from extract.backbones.backbone import build_backbone
    weights = build_backbone(BACKBONE, "random").module.state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "w.pth")
    first = run(dataset, tmp_path / "f", "--weights", str(tmp_path / "w.pth"))
    weights["net.0.bias"] = weights["net.0.bias"] + 1
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"weights: {first.recipe['fields']['weights']} there"):
        run(dataset, tmp_path / "f", "--weights", str(tmp_path / "w.pth"))


def test_auto_precision_is_kept_by_the_folder(dataset, tmp_path, monkeypatch):
    first = run(dataset, tmp_path / "f", "--precision", "float32")
    os.utime(dataset / "images" / f"{photo_id('train', 1, 4)}.jpg")
    from extract.backbones import mapper
    monkeypatch.setattr(mapper, "resolve_precision", lambda name, _: "bfloat16" if name == "auto" else name)
    second = run(dataset, tmp_path / "f", "--precision", "auto")
    assert second.recipe["fields"]["precision"] == "float32" and first.recipe == second.recipe


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
    lambda folder, dataset: (folder / "manifest.json").write_text("{}"),
    lambda folder, dataset: (folder / "skipped.csv").write_text("changed"),
    lambda folder, dataset: os.utime(next((dataset / "annotations").glob("val*"))),
    lambda folder, dataset: (dataset / "images/new1.jpg").write_bytes(b"x")])
def test_any_change_is_looked_into(dataset, tmp_path, spoil, caplog):
    run(dataset, tmp_path / "f")
    spoil(tmp_path / "f", dataset)
    caplog.set_level("INFO")
    try:
        run(dataset, tmp_path / "f")
    except UserError:
        pass
    assert "up to date" not in caplog.text


def test_help_is_quick_and_lists_every_flag_of_the_contract():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "extract", "--help"], capture_output=True,
                          text=True, check=True)
    assert not re.search(r"\| +(torch|numpy|h5py|spacy|PIL)$", done.stderr, re.MULTILINE)
    for flag in ("weights", "backbone", "precision", "resize", "thumbnails", "photos", "words", "words-from", "limit",
                 "retry", "exact", "rehash", "shard-rows", "rank", "world"):
        assert f"--{flag} " in done.stdout or f"--{flag}\n" in done.stdout


def test_bad_input_is_one_sentence_and_exit_code_two(tmp_path):
    done = subprocess.run([sys.executable, "-m", "extract", "--data", str(tmp_path / "nowhere"), "--out",
                           str(tmp_path / "f"), "--weights", "random"], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "nowhere" in done.stderr
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("flags, message", [
    (["--world", "2", "--rank", "2"], "rank"), (["--words", "../x"], "plain name"),
    (["--thumbnails", "-1"], "thumbnails"),
    (["--max-bad", "2"], "max-bad"), (["--limit", "0"], "limit")])
def test_flags_out_of_range_are_refused(tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        main(["--data", str(tmp_path), "--out", str(tmp_path / "f"), *flags])


def test_the_manifest_can_be_read_again_and_is_sorted(dataset, tmp_path):
    run(dataset, tmp_path / "f")
    raw = json.loads((tmp_path / "f/manifest.json").read_text())
    assert list(raw) == sorted(raw) and raw["files"].keys() == {"README.md", "skipped.csv"}


def test_the_map_before_pooling_is_stored_beside_the_feature(dataset, tmp_path):
    backbone = "tests.tiny_backbone:with_map"
    (dataset / "images" / f"{photo_id('train', 1, 1)}.jpg").unlink()
    features = run(dataset, tmp_path / "f", "--grid", backbone=backbone)
    assert features.grid is not None and len(features.grid) == 36 and features.grid.row_shape == (8, 7, 7)
    pooled = features.grid.all().astype(np.float32).mean(axis=(2, 3))
    np.testing.assert_allclose(pooled, features.feature.all(), atol=0.02)
    assert features.recipe["fields"]["grid"] == [7, 7]
    with pytest.raises(UserError, match=r"grid: \[7, 7\] there, None here.*--grid"):
        run(dataset, tmp_path / "f", backbone=backbone)
    draw_photo(np.random.default_rng(9)).save(dataset / "images" / f"{photo_id('train', 1, 1)}.jpg")
    grown = run(dataset, tmp_path / "f", "--grid", backbone=backbone)
    fresh = run(dataset, tmp_path / "g", "--grid", backbone=backbone)
    assert grown.grid is not None and fresh.grid is not None and (grown.grid.all() == fresh.grid.all()).all()
    assert run(dataset, tmp_path / "h", backbone=backbone).grid is None


def test_thumbnails_asked_for_later_are_made_without_looking_again(dataset, tmp_path, monkeypatch):
    before = run(dataset, tmp_path / "f")
    seen = count_looks(monkeypatch)
    after = run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert not seen and shard_names(after) == shard_names(before)
    fresh = run(dataset, tmp_path / "g", "--thumbnails", "24")
    assert all(after.thumbnail(row) == fresh.thumbnail(row) for row in range(36)) and after.thumbnail(0)
    assert run(dataset, tmp_path / "f", "--words", "more").thumbnail(5) == fresh.thumbnail(5)  # kept without the flag
    with pytest.raises(UserError, match="thumbnails of 24 pixels"):
        run(dataset, tmp_path / "f", "--thumbnails", "32")


def test_work_is_kept_when_the_annotations_changed_before_the_first_run_ended(dataset, tmp_path, monkeypatch):
    from extract.pipeline import pipeline as looking
    real, left = looking.append_entry, [3]

    def die(*arguments):
        real(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
    monkeypatch.setattr(looking, "append_entry", die)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, tmp_path / "f")
    monkeypatch.setattr(looking, "append_entry", real)
    main(["gc", str(tmp_path / "f")])  # what an unfinished run published is no garbage
    path = dataset / "annotations/train.story-in-sequence.json"
    raw = json.loads(path.read_text())
    raw["annotations"] = raw["annotations"][10:]  # the first album is gone: every shard begins elsewhere now
    path.write_text(json.dumps(raw))
    seen = count_looks(monkeypatch)
    features = run(dataset, tmp_path / "f")
    fresh = run(dataset, tmp_path / "g")
    assert features.num_photos == 30 and (features.feature.all() == fresh.feature.all()).all()
    assert len([name for name in seen[:-30]]) == 12  # of 30; the other 18 had been published


@pytest.mark.parametrize("has_ledger, lose", [
    (True, lambda path: path.write_bytes(path.read_bytes()[:5000])), (False, lambda path: path.unlink())])
def test_a_lost_shard_comes_back_to_the_bit(dataset, tmp_path, has_ledger, lose):
    before = snapshot_of_run(dataset, tmp_path, "--thumbnails", "24")
    for name in ("photos/00001.h5", "thumbs/00002.h5"):
        lose(tmp_path / "f" / name)
    if not has_ledger:
        shutil.rmtree(tmp_path / "f/.local")
    run(dataset, tmp_path / "f", "--thumbnails", "24")
    assert snapshot(tmp_path / "f") == before


def test_a_folder_from_elsewhere_is_taken_over_without_looking_again(dataset, tmp_path, monkeypatch):
    before = snapshot_of_run(dataset, tmp_path)
    shutil.rmtree(tmp_path / "f/.local")
    seen = count_looks(monkeypatch)
    run(dataset, tmp_path / "f")
    assert not seen and snapshot(tmp_path / "f") == before
