"""95 % intervals by resampling albums: the stories of an album share photos, so they are drawn together.

Every statistic is computed for the whole sample and for each resample in one go, from per-album sums. All rows of a
table use the same resamples, so the difference of two rows is a paired difference.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

MIN_ALBUMS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A statistic of the whole sample and of every resample.

    Attributes:
        draws: (R + 1,) float64; draws[0] is the whole sample, the others are the resamples (R = 0: no intervals).
        n: how many units it rests on.
    """

    draws: np.ndarray
    n: int

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.draws - other.draws, min(self.n, other.n))

    def summary(self) -> dict[str, float | int | None]:
        """{"value", "low", "high", "n"}: bounds are the central 95 % of the resamples, see `centred`, None without any;
        all three are None where it is undefined."""
        drawn = centred(self.draws)
        low, high = map(float, np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])) if len(drawn) else (None, None)
        return {"value": plain(self.draws[0]), "low": low, "high": high, "n": self.n}

    def p_value(self) -> float | None:
        """Two-sided bootstrap p value of "this difference is zero"; None without resamples."""
        drawn = centred(self.draws)
        if not len(drawn):
            return None
        tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
        return float(min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))  # never 0: R resamples cannot show less than 1 / R


class Resamples:
    """Albums drawn with replacement, as counts.

    Args:
        album_ids: the album of every story, (S,).
        num_resamples: R. Under MIN_ALBUMS albums none are drawn: such an interval would promise too much.
        seed: fixes the draw, together with the set of albums; the order of the stories is irrelevant.
    """

    def __init__(self, album_ids: Sequence[str], num_resamples: int = 1000, seed: int = 42) -> None:
        names, self.album = np.unique(np.asarray(album_ids, dtype=str), return_inverse=True)
        self.num_albums = len(names)
        self.enough = self.num_albums >= MIN_ALBUMS
        self._to_albums = csr_array((np.ones(len(self.album)), (self.album, np.arange(len(self.album)))),
                                    shape=(self.num_albums, len(self.album)))
        random = np.random.default_rng(seed)
        share = np.full(self.num_albums, 1 / max(1, self.num_albums))
        drawn = random.multinomial(self.num_albums, share, num_resamples) if self.enough else ()
        whole = np.ones((1, self.num_albums))
        self.counts = np.concatenate([whole, np.asarray(drawn, float).reshape(-1, self.num_albums)])  # (R + 1, A)

    @cached_property
    def _counts_by_album(self) -> np.ndarray:
        return np.ascontiguousarray(self.counts.T)                                         # (A, R + 1)

    def describe(self, num_resamples: int, seed: int) -> dict[str, Any]:
        """How the intervals come about, for a protocol; of what was asked for."""
        return {"level": LEVEL, "over": "albums", "resamples": num_resamples, "seed": seed,
                "least_albums": MIN_ALBUMS, "drawn": bool(self.enough and num_resamples)}

    def deal_halves(self, seed: int) -> np.ndarray:
        """(S,) 0 or 1 for every story, equal within an album; the order of the stories is irrelevant."""
        return (np.random.default_rng(seed).permutation(self.num_albums) % 2)[self.album]

    def sums(self, columns: np.ndarray) -> np.ndarray:
        """Sum per-story numbers over the whole sample and each resample.

        Args:
            columns: (S, C) or (S,), already weighted; zeros where a story does not count.

        Returns:
            (R + 1, C) float64, row 0 the whole sample.
        """
        columns = np.asarray(columns, float).reshape(len(self.album), -1)
        return self.counts @ (self._to_albums @ columns)

    def sums_by(self, stories: np.ndarray, weight: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
        """Sum weights of some stories group by group; as many products as stories, however many groups.

        Args:
            stories, weight, group: (n,) each, groups from 0.

        Returns:
            (num_groups, R + 1) float64, column 0 the whole sample.
        """
        shape = num_groups, self.num_albums
        return csr_array((weight, (group, self.album[stories])), shape=shape) @ self._counts_by_album

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray, n: int,
              transform: Callable[[np.ndarray], np.ndarray] | None = None) -> Estimate:
        """transform(sum(numerator) / sum(denominator)); undefined where the denominator sums to 0."""
        above, below = self.sums(np.stack([numerator, denominator], axis=1)).T
        draws = divide(above, below)
        return Estimate(transform(draws) if transform else draws, n)

    def mean(self, values: np.ndarray, weight: np.ndarray, n: int | None = None) -> Estimate:
        """Weighted mean over the stories where `values` is no NaN.

        Args:
            values: (S,) float, NaN where undefined.
            weight: (S,) float, 1 / stories of the unit.
            n: units it rests on; their weights' sum when left out.
        """
        counts = np.where(np.isnan(values), 0.0, weight)
        return self.ratio(np.nan_to_num(values) * counts, counts, round(counts.sum()) if n is None else n)

    def median(self, values: np.ndarray, weight: np.ndarray) -> Estimate:
        """Weighted median over the stories where `values` is no NaN (the midpoint where the weights part evenly)."""
        used = np.flatnonzero(~np.isnan(values) & (weight > 0))
        order = used[np.argsort(values[used], kind="stable")]
        n = round(weight[used].sum())
        if not len(order):
            return Estimate(np.full(len(self.counts), np.nan), 0)
        draws = np.empty(len(self.counts))
        for start in range(0, len(self.counts), 256):  # blocks: (256, S) stays small
            counts = self.counts[start:start + 256]
            cumulative = np.cumsum(counts[:, self.album[order]] * weight[order], axis=1)
            half = cumulative[:, -1:] / 2
            slack = 1e-9 * cumulative[:, -1:]
            lower = values[order][np.argmax(cumulative >= half - slack, axis=1)]
            upper = values[order][np.argmax(cumulative > half + slack, axis=1)]
            draws[start:start + 256] = np.where(half[:, 0] > 0, (lower + upper) / 2, np.nan)
        return Estimate(draws, n)


