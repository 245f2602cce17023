"""Tokens: places of the map before pooling, kept beside the features and handed out with them."""
import json
import shutil

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.files import sha256_file, write_sealed_json
from data.folder.folder import OK, Features
from data.folder.identity import identify
from extract.command import main
from extract.folder.recipe import LOCAL
from extract.sharing.contents import Choice
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.verification.verify import verify_folder
from tests.extraction import count_looks, dataset, one_matcher, run, shard_names, snapshot  # noqa: F401
from tests.photo_dataset import draw_photo, photo_id, write_stories

MAP = "tests.tiny_backbone:with_map"


def add_albums(dataset):
    """Two more albums of train."""
    write_stories(dataset, "train", 6)
    random = np.random.default_rng(7)
    new = [photo_id("train", album, number) for album in (4, 5) for number in range(6)]
    for name in new:
        draw_photo(random).save(dataset / "images" / f"{name}.jpg")
    return new


def age(folder):
    """Make a folder of 49 tokens what --grid of an earlier version made, on another machine."""
    shutil.rmtree(folder / LOCAL)
    raw = json.loads((folder / "manifest.json").read_text())
    raw["recipe"] = identify({**raw["recipe"]["fields"], "grid": [7, 7]})
    del raw["counts"]["tokens"], raw["sha256"]
    shards = raw["shards"]["grid"] = raw["shards"].pop("tokens")
    (folder / "grid").mkdir()
    for shard in shards:
        with h5py.File(folder / shard["name"]) as file:
            tokens = file["feature"][...]
        shard["name"] = shard["name"].replace("tokens/", "grid/")
        with h5py.File(folder / shard["name"], "w", libver=("v110", "v110")) as file:
            file.create_dataset("feature", data=tokens.swapaxes(1, 2).reshape(len(tokens), -1, 7, 7))
        shard["bytes"] = (folder / shard["name"]).stat().st_size
        shard["sha256"] = sha256_file(folder / shard["name"])
    shutil.rmtree(folder / "tokens")
    write_sealed_json(folder / "manifest.json", raw)


def test_a_folder_without_them_hands_out_the_feature_alone(dataset, tmp_path):
    features = run(dataset, tmp_path / "f", backbone=MAP)
    assert features.manifest.num_tokens == 1 and features.tokens.row_shape == (1, 8)
    assert (features.tokens.all()[:, 0] == features.feature.all()).all()
    assert "tokens" not in features.manifest.counts and features.recipe["fields"]["grid"] is None
    run(dataset, tmp_path / "g", "--tokens", "1", backbone=MAP)
    assert snapshot(tmp_path / "g") == snapshot(tmp_path / "f")


@pytest.mark.parametrize("number", [16, 49])
def test_they_come_to_a_folder_that_is_there_and_stay(dataset, tmp_path, monkeypatch, number):
    gone = dataset / "images" / f"{photo_id('train', 1, 1)}.jpg"
    gone.unlink()
    plain = run(dataset, tmp_path / "f", backbone=MAP)
    features = run(dataset, tmp_path / "f", "--tokens", str(number), backbone=MAP)
    assert features.recipe == plain.recipe and shard_names(features) == shard_names(plain)
    assert features.tokens.row_shape == (number, 8) and len(features.tokens) == features.num_photos == 36
    tokens = features.tokens.all()
    assert (tokens.any(axis=(1, 2)) == (features.status == OK)).all()
    if number == 49:
        np.testing.assert_allclose(tokens.astype(np.float32).mean(axis=1), features.feature.all(), atol=0.02)
    other = {16: "49", 49: "16"}[number]
    with pytest.raises(UserError, match=f"expected {number} tokens .*found --tokens {other}; leave the flag away"):
        run(dataset, tmp_path / "f", "--tokens", other, backbone=MAP)
    new = add_albums(dataset)
    draw_photo(np.random.default_rng(9)).save(gone)
    shutil.copy(dataset / f"images/{photo_id('train', 0, 0)}.jpg", dataset / f"images/{new[0]}.jpg")
    seen = count_looks(monkeypatch, dataset)
    grown = run(dataset, tmp_path / "f", backbone=MAP)
    assert sorted(seen) == sorted([*new[1:], gone.stem])
    fresh = run(dataset, tmp_path / "g", "--tokens", str(number), backbone=MAP)
    rows = np.array([grown.row_of[name.decode()] for name in fresh.photo_id.all()])
    assert (grown.tokens.take(rows) == fresh.tokens.all()).all() and grown.tokens.all().any(axis=(1, 2)).all()
    assert not verify_folder(tmp_path / "f", full=True).damaged


@pytest.mark.parametrize("number, first_row", [(49, [0, 1, 2, 3, 4, 5, 6]), (16, [4, 5.5, 7.5, 9])])
def test_places_come_row_by_row_and_are_pooled_as_neighbours(dataset, tmp_path, number, first_row):
    tokens = run(dataset, tmp_path / "f", "--tokens", str(number), backbone="tests.tiny_backbone:with_places").tokens
    side = len(first_row)
    found = tokens.all()[0, :, 0].reshape(side, side).astype(float)
    assert found[0].tolist() == first_row  # 16: means of 2 x 2 places, the first of rows 0 and 1, columns 0 and 1
    assert (np.diff(found, axis=0) > 0).all() and (np.diff(found, axis=1) > 0).all()
    assert (tokens.all() == tokens.all()[:1, :, :1]).all()


