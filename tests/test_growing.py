"""A second dataset beside the first in one features folder: each command does its own work and leaves the other's."""
import csv
import json
import re
import shutil

import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import MISSING, OK, UNREADABLE, Features
from evaluate.__main__ import main as evaluate
from extract.command import main
from extract.sharing.contents import Choice
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.verification.verify import verify_folder
from tests.extraction import BACKBONE, count_looks, dataset, one_matcher, run, shard_names, snapshot  # noqa: F401
from tests.photo_dataset import draw_photo, photo_id, write_dataset
from tests.test_extract_again import times_of
from tests.tiny_runs import write_run


@pytest.fixture
def second(tmp_path):
    """Other albums, stories, ids and pictures, but one: x-tr0000 goes by the name of a photo of the first dataset."""
    root = write_dataset(tmp_path / "second", {"train": 2, "val": 1}, seed=5)
    for path in (root / "annotations").iterdir():
        path.write_text(re.sub(r'"((tr|va|te)\d|train-|val-|test-)', r'"x-\1', path.read_text()))
    for path in (root / "images").iterdir():
        path.rename(path.with_name(f"x-{path.name}"))
    return root


def rename(root, old, new):
    """Give a photo another id."""
    for path in (root / "annotations").iterdir():
        path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))
    (root / f"images/{old}.jpg").rename(root / f"images/{new}.jpg")


def plan(root, folder, *flags):
    """What the run would do, printed."""
    main(["plan", str(folder), "--data", str(root), "--backbone", BACKBONE, "--weights", "random", "--shard-rows", "8",
          "--no-timing", *flags])


def skipped(folder):
    with open(folder / "skipped.csv") as file:
        return [(row["kind"], row["id"], row.get("words")) for row in csv.DictReader(file)]


def test_it_is_appended_and_neither_command_undoes_the_other(dataset, second, tmp_path, monkeypatch, caplog):
    gone = dataset / f"images/{photo_id('val', 0, 0)}.jpg"
    gone.unlink()
    (second / f"images/x-{photo_id('train', 1, 1)}.jpg").write_bytes(b"<html>")
    before = run(dataset, tmp_path / "f")
    old, named = snapshot(tmp_path / "f"), before.photo_id.all().copy()
    seen = count_looks(monkeypatch, second)
    grown = run(second, tmp_path / "f", "--words", "other", "--max-bad", "1")
    assert len(seen) == len(set(seen)) == 17 and all(name.startswith("x-") for name in seen)
    assert (grown.photo_id.all()[:36] == named).all() and grown.num_photos == 54
    assert shard_names(grown)[:5] == shard_names(before)
    assert grown.recipe == before.recipe and grown.manifest.words["default"] == before.manifest.words["default"]
    assert all(content == old[name] for name, content in snapshot(tmp_path / "f").items() if name in old
               and name not in ("manifest.json", "README.md", "skipped.csv"))
    assert [grown.status[grown.row_of[name]] for name in (gone.stem, f"x-{photo_id('train', 1, 1)}")] == [
        MISSING, UNREADABLE]
    assert grown.manifest.counts["by_split"] == {"train": 36, "val": 12, "test": 6, "unused": 0}
    told = grown.words("other").split("val")
    assert [name.decode() for name in grown.photo_id.take(told.photo.all()[1])] == [
        f"x-{photo_id('val', 0, number)}" for number in range(1, 6)]
    files, times = snapshot(tmp_path / "f"), times_of(tmp_path / "f")
    flags = {"default": (dataset, "--max-bad", "1"), "other": (second, "--words", "other", "--max-bad", "1")}
    for name in ("default", "other", "default", "other"):
        caplog.clear()
        caplog.set_level("INFO")
        run(flags[name][0], tmp_path / "f", *flags[name][1:])
    assert "is up to date" in caplog.text and len(seen) == 17
    assert snapshot(tmp_path / "f") == files and times_of(tmp_path / "f") == times
    assert not verify_folder(tmp_path / "f", full=True).damaged


def test_older_runs_go_on_and_either_is_chosen_by_name(dataset, second, tmp_path, caplog):
    run(dataset, tmp_path / "f")
    write_run(tmp_path / "run", tmp_path / "f")
    plain = ["--split", "val", "--no-meteor", "--no-page", "--no-baselines", "--resamples", "20"]
    arguments = ["--run", str(tmp_path / "run"), "--features", str(tmp_path / "f"), *plain]
    assert evaluate(arguments) == 0
    numbers = json.loads((tmp_path / "run/eval-val.json").read_text())
    run(second, tmp_path / "f", "--words", "other")
    caplog.clear()
    assert evaluate(arguments) == 0 and "are not those that run" in caplog.text
    again = json.loads((tmp_path / "run/eval-val.json").read_text())
    assert again["rows"]["model"] == numbers["rows"]["model"] and again["rows"]["model"]["perplexity"]["value"] > 1
    assert evaluate([*arguments, "--words", "other"]) == 2
    write_run(tmp_path / "new", tmp_path / "f", words="other")
    assert evaluate(["--run", str(tmp_path / "new"), *plain]) == 0
    pack_folder(tmp_path / "f", tmp_path / "f.tar", Choice(words=("other",)))
    pull_folder(str(tmp_path / "f.tar"), tmp_path / "part", Choice())
    part = Features.open(tmp_path / "part")
    assert part.word_sets == ["other"] and len(part.words("other").split("train")) == 4
    assert evaluate(["--run", str(tmp_path / "new"), "--features", str(tmp_path / "part"), *plain]) == 0


