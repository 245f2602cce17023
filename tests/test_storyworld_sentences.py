"""Sentences of the storyworld: exact probabilities, tags, variety."""
import random
from collections import Counter

import numpy as np
import pytest

from data.storyworld.albums import World, build_world
from data.storyworld.config import WorldConfig
from data.storyworld.grammar import TAG_NAMES, Grammar, tags_of
from data.storyworld.oracle import next_outlooks
from data.storyworld.sentences import description_grammar, natural_text, outlook_grammar, sentence_grammar
from data.storyworld.world import Scene, draw_album
from data.words.tags import TagTable


@pytest.fixture(scope="module", params=["informative", "redundant"])
def world(request: pytest.FixtureRequest) -> World:
    return build_world(WorldConfig(albums=60, seed=5, tags=request.param))


def _captions(world: World) -> list[tuple[str, ...]]:
    albums = [album for albums in world.splits.values() for album in albums]
    return [*(words for album in albums for story in album.stories for words in story.sentences),
            *(words for album in albums for photo in album.photos for words in photo.descriptions)]


def test_a_sentence_with_two_derivations_has_the_sum_of_both() -> None:
    grammar = Grammar({"s": (("{a} b", 1), ("a {b}", 3)), "a": (("a", 1), ("c", 1)), "b": (("b", 2), ("b b", 2))}, "s")
    assert grammar.probability("a b".split()) == pytest.approx(0.25 * 0.5 + 0.75 * 0.5)
    assert grammar.probability("c b".split()) == pytest.approx(0.125)
    assert grammar.probability("a b b".split()) == pytest.approx(0.375)
    assert grammar.probability("a".split()) == grammar.probability("a b b b".split()) == 0


def test_words_divided_between_two_slots_in_two_ways_have_the_sum_of_both() -> None:
    grammar = Grammar({"s": (("{a} {b}", 1),), "a": (("x", 1), ("x x", 3)), "b": (("x", 1), ("x x", 1))}, "s")
    assert grammar.probability("x x x".split()) == pytest.approx(0.25 * 0.5 + 0.75 * 0.5)


def test_sentences_come_as_often_as_their_probability_says() -> None:
    first, _ = draw_album(random.Random(8))
    grammar, rng, draws = sentence_grammar(first[:1], "first"), random.Random(1), 20_000
    counts = Counter(grammar.write(rng) for _ in range(draws))
    assert sum(grammar.probability(words) for words in counts) <= 1 + 1e-9
    for words, count in counts.most_common(20):
        expected = grammar.probability(words) * draws
        assert abs(count - expected) < 5 * expected ** 0.5


def test_an_open_outlook_mixes_its_scenes_exactly() -> None:
    first, _ = draw_album(random.Random(4))
    for seen in (1, 2, 3, 4):
        outlook, _ = max(next_outlooks(first[:seen]), key=lambda pair: pair[1])
        grammar = outlook_grammar(first[:seen], outlook, "third")
        words = grammar.write(random.Random(seen))
        by_scene = sum(chance * sentence_grammar((*first[:seen], scene), "third").probability(words)
                       for scene, chance in outlook.scenes())
        assert grammar.probability(words) == pytest.approx(by_scene, rel=1e-9)


def test_tag_chances_are_frequencies() -> None:
    first, _ = draw_album(random.Random(8))
    for grammar in (sentence_grammar(first[:1], "third"), sentence_grammar(first, "third"),
                    description_grammar(first[1])):
        rng = random.Random(2)
        found = np.zeros(len(TAG_NAMES))
        for _ in range(4000):
            for tag in tags_of(grammar.write(rng)):
                found[TAG_NAMES.index(tag)] += 1 / 4000
        np.testing.assert_allclose(found, grammar.tag_chances, atol=0.04)
        assert (grammar.tag_chances > 0).sum() >= 3


def test_the_world_and_the_tag_table_agree_on_every_caption(world: World) -> None:
    table, captions = TagTable.load(), _captions(world)
    assert tuple(table.names[2:]) == TAG_NAMES
    found = table.tags_of_many(captions)
    for words, row in zip(captions, found):
        assert {table.names[column] for column in row.nonzero()[0]} == tags_of(words), " ".join(words)
    assert (found[:, 2:].sum(axis=0) > 0).all()


def test_captions_are_varied_and_of_vists_length(world: World) -> None:
    sentences = [words for albums in world.splits.values() for album in albums for story in album.stories
                 for words in story.sentences]
    lengths = [len(words) for words in sentences]
    assert 5 <= min(lengths) and max(lengths) <= 28 and 10 < np.mean(lengths) < 14
    assert len(set(sentences)) > 0.85 * len(sentences)
    assert Counter(sentences).most_common(1)[0][1] < 0.005 * len(sentences)


def test_redundant_descriptions_add_no_tag_and_informative_ones_do() -> None:
    added = {}
    for tags in ("informative", "redundant"):
        world = build_world(WorldConfig(albums=40, seed=5, tags=tags))
        added[tags] = sum(len(tags_of(words) - tags_of(sentence))
                          for albums in world.splits.values() for album in albums for story in album.stories
                          for photo, sentence in zip(story.photos, story.sentences) for words in photo.descriptions)
    assert added["redundant"] == 0 < added["informative"]


def test_the_two_tag_worlds_tell_the_same_stories() -> None:
    told = [[story.sentences for album in build_world(WorldConfig(albums=12, tags=tags)).splits["train"]
             for story in album.stories] for tags in ("informative", "redundant")]
    assert told[0] == told[1]


def test_natural_text_reads_like_typed_by_a_person() -> None:
    scene = Scene(0, 0, "home", "standing", "door", 0, "sunny", 0)
    assert natural_text("in the house , i saw [female] .".split(), scene) == "In the house, I saw Anna."
