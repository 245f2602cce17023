"""One story of your own photos says what evaluation says of the same story; other backbones are refused."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.files import write_json
from data.folder.folder import Features
from data.words.tokens import Vocabulary
from evaluate.__main__ import main
from evaluate.captions.detokenise import detokenise
from evaluate.own_story.story import make_batch
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
                    "random", "--batch-size", "4", "--precision", "float32", "--caption-length", "9"])
    run = write_run(root / "run", root / "features")
    write_names(run, root / "features")
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    return dataset, run, next(line for line in lines if line["t"] == 4)


def write_names(run: Path, features: Path) -> None:
    """Write vocabulary.json as training does."""
    words = Features.open(features).words()
    write_json(run / "vocabulary.json", {"words": words.vocabulary, "tags": words.tag_names})


def photos_of(dataset: Path, line: dict, count: int = 4) -> list[str]:
    return [str(dataset / "images" / f"{photo}.jpg") for photo in line["photos"][:count]]


def captions_of(run: Path, line: dict) -> list[str]:
    lines = predictions_of(run)
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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_photos_and_no_captions(story, count, capsys):
    dataset, run, line = story
    assert main(["story", *photos_of(dataset, line, count), "--run", str(run), "--backbone", BACKBONE, "--top", "1"]
                ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(text[0]) for text in lines if text[0].isdigit()] == list(range(1, count + 2)) and "%" in lines[1]
    assert lines[-1].strip().startswith("like the photos")


def test_captions_are_as_long_as_the_words_the_run_was_trained_with(story, capsys):
    dataset, run, line = story
    words = Features.open(run.parent / "features").words()
    batch = make_batch(np.ones((2, 8), np.float16), ("the dog ran to the park . and home", " "),
                       Vocabulary(words.vocabulary), words.tag_names, 9, has_next=True)
    tags = {words.tag_names[column] for column in batch["tag_targets"][0, 0].nonzero().flatten()}
    assert tags == {"dog", "home", "park", "running"} and not batch["tag_targets"][0, 1:].any()
    assert batch["token_ids"].shape == (1, 3, 9) and batch["token_ids"][0, 0].all()
    assert not batch["token_ids"][0, 1:].any(), "a blank caption is one that is not given"
    assert batch["photo_mask"].tolist() == [[True, True, False]]
    assert main(["story", *photos_of(dataset, line), "--run", str(run), "--backbone", BACKBONE]) == 0
    sentence = capsys.readouterr().out.splitlines()[8]
    assert sentence.startswith("5  ") and len(sentence[3:].split()) <= 7  # of nine ids seven are words


def test_a_run_that_tells_writes_a_sentence_for_every_photo(story, tmp_path, capsys):
    dataset, other, line = story
    run = write_run(tmp_path / "run", other.parent / "features", task="tell")
    write_names(run, other.parent / "features")
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    told = next(told for told in predictions_of(run) if told["story_id"] == line["story_id"])
    asked = ["--run", str(run), "--backbone", BACKBONE]
    capsys.readouterr()
    for count in (5, 2):
        assert main(["story", *photos_of(dataset, line, count), *asked]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 * count and "%" in lines[1]
        if count == 5:
            assert [text.partition(".jpg  ")[2] for text in lines[::2]] == [
                detokenise(sentence.split()) for sentence in told["sentences"]]
    captions = [flag for _ in range(5) for flag in ("--caption", "a dog")]
    for flags, said in ((captions, "leave --caption out"), (photos_of(dataset, line, 1), "expected 1 to 5 photos")):
        assert main(["story", *photos_of(dataset, line, 5), *flags, *asked]) == 2
        assert said in capsys.readouterr().err


def predictions_of(run: Path) -> list[dict]:
    return [json.loads(text) for text in (run / "predictions-test.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("flags, said", [
    ([], "add --backbone"), (["--backbone", "tests.tiny_backbone:with_map"], "backbone: tests.tiny_backbone:factory"),
    (["--backbone", BACKBONE, "--caption", "one"], "--caption for each of the 4 photos or none, found 1"),
    (["--backbone", BACKBONE, "--top", "-1"], "change --top"),
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
    assert main(["story", *photos_of(dataset, line, 5), "--run", str(run), "--backbone", BACKBONE]) == 2
    assert "found 5; leave out the last 1" in capsys.readouterr().err
