"""Rank every candidate photo for every query, in blocks, so that 200,000 candidates need little memory.

The similarity that ranks is the cosine of standardised features (train mean and deviation, the space the model
predicts in), the same for the model and every baseline. Random or ImageNet features are nearly parallel before
standardising, and a plain cosine then ranks by what all photos share. A model may ask with another vector than it
predicts: see `train.model.query`.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.folder.folder import Features

BLOCK = 2048  # rows of 2,048 float32 fit what malloc hands out again without new pages
QUERY_BLOCK = 1024
TIE = 1e-6  # cosines nearer than this are a tie: float32 sums of 2,048 products differ by their order of adding


@dataclass(frozen=True)
class TiedRanks:
    """Where the targets of Q queries stand when what is tied comes in random order: everything is an expectation.

    Attributes:
        best: (Q,) float64, the best place a target may take, 1 = before all others; NaN where there is no target.
        tied: (Q,) how many others share its places.
    """

    best: np.ndarray
    tied: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(Q,) float64 mean rank."""
        return self.best + self.tied / 2

    def recall(self, k: int) -> np.ndarray:
        """(Q,) float64 chance that the target is among the first k."""
        return np.clip((k - self.best + 1) / (self.tied + 1), 0, 1)

    def reciprocal(self) -> np.ndarray:
        """(Q,) float64 mean of 1 / rank over the target's places."""
        known = ~np.isnan(self.best)
        first, last = (np.where(known, place, 1).astype(np.int64) for place in (self.best, self.best + self.tied))
        harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, last.max(initial=1) + 1))])
        return np.where(known, (harmonic[last] - harmonic[first - 1]) / (last - first + 1), np.nan)


@dataclass(frozen=True)
class Ranking:
    """What one pass over the candidates found; Q queries.

    Attributes:
        ranks: of the targets.
        top: (Q, k) int64, the best candidates, best first; -1 where there are fewer.
        pair_similarity: (P,) float32, the similarity of every (query, candidate) pair asked for.
    """

    ranks: TiedRanks
    top: np.ndarray
    pair_similarity: np.ndarray


