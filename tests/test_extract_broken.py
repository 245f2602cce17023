"""Photos that the backbone makes no numbers of: rows of zeros that say so, unless it makes none of any photo."""
import csv
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from data.errors import LimitExceeded, UserError
from data.folder.folder import OK, UNREADABLE, Features
from extract.backbones.mapper import Mapper
from extract.command import main
from extract.pipeline import pipeline
from extract.pipeline.broken import CAUSE, ENOUGH, FiniteCheck
from tests.extraction import count_looks, interrupted_after, one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import draw_photo, photo_id, write_dataset

HOLES, MAP = "tests.tiny_backbone:with_holes", "tests.tiny_backbone:with_map"
BROKEN = {photo_id("train", 0, 1): "dark", photo_id("train", 2, 3): "its twin", photo_id("val", 0, 0): "darker",
          photo_id("test", 0, 4): "white"}
DARK, DARKER = (8, 8, 8), (4, 4, 4)  # not black, as padding is: a look at them can be told


@pytest.fixture
def dataset(tmp_path):
    """Dark photos in three shards and a white one: of the dark, one file is copied and one has other bytes."""
    root = write_dataset(tmp_path / "data")
    first, twin, other, white = (root / f"images/{name}.jpg" for name in BROKEN)
    Image.new("RGB", (64, 48), DARK).save(first)
    shutil.copy(first, twin)
    Image.new("RGB", (64, 48), DARKER).save(other)
    Image.new("RGB", (64, 48), "white").save(white)
    return root


def run(dataset, folder, *flags, backbone=HOLES):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", backbone, "--weights", "random", "--batch-size",
          "4", "--shard-rows", "8", "--readers", "2", "--precision", "float32", "--max-bad", "1", *flags])
    return Features.open(folder)


def names_of(features, rows):
    return {features.photo_id.all()[row].decode() for row in np.flatnonzero(rows)}


def test_a_feature_that_is_no_number_is_a_bad_row_counted_and_listed(dataset, tmp_path):
    features = run(dataset, tmp_path / "f", "--thumbnails", "24", "--views", "2")
    assert names_of(features, features.status != OK) == BROKEN.keys()
    assert set(features.status[features.status != OK]) == {UNREADABLE}
    assert not features.feature.all()[features.status != OK].any()
    assert features.feature.all()[features.status == OK].any(axis=1).all()
    assert not features.views.all()[features.status != OK].any() and np.isfinite(features.views.all()).all()
    assert features.manifest.counts["causes"] == {CAUSE: 4}
    assert features.manifest.counts["status"]["unreadable"] == 4
    assert not any(features.thumbnail(row) for row in np.flatnonzero(features.status != OK))
    with open(tmp_path / "f/skipped.csv") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == BROKEN.keys() and {row["cause"] for row in rows.values()} == {CAUSE}
    assert all("float32" in row["detail"] for row in rows.values())
    main(["verify", str(tmp_path / "f"), "--full"])


def test_they_count_towards_the_limit(dataset, tmp_path):
    with pytest.raises(LimitExceeded, match="11.11%.*--retry"):
        run(dataset, tmp_path / "f", "--max-bad", "0.1")
    assert (Features.open(tmp_path / "f").status == OK).sum() == 32


def test_retry_looks_at_them_again_and_at_their_twins(dataset, tmp_path, monkeypatch):
    before = snapshot_of_run(dataset, tmp_path / "f")
    seen = count_looks(monkeypatch, dataset)
    run(dataset, tmp_path / "f")
    assert not seen
    run(dataset, tmp_path / "f", "--retry")
    assert len(seen) == 3 and set(seen) < BROKEN.keys() and snapshot(tmp_path / "f") == before
    mended = photo_id("train", 2, 3)
    draw_photo(np.random.default_rng(5)).save(dataset / f"images/{mended}.jpg")
    features = run(dataset, tmp_path / "f", "--retry")
    assert names_of(features, features.status != OK) == BROKEN.keys() - {mended}


