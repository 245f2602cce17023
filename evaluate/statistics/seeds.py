"""Means over training seeds with intervals that also hold for other seeds and other albums.

Three to five seeds are too few to be drawn with replacement: such intervals cover far less than they say. So the
variance over seeds and that over albums are added up, and Student's t takes as many degrees of freedom as the sum has.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from evaluate.statistics.bootstrap import LEVEL, MIN_ALBUMS, Estimate, plain


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds.

    Attributes:
        value: the mean; NaN where a seed has none. error: its standard error, NaN where none is known.
        freedom: degrees of freedom of the error. n: units of the split.
    """

    value: float
    error: float
    freedom: float
    n: int

    def summary(self) -> dict[str, float | int | None]:
        """{"value", "low", "high", "n"}, a 95 % interval; None where undefined."""
        reach = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error
        return {"value": plain(self.value), "low": plain(self.value - reach), "high": plain(self.value + reach),
                "n": self.n}

    def p_value(self) -> float | None:
        """Two-sided p value of "this is zero" by the same t; None without an interval."""
        if not math.isfinite(self.value) or not math.isfinite(self.error):
            return None
        if not self.error:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


def average_seeds(of_seeds: Sequence[Estimate], num_albums: int) -> SeedMean:
    """The mean of one estimate a seed, all on the same resamples of the same albums.

    Without resamples (a property of the whole set) the seeds speak alone. One seed says nothing of others: then the
    interval is over albums. Under MIN_ALBUMS albums there is none.
    """
    draws = np.stack([estimate.draws for estimate in of_seeds])
    value, error, freedom = measure_error(draws, num_albums)
    known = num_albums >= MIN_ALBUMS and math.isfinite(float(value))
    return SeedMean(float(value), float(error) if known else math.nan, float(freedom), of_seeds[0].n)


def measure_error(draws: np.ndarray, num_albums: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds, its standard error and that error's degrees of freedom.

    With a seed's effect S, an album's A and what is left E, n seeds and m albums, the mean's variance is
    S/n + A/m + E/nm. The deviation of seeds gives S/n + E/nm, the albums' resamples of the mean A/m + E/nm. What is
    in both is taken off once: it is the resamples' variance of single seeds less that of their mean, by n - 1.
    Degrees of freedom: n - 1 by the seeds' share of the variance, m - 1 at most. Satterthwaite (1946) takes the share
    squared; with three seeds that covers .926 where this covers .944 (simulated: .941 to .961 over seventeen mixtures
    of the three, three and five seeds, forty albums).

    Args:
        draws: (..., n, R + 1), each seed's whole sample first; R = 0 leaves the albums out.
        num_albums: m.

    Returns:
        Three arrays (...); the error is NaN with one seed and no resamples.
    """
    n, m = draws.shape[-2], num_albums
    whole = draws[..., 0]
    value = whole.mean(axis=-1)
    seeds = whole.var(axis=-1, ddof=1) / n if n > 1 else np.zeros(value.shape)
    if draws.shape[-1] < 3 or m < 2:
        return value, np.sqrt(seeds) if n > 1 else np.full(value.shape, np.nan), np.full(value.shape, max(1, n - 1))
    bias = m / (m - 1)  # a resample of m varies as if there were m - 1
    albums = np.nanvar(draws[..., 1:].mean(axis=-2), axis=-1, ddof=1) * bias
    if n == 1:
        return value, np.sqrt(albums), np.full(value.shape, m - 1)
    single = np.nanvar(draws[..., 1:], axis=-1, ddof=1).mean(axis=-1) * bias
    total = np.maximum(seeds + albums - np.maximum(single - albums, 0) / (n - 1), seeds)
    freedom = np.divide((n - 1) * total, seeds, out=np.full(value.shape, m - 1.0), where=seeds > 0)
    return value, np.sqrt(total), np.clip(freedom, min(n, m) - 1, max(n, m) - 1)