def normalise(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1 in place (rows of zeros stay zeros) and return them; (n, D) float32."""
    norm = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows *= (1 / np.where(norm > 0, norm, 1))[:, None]
    return rows


class PhotoSpace:
    """Standardised features of a folder.

    Args:
        features: an opened folder of width D.
        mean, std: (D,) float32, the run's train statistics.
    """

    def __init__(self, features: Features, mean: np.ndarray, std: np.ndarray) -> None:
        self.features = features
        self.mean, self.std = mean.astype(np.float32), std.astype(np.float32)
        self._scale = 1 / self.std

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Standardised features of photo rows, (n, D) float32; zeros (the train mean) where a photo is unusable."""
        photos = self.features.feature.take(rows).astype(np.float32)
        photos -= self.mean
        photos *= self._scale
        photos[~self.features.usable[rows]] = 0
        return photos

    def read_directions(self, rows: np.ndarray) -> np.ndarray:
        """`read`, scaled to length 1: what retrieval compares."""
        return normalise(self.read(rows))


def rank_candidates(queries: np.ndarray, read: Callable[[np.ndarray], np.ndarray], num_candidates: int,
                    target: np.ndarray, excluded: np.ndarray, pairs: tuple[np.ndarray, np.ndarray] | None = None,
                    top: int = 5) -> Ranking:
    """Rank the target of every query among all candidates.

    Args:
        queries: (Q, D) float32 of length 1 (or 0: then everything ties).
        read: candidate indices (n,) to their (n, D) float32 rows of length 1.
        num_candidates: C.
        target: (Q,) candidate index, -1 where there is none.
        excluded: (Q, E) candidate indices that do not compete (the query's own inputs), -1 for none; a target among
            them has no rank.
        pairs: query indices and candidate indices, (P,) each, whose similarities are wanted as well.
        top: k, how many of the best to keep; excluded ones are left out.
    """
    pair_query, pair_candidate = pairs if pairs is not None else (np.zeros(0, int), np.zeros(0, int))
    excluded = _unique_rows(excluded)
    has_target = (target >= 0) & ~(excluded == target[:, None]).any(axis=1)
    bar = _target_similarity(queries, read, np.where(has_target, target, -1))
    above, level = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    best = _Best(len(queries), top)
    similarity = np.zeros(len(pair_query), np.float32)
    pair_order = np.argsort(pair_candidate, kind="stable")
    sorted_candidates = pair_candidate[pair_order]
    block = np.empty((min(QUERY_BLOCK, max(1, len(queries))), min(BLOCK, max(1, num_candidates))), np.float32)
    mask = np.empty(block.shape, bool)
    for start in range(0, num_candidates, BLOCK):
        stop = min(start + BLOCK, num_candidates)
        candidates = read(np.arange(start, stop))
        inside = pair_order[slice(*np.searchsorted(sorted_candidates, [start, stop]))]
        for first in range(0, len(queries), QUERY_BLOCK):
            last = min(first + QUERY_BLOCK, len(queries))
            here = np.matmul(queries[first:last], candidates.T, out=_window(block, last - first, stop - start))
            mine = inside[(pair_query[inside] >= first) & (pair_query[inside] < last)]
            similarity[mine] = here[pair_query[mine] - first, pair_candidate[mine] - start]
            out = np.concatenate([excluded[first:last], target[first:last, None]], axis=1)
            _count(here, bar[first:last], out, start, above[first:last], level[first:last],
                   _window(mask, last - first, stop - start))
            best.update(here, excluded[first:last], start, first)
    ranks = TiedRanks(np.where(has_target, 1 + above, np.nan), level - above)
    return Ranking(ranks, best.index, similarity)


def pool_ranks(target_similarity: np.ndarray, pool_similarity: np.ndarray, query: np.ndarray) -> TiedRanks:
    """Rank every query's target within a pool of its own.

    Args:
        target_similarity: (Q,) of the target.
        pool_similarity: (P,) of the other members of the pools. query: (P,) whose pool each is in.
    """
    gap = pool_similarity - target_similarity[query]
    above = np.bincount(query[gap > TIE], minlength=len(target_similarity))
    equal = np.bincount(query[np.abs(gap) <= TIE], minlength=len(target_similarity))
    return TiedRanks(1.0 + above, equal)


def _window(block: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return block.reshape(-1)[:rows * columns].reshape(rows, columns)


def _unique_rows(excluded: np.ndarray) -> np.ndarray:
    """Replace an index that a row names twice by -1, so that it is taken off the counts once."""
    ordered = np.sort(excluded, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = -1
    return ordered


def _target_similarity(queries: np.ndarray, read: Callable[[np.ndarray], np.ndarray],
                       target: np.ndarray) -> np.ndarray:
    bar = np.full(len(queries), np.inf, np.float32)
    found = np.flatnonzero(target >= 0)
    for start in range(0, len(found), BLOCK):
        here = found[start:start + BLOCK]
        bar[here] = np.einsum("qd,qd->q", queries[here], read(target[here]))
    return bar


def _count(similarity: np.ndarray, bar: np.ndarray, out: np.ndarray, start: int, above: np.ndarray,
           level: np.ndarray, mask: np.ndarray) -> None:
    """Add to `above` the candidates better than the target, to `level` those at least as good; `out` do not count."""
    high, low = (bar + TIE)[:, None], (bar - TIE)[:, None]
    above += _count_rows(np.greater(similarity, high, out=mask))
    level += _count_rows(np.greater_equal(similarity, low, out=mask))
    query, place = np.nonzero((out >= start) & (out < start + similarity.shape[1]))
    value = similarity[query, out[query, place] - start]
    np.subtract.at(above, query, value > high[query, 0])
    np.subtract.at(level, query, value >= low[query, 0])


def _count_rows(mask: np.ndarray) -> np.ndarray:
    """Set cells of every row, from packed bits: numpy's count along an axis takes five times as long."""
    return np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)


class _Best:
    """The best k candidates of every query so far."""

    def __init__(self, num_queries: int, k: int) -> None:
        self.k = k
        self.index = np.full((num_queries, k), -1, np.int64)
        self.value = np.full((num_queries, k), -np.inf, np.float32)

    def update(self, similarity: np.ndarray, excluded: np.ndarray, start: int, first: int) -> None:
        """Take in a block: queries from `first` down, candidates from `start` across; overwrites excluded cells."""
        if not self.k:
            return
        query, place = np.nonzero((excluded >= start) & (excluded < start + similarity.shape[1]))
        similarity[query, excluded[query, place] - start] = -np.inf
        value, index = self.value[first:first + len(similarity)], self.index[first:first + len(similarity)]
        better = np.flatnonzero(similarity.max(axis=1) > value[:, -1])  # after the first blocks few rows change
        found, bar = similarity[better], value[better, -1]
        if np.isneginf(bar).any():  # as yet nothing bars the way: each row's k best, of ties the first
            width = min(self.k, found.shape[1])
            least = np.partition(found, -width, axis=1)[:, -width, None]
            level = found == least
            row, column = np.nonzero((found > least) | (level & (level.cumsum(axis=1, dtype=np.int32) <= self.k)))
        else:
            row, column = np.nonzero(found > bar[:, None])
        # Every changed row's old k and its new ones in one list, sorted by row, then best first.
        rows = np.concatenate([np.repeat(np.arange(len(better)), self.k), row])
        values = np.concatenate([value[better].ravel(), found[row, column]])
        indices = np.concatenate([index[better].ravel(), column + start])
        order = np.lexsort((indices, -values, rows))
        starts = np.searchsorted(rows[order], np.arange(len(better)))
        kept = order[starts[:, None] + np.arange(self.k)]
        value[better], index[better] = values[kept], indices[kept]
        index[np.isneginf(value)] = -1
