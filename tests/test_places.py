"""Where things are to be written: what is in the way is said before the work, and nothing of the user's is moved."""
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from data.errors import UserError, run_command
from data.files import read_sealed_json, require_room, write_sealed_json
from data.folder.folder import Features
from evaluate.__main__ import main as evaluate
from extract.command import main as extract
from tests.photo_dataset import write_dataset
from tests.tiny_training import tiny
from train.run_folder.runs import read_record
from train.session import run_training
from train.summary import print_summary

FLAGS = ["--backbone", "tests.tiny_backbone:factory", "--weights", "random", "--batch-size", "4"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "data", {"train": 2, "val": 1, "test": 1})


@pytest.fixture(scope="module")
def extracted(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extracted") / "f"
    extract(["--data", str(dataset), "--out", str(folder), *FLAGS])
    return folder


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["features", "data", "thesis", "a network's"])
def test_what_is_no_run_is_never_moved_away(make_features, dataset, tmp_path, kind):
    features = make_features()
    place = {"features": features, "data": dataset}.get(kind, tmp_path / "thesis")
    place.mkdir(exist_ok=True)
    if kind == "thesis":
        (place / "thesis.tex").write_text("years of work")
    if kind == "a network's":
        (place / "config.json").write_text('{"architectures": ["Bert"]}')
    before = everything(tmp_path) | everything(dataset)
    for force in (False, True):
        with pytest.raises(UserError, match="to be empty or a run, found other files in it .*name another"):
            run_training(tiny(), features, place, force=force)
    assert everything(tmp_path) | everything(dataset) == before


def test_a_run_with_a_damaged_record_may_be_started_anew(make_features, tmp_path):
    features = make_features()
    run = run_training(tiny(epochs=1), features, tmp_path / "run")
    for number, damage in enumerate(("", "[]"), 1):
        (run / "config.json").write_text(damage)
        run_training(tiny(epochs=1), features, run, force=True)
        assert (tmp_path / f"run.{number}/best.safetensors").exists()


def test_a_run_that_was_killed_before_its_record_was_written_begins_again(make_features, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/vocabulary.json").write_text("{}")
    run_training(tiny(), make_features(), tmp_path / "run", force=True)
    assert (tmp_path / "run/best.safetensors").exists() and (tmp_path / "run.1/vocabulary.json").exists()


@pytest.mark.parametrize("name", ["file", "file/below", "dangling"])
def test_a_file_in_the_way_is_said_in_one_sentence(make_features, dataset, tmp_path, capsys, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UserError, match=f"expected a run folder at .*{name}, found that .* is no folder"):
        run_training(tiny(), make_features(), tmp_path / name)
    assert run_command(lambda: extract(["--data", str(dataset), "--out", str(tmp_path / name), *FLAGS])) == 2
    assert evaluate(["ablate", "--features", str(make_features()), "--out", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"expected the folder of an ablation at {tmp_path / name}, found that" in said
    assert f"expected a features folder at {tmp_path / name}, found that" in said
    assert said.count("error:") == 2 and "Traceback" not in said
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_found_before_the_work(make_features, dataset, tmp_path, monkeypatch):
    features = make_features()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 100, 100))
    with pytest.raises(UserError, match=rf"expected room for \d+ MB or more in {tmp_path} for a run folder"):
        run_training(tiny(), features, tmp_path / "run")
    with pytest.raises(UserError, match="expected room for .* for a features folder"):
        extract(["--data", str(dataset), "--out", str(tmp_path / "f"), *FLAGS])
    assert not (tmp_path / "run").exists() and not list((tmp_path / "f").glob("photos/*"))


def test_a_disk_that_may_not_be_written_is_found_before_the_work(make_features, tmp_path):
    features, disk = make_features(), tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with pytest.raises(UserError, match=f"expected to be able to write a run folder into {disk}, found: Read-only"):
            run_training(tiny(), features, disk / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_room_is_asked_for_without_leaving_anything(tmp_path):
    require_room(tmp_path / "a/b/c", "a folder", 1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["state.json", "recipe.json"])
@pytest.mark.parametrize("damage", ["{}", "cut", "changed"])
def test_damaged_notes_of_this_machine_are_made_again(dataset, extracted, tmp_path, name, damage):
    folder = shutil.copytree(extracted, tmp_path / "f")
    command = ["--data", str(dataset), "--out", str(folder), *FLAGS]
    before = (folder / "manifest.json").read_bytes()
    note = folder / ".local" / name
    text = note.read_text()
    note.write_text({"cut": text[:len(text) // 2], "changed": text.replace("sha256", "652ahs")}.get(damage, damage))
    if name != "state.json":
        (folder / ".local/state.json").unlink()
    extract(command)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_sealed_note_is_what_was_written_or_nothing(tmp_path):
    path = write_sealed_json(tmp_path / "note.json", {"a": [1, 2.5, None], "b": {"ä": True}})
    assert read_sealed_json(path) == {"a": [1, 2.5, None], "b": {"ä": True}}
    path.write_text(path.read_text().replace("2.5", "2.6"))
    assert read_sealed_json(path) is None and read_sealed_json(tmp_path / "absent.json") is None


def test_a_run_that_may_not_be_written_is_found_before_it_is_evaluated(tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise OSError(30, "Read-only file system")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("data.files.sync", refuse)
    assert evaluate(["--run", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "expected to be able to write the numbers of a run into" in said and "run, found: Read" in said
    assert os.listdir(tmp_path / "run") == []


def test_what_is_printed_to_be_typed_next_is_quoted(make_features, tmp_path, capsys):
    features = make_features("my features")
    run = run_training(tiny(epochs=1), features, tmp_path / "my run")
    print_summary(run, features)
    assert f"make eval RUN='{run}' FEATURES='{features}'" in capsys.readouterr().out
    with pytest.raises(UserError, match="make features FEATURES='no where'"):
        Features.open(Path("no where"))
    with pytest.raises(UserError, match="make train RUN='no run'"):
        read_record(Path("no run"))