def side_of_zero(low: float | None, high: float | None) -> int:
    """1 where an interval lies above zero, -1 where below, 0 where it holds zero or where there is none.

    A difference counts as shown where this is not 0; whether it is for the better is its metric's direction to say.
    """
    if low is None or high is None or low <= 0 <= high:
        return 0
    return 1 if low > 0 else -1


def judge(difference: Mapping[str, Any], sign: int) -> bool | None:
    """True where a paired difference is shown to be for the better, False for the worse, None where neither is shown.

    Args:
        difference: with "low" and "high". sign: the metric's direction; 0 is never better nor worse.
    """
    side = side_of_zero(difference["low"], difference["high"])
    return side == sign if side and sign else None


def centred(draws: np.ndarray) -> np.ndarray:
    """The finite resamples, moved so that their mean is the whole sample's value.

    Most statistics need no moving. Average precision does: an album drawn twice makes its photos easier to find, so
    resamples score higher than the sample they come from.
    """
    finite = draws[1:][np.isfinite(draws[1:])]
    return finite - finite.mean() + draws[0] if len(finite) and np.isfinite(draws[0]) else finite[:0]


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several comparisons, in the order given.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def correct(tests: Sequence[dict[str, Any]]) -> None:
    """Give every test that has a "p" its "p_holm", corrected for all of them."""
    tested = [test for test in tests if test["p"] is not None]
    for test, corrected in zip(tested, holm([test["p"] for test in tested])):
        test["p_holm"] = corrected


def enough_resamples(num_resamples: int, num_tests: int, level: float = 0.05) -> int:
    """Draws that leave a certain difference certain after Holm's correction over so many tests.

    R draws show no p value below 2 / (R + 1), and the correction multiplies the least by the number of tests: with a
    thousand draws nothing at all could be shown in a table of 25 tests. At least `num_resamples`.
    """
    return max(num_resamples, round(8 * num_tests / level))


def plain(value: float) -> float | None:
    """What JSON can hold: None where it is no finite number."""
    return float(value) if np.isfinite(value) else None
