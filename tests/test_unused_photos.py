"""Photos that no story names belong to no split: neither where they are counted nor where bad ones are listed."""
import csv
import json
import shutil

from data.folder.folder import Features
from extract.command import main
from tests.photo_dataset import photo_id, write_dataset


def run(dataset, folder, *flags):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", "tests.tiny_backbone:factory", "--weights",
          "random", "--batch-size", "4", "--readers", "2", "--max-bad", "1", *flags])
    return Features.open(folder).manifest.counts


def test_they_are_counted_apart_and_no_content_of_theirs_is_in_a_split(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 2, "val": 1})
    untold, told = (dataset / f"images/{photo_id(*place)}.jpg" for place in (("val", 0, 6), ("train", 0, 0)))
    shutil.copy(told, untold)
    bad = photo_id("train", 1, 6)
    (dataset / f"images/{bad}.jpg").write_bytes(b"<html>")
    counts = run(dataset, tmp_path / "f", "--photos", "albums")
    assert counts["by_split"] == {"train": 12, "val": 6, "test": 0, "unused": 3} and counts["photos"] == 21
    assert counts["contents_in_several_splits"] == 0 and counts["distinct_contents"] == 19
    with open(tmp_path / "f/skipped.csv") as file:
        assert [(row["id"], row["split"]) for row in csv.DictReader(file)] == [(bad, "")]


def test_a_photo_that_no_story_names_any_more_is_unused(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 2, "val": 1})
    assert run(dataset, tmp_path / "f")["by_split"] == {"train": 12, "val": 6, "test": 0, "unused": 0}
    path = dataset / "annotations/val.story-in-sequence.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "annotations": raw["annotations"][:5]}))  # the second of two stories is gone
    assert run(dataset, tmp_path / "f")["by_split"] == {"train": 12, "val": 5, "test": 0, "unused": 1}