def test_a_folder_from_elsewhere_grows_too(dataset, second, tmp_path, monkeypatch):
    run(dataset, tmp_path / "f")
    pull_folder(str(tmp_path / "f"), tmp_path / "pulled", Choice())
    shutil.rmtree(tmp_path / "pulled/.local", ignore_errors=True)
    seen = count_looks(monkeypatch, second)
    grown = run(second, tmp_path / "pulled", "--words", "other")
    assert len(seen) == 18 and (grown.status == OK).all()
    files = snapshot(tmp_path / "pulled")
    run(dataset, tmp_path / "pulled")
    run(second, tmp_path / "pulled", "--words", "other")
    assert len(seen) == 18 and snapshot(tmp_path / "pulled") == files


def test_a_second_dataset_without_a_name_of_its_own_is_refused(dataset, second, tmp_path):
    run(dataset, tmp_path / "f")
    files = snapshot(tmp_path / "f")
    with pytest.raises(UserError, match="expected stories of the word set 'default'.*a second dataset.*--words NAME"):
        run(second, tmp_path / "f")
    assert snapshot(tmp_path / "f") == files


def test_one_id_for_two_pictures_is_refused_and_one_picture_shared(dataset, second, tmp_path, monkeypatch):
    shared = photo_id("train", 0, 0)
    rename(second, f"x-{shared}", shared)
    run(dataset, tmp_path / "f")
    files = snapshot(tmp_path / "f")
    with pytest.raises(UserError, match=rf"one picture by each photo id.*found 1 with another.*\({shared}\).*--rehash"):
        run(second, tmp_path / "f", "--words", "other")
    assert snapshot(tmp_path / "f") == files
    with pytest.raises(UserError, match="one picture by each photo id"):  # by the plan too
        plan(second, tmp_path / "f", "--words", "other")
    shutil.copyfile(dataset / f"images/{shared}.jpg", second / f"images/{shared}.jpg")  # another time
    seen = count_looks(monkeypatch, second)
    grown = run(second, tmp_path / "f", "--words", "other")
    assert len(seen) == 17 and grown.num_photos == 53
    assert grown.words("other").split("train").photo.all()[0, 0] == grown.row_of[shared] < 36
    files, times = snapshot(tmp_path / "f"), times_of(tmp_path / "f")
    for root, *flags in ((dataset,), (second, "--words", "other"), (dataset,)):
        run(root, tmp_path / "f", *flags)
    assert len(seen) == 17 and times_of(tmp_path / "f") == times
    draw_photo(np.random.default_rng(3)).save(second / f"images/{shared}.jpg")
    with pytest.raises(UserError, match="one picture by each photo id"):
        run(second, tmp_path / "f", "--words", "other")
    replaced = run(second, tmp_path / "f", "--words", "other", "--rehash")
    row = replaced.row_of[shared]
    assert seen[17:] == [shared] and (replaced.status == OK).all()
    assert (replaced.feature.all()[:row] == grown.feature.all()[:row]).all()


def test_a_picture_that_one_dataset_lacks_comes_from_the_other_and_stays(dataset, second, tmp_path):
    shared = photo_id("train", 0, 0)
    rename(second, f"x-{shared}", shared)
    (dataset / f"images/{shared}.jpg").unlink()
    assert run(dataset, tmp_path / "f").status[0] == MISSING
    assert run(second, tmp_path / "f", "--words", "other").status[0] == OK
    files = snapshot(tmp_path / "f")
    run(dataset, tmp_path / "f")
    assert snapshot(tmp_path / "f") == files


def test_what_each_lost_is_listed_beside_the_others(dataset, second, tmp_path):
    for root, name in ((dataset, "train-000-0"), (second, "x-val-000-1")):
        for path in (root / "annotations").iterdir():
            raw = json.loads(path.read_text())
            raw["annotations"] = [record for record in raw["annotations"] if record[0]["story_id"] != name
                                  or record[0]["worker_arranged_photo_order"] < 4]
            path.write_text(json.dumps(raw))
    run(dataset, tmp_path / "f")
    assert skipped(tmp_path / "f") == [("story", "train-000-0", None)]
    both = [("story", "train-000-0", "default"), ("story", "x-val-000-1", "other")]
    run(second, tmp_path / "f", "--words", "other")
    assert skipped(tmp_path / "f") == both
    for root, words in ((dataset, "emotions"), (dataset, "default"), (second, "other")):
        run(root, tmp_path / "f", "--words", words)
        assert skipped(tmp_path / "f") == both
    (dataset / "annotations/train.story-in-sequence.json").unlink()
    run(dataset, tmp_path / "f")
    assert skipped(tmp_path / "f") == both[1:]


