"""What made the features: equal to append, no part of the recipe; another precision is told to who reads."""
import json
import logging
import os
from dataclasses import replace

import pytest

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import identify
from data.folder.manifest import load_manifest
from extract.command import main
from extract.folder.recipe import require_made_alike
from extract.verification.check_weights import check_weights
from extract.verification.findings import Report
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run
from train.run_folder.runs import load_run, require_same_folder

TINY = "tests.tiny_backbone:factory"
CPU = {"batch_shape": [4, 3, 32, 32], "compiled": False, "device": "cpu"}


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data", {"train": 2, "val": 1, "test": 1})


def extract(dataset, folder, *flags, precision="float32"):
    main(["--data", str(dataset), "--out", str(folder), "--backbone", TINY, "--weights", "random", "--shard-rows", "8",
          "--precision", precision, *flags])
    return Features.open(folder)


def touch_a_photo(dataset):
    path = sorted((dataset / "images").iterdir())[0]
    os.utime(path, (1, 1))


def test_the_batch_is_no_part_of_the_recipe_but_must_be_equal_to_append(dataset, tmp_path):
    made = extract(dataset, tmp_path / "f", "--batch-size", "4")
    other = extract(dataset, tmp_path / "g", "--batch-size", "3")
    assert made.recipe == other.recipe and made.manifest.made_by == (CPU,)
    extract(dataset, tmp_path / "f", "--batch-size", "3", "--words", "more")  # no row is made
    touch_a_photo(dataset)
    before = snapshot(tmp_path / "f")
    with pytest.raises(UserError, match=r"batch_shape: \[4, 3, 32, 32\] there, \[3, 3, 32, 32\] here.*--mixed"):
        extract(dataset, tmp_path / "f", "--batch-size", "3")
    assert snapshot(tmp_path / "f") == before
    assert extract(dataset, tmp_path / "f").manifest.made_by == (CPU,)  # goes on with its own
    touch_a_photo(dataset)
    os.utime(sorted((dataset / "images").iterdir())[0], (2, 2))
    mixed = extract(dataset, tmp_path / "f", "--batch-size", "3", "--mixed")
    assert mixed.manifest.made_by == (CPU, {**CPU, "batch_shape": [3, 3, 32, 32]})


@pytest.mark.parametrize("precision, mixed, is_refused", [
    ("float32", False, False), ("bfloat16", False, True), ("bfloat16", True, False)])
def test_another_device_may_append_in_float32_or_where_it_is_wanted(tmp_path, precision, mixed, is_refused):
    here = {**CPU, "device": "cuda", "batch_shape": [128, 3, 32, 32]}
    if is_refused:
        with pytest.raises(UserError, match=f"device: cpu there, cuda here.*--mixed.*last digits of {precision}"):
            require_made_alike(tmp_path, precision, [CPU], here, mixed)
        return
    both = require_made_alike(tmp_path, precision, [CPU], here, mixed)
    assert both == [CPU, here] == require_made_alike(tmp_path, precision, both, CPU, False)
    with pytest.raises(UserError, match="compiled: False there, True here"):  # of a device that is known already
        require_made_alike(tmp_path, precision, both, {**here, "compiled": True}, False)


def test_a_folder_of_before_is_read_and_appended_to(dataset, tmp_path):
    """Its recipe says the batch, and not the device: another one as far as anybody knows."""
    folder = tmp_path / "f"
    for precision, is_refused in (("bfloat16", True), ("float32", False)):
        new = extract(dataset, folder / precision, "--batch-size", "4", precision=precision)
        old = identify({**new.recipe["fields"], "version": 3, "batch_shape": [4, 3, 32, 32], "compiled": False})
        turn_back(folder / precision, new.recipe["id"], old)
        run = load_run(write_run(tmp_path / f"run-{precision}", folder / precision))
        assert run.recipe == old
        require_same_folder(run, tmp_path, new.recipe, new.words(), folder)  # they are the same recipe
        touch_a_photo(dataset)
        if is_refused:
            with pytest.raises(UserError, match="device: unknown there, cpu here"):
                extract(dataset, folder / precision, precision=precision)
        else:
            again = extract(dataset, folder / precision, precision=precision)
            assert again.recipe == old and again.manifest.made_by == ({**CPU, "device": "unknown"}, CPU)
            assert (again.feature.all() == new.feature.all()).all()
        os.utime(sorted((dataset / "images").iterdir())[0], (3, 3))


def turn_back(folder, recipe, old):
    """Make a folder what an earlier version would have left."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["recipe"] = old
    del manifest["made_by"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert load_manifest(folder).made_by == ({**CPU, "device": "unknown"},)
    for path in (folder / ".local").iterdir():
        if path.name != "ledger" and path.is_file():
            path.unlink()
    from extract.folder import ledger
    entries = ledger.read_ledger(folder)
    for path in (folder / ".local/ledger").iterdir():
        path.unlink()
    for entry in entries.values():
        assert entry.recipe == recipe
        ledger.append_entry(folder, 0, replace(entry, recipe=old["id"]))


def test_another_precision_is_told_to_a_run_and_other_fields_refused(make_features, tmp_path, caplog):
    own = make_features()
    run = load_run(write_run(tmp_path / "run", own))
    words = Features.open(own).words()
    fields = {**run.recipe["fields"], "precision": "bfloat16"}
    run = replace(run, recipe=identify(fields))
    with caplog.at_level(logging.WARNING):
        require_same_folder(run, tmp_path / "run", identify(fields), words, own)
        assert not caplog.text
        require_same_folder(run, tmp_path / "run", identify({**fields, "precision": "float16"}), words, own)
    assert "precision bfloat16 as it was made with, found float16" in caplog.text
    with pytest.raises(UserError, match="size: "):
        require_same_folder(run, tmp_path, identify({**fields, "precision": "float16", "size": 299}), words, own)


@pytest.mark.parametrize("made_by", [[{}], [{**CPU, "batch_shape": [1 << 20, 3, 2, 2]}], [{**CPU, "more": 1}], 7])
def test_a_manifest_that_says_nothing_sensible_of_what_made_it_is_refused(make_features, made_by):
    folder = make_features()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "made_by": made_by}))
    with pytest.raises(UserError, match="expected a whole manifest"):
        load_manifest(folder)


def test_canaries_are_made_anew_in_the_batch_that_made_them(dataset, tmp_path):
    folder = tmp_path / "f"
    extract(dataset, folder, "--batch-size", "5")
    report = Report(folder)
    check_weights(folder, "random", report, TINY, None, "cpu")
    assert not report.findings and "24 of 24 equal to the bit" in report.facts["canaries"]
    replace(load_manifest(folder), made_by=({**CPU, "batch_shape": [3, 3, 32, 32]},)).save(folder)
    report = Report(folder)
    check_weights(folder, "random", report, TINY, None, "cpu")
    assert not report.findings  # in another shape they agree all the same
