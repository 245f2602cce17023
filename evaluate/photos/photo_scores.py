"""How near a predicted feature comes to the next photo, and where that photo ranks among others.

Everything is per (story, t) first; stories that share their photos are averaged within their unit.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluate.config import TS
from evaluate.photos.pools import DISTRACTORS, PoolPairs, album_pools, draw_pools
from evaluate.photos.retrieval import TIE, PhotoSpace, TiedRanks, normalise, pool_ranks, rank_candidates
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate

RECALL_AT = (1, 5, 10)
NUM_RETRIEVED = 5
_AFTER_POOLS = ("all", "album")


@dataclass(frozen=True)
class PhotoResult:
    """One row's photo scores at one t.

    Attributes:
        estimates: by metric. ranks: "all", "album", "1_of_5", "1_of_100" -> of S stories.
        retrieved: (S, NUM_RETRIEVED) photo rows, best first, -1 where there are fewer; none of beliefs.
    """

    estimates: dict[str, Estimate]
    ranks: dict[str, TiedRanks]
    retrieved: np.ndarray


class PhotoScorer:
    """Scores predicted features of one split; pools are drawn once and shared by all rows of the table."""

    def __init__(self, split: EvaluatedSplit, space: PhotoSpace) -> None:
        self.split, self.space = split, space
        self.pools = {t: {"album": album_pools(split.units.album_ids, split.candidate, t),
                          **{name: draw_pools(len(split.candidates), split.candidate, t, count, split.seed)
                             for name, count in DISTRACTORS.items()}} for t in TS}

    def score(self, predicted: np.ndarray, t: int, query: np.ndarray | None = None) -> PhotoResult:
        """Score one row.

        Args:
            predicted: (S, D) float32, standardised features of frame t + 1.
            t: frames seen.
            query: (S, D) float32, what the photo is sought by; as predicted when left out.
        """
        split = self.split
        target, inputs = split.candidate[:, t], split.candidate[:, :t]
        pools = self.pools[t]
        stories = np.arange(len(split))
        with_target = stories[target >= 0]
        asking = np.concatenate([with_target, *(pool.query for pool in pools.values())])
        candidate = np.concatenate([target[with_target], *(pool.candidate for pool in pools.values())])
        query = predicted if query is None else query
        rows, (asked, place) = split.candidates.rows, self._tell_apart(query)
        ranking = rank_candidates(normalise(query[asked].astype(np.float32)),
                                  lambda index: self.space.read_directions(rows[index]), len(rows), target[asked],
                                  inputs[asked], (place[asking], candidate), NUM_RETRIEVED)
        sizes = [len(with_target), *(len(pool.query) for pool in pools.values())]
        of_targets, *of_pools = np.split(ranking.pair_similarity, np.cumsum(sizes)[:-1])
        to_target = np.full(len(split), np.nan, np.float32)
        to_target[with_target] = of_targets
        of_all = TiedRanks(ranking.ranks.best[place], ranking.ranks.tied[place])
        ranks = {"all": of_all, **_rank_within(pools, to_target, of_pools)}
        estimates = self._distances(predicted, t) | self._summarise(ranks)
        retrieved = np.append(rows, -1)[ranking.top[place]]  # place -1, of nothing found, is the last
        return PhotoResult(estimates, ranks, retrieved)

    def _tell_apart(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stories to rank for, and the place of every story among these: one of each unit, where the query depends on
        the photos alone."""
        _, first = np.unique(self.split.units.unit, return_index=True)
        unit, stories = self.split.units.unit, np.arange(len(self.split))
        return (first, unit) if (query == query[first[unit]]).all() else (stories, stories)

    def score_beliefs(self, beliefs: Sequence[Mapping[int, float]], t: int) -> PhotoResult:
        """Score a row that says how likely candidates are, one mapping a story; what it does not name has chance 0."""
        split, pools = self.split, self.pools[t]
        target, inputs = split.candidate[:, t], split.candidate[:, :t]
        to_target = np.array([belief.get(int(wanted), 0.0) for belief, wanted in zip(beliefs, target)])
        best, tied = np.full(len(split), np.nan), np.zeros(len(split), np.int64)
        for story, belief in enumerate(beliefs):
            own = set(inputs[story].tolist())
            believed = {photo: chance for photo, chance in belief.items() if chance > 0 and photo not in own}
            if target[story] >= 0 and int(target[story]) not in own:
                best[story], tied[story] = self._rank_believed(believed, int(target[story]), len(own - {-1}))
        chances = [np.array([beliefs[query].get(candidate, 0.0) for query, candidate in zip(
            pool.query.tolist(), pool.candidate.tolist())]) for pool in pools.values()]
        ranks = {"all": TiedRanks(best, tied), **_rank_within(pools, to_target, chances)}
        return PhotoResult(self._summarise(ranks), ranks, np.zeros((len(split), 0), np.int64))

    def _rank_believed(self, believed: Mapping[int, float], target: int, num_inputs: int) -> tuple[int, int]:
        """The target's best rank and ties among all candidates; those without a chance tie behind the others."""
        wanted = believed.get(target, 0.0)
        others = [chance for candidate, chance in believed.items() if candidate != target]
        best = 1 + sum(chance > wanted + TIE for chance in others)
        if wanted > 0:
            return best, sum(abs(chance - wanted) <= TIE for chance in others)
        return best, len(self.split.candidates) - num_inputs - 1 - len(others)

    def chance(self, t: int) -> dict[str, Estimate]:
        """What drawing at random scores: expected recall, reciprocal rank and middle rank of each pool."""
        split = self.split
        target, inputs = split.candidate[:, t], split.candidate[:, :t]
        competing = np.array([len(set(row[row >= 0].tolist())) for row in inputs])
        has_rank = (target >= 0) & ~(inputs == target[:, None]).any(axis=1)
        sizes = {"all": np.where(has_rank, len(split.candidates) - competing, 0),
                 **{name: pool.size for name, pool in self.pools[t].items()}}
        return self._summarise({name: TiedRanks(np.where(size > 0, 1.0, np.nan), np.maximum(size - 1, 0))
                                for name, size in sizes.items()})

    def _distances(self, predicted: np.ndarray, t: int) -> dict[str, Estimate]:
        """MSE in both spaces, cosine of raw features, and cosine after taking the train mean off."""
        split, space = self.split, self.space
        true = space.read(split.units.photo[:, t])
        usable = split.usable[:, t]
        gap = predicted - true
        values = {"mse": np.square(gap).mean(axis=1), "mse_raw": np.square(gap * space.std).mean(axis=1),
                  "cosine": _cosine(predicted * space.std + space.mean, true * space.std + space.mean),
                  "cosine_centred": _cosine(predicted * space.std, true * space.std),
                  "cosine_standardised": _cosine(predicted, true)}
        return {name: split.resamples.mean(np.where(usable, value, np.nan).astype(float), split.units.weight)
                for name, value in values.items()}

    def _summarise(self, ranks: Mapping[str, TiedRanks]) -> dict[str, Estimate]:
        weight, resamples = self.split.units.weight, self.split.resamples
        scores = {}
        for name, places in ranks.items():
            if name not in _AFTER_POOLS:
                scores[name] = resamples.mean(places.recall(1), weight)
                continue
            scores |= {f"r{k}_{name}": resamples.mean(places.recall(k), weight) for k in RECALL_AT}
            scores[f"median_rank_{name}"] = resamples.median(places.mean, weight)
            scores[f"mrr_{name}"] = resamples.mean(places.reciprocal(), weight)
        return scores


def _rank_within(pools: Mapping[str, PoolPairs], to_target: np.ndarray, similarity: Sequence[np.ndarray]
                 ) -> dict[str, TiedRanks]:
    """The targets' ranks in each pool, whose pairs are as similar as said; none where a story has no pool."""
    ranks = {}
    for (name, pool), found in zip(pools.items(), similarity):
        within = pool_ranks(to_target, found, pool.query)
        ranks[name] = TiedRanks(np.where(pool.size > 0, within.best, np.nan), within.tied)
    return ranks


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) cosines of rows; 0 where one of the two has no direction."""
    length = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide(np.einsum("nd,nd->n", first, second), length, out=np.zeros(len(first), np.float32),
                     where=length > 0)
