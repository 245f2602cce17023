"""The oracle: worked out by hand, and held against what the generator does."""
import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from data.errors import UserError
from data.storyworld import oracle
from data.storyworld.albums import Album, World, WorldStory, build_world
from data.storyworld.config import WorldConfig
from data.storyworld.grammar import TAG_NAMES, tags_of
from data.storyworld.oracle import (
    OraclePrediction,
    description_tags,
    next_aims,
    next_modes,
    next_outlooks,
    oracle_predictions,
    own_mode_chance,
    photo_chances,
    voice_chances,
)
from data.storyworld.sentences import (
    HAS_DESCRIPTIONS,
    NUM_DESCRIPTIONS,
    description_grammar,
    outlook_grammar,
    sentence_grammar,
)
from data.storyworld.world import AIMS, KEEPS, NEXT_PLACE, Scene, draw, draw_album

BOOK, PLANT, BOTTLE, LAPTOP, PHONE, DOG = range(6)
CONFIG = WorldConfig(albums=150, seed=9)


def _scene(stage: int, place: str, aim: int | None = None, mode: str | None = None) -> Scene:
    return Scene(stage, 0, place, "standing", "door", 1, "sunny", aim, mode)


@pytest.fixture(scope="module")
def predictions() -> dict[tuple[str, int], OraclePrediction]:
    return oracle_predictions(CONFIG.spec(), "test")


def test_the_end_worked_out_by_hand() -> None:
    """First aim book, second dog, by car, then the forest: the rule kept for the dog.

    The car belongs to plant and laptop, so the album's other second aim is one of them: of plant, bottle, laptop, phone
    (not book, not dog) each has 1 - own of the weight if its mode is the car, else nothing, as the dog goes on foot.
    The story ends with the book in KEEPS[4] of all cases, else with one of the three aims that are left.
    """
    history = [_scene(0, "kitchen", BOOK), _scene(1, "store", DOG), _scene(2, "city", mode="car"),
               _scene(3, "forest", DOG)]
    aims, missed = next_aims(history), 1 - KEEPS[4]
    expected = {BOOK: KEEPS[4], BOTTLE: missed * 2 / 6, PHONE: missed * 2 / 6, PLANT: missed / 6, LAPTOP: missed / 6}
    assert aims == pytest.approx(expected)


def test_a_broken_promise_gives_the_other_story_away() -> None:
    """Stage 3 at the office though the dog was seen: the album's other second aim is the laptop, whatever the way."""
    history = [_scene(0, "kitchen", BOOK), _scene(1, "store", DOG), _scene(2, "park", mode="bicycle"),
               _scene(3, "office", LAPTOP)]
    missed = (1 - KEEPS[4]) / 3
    assert next_aims(history) == pytest.approx({BOOK: KEEPS[4], PLANT: missed, BOTTLE: missed, PHONE: missed})


def test_the_way_worked_out_by_hand() -> None:
    history = [_scene(0, "kitchen", BOOK), _scene(1, "store", DOG)]
    own = 0.5 * 0.5 + 0.5 * KEEPS[2]
    assert own_mode_chance() == pytest.approx(own)
    assert next_modes(history) == pytest.approx({"foot": own, "car": (1 - own) / 2, "bicycle": (1 - own) / 4,
                                                 "motorcycle": (1 - own) / 4})


def test_two_photos_of_the_next_stage_worked_out_by_hand() -> None:
    told = [(_scene(0, "kitchen", BOOK), _scene(0, "bedroom", PLANT))]
    store, street = _scene(1, "store", DOG), _scene(1, "street", PHONE)
    assert NEXT_PLACE["kitchen"] == "store"
    assert photo_chances(store, street, told) == pytest.approx((KEEPS[1], 1 - KEEPS[1]))
    assert photo_chances(street, store, told) == pytest.approx((1 - KEEPS[1], KEEPS[1]))


def test_next_scenes_are_as_frequent_as_predicted() -> None:
    """Over many albums: of all scenes predicted with a chance near p, a share near p comes true."""
    rng = random.Random(0)
    expected: dict[tuple[int, int], float] = defaultdict(float)
    happened: Counter[tuple[int, int]] = Counter()
    for _ in range(3000):
        for scenes in draw_album(rng):
            for seen in (1, 2, 3, 4):
                outlooks = next_outlooks(scenes[:seen])
                assert sum(chance for _, chance in outlooks) == pytest.approx(1)
                true = (scenes[seen].place, scenes[seen].aim, scenes[seen].mode)
                for outlook, chance in outlooks:
                    key = (seen, round(chance * 50))
                    expected[key] += chance
                    happened[key] += (outlook.place, outlook.aim, outlook.mode) == true
    for key, count in expected.items():
        assert abs(happened[key] - count) < 4.5 * count ** 0.5 + 3, key
    assert len(expected) >= 12


def test_ends_depend_on_the_start_and_not_on_the_last_scene_alone() -> None:
    rng = random.Random(1)
    by_first, by_last = Counter(), Counter()
    for _ in range(3000):
        scenes, _ = draw_album(rng)
        by_first[scenes[0].aim, scenes[4].aim] += 1
        by_last[scenes[3].aim, scenes[4].aim] += 1

    def best_guess(counts: Counter) -> float:
        return sum(max(counts[before, after] for after in range(len(AIMS))) for before in range(len(AIMS))) / 3000

    assert best_guess(by_first) > 0.8 and best_guess(by_last) < 0.3