@pytest.mark.parametrize("number", [7, 2**40, True, "16"])
def test_a_manifest_with_another_number_of_them_is_refused(dataset, tmp_path, number):
    path = tmp_path / "f/manifest.json"
    run(dataset, tmp_path / "f", "--tokens", "16", backbone=MAP)
    path.write_text(json.dumps((raw := json.loads(path.read_text())) | {"counts": raw["counts"] | {"tokens": number}}))
    with pytest.raises(UserError, match="is no number of tokens|is no count"):
        Features.open(tmp_path / "f")


def test_a_killed_run_with_other_tokens_binds_nobody(dataset, tmp_path):
    run(dataset, tmp_path / "f", "--tokens", "16", backbone=MAP)
    (tmp_path / "f/manifest.json").unlink()
    assert run(dataset, tmp_path / "f", "--tokens", "49", backbone=MAP).tokens.row_shape == (49, 8)


def test_a_folder_made_with_a_grid_is_read_grown_and_handed_on(dataset, tmp_path, monkeypatch):
    made = run(dataset, tmp_path / "f", "--tokens", "49", backbone=MAP)
    expected, names = made.tokens.all().copy(), shard_names(made, "tokens")
    age(tmp_path / "f")
    older = Features.open(tmp_path / "f")
    assert (older.tokens.all() == expected).all() and older.manifest.num_tokens == 49
    assert (older.tokens.take(np.array([9, 0])) == expected[[9, 0]]).all()
    assert not verify_folder(tmp_path / "f", full=True).damaged
    pull_folder(str(pack_folder(tmp_path / "f", tmp_path / "f.tar", Choice())), tmp_path / "pulled", Choice())
    assert (Features.open(tmp_path / "pulled").tokens.all() == expected).all()
    new, seen = add_albums(dataset), count_looks(monkeypatch, dataset)
    grown = run(dataset, tmp_path / "f", backbone=MAP)
    assert seen == new and grown.recipe == older.recipe and (grown.tokens.all()[:36] == expected).all()
    assert shard_names(grown, "tokens")[:5] == [name.replace("tokens", "grid") for name in names]
    assert not verify_folder(tmp_path / "f", full=True).damaged
    with pytest.raises(UserError, match="expected 49 tokens"):
        run(dataset, tmp_path / "f", "--tokens", "16", backbone=MAP)


def test_they_can_be_left_behind(dataset, tmp_path):
    run(dataset, tmp_path / "f", "--tokens", "16", backbone=MAP)
    assert "16 of every photo in `tokens/*.h5`" in (tmp_path / "f/README.md").read_text()
    main(["pack", str(tmp_path / "f"), "--out", str(tmp_path / "f.tar"), "--leave-out", "tokens"])
    main(["pull", str(tmp_path / "f.tar"), str(tmp_path / "part")])
    assert not (tmp_path / "part/tokens").exists() and Features.open(tmp_path / "part").tokens.row_shape == (1, 8)
    (tmp_path / "f/tokens").rename(tmp_path / "tokens")
    (tmp_path / "f/tokens").mkdir()
    for path in sorted((tmp_path / "tokens").iterdir())[1:]:
        shutil.copy(path, tmp_path / "f/tokens")
    (tmp_path / "f/part.json").write_text('{"format": 1, "lacks": ["tokens/00000.h5"]}')
    part = Features.open(tmp_path / "f").tokens  # a shard that lacks is rows of zeros
    assert part.row_shape == (16, 8) and not part.slice(0, 8).any() and part.slice(8, 36).any(axis=(1, 2)).all()


def test_plan_says_what_they_take(dataset, tmp_path, capsys):
    main(["plan", str(tmp_path / "f"), "--data", str(dataset), "--backbone", MAP, "--weights", "random", "--tokens",
          "49", "--no-timing"])
    assert "28 kB of 49 tokens a photo" in capsys.readouterr().out  # 36 x 49 x 8 numbers of 2 bytes


def test_verify_finds_tokens_that_are_none(dataset, tmp_path):
    from data.folder.shards import map_shard, write_shard
    features = run(dataset, tmp_path / "f", "--tokens", "16", backbone=MAP)
    shard = features.manifest.shards["tokens"][1]
    tokens = map_shard(tmp_path / "f" / shard.name, "tokens")["feature"].copy()
    tokens[3, 2, 1] = np.inf
    write_shard(tmp_path / "f" / shard.name, "tokens", {"feature": tokens})
    assert "expected finite numbers" in str(verify_folder(tmp_path / "f", keep=True).findings)
    write_shard(tmp_path / "f" / shard.name, "tokens", {"feature": tokens.reshape(len(tokens), 8, 16)})
    assert "expected tokens of shape (16, 8), found (8, 16)" in str(verify_folder(tmp_path / "f", keep=True).findings)