def snapshot_of_run(dataset, folder, *flags):
    run(dataset, folder, *flags)
    return snapshot(folder)


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_interrupted_and_resumed_it_ends_with_the_same_bytes(dataset, tmp_path, shards):
    flags = ("--thumbnails", "24", "--views", "1")
    undisturbed = snapshot_of_run(dataset, tmp_path / "whole", *flags)
    with interrupted_after(shards):
        run(dataset, tmp_path / "f", *flags)
    assert snapshot_of_run(dataset, tmp_path / "f", *flags) == undisturbed


def test_a_twin_of_a_shard_published_long_ago_is_bad_too(tmp_path, monkeypatch):
    """The last shard waits for the last batch, and that one here until the first shard has left the memory."""
    dataset = write_dataset(tmp_path / "data", {"train": 12})
    first, last = (dataset / f"images/{photo_id('train', *place)}.jpg" for place in ((0, 1), (11, 5)))
    Image.new("RGB", (64, 48)).save(first)
    shutil.copy(first, last)
    append, prove, noted = pipeline.append_entry, FiniteCheck.require_proof, []

    def note(*arguments):
        append(*arguments)
        noted.append(arguments)

    def wait(self):
        while len(noted) < 2:  # one after the other: with the second the first is done with
            time.sleep(0.001)
        prove(self)
    monkeypatch.setattr(Mapper, "num_buffers", 2)  # however many cores there are, the first shards come back early
    monkeypatch.setattr(pipeline, "append_entry", note)
    monkeypatch.setattr(FiniteCheck, "require_proof", wait)
    features = run(dataset, tmp_path / "f")
    assert names_of(features, features.status != OK) == {first.stem, last.stem}
    assert features.manifest.counts["causes"] == {CAUSE: 2}


@pytest.mark.parametrize("albums", [1, 6])
def test_a_backbone_that_makes_no_number_of_any_photo_is_refused(tmp_path, albums):
    dataset = write_dataset(tmp_path / "data", {"train": albums})
    with pytest.raises(UserError, match=rf"none for any of the first {min(6 * albums, ENOUGH)} pictures.*float32"):
        run(dataset, tmp_path / "f", backbone="tests.tiny_backbone:broken")
    assert not list((tmp_path / "f").glob("photos/*.h5")) and not (tmp_path / "f/manifest.json").exists()


def test_a_first_batch_of_broken_photos_waits_for_a_good_one(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 3})
    for number in range(6):
        Image.new("RGB", (64 + number, 48)).save(dataset / f"images/{photo_id('train', 0, number)}.jpg")
    features = run(dataset, tmp_path / "f")
    assert (features.status[:6] == UNREADABLE).all() and (features.status[6:] == OK).all()


def test_a_map_that_float16_cannot_hold_counts_as_well(dataset, tmp_path, monkeypatch):
    from extract.backbones import mapper
    look = mapper.PendingBatch.result

    def overflow(self):
        mapped = look(self)
        for feature, tokens in zip(mapped.features, mapped.tokens):
            if feature.tobytes() == darker:
                tokens[24, 0] = np.inf
        return mapped
    plain = run(dataset, tmp_path / "plain", "--tokens", "49", backbone=MAP)
    assert (plain.status == OK).all()
    darker = plain.feature.take(np.array([plain.row_of[photo_id("val", 0, 0)]]))[0].tobytes()
    monkeypatch.setattr(mapper.PendingBatch, "result", overflow)
    features = run(dataset, tmp_path / "f", "--tokens", "49", backbone=MAP)
    assert photo_id("val", 0, 0) in names_of(features, features.status != OK)
    assert np.isfinite(features.tokens.all()).all()
    assert json.loads((tmp_path / "f/manifest.json").read_text())["counts"]["causes"].keys() == {CAUSE}
