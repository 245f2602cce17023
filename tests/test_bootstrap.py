"""Intervals over albums: the whole sample first, albums drawn together, paired, none where there are too few."""
import numpy as np
import pytest

from evaluate.statistics.bootstrap import Estimate, Resamples, enough_resamples, holm


def albums(count, each=3):
    return [f"album-{index // each}" for index in range(count * each)]


def test_row_zero_is_the_whole_sample_and_a_resample_draws_whole_albums():
    resamples = Resamples(albums(25), num_resamples=50)
    sums = resamples.sums(np.ones(75))[:, 0]
    assert sums[0] == 75 and np.all(sums == 75)  # equal albums: every draw of 25 has as many stories
    alone = resamples.sums((np.arange(75) < 3).astype(float))[:, 0]
    assert alone[0] == 3 and set(np.unique(alone)) <= set(range(0, 40, 3)) and alone[1:].std() > 0


def test_too_few_albums_give_a_value_and_no_interval():
    few = Resamples(albums(19), num_resamples=50).mean(np.arange(57.0), np.ones(57))
    assert few.summary() == {"value": 28.0, "low": None, "high": None, "n": 57} and few.p_value() is None
    enough = Resamples(albums(20), num_resamples=50).mean(np.arange(60.0), np.ones(60)).summary()
    assert enough["low"] < enough["value"] < enough["high"]


def test_interval_has_the_width_that_theory_gives():
    values = np.repeat(np.random.default_rng(0).standard_normal(400), 3)  # stories of an album agree
    found = Resamples(albums(400), num_resamples=2000).mean(values, np.ones(1200)).summary()
    width = 2 * 1.96 * values[::3].std() / np.sqrt(400)  # 1,200 independent stories would give 0.58 of it
    assert found["high"] - found["low"] == pytest.approx(width, rel=0.1)


def test_a_biased_statistic_keeps_its_value_inside_the_interval():
    draws = np.concatenate([[0.2], np.random.default_rng(5).normal(0.5, 0.05, 1000)])  # every resample lies above
    found = Estimate(draws, 60).summary()
    assert found["low"] == pytest.approx(0.1, abs=0.02) and found["high"] == pytest.approx(0.3, abs=0.02)


def test_order_of_stories_is_irrelevant():
    names, values = albums(30), np.random.default_rng(1).standard_normal(90)
    order = np.random.default_rng(2).permutation(90)
    first = Resamples(names).mean(values, np.ones(90))
    second = Resamples([names[index] for index in order]).mean(values[order], np.ones(90))
    np.testing.assert_allclose(first.draws, second.draws)


def test_a_paired_difference_is_narrower_than_the_two_intervals():
    hard = np.repeat(np.random.default_rng(3).standard_normal(40), 3)
    resamples = Resamples(albums(40))
    better, worse = (resamples.mean(hard + gain, np.ones(120)) for gain in (0.1, 0.0))
    assert (better - worse).summary()["low"] == pytest.approx(0.1)
    assert better.summary()["low"] < worse.summary()["high"]
    assert (better - worse).p_value() < 0.01 < (better - better).p_value() == 1.0


def test_mean_leaves_undefined_stories_out_and_weighs_units():
    resamples = Resamples(["a", "a", "b"])
    found = resamples.mean(np.array([1.0, 3.0, np.nan]), np.array([0.5, 0.5, 1.0]))
    assert found.summary()["value"] == 2.0 and found.n == 1
    assert resamples.mean(np.full(3, np.nan), np.ones(3)).summary()["value"] is None


def test_median_against_repeated_values():
    random = np.random.default_rng(4)
    values, names = random.integers(1, 30, 90).astype(float), albums(30)
    values[5] = np.nan
    resamples = Resamples(names, num_resamples=20)
    found = resamples.median(values, np.ones(90))
    for draw, counts in zip(found.draws, resamples.counts):
        assert draw == np.median(np.repeat(values, counts[resamples.album].astype(int))[
            ~np.isnan(np.repeat(values, counts[resamples.album].astype(int)))])


def test_an_undefined_value_is_null_not_nan():
    assert Estimate(np.array([np.nan]), 0).summary() == {"value": None, "low": None, "high": None, "n": 0}


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("num_tests", [1, 25, 500])
def test_a_certain_difference_stays_certain_in_a_table_of_many_tests(num_tests):
    album_ids = [f"a{number}" for number in range(30)]
    resamples = Resamples(album_ids, enough_resamples(1000, num_tests))
    difference = resamples.mean(np.full(30, 5.0) + np.arange(30) / 100, np.ones(30))
    p_values = [difference.p_value()] + [1.0] * (num_tests - 1)
    assert holm(p_values)[0] < 0.05
    assert len(resamples.counts) >= 1000
