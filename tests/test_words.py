"""Captions to words, words to ids and back."""
import json

import numpy as np
import pytest

from data.errors import UserError
from data.files import write_json
from data.words.tokens import END, PAD, RESERVED, START, UNK, Vocabulary, split_words


def test_tokenised_text_is_lower_cased_and_split_on_white_space():
    caption = "[male] did n't see The  caf\u00c9 ,\tor [Female] 's dog\u00a0."
    assert split_words(caption, tokenised=True) == ["[male]", "did", "n't", "see", "the", "caf\u00e9", ",", "or",
                                                    "[female]", "'s", "dog", "."]
    assert split_words("word. [MALE]'s", tokenised=True) == ["word.", "[male]'s"]


@pytest.mark.parametrize("caption, words", [
    ("He didn't see Dad's dog, did he?", ["he", "did", "n't", "see", "dad", "'s", "dog", ",", "did", "he", "?"]),
    ("Mr. Smith  left\nat 5pm.", ["mr.", "smith", "left", "at", "5", "pm", "."]),
    ("\u201cI\u2019ll go,\u201d she said.", ["\u201c", "i", "\u2019ll", "go", ",", "\u201d", "she", "said", "."]),
    ("", []), (" \t ", [])])
def test_original_text_goes_through_the_english_tokenizer(caption, words):
    assert split_words(caption, tokenised=False) == words


def test_the_vocabulary_ranks_by_count_then_alphabet():
    captions = [["\u00e9", "b", "d", "c"], ["c", "b"], ["c", "a"]]
    assert Vocabulary.build(captions).words == [*RESERVED, "c", "b", "a", "d", "\u00e9"]
    assert Vocabulary.build(captions, size=7).words == [*RESERVED, "c", "b", "a"]
    assert Vocabulary.build(iter(captions), size=5).words == [*RESERVED, "c"]
    assert Vocabulary.build([]).words == list(RESERVED)


def test_ten_thousand_rows_include_the_reserved_ones():
    captions = [[f"w{number:05d}"] for number in range(12_000)]
    vocabulary = Vocabulary.build(captions)
    assert len(vocabulary) == 10_000
    assert vocabulary.words[-1] == "w09995"
    assert [vocabulary.words[index] for index in (PAD, START, END, UNK)] == ["<PAD>", "<START>", "<END>", "<UNK>"]


@pytest.mark.parametrize("size", [4, 0, 65_537])
def test_a_size_without_room_is_refused(size):
    with pytest.raises(ValueError, match=f"from 5 to 65536, found {size}"):
        Vocabulary.build([["a"]], size)


def test_a_caption_that_spells_a_reserved_word_gets_unk():
    captions = [["<END>", "a", "<PAD>", "<END>"]] * 9
    vocabulary = Vocabulary.build(captions)
    assert vocabulary.words == [*RESERVED, "a"]
    ids, _ = vocabulary.encode(["<END>", "a", "<START>", "<PAD>", "<UNK>"], length=8)
    assert ids.tolist() == [START, UNK, 4, UNK, UNK, UNK, END, PAD]


@pytest.mark.parametrize("count, cut", [(0, False), (1, False), (27, False), (28, False), (29, True), (400, True)])
def test_a_row_is_start_at_most_28_words_end_padding(count, cut):
    vocabulary = Vocabulary.build([[f"w{number}" for number in range(400)]])
    ids, was_cut = vocabulary.encode([f"w{number}" for number in range(count)])
    expected = [START, *(vocabulary.index[f"w{number}"] for number in range(min(count, 28))), END]
    assert ids.dtype == np.uint16 and ids.shape == (30,)
    assert ids.tolist() == expected + [PAD] * (30 - len(expected))
    assert was_cut is cut


def test_many_captions_are_encoded_as_one_by_one():
    random = np.random.default_rng(0)
    captions = [[f"w{number}" for number in random.integers(0, 60, random.integers(0, 14))] for _ in range(300)]
    vocabulary = Vocabulary.build(captions[:100], size=40)
    ids, cut = vocabulary.encode_many(captions, length=9)
    assert ids.shape == (300, 9) and ids.dtype == np.uint16
    for row, was_cut, words in zip(ids, cut, captions):
        kept = words[:7]
        assert row.tolist() == ([START] + [vocabulary.index.get(word, UNK) for word in kept] + [END] + [PAD] * 9)[:9]
        assert was_cut == (len(words) > 7)
    assert vocabulary.encode_many([])[0].shape == (0, 30)


def test_a_row_too_short_for_a_word_is_refused():
    with pytest.raises(ValueError, match="at least 3 ids"):
        Vocabulary.build([["a"]]).encode(["a"], length=2)


def test_decoding_gives_the_words_back_up_to_end():
    vocabulary = Vocabulary.build([["a", "b", "b"]])
    assert vocabulary.decode(vocabulary.encode(["a", "b", "zebra"])[0]) == ["a", "b", "<UNK>"]
    assert vocabulary.decode([START, 4, END, 5, 4]) == ["b"]
    assert vocabulary.decode(np.array([4, PAD, 5])) == ["b", "a"]


def test_a_saved_vocabulary_is_the_same(tmp_path):
    vocabulary = Vocabulary.build([["a", "\u00e9\u00e9", "\U0001f600", "\u2028", '"']])
    path = write_json(tmp_path / "vocabulary.json", {"words": vocabulary.words})
    assert json.loads(path.read_text(encoding="utf-8")) == {"words": vocabulary.words}
    again = Vocabulary.load(path)
    assert again.words == vocabulary.words and again.index == vocabulary.index


@pytest.mark.parametrize("content, expected", [
    ("{", "JSONDecodeError"), ("[" * 100_000, "RecursionError"), ('{"words": ' + "9" * 5000 + "}", "ValueError"),
    ("[]", 'expected {"words": [...]}'), ('{"words": "abc"}', "non-empty strings"),
    ('{"words": ["<PAD>", "<START>", "<END>", "<UNK>", 7]}', "non-empty strings"),
    ('{"words": ["<PAD>", "<START>", "<END>", "<UNK>", ""]}', "non-empty strings"),
    ('{"words": ["<PAD>", "<START>", "<END>", "<UNK>", "\\ud83d"]}', "half a character"),
    ('{"words": ["<PAD>", "<START>", "<END>"]}', "begin with <PAD>, <START>, <END>, <UNK>, found <PAD>, <START>, "),
    ('{"words": ["a", "<PAD>", "<START>", "<END>", "<UNK>"]}', "begin with"),
    ('{"words": ["<PAD>", "<START>", "<END>", "<UNK>", "a", "b", "a"]}', "every word once, found 'a' again"),
    ('{"words": ["<PAD>", "<START>", "<END>", "<UNK>", "<END>"]}', "every word once, found '<END>' again"),
    (json.dumps({"words": [*RESERVED, *map(str, range(65_533))]}), "at most 65536 words, found 65537")])
def test_a_vocabulary_that_is_none_is_refused(tmp_path, content, expected):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        Vocabulary.load(path)
    assert expected in str(caught.value) and str(path) in str(caught.value)


def test_65536_words_fit_the_ids(tmp_path):
    vocabulary = Vocabulary([*RESERVED, *map(str, range(65_532))])
    assert vocabulary.encode(["65531"], 3)[0].tolist() == [START, 65_535, END]