def test_a_placeholder_that_untold_photos_prove_is_not_forgotten(dataset, second, tmp_path):
    dataset = write_dataset(tmp_path / "untold", {"train": 6})
    for album in range(1, 6):  # the seventh photo of an album stands in no story
        shutil.copy(dataset / f"images/{photo_id('train', 0, 6)}.jpg",
                    dataset / f"images/{photo_id('train', album, 6)}.jpg")
    expected = run(dataset, tmp_path / "f", "--photos", "albums").manifest.placeholders
    assert [(found["photos"], found["albums"]) for found in expected] == [(6, 6)]
    assert run(second, tmp_path / "f", "--words", "other").manifest.placeholders == expected


def test_what_needs_the_others_photos_is_refused(dataset, second, tmp_path):
    run(dataset, tmp_path / "f")
    run(second, tmp_path / "f", "--words", "other")
    for flags in (["--thumbnails", "24"], ["--views", "2"]):
        with pytest.raises(UserError, match="expected all photos of a shard.*another dataset's.*a new folder"):
            run(second, tmp_path / "f", "--words", "other", *flags)
    (tmp_path / "f/photos/00001.h5").unlink()
    with pytest.raises(UserError, match="bring back what was lost with that one's command"):
        run(second, tmp_path / "f", "--words", "other")
    run(dataset, tmp_path / "f")
    assert not verify_folder(tmp_path / "f", full=True).damaged


def test_bad_photos_of_one_are_tried_again_by_its_own_command(dataset, second, tmp_path):
    path = second / f"images/x-{photo_id('train', 0, 1)}.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"<html>")
    run(dataset, tmp_path / "f")
    run(second, tmp_path / "f", "--words", "other", "--max-bad", "1")
    after = run(dataset, tmp_path / "f", "--max-bad", "1", "--retry", "--rehash")
    assert after.status[after.row_of[path.stem]] == UNREADABLE and (after.status != OK).sum() == 1
    path.write_bytes(whole)
    assert (run(second, tmp_path / "f", "--words", "other").status == OK).all()


def test_a_damaged_word_set_of_the_other_says_so(dataset, second, tmp_path):
    run(dataset, tmp_path / "f")
    run(second, tmp_path / "f", "--words", "other")
    (tmp_path / "f/words/default/train-00000.h5").unlink()
    with pytest.raises(UserError, match="words/default/train-00000.h5"):
        run(second, tmp_path / "f", "--words", "other", "--retry")
    run(dataset, tmp_path / "f")
    assert not verify_folder(tmp_path / "f", full=True).damaged
    main(["plan", str(tmp_path / "f"), "--data", str(second), "--words", "other", "--backbone",
          "tests.tiny_backbone:factory", "--weights", "random", "--no-timing"])


def test_another_language_needs_no_photos_and_copies_of_them_are_known(dataset, tmp_path, monkeypatch, caplog,
                                                                       capsys):
    french = tmp_path / "french"
    shutil.copytree(dataset / "annotations", french / "annotations")
    for path in (french / "annotations").iterdir():
        raw = json.loads(path.read_text().replace("the dog ran", "le chien courait"))
        raw["annotations"] = raw["annotations"][:15]  # three stories of each split are translated
        path.write_text(json.dumps(raw))
    before = run(dataset, tmp_path / "f")
    seen = count_looks(monkeypatch, dataset)
    grown = run(french, tmp_path / "f", "--words", "french")
    assert "chien" in grown.words("french").vocabulary and grown.source == before.source
    assert shard_names(grown) == shard_names(before) and (grown.status == OK).all()
    files, times = snapshot(tmp_path / "f"), times_of(tmp_path / "f")
    shutil.copytree(dataset / "images", french / "images", copy_function=shutil.copyfile)
    plan(french, tmp_path / "f", "--words", "french")
    assert "0 photos in 0 shards" in capsys.readouterr().out
    for root, *flags in ((french, "--words", "french"), (dataset,), (french, "--words", "french")):
        run(root, tmp_path / "f", *flags)
    assert not seen and snapshot(tmp_path / "f") == files and times_of(tmp_path / "f") == times
    draw_photo(np.random.default_rng(3)).save(dataset / f"images/{photo_id('train', 0, 0)}.jpg")
    run(dataset, tmp_path / "f")
    assert seen == [photo_id("train", 0, 0)] and "1 photo(s) changed" in caplog.text
