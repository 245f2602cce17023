"""Tag tables of one's own: alternatives, blockers, guards, identity, and what is refused."""
import json

import pytest

from data.errors import UserError
from data.words.tags import TagTable


def write_table(tmp_path, tags=None, **fields):
    tags = tags or {"dog": {"category": "object", "forms": ["dog"]}}
    content = {"format": 1, "names": ["<PAD>", "<UNK>", *tags], "tags": tags, **fields}
    path = tmp_path / "table.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")
    return path


def test_a_table_of_another_language_and_other_tags(tmp_path):
    tags = {"Hund": {"category": "Tier", "forms": ["hund|hunde"], "blockers": ["armer hund"]},
            "stra\u00dfe": {"category": "Ort", "forms": ["stra\u00dfe", "gasse"]}}
    table = TagTable.load(write_table(tmp_path, tags, language="de"))
    assert table.names == ["<PAD>", "<UNK>", "Hund", "stra\u00dfe"]
    assert table.categories == {"Hund": "Tier", "stra\u00dfe": "Ort"}
    assert table.forms["Hund"] == ("hund", "hunde")
    assert table.tags_of("zwei hunde auf der stra\u00dfe".split()) == {2, 3}
    assert table.tags_of("armer hund".split()) == set()
    assert table.tags_of_many([["gasse"]]).tolist() == [[0, 0, 0, 1]]


def test_the_longest_phrase_wins_and_takes_its_words(tmp_path):
    tags = {"bike": {"category": "o", "forms": ["bike", "bike bike"], "blockers": ["dirt bike", "my dirt"]},
            "dirt": {"category": "o", "forms": ["my dirt bike", "dirt"]}}
    table = TagTable.load(write_table(tmp_path, tags))
    assert table.tags_of("dirt bike".split()) == {3}
    assert table.tags_of("my dirt bike".split()) == {3}         # blockers may overlap, each takes its words away
    assert table.tags_of("dirt bike bike".split()) == {2, 3}    # the rest of an overlap is free
    assert table.tags_of("bike".split()) == {2}


def test_alternatives_lists_and_optional_words_are_written_out(tmp_path):
    tags = {"meal": {"category": "a", "forms": ["had|has |@article |big lunch|dinner"]}}
    table = TagTable.load(write_table(tmp_path, tags, lists={"article": ["a", "the"]}))
    assert len(table.forms["meal"]) == 2 * 3 * 2 * 2
    assert table.tags_of("she had a big dinner".split()) == table.tags_of("has lunch".split()) == {2}
    assert table.tags_of("had a small dinner".split()) == set()


@pytest.mark.parametrize("rule, counts, does_not", [
    ({"-1": ["to"]}, ["x y park", "park to", "park"], ["to park", "we to park"]),
    ({"+1": ["<END>"]}, ["park x"], ["park", "a park"]),
    ({"-1": ["<START>"]}, ["the park"], ["park", "park x"]),
    ({"-1": ["to"], "+1": ["the"]}, ["to park", "park the", "to park a"], ["to park the"]),
    ({"-3..-1": ["to"]}, ["to a b c park"], ["to park", "to a b park"]),
    ({"+1..+2": ["car"]}, ["park a b car"], ["park car", "park a car"]),
    ({"not -1": ["the", "a"]}, ["the park", "a park"], ["park", "to park"]),
    ({"not -2..-1": ["the"]}, ["the park", "the old park"], ["old park", "the very old park"]),
    ({"-1": ["@det"]}, ["to park"], ["the park"]),
    ({"-1": ["let's"]}, ["lets park"], ["let's park", "let\u2019s park"])])
def test_a_guard_drops_what_meets_its_rule(tmp_path, rule, counts, does_not):
    tags = {"park": {"category": "l", "forms": ["park"], "guards": {"verb": ["park"]}}}
    table = TagTable.load(write_table(tmp_path, tags, guards={"verb": [rule]}, lists={"det": ["the"]}))
    assert [table.tags_of(text.split()) for text in counts] == [{2}] * len(counts)
    assert [table.tags_of(text.split()) for text in does_not] == [set()] * len(does_not)


def test_any_rule_of_any_guard_drops(tmp_path):
    tags = {"park": {"category": "l", "forms": ["park|parks"], "guards": {"one": ["park"], "two": ["park|parks"]}}}
    table = TagTable.load(write_table(tmp_path, tags, guards={"one": [{"-1": ["to"]}, {"-1": ["we"]}],
                                                              "two": [{"-1": ["he"]}]}))
    for text, found in (("to park", set()), ("we park", set()), ("he park", set()), ("to parks", {2}),
                        ("he parks", set())):
        assert table.tags_of(text.split()) == found, text


def test_a_form_that_its_guard_drops_takes_its_words_all_the_same(tmp_path):
    tags = {"book": {"category": "o", "forms": ["book", "comic book"], "guards": {"verb": ["comic book"]}}}
    table = TagTable.load(write_table(tmp_path, tags, guards={"verb": [{"-1": ["to"]}]}))
    assert table.tags_of("a comic book".split()) == {2}
    assert table.tags_of("to comic book".split()) == set()
    assert table.tags_of("to comic book a book".split()) == {2}


