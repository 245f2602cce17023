"""Emotions, a second tag table: what counts as one, and a folder that gets them without a photo being looked at."""
from pathlib import Path

import pytest

from data.folder.folder import Features
from data.words import tag_table
from data.words.tags import TagTable
from evaluate.__main__ import main as evaluate
from extract.command import main
from extract.pipeline.pipeline import Looking
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run

TABLE = Path(tag_table.__file__).with_name("emotion_table.json")


@pytest.fixture(scope="module")
def emotions():
    return TagTable.load(TABLE)


@pytest.mark.parametrize("sentence, expected", [
    ("everyone was happy and proud of her .", "joy pride"), ("he was n't happy at all .", ""),
    ("they were not very sad .", ""), ("we met at happy hour .", ""), ("happy birthday to you !", ""),
    ("a trip to the amusement park", ""), ("the kids laughed at the clown .", "amusement"),
    ("a surprise party for dad", ""), ("what a surprise !", "surprise"), ("the pride parade began .", ""),
    ("she was afraid of the dark , and lonely .", "fear loneliness"), ("we would love to go .", ""),
    ("i love this city .", "love"), ("the dog ran to the park .", ""), ("the mad scientist laughed .", "amusement"),
    ("he was so angry and ashamed .", "anger shame"), ("they never get bored .", ""), ("so excited !", "excitement"),
])
def test_a_sentence_says_what_somebody_feels(emotions, sentence, expected):
    assert {emotions.names[column] for column in emotions.tags_of(sentence.split())} == set(expected.split())


def test_there_are_24_from_joy_to_fear(emotions):
    assert len(emotions) == 26 and emotions.names[2] == "joy" and emotions.names[-1] == "fear"


def test_a_folder_gets_them_beside_its_words_and_older_runs_still_evaluate(tmp_path, monkeypatch):
    flags = ["--data", str(write_dataset(tmp_path / "data")), "--out", str(tmp_path / "f"), "--backbone",
             "tests.tiny_backbone:factory", "--weights", "random", "--batch-size", "4"]
    main(flags)
    before = Features.open(tmp_path / "f")
    write_run(tmp_path / "run", tmp_path / "f")
    monkeypatch.setattr(Looking, "run", lambda self: pytest.fail("a photo was looked at"))
    main([*flags, "--tag-table", str(TABLE), "--words", "emotions"])
    grown = Features.open(tmp_path / "f")
    assert grown.word_sets == ["default", "emotions"] and grown.recipe == before.recipe
    assert grown.manifest.words["default"] == before.manifest.words["default"]
    words = grown.words("emotions")
    tags, captions = words.split("train").tag.all(), words.split("train")
    happy = [tags[0, order, 2] for order in range(5) if "happy" in captions.caption(0, order)]
    assert happy and all(happy)
    assert evaluate(["--run", str(tmp_path / "run"), "--features", str(tmp_path / "f"), "--split", "val"]) == 0
