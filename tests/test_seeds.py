"""Intervals over seeds: that they cover what they say, and their parts by hand."""
import numpy as np
import pytest
from scipy import stats

from evaluate.statistics.bootstrap import Estimate, Resamples
from evaluate.statistics.seeds import SeedMean, average_seeds, measure_error

ALBUMS, TABLES = 40, 3000


def simulate(num_seeds: int, seed: float, album: float, noise: float) -> np.ndarray:
    """Differences of two rows whose truth is 0, as draws (TABLES, n, R + 1): a seed's effect, an album's, and noise."""
    random = np.random.default_rng([num_seeds, round(100 * seed), round(100 * album)])
    of_albums = (random.normal(0, seed, (TABLES, num_seeds, 1)) + random.normal(0, album, (TABLES, 1, ALBUMS))
                 + random.normal(0, noise, (TABLES, num_seeds, ALBUMS)))
    return of_albums @ (Resamples([str(index) for index in range(ALBUMS)], 200).counts.T / ALBUMS)


@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("seed, album, noise", [(1, 0, 0), (1, 1, 1), (0.3, 1, 1), (0.1, 1, 1), (0.2, 0, 1),
                                                (0.2, 1, 0), (0, 1, 0.3), (0, 0, 1)])
def test_an_interval_of_95_percent_covers_the_truth_in_95_percent_of_tables(num_seeds, seed, album, noise):
    value, error, freedom = measure_error(simulate(num_seeds, seed, album, noise), ALBUMS)
    covered = np.abs(value) <= stats.t.ppf(0.975, freedom) * error
    assert 0.93 <= covered.mean() <= 0.97


def test_an_interval_and_its_p_value_agree():
    found = SeedMean(0.3, 0.1, 2.0, 40)
    summary = found.summary()
    assert summary["low"] == pytest.approx(0.3 - 4.302653 * 0.1) and summary["n"] == 40
    assert found.p_value() == pytest.approx(2 * stats.t.sf(3, 2))
    edge = SeedMean(0.430265273, 0.1, 2.0, 40)
    assert edge.p_value() == pytest.approx(0.05) and edge.summary()["low"] == pytest.approx(0, abs=1e-6)
    assert SeedMean(0.0, 0.0, 2.0, 40).p_value() == 1 and SeedMean(0.1, 0.0, 2.0, 40).p_value() == 0


def test_seeds_alone_albums_alone_and_too_few_of_them():
    alone = [Estimate(np.array([value]), 9) for value in (1.0, 2.0, 6.0)]   # no resamples: the seeds speak alone
    found = average_seeds(alone, 40)
    assert (found.value, found.freedom) == (3.0, 2) and found.error == pytest.approx(np.sqrt(7 / 3))
    assert average_seeds(alone, 19).summary() == {"value": 3.0, "low": None, "high": None, "n": 9}
    assert average_seeds(alone[:1], 40).summary() == {"value": 1.0, "low": None, "high": None, "n": 9}
    resamples, values = Resamples([str(index) for index in range(40)], 4000), np.arange(40.0)
    one = average_seeds([resamples.mean(values, np.ones(40))], 40)            # one seed: over albums, as a mean's is
    assert one.error == pytest.approx(values.std(ddof=1) / np.sqrt(40), rel=0.04) and one.freedom == 39
    undefined = average_seeds([Estimate(np.array([np.nan, 1.0, 2.0]), 9)] * 3, 40)
    assert undefined.summary()["value"] is None and undefined.p_value() is None


def test_what_all_seeds_share_is_no_deviation_between_them():
    resamples, values = Resamples([str(index) for index in range(40)], 4000), np.arange(40.0)
    found = average_seeds([resamples.mean(values, np.ones(40))] * 5, 40)
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(40), rel=0.04) and found.freedom == 39
