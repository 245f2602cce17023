"""plan: what an extraction would do, without doing any of it."""
import os
import re
import shutil
from pathlib import Path

import pytest

from data.errors import UserError
from extract import plan_report
from extract.backbones import weights
from extract.command import main
from tests.photo_dataset import write_dataset

FLAGS = ["--backbone", "tests.tiny_backbone:factory", "--weights", "random", "--batch-size", "16", "--shard-rows", "8"]


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data")


def plan(dataset, folder, capsys, *flags):
    """The lines of the plan by name."""
    capsys.readouterr()
    main(["plan", str(folder), "--data", str(dataset), *FLAGS, *flags])
    lines = capsys.readouterr().out.splitlines()[1:]
    return {line.strip().partition("  ")[0]: line.strip().partition("  ")[2].strip() for line in lines}


def look(root: Path):
    """Everything about a tree that writing would change."""
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ino)
                  for path in [root, *root.rglob("*")])


def test_it_counts_what_is_there_and_what_is_missing(dataset, tmp_path, capsys):
    images = sorted((dataset / "images").iterdir())
    size = sum(path.stat().st_size for path in images[1:] if path.stem[-1] != "6")  # the seventh is in no story
    images[0].unlink()
    facts = plan(dataset, tmp_path / "f", capsys)
    assert facts["stories"] == "train 8, val 2, test 2"
    assert facts["photos"] == f"36 named, 35 found ({size / 1e3:.0f} kB), 1 missing"
    assert facts["done"] == "0 photos; 0 of 5 shards"
    assert facts["to do"].startswith("36 photos in 5 shards, 35 of them to be read")
    assert facts["disk"].endswith("enough") and facts["measured"].startswith("35 photos at ")
    assert facts["to go"].startswith("about ")


def test_it_writes_nothing(dataset, tmp_path, capsys):
    for _ in range(2):  # before there is a folder, and when there is one
        before = look(tmp_path)
        plan(dataset, tmp_path / "f", capsys)
        plan(dataset, tmp_path / "f", capsys, "--thumbnails", "24", "--words", "other", "--rehash", "--no-timing")
        assert look(tmp_path) == before
        if not (tmp_path / "f").exists():
            main(["--data", str(dataset), "--out", str(tmp_path / "f"), *FLAGS])


def test_it_knows_what_is_done(dataset, tmp_path, capsys):
    main(["--data", str(dataset), "--out", str(tmp_path / "f"), *FLAGS])
    facts = plan(dataset, tmp_path / "f", capsys)
    assert facts["done"] == "36 photos; 5 of 5 shards"
    assert facts["to go"] == "nothing: no photo needs to be looked at" and "measured" not in facts
    os.utime(dataset / "images/tr0000.jpg", (1, 1))
    facts = plan(dataset, tmp_path / "f", capsys)
    assert facts["done"] == "35 photos; 4 of 5 shards" and facts["to do"].startswith("1 photos in 1 shards")
    (tmp_path / "f/photos/00002.h5").unlink()
    assert plan(dataset, tmp_path / "f", capsys, "--no-timing")["done"].endswith("3 of 5 shards")


def test_what_extraction_would_write_is_about_what_it_reckons(dataset, tmp_path, capsys):
    said = plan(dataset, tmp_path / "f", capsys, "--thumbnails", "24")["to write"]
    main(["--data", str(dataset), "--out", str(tmp_path / "f"), *FLAGS, "--thumbnails", "24"])
    capsys.readouterr()

    def written(folder):
        return sum(array.nbytes for path in folder.rglob("*.h5") for array in arrays_of(path).values())
    assert 0.5 < float(said.split()[1]) * 1e3 / written(tmp_path / "f") < 2
    words = float(re.findall(r"([\d.]+) kB of words", said)[0])  # once: nothing is staged
    assert 0.7 < words * 1e3 / written(tmp_path / "f/words") < 1.4


def arrays_of(path):
    import h5py
    with h5py.File(path) as file:
        return {name: file[name][...] for name in file}


def test_a_full_disk_is_said_beforehand(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan_report.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1000))
    assert "NOT ENOUGH, make room for" in plan(dataset, tmp_path / "f", capsys, "--no-timing")["disk"]


def test_another_recipe_is_refused_as_extraction_would(dataset, tmp_path, capsys):
    main(["--data", str(dataset), "--out", str(tmp_path / "f"), *FLAGS])
    with pytest.raises(UserError, match="resize: squash there, crop here"):
        plan(dataset, tmp_path / "f", capsys, "--resize", "crop")


def test_weights_that_are_not_here_are_named_and_not_fetched(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "find_imagenet", lambda *arguments: pytest.fail("plan looked for a download"))
    facts = plan(dataset, tmp_path / "f", capsys, "--backbone", "resnet18", "--weights", "imagenet", "--no-timing")
    assert "would download https://" in facts["weights"]
    assert not (tmp_path / "cache").exists() and not (tmp_path / "f").exists()


def test_processes_share_the_time(dataset, tmp_path, capsys):
    facts = plan(dataset, tmp_path / "f", capsys, "--world", "4")
    assert facts["to go"].endswith("with 4 processes like this one")


@pytest.mark.parametrize("seconds, photos", [(0.0, 4), (1e9, 36)])
def test_the_pipeline_is_timed_until_it_took_long_enough(dataset, tmp_path, capsys, monkeypatch, seconds, photos):
    monkeypatch.setattr(plan_report, "TIMED_PHOTOS", 4)
    monkeypatch.setattr(plan_report, "TIMED_SECONDS", seconds)
    said = plan(dataset, tmp_path / "f", capsys, "--thumbnails", "24")["measured"]
    assert said.startswith(f"{photos} photos at ") and " binds; a photo costs each of " in said
