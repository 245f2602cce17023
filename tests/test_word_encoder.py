"""A whole word set in memory: arrays, tag sources, vocabulary, counts."""
import json

import numpy as np
import pytest

from data.annotations.stories import read_dataset
from data.words.tags import TagTable
from data.words.tokens import END, RESERVED, START, UNK, Vocabulary, split_words
from data.words.word_encoder import encode_words
from tests.annotation_files import SENTENCES, make_story, write_descriptions, write_stories

TABLE = TagTable.load()
COLUMN = {name: column for column, name in enumerate(TABLE.names)}


def columns(*names):
    return {COLUMN[name] for name in names}


def tags_at(arrays, story, order):
    return set(np.flatnonzero(arrays.tag[story, order]))


@pytest.fixture
def dataset(tmp_path):
    write_stories(tmp_path, "train", make_story("b", "x") + make_story("a", "x", captions=["we ran ."] * 5))
    write_stories(tmp_path, "val", make_story("c", "y", captions=["a zebra ran ."] * 5))
    return read_dataset(tmp_path)


def test_shapes_types_and_the_order_of_stories(dataset):
    words = encode_words(dataset, table=TABLE)
    train = words.splits["train"]
    assert list(words.splits) == ["train", "val"]
    assert (train.token.shape, train.token.dtype) == ((2, 5, 30), np.uint16)
    assert (train.tag.shape, train.tag.dtype) == ((2, 5, 51), np.uint8)
    assert train.tag_source.dtype == train.tokenised.dtype == np.uint8
    assert train.story_id.tolist() == [b"a", b"b"] and train.album_id.tolist() == [b"x", b"x"]
    assert train.photo_id.tolist() == [[f"x-{order}".encode() for order in range(5)]] * 2
    assert train.captions == ["we ran ."] * 5 + list(SENTENCES)
    assert train.tokenised.all() and (train.tag_source == 1).all()


def test_ids_are_those_of_the_train_vocabulary(dataset):
    words = encode_words(dataset, table=TABLE)
    index = words.vocabulary.index
    assert "zebra" not in index and words.vocabulary.words[:5] == [*RESERVED, "."]
    assert words.splits["train"].token[0, 0, :6].tolist() == [START, index["we"], index["ran"], index["."], END, 0]
    assert words.splits["val"].token[0, 4, :6].tolist() == [START, index["a"], UNK, index["ran"], index["."], END]
    assert words.counts["val"] == {"stories": 1, "captions": 5, "words": 20, "unknown_words": 5, "cut": 0,
                                   "untagged": 0, "described": 0}


def test_a_given_vocabulary_and_length_are_used_and_cuts_are_counted(dataset):
    vocabulary = Vocabulary([*RESERVED, "dog"])
    words = encode_words(dataset, vocabulary, TABLE, length=5)
    assert words.vocabulary is vocabulary
    assert words.splits["train"].token.shape == (2, 5, 5)
    assert words.splits["train"].token[1, 0].tolist() == [START, UNK, 4, UNK, END]     # the dog ran | .
    assert words.counts["train"]["cut"] == 5 and words.counts["val"]["cut"] == 5


def test_the_vocabulary_is_as_small_as_asked(dataset):
    assert len(encode_words(dataset, table=TABLE, vocabulary_size=6).vocabulary) == 6


def test_without_train_captions_the_vocabulary_says_where_it_comes_from(tmp_path):
    write_stories(tmp_path, "test", make_story("a"))
    words = encode_words(read_dataset(tmp_path), table=TABLE)
    assert "dog" in words.vocabulary.index
    [warning] = words.warnings
    assert warning.startswith(f"no train captions in {tmp_path}: the vocabulary was counted over test")
    assert encode_words(read_dataset(tmp_path), words.vocabulary, TABLE).warnings == []


def test_tags_of_the_caption_and_unk_where_there_is_none(dataset):
    train = encode_words(dataset, table=TABLE).splits["train"]
    assert tags_at(train, 1, 0) == columns("dog", "running")
    assert tags_at(train, 1, 1) == columns("sitting", "table")
    assert tags_at(train, 1, 4) == columns("<UNK>")
    assert not train.tag[:, :, 0].any()


def test_descriptions_of_the_photo_add_tags_and_a_source_bit(tmp_path):
    write_stories(tmp_path, "train", make_story("s", "x") + make_story("t", "y", photo_id="x-4"))
    write_descriptions(tmp_path, "train", [("x-0", "a man on a bench ."), ("x-4", "nothing ."), ("x-4", "a cat ."),
                                           ("x-4", "two trees ."), ("stranger", "a car .")])
    write_stories(tmp_path, "val", make_story("v", "z"))
    words = encode_words(read_dataset(tmp_path), table=TABLE)
    train = words.splits["train"]
    assert train.tag_source.tolist() == [[3, 1, 1, 1, 3], [3] * 5]
    assert tags_at(train, 0, 0) == columns("dog", "running", "person")
    assert tags_at(train, 0, 4) == columns("cat", "tree")                      # its own sentence has none
    assert tags_at(train, 1, 2) == columns("reading", "book", "cat", "tree")   # the same photo elsewhere
    assert words.counts["train"]["described"] == 7 and words.counts["val"]["described"] == 0


def test_a_description_without_a_tag_is_a_source_all_the_same(tmp_path):
    write_stories(tmp_path, "test", make_story("s", "x"))
    write_descriptions(tmp_path, "test", [("x-4", "nothing .")])
    arrays = encode_words(read_dataset(tmp_path), table=TABLE).splits["test"]
    assert tags_at(arrays, 0, 4) == columns("<UNK>") and arrays.tag_source[0, 4] == 3


def test_another_table_gives_as_many_columns_as_it_names(dataset, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"format": 1, "names": ["<PAD>", "<UNK>", "zebra"],
                                "tags": {"zebra": {"category": "object", "forms": ["zebra"]}}}))
    words = encode_words(dataset, table=TagTable.load(path))
    assert words.splits["val"].tag.tolist() == [[[0, 0, 1]] * 5]
    assert words.splits["train"].tag.tolist() == [[[0, 1, 0]] * 5] * 2
    assert words.counts["train"]["untagged"] == 10


def test_untokenised_captions_are_marked_and_tokenised_here(tmp_path):
    write_stories(tmp_path, "test", make_story("s", captions=("",) * 5, original_text="The dog ran, didn't it?"))
    words = encode_words(read_dataset(tmp_path), table=TABLE)
    arrays = words.splits["test"]
    assert not arrays.tokenised.any() and tags_at(arrays, 0, 0) == columns("dog", "running")
    assert words.vocabulary.decode(arrays.token[0, 0]) == ["the", "dog", "ran", ",", "did", "n't", "it", "?"]


def test_the_real_books_as_a_slow_reading_of_the_contract(realdata):
    """Every frame again, one at a time, by the single-caption functions."""
    dataset = read_dataset(realdata / "bookdash")
    words = encode_words(dataset)
    for split, arrays in words.splits.items():
        for row, story in enumerate(dataset.stories[split]):
            for order, caption in enumerate(story.captions):
                parts = split_words(caption, story.tokenised[order])
                assert arrays.token[row, order].tolist() == words.vocabulary.encode(parts)[0].tolist()
                assert tags_at(arrays, row, order) == (words.table.tags_of(parts) or {1})
    assert words.counts["train"]["unknown_words"] == 0 and words.counts["test"]["unknown_words"] > 0
