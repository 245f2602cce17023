"""RoViST's non-redundancy: by hand, as published, told where it is undefined; and as a row of the scorer."""
import json
import math

import numpy as np
import pytest

from evaluate.stories.redundancy import measure_non_redundancy
from evaluate.stories.scorer import HUMAN, SYSTEM, Corpus, score_corpus


def test_as_published(golden):
    cases = json.loads((golden / "nr_scores.json").read_text())["cases"]
    equal = [abs(measure_non_redundancy(case["story"]) - case["nr"]) < 1e-9 for case in cases]
    assert len(equal) == 160 and np.mean(equal) >= 0.99


def test_by_hand():
    # sentences share "a" (1 of 7 words) and none; slices "a b c d" and "a a" share two pairs of 4 words
    assert measure_non_redundancy("a b c d a a . e f a g .") == pytest.approx(
        1 - (3 * 1 / 7 + 2 / 4) / 2)
    assert measure_non_redundancy("x x x x x x x x . x x x x .") == pytest.approx(1 - (8 * 4 + 4 * 4) / 2)


def test_a_mark_ends_a_sentence_where_it_stands_alone_or_where_none_does():
    told = measure_non_redundancy("we ran to st. john 's bay at noon . we ate ... then left .")
    assert told == pytest.approx(1 - (1 / 13 + 0) / 2)  # "we" of 9 + 5 words
    glued = measure_non_redundancy("We ran to the old bay at noon. They ate and ran home.")
    assert glued == pytest.approx(measure_non_redundancy("We ran to the old bay at noon . They ate and ran home ."))


@pytest.mark.parametrize("story", ["", "  ", ".", "one sentence of many more words only .", "we ran . they ate ."])
def test_without_a_pair_of_sentences_or_of_slices_it_is_undefined(story):
    assert math.isnan(measure_non_redundancy(story))


CLEAN = "we went to the old town early . then a dog ran off into some woods ."
DULL = "the the the the the the the the . the the the the the the ."


def draw_corpus():
    albums = [f"a{number:02d}" for number in range(24)]
    people = [[CLEAN, f"everyone came to see {album} at the lake . all had a very good time at {album} ."]
              for album in albums]
    return Corpus(albums, [[CLEAN, DULL] if place % 2 else ["one ."] for place in range(24)], people)


def test_rows_have_it_with_its_distance_to_people_and_odd_stories_are_told():
    rows, scorer, _ = score_corpus(draw_corpus(), meteor=False, num_resamples=50)
    clean, dull = measure_non_redundancy(CLEAN), measure_non_redundancy(DULL)
    other = measure_non_redundancy(draw_corpus().references[0][1])
    own, people = rows[SYSTEM], rows[HUMAN]
    assert own["nr"].draws[0] == pytest.approx((clean + dull) / 2) and own["nr"].n == 12
    assert own["nr_median"].draws[0] == pytest.approx((clean + dull) / 2)
    gaps = [abs(mine - theirs) for mine in (clean, dull) for theirs in (clean, other)]
    assert own["nr_distance"].draws[0] == pytest.approx(np.mean(gaps))
    assert people["nr_distance"].draws[0] == pytest.approx(abs(clean - other)) and people["nr"].n == 24
    assert own["nr_distance"].summary()["low"] is not None
    assert any("without an NR" in note and note.endswith("12 of 36") for note in scorer.notes)
    assert any("below zero" in note and note.endswith("12 of 36") for note in scorer.notes)
    assert own["word_types"].draws[0] == len(set(f"{CLEAN} {DULL} one .".split()))


def test_every_album_weighs_the_same_by_its_stories_that_have_one():
    albums = [f"a{number:02d}" for number in range(20)]
    written = [[CLEAN], ["one .", DULL, DULL], *[["one ."]] * 18]
    rows = score_corpus(Corpus(albums, written, [[CLEAN]] * 20), meteor=False, num_resamples=0)[0]
    clean, dull = measure_non_redundancy(CLEAN), measure_non_redundancy(DULL)
    assert rows[SYSTEM]["nr"].draws[0] == pytest.approx((clean + dull) / 2) and rows[SYSTEM]["nr"].n == 2
    assert rows[SYSTEM]["nr_median"].draws[0] == pytest.approx(dull)
    assert rows[SYSTEM]["nr_distance"].draws[0] == pytest.approx((clean - dull) / 2)


def test_further_rows_are_scored_as_the_system_is_and_leave_it_as_it_was():
    corpus = draw_corpus()
    plain = score_corpus(corpus, meteor=False, num_resamples=50)[0]
    rows = score_corpus(corpus, meteor=False, num_resamples=50,
                        others={"first": [[CLEAN]] * 24, "again": corpus.hypotheses})[0]
    assert set(rows) == {*plain, "first", "again"} and rows["first"]["nr_distance"].draws[0] > 0
    for metric, found in plain[SYSTEM].items():
        np.testing.assert_array_equal(rows[SYSTEM][metric].draws, found.draws)
        np.testing.assert_array_equal(rows["again"][metric].draws, found.draws)


def test_captions_have_none():
    assert "nr" not in score_corpus(draw_corpus(), meteor=False, redundant=False)[0][SYSTEM]
