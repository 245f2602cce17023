"""One story of your own photos says what evaluation says of the same story; other backbones are refused."""
import json
from pathlib import Path

import pytest
import torch

from data.files import write_json
from data.folder import Features
from evaluate.__main__ import main
from evaluate.captions.detokenise import detokenise
from extract.command import main as extract_photos
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run

BACKBONE = "tests.tiny_backbone:factory"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """A data folder, a run on its features, and the last prediction of its first test story."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("story")
    dataset = write_dataset(root / "data")
    extract_photos(["--data", str(dataset), "--out", str(root / "features"), "--backbone", BACKBONE, "--weights",
                    "random", "--batch-size", "4", "--precision", "float32"])
    run = write_run(root / "run", root / "features")
    words = Features.open(root / "features").words()
    write_json(run / "vocabulary.json", {"words": words.vocabulary, "tags": words.tag_names})
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    return dataset, run, next(line for line in lines if line["t"] == 4)


def photos_of(dataset: Path, line: dict, count: int = 4) -> list[str]:
    return [str(dataset / "images" / f"{photo}.jpg") for photo in line["photos"][:count]]


def captions_of(run: Path, line: dict) -> list[str]:
    lines = [json.loads(text) for text in (run / "predictions-test.jsonl").read_text().splitlines()]
    words = Features.open(run.parent / "features").words().split("test")
    place = [story_id.decode() for story_id in words.story_id.all()].index(line["story_id"])
    assert len(lines) == 8
    return [flag for order in range(4) for flag in ("--caption", words.caption(place, order))]


def test_it_says_what_the_evaluation_says(story, capsys):
    dataset, run, line = story
    capsys.readouterr()
    assert main(["story", *photos_of(dataset, line), *captions_of(run, line), "--run", str(run), "--backbone",
                 BACKBONE]) == 0
    printed = capsys.readouterr().out
    assert f"5  {detokenise(line['written'].split())}" in printed
    matching = printed.splitlines()[-1].partition("like the photos ")[2].split(", ")
    assert len(matching) == 5 and not set(matching) & set(line["photos"][:4])


def test_fewer_photos_and_no_captions(story, capsys):
    dataset, run, line = story
    assert main(["story", *photos_of(dataset, line, 2), "--run", str(run), "--backbone", BACKBONE, "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [text[0] for text in lines if text[0].isdigit()] == ["1", "2", "3"] and "%" in lines[1]


@pytest.mark.parametrize("flags, said", [
    ([], "add --backbone"), (["--backbone", "tests.tiny_backbone:with_map"], "backbone: tests.tiny_backbone:factory"),
    (["--backbone", BACKBONE, "--caption", "one"], "--caption for each of the 4"),
    (["--backbone", BACKBONE, "--weights", "nowhere.pth"], "nowhere.pth"),
    (["--backbone", BACKBONE, "--top-p", "0"], "top_p"), (["--backbone", BACKBONE, "--device", "moon"], "--device")])
def test_refusals_are_one_sentence(story, flags, said, capsys):
    dataset, run, line = story
    assert main(["story", *photos_of(dataset, line), "--run", str(run), *flags]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1


def test_a_bad_photo_is_named(story, tmp_path, capsys):
    dataset, run, line = story
    broken = tmp_path / "page.jpg"
    broken.write_text("<html>no photo</html>")
    for path in (broken, tmp_path / "absent.jpg"):
        assert main(["story", str(path), "--run", str(run), "--backbone", BACKBONE]) == 2
        assert path.name in capsys.readouterr().err
    assert main(["story", "--run", str(run)]) == 2 and "1 to 4 photos" in capsys.readouterr().err