def test_what_a_variant_spells_gives_way_to_what_the_table_spells(tmp_path):
    tags = {"food": {"category": "o", "forms": ["hot dog"], "blockers": ["hot-dog"]}}
    table = TagTable.load(write_table(tmp_path, tags))
    assert table.tags_of(["hot", "dog"]) == table.tags_of(["hot", "-", "dog"]) == {2}
    assert table.tags_of(["hot-dog"]) == set()


def test_the_identity_follows_the_content_and_nothing_else(tmp_path):
    first = TagTable.load(write_table(tmp_path)).sha256
    path = write_table(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3, sort_keys=True))
    assert TagTable.load(path).sha256 == first
    changed = TagTable.load(write_table(tmp_path, {"dog": {"category": "object", "forms": ["dog", "hound"]}})).sha256
    assert changed != first and len(changed) == 64


DOG = {"category": "object", "forms": ["dog"]}


@pytest.mark.parametrize("fields, expected", [
    ({"format": 2}, "expected format 1 at 'format', found '2'"),
    ({"colour": 1}, "expected only the keys"),
    ({"names": None}, "expected a list of strings at 'names'"),
    ({"names": ["dog", "<PAD>", "<UNK>"]}, "expected 'names' to begin with <PAD>, <UNK>"),
    ({"names": ["<PAD>", "<UNK>"]}, "expected 1 to 1022 tags in 'names', found 0"),
    ({"names": ["<PAD>", "<UNK>", "dog", "dog"]}, "found 'dog' twice"),
    ({"names": ["<PAD>", "<UNK>", "a dog"]}, "without white space"),
    ({"names": ["<PAD>", "<UNK>", "dog", "cat"]}, "found that 'cat' is a name without an entry"),
    ({"tags": {"dog": DOG, "cat": DOG}, "names": ["<PAD>", "<UNK>", "dog"]}, "found that 'cat' is no name"),
    ({"tags": {"dog": 5}, "names": ["<PAD>", "<UNK>", "dog"]}, "expected an object at tag 'dog', found '5'"),
    ({"tags": {"dog": {**DOG, "form": []}}}, "expected only the keys blockers, category, forms, guards at tag 'dog'"),
    ({"tags": {"dog": {"forms": ["dog"]}}}, "expected a category at tag 'dog'"),
    ({"tags": {"dog": {**DOG, "forms": []}}}, "expected at least one form"),
    ({"tags": {"dog": {**DOG, "forms": "dog"}}}, "expected a list of strings at the forms of tag 'dog'"),
    ({"tags": {"dog": {**DOG, "forms": ["Dog"]}}}, "expected single lower-case words"),
    ({"tags": {"dog": {**DOG, "forms": ["hot  dog"]}}}, "expected single blanks"),
    ({"tags": {"dog": {**DOG, "forms": ["a||b"]}}}, "expected single blanks"),
    ({"tags": {"dog": {**DOG, "forms": [""]}}}, "expected single blanks"),
    ({"tags": {"dog": {**DOG, "forms": ["|a"]}}}, "expected words and at most"),
    ({"tags": {"dog": {**DOG, "forms": ["@list dog"]}}}, "expected the name of a list after @"),
    ({"tags": {"dog": {**DOG, "forms": [" ".join(["a|b|c|d|e|f|g|h|i|j"] * 9)]}}}, "at most 200000 phrases"),
    ({"tags": {"dog": {**DOG, "blockers": ["dog"]}}}, "found 'dog' as both"),
    ({"tags": {"dog": {**DOG, "guards": {"verb": ["dog"]}}}}, "expected the name of a guard"),
    ({"tags": {"dog": {**DOG, "guards": {"verb": ["cat"]}}}, "guards": {"verb": [{"-1": ["to"]}]}},
     "expected one of its forms in the guards of tag 'dog', found 'cat'"),
    ({"guards": {"verb": []}}, "expected a list of rules at guard 'verb'"),
    ({"guards": {"verb": [{}]}}, "expected an object with a condition"),
    ({"guards": {"verb": [{"0": ["to"]}]}}, "expected a place like"),
    ({"guards": {"verb": [{"-1..+1": ["to"]}]}}, "expected a range on one side of the form"),
    ({"guards": {"verb": [{"-1..-4": ["to"]}]}}, "expected a range on one side of the form"),
    ({"guards": {"verb": [{"-1": "to"}]}}, "expected a list of strings"),
    ({"lists": {"det": ["The"]}}, "expected single lower-case words in list 'det'"),
    ({"lists": []}, "expected an object at 'lists'")])
def test_a_table_that_is_none_says_where_it_breaks(tmp_path, fields, expected):
    path = write_table(tmp_path, **fields)
    with pytest.raises(UserError) as caught:
        TagTable.load(path)
    message = str(caught.value)
    assert expected in message and f"in the tag table {path}; mend that place" in message


def test_no_table_and_no_json_are_refused(tmp_path):
    with pytest.raises(UserError, match="expected a tag table at .*no such file"):
        TagTable.load(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UserError, match="expected an object at top level"):
        TagTable.load(tmp_path / "list.json")