def test_photos_are_as_frequent_as_predicted(predictions: dict[tuple[str, int], OraclePrediction]) -> None:
    stories = {story.story_id: (album, story) for album in build_world(CONFIG).splits["test"]
               for story in album.stories}
    by_chance: dict[float, list[bool]] = defaultdict(list)
    for (story_id, seen), prediction in predictions.items():
        album, story = stories[story_id]
        assert sum(prediction.photo_probs.values()) == pytest.approx(1)
        inputs = {photo.photo_id for photo in story.photos[:seen]}
        assert set(prediction.photo_probs) == {photo.photo_id for photo in album.photos} - inputs
        for photo_id, chance in prediction.photo_probs.items():
            by_chance[round(chance, 3)].append(photo_id == story.photos[seen].photo_id)
    for chance, outcomes in by_chance.items():
        assert abs(np.mean(outcomes) - chance) < 0.15 and (chance > 0 or not any(outcomes))
    best = [max(p.photo_probs.values()) for (_, seen), p in predictions.items() if seen == 4]
    assert np.mean(best) == pytest.approx(KEEPS[4])


def test_tags_are_as_frequent_as_predicted(predictions: dict[tuple[str, int], OraclePrediction]) -> None:
    """Per tag, labels minus predictions sum to noise; albums are the independent units."""
    surplus = []
    for album in build_world(CONFIG).splits["test"]:
        surplus.append(np.zeros(len(TAG_NAMES)))
        for story in album.stories:
            for seen in range(1, 5):
                captions = [story.sentences[seen], *story.photos[seen].descriptions]
                found = set().union(*(tags_of(words) for words in captions))
                predicted = predictions[story.story_id, seen].tag_probs
                assert predicted.min() >= 0 and predicted.max() <= 1 and all(
                    predicted[TAG_NAMES.index(name)] > 0 for name in found)
                surplus[-1] += np.array([name in found for name in TAG_NAMES]) - predicted
    deviations = np.sum(surplus, axis=0) / np.sqrt(np.sum(np.square(surplus), axis=0))
    assert np.mean(deviations ** 2) < 2 and abs(deviations).max() < 4.5


def test_captions_in_isolation_add_up_as_they_are_written() -> None:
    scene, rng, draws = draw_album(random.Random(2))[0][0], random.Random(5), 6000
    found = np.zeros(len(TAG_NAMES))
    for _ in range(draws):
        if rng.random() < HAS_DESCRIPTIONS:
            grammar = description_grammar(scene)
            captions = [grammar.write(rng) for _ in range(draw(rng, NUM_DESCRIPTIONS))]
            found += [any(name in tags_of(words) for words in captions) for name in TAG_NAMES]
    np.testing.assert_allclose(found / draws, description_tags(scene), atol=0.025)


def test_redundant_tags_are_those_of_the_sentence() -> None:
    spec = WorldConfig(albums=20, seed=9, tags="redundant").spec()
    informative = oracle_predictions({**spec, "tags": "informative"}, "val")
    for key, prediction in oracle_predictions(spec, "val").items():
        assert (prediction.tag_probs <= informative[key].tag_probs + 1e-9).all()
        assert prediction.tag_probs.sum() < informative[key].tag_probs.sum()
        assert prediction.caption_logprob == informative[key].caption_logprob


def test_a_sentence_is_as_likely_as_its_grammars_say() -> None:
    """The chances of all sentences sum to one, so a frequent sentence comes as often as predicted."""
    rng, draws = random.Random(3), 60_000
    history = draw_album(random.Random(6))[0][:4]
    outlooks = next_outlooks(history)
    counts = Counter(outlook_grammar(history, draw(rng, outlooks), "third").write(rng) for _ in range(draws))
    for words, count in counts.most_common(10):
        expected = draws * sum(chance * outlook_grammar(history, outlook, "third").probability(words)
                               for outlook, chance in outlooks)
        assert abs(count - expected) < 5 * expected ** 0.5


def test_each_prediction_has_its_sentences_figures(predictions: dict[tuple[str, int], OraclePrediction]) -> None:
    stories = [story for album in build_world(CONFIG).splits["test"] for story in album.stories]
    assert len(predictions) == 4 * len(stories)
    for story in stories:
        for seen in range(1, 5):
            prediction = predictions[story.story_id, seen]
            assert prediction.num_words == len(story.sentences[seen]) and prediction.caption_logprob < 0
            assert 5 <= len(prediction.written.split()) <= 28
            assert prediction.written.startswith("i ") <= (story.voice == "first")


def test_the_voice_is_inferred_from_the_sentences_so_far() -> None:
    scenes = draw_album(random.Random(6))[0]
    grammar = sentence_grammar(scenes[:1], "first")
    told = [grammar.write(random.Random(1))]
    assert voice_chances(scenes[:1], told) == {"first": 1.0}


def test_predictions_do_not_depend_on_what_comes_later(predictions: dict[tuple[str, int], OraclePrediction],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """The last photo is the one that the album's other sequence ends with: nothing is predicted otherwise."""
    def end_otherwise(album: Album, story: WorldStory) -> WorldStory:
        other = next(photos for photos in album.sequences if photos != story.photos)
        return replace(story, photos=(*story.photos[:4], other[4]))
    albums = [replace(album, stories=tuple(end_otherwise(album, story) for story in album.stories))
              for album in build_world(CONFIG).splits["test"][:4]]
    monkeypatch.setattr(oracle, "build_world", lambda config: World(config, {"test": albums}))
    found = oracle_predictions(CONFIG.spec(), "test")
    assert len(found) == 4 * 5 * 4
    for key, after in found.items():
        before = predictions[key]
        assert before.photo_probs == after.photo_probs and before.written == after.written
        np.testing.assert_array_equal(before.tag_probs, after.tag_probs)


def test_a_world_of_another_version_is_refused() -> None:
    with pytest.raises(UserError, match="expected version 1, found 99"):
        oracle_predictions({**CONFIG.spec(), "version": 99}, "test")
