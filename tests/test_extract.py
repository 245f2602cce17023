"""Extraction end to end, with a backbone that takes microseconds: what the folder holds, which recipe is kept."""
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data.errors import LimitExceeded, UserError
from data.folder.folder import MISSING, OK, UNREADABLE, Features
from data.pictures.pictures import Resize, decode_photo
from extract.command import main
from tests.extraction import BACKBONE, count_looks, dataset, one_matcher, run, snapshot, snapshot_of_run  # noqa: F401
from tests.photo_dataset import photo_id, write_dataset


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
    seen = count_looks(monkeypatch, dataset)
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


def test_the_manifest_can_be_read_again_and_is_sorted(dataset, tmp_path):
    run(dataset, tmp_path / "f")
    raw = json.loads((tmp_path / "f/manifest.json").read_text())
    assert list(raw) == sorted(raw) and raw["files"].keys() == {"README.md", "skipped.csv"}


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


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_note_of_a_process_that_has_ended_binds_nobody(dataset, tmp_path, is_alive):
    from data.lock import hold, read_token
    folder = tmp_path / "f"
    run(dataset, folder, "--batch-size", "8")
    note = json.loads((folder / ".local/recipe.json").read_text())
    for path in folder.iterdir():  # what is left of a run that was killed before its first shard
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / ".local").mkdir()
    with hold(folder / f".local/{'lock-1' if is_alive else 'other'}", "f", "world 2"):
        note["holder"] = read_token(folder / ".local/lock-1") or note["holder"]
        (folder / ".local/recipe.json").write_text(json.dumps(note))
        command = ["--data", str(dataset), "--out", str(folder), "--backbone", BACKBONE, "--weights", "random",
                   "--shard-rows", "8", "--world", "2", "--rank", "0", "--batch-size", "4"]
        if is_alive:
            with pytest.raises(UserError, match="batch_shape"):
                main(command)
        else:
            main(command)
            assert (folder / "photos/00000.h5").exists()
