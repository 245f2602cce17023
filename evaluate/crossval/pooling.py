"""All folds' test stories as one sample: per-story numbers and predictions are joined before anything is estimated.

Each fold is scored by its own model: photos rank among the photos of the fold's test stories, and distances are in the
space that the fold's train photos standardise. What is a mean, a ratio or a median over stories is then taken over the
stories of all folds. Captions are scored together, so that document frequencies and corpus BLEU come from all folds.
Tag decisions use each fold's thresholds; tag probabilities of different models do not compare, so that average
precision ranks frames by their place (0 to 1) within the fold: who knows nothing scores chance.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from scipy.stats import rankdata

from evaluate.evaluation.scoring import Scores
from evaluate.rows import Row
from evaluate.split import EvaluatedSplit, Units
from evaluate.statistics.bootstrap import Estimate, Resamples
from evaluate.tags.tag_scores import TagGuess

Transform = Callable[[np.ndarray], np.ndarray] | None


@dataclass(frozen=True)
class KeptEstimate(Estimate):
    """An estimate with the per-story numbers it comes from: those of a ratio, or values and weights of a median."""

    columns: tuple[np.ndarray, np.ndarray]
    is_median: bool = False
    transform: Transform = None


class KeepingResamples(Resamples):
    """Draws nothing, and keeps what each estimate comes from.

    Args:
        album_ids: the album of every story of one fold.
    """

    def __init__(self, album_ids: Sequence[str]) -> None:
        super().__init__(album_ids, 0)

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray, n: int, transform: Transform = None
              ) -> KeptEstimate:
        """As `Resamples.ratio`; means are ratios too."""
        found = super().ratio(numerator, denominator, n, transform)
        return KeptEstimate(found.draws, n, (numerator, denominator), transform=transform)

    def median(self, values: np.ndarray, weight: np.ndarray) -> KeptEstimate:
        """As `Resamples.median`."""
        found = super().median(values, weight)
        return KeptEstimate(found.draws, found.n, (values, weight), is_median=True)


class PooledSplit(EvaluatedSplit):
    """The stories of several splits of one features folder as one split; word sets may differ in their vocabulary.

    Args:
        splits: equally named ones of different stories. num_resamples, seed: of the intervals.
    """

    def __init__(self, splits: Sequence[EvaluatedSplit], num_resamples: int, seed: int) -> None:
        first = splits[0]
        self.features, self.name, self.seed = first.features, first.name, seed
        self.dataset, self.words = first.dataset, first.words
        for name, value in vars(first).items():  # whatever has a row a story
            is_derived = isinstance(getattr(EvaluatedSplit, name, None), cached_property)
            if isinstance(value, np.ndarray) and len(value) == len(first) and not is_derived:
                setattr(self, name, np.concatenate([getattr(split, name) for split in splits]))
        self.units = _join_units([split.units for split in splits])
        self.resamples = Resamples(self.units.album_ids, num_resamples, seed)


def _join_units(parts: Sequence[Units]) -> Units:
    starts = np.cumsum([0, *(part.num_units for part in parts)])
    joined = {known.name: _join([getattr(part, known.name) for part in parts]) for known in fields(Units)}
    return Units(**joined | {"unit": np.concatenate([part.unit + start for part, start in zip(parts, starts)])})


def join_rows(parts: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows that every fold has, with the predictions of all; the order is the first fold's."""
    by_name = [{row.name: row for row in rows} for rows in parts]
    joined = []
    for name in by_name[0]:
        if all(name in rows for rows in by_name):
            row = Row(name)
            for part in fields(Row)[1:]:
                setattr(row, part.name, _join([getattr(rows[name], part.name) for rows in by_name]))
            joined.append(row)
    return joined


def _join(values: Sequence[Any]) -> Any:
    """Equal structures of what has a row a story end to end; of dictionaries the keys that all have."""
    first = values[0]
    if isinstance(first, dict):
        return {key: _join([value[key] for value in values]) for key in first if all(key in value for value in values)}
    if isinstance(first, TagGuess):
        probs = None if any(guess.probs is None for guess in values) else np.concatenate(
            [place_within(guess.probs) for guess in values])
        return TagGuess(probs, np.concatenate([guess.predicted for guess in values]))
    return np.concatenate(values) if isinstance(first, np.ndarray) else list(chain.from_iterable(values))


def place_within(probs: np.ndarray) -> np.ndarray:
    """(S, G) scores as places among the S of each column, 0 to 1; equal ones share theirs."""
    return (rankdata(probs, axis=0) - 0.5) / max(1, len(probs))


def pool_scores(parts: Sequence[Scores], resamples: Resamples) -> Scores:
    """Estimates over all folds of what every fold has kept; constants, equal in all folds, stay as they are.

    Args:
        parts: by fold; made with KeepingResamples. resamples: over the stories of all folds, in their order.
    """
    return {row: {metric: pooled for metric in parts[0][row]
                  if all(metric in part.get(row, ()) for part in parts)
                  and (pooled := _pool([part[row][metric] for part in parts], resamples)) is not None}
            for row in parts[0]}


def _pool(estimates: Sequence[Estimate], resamples: Resamples) -> Estimate | None:
    n = sum(estimate.n for estimate in estimates)
    kept = [estimate for estimate in estimates if isinstance(estimate, KeptEstimate)]
    if len(kept) < len(estimates):
        values = {float(estimate.draws[0]) for estimate in estimates}
        return Estimate(np.full(len(resamples.counts), values.pop()), n) if len(values) == 1 else None
    first, second = (np.concatenate([estimate.columns[place] for estimate in kept]) for place in (0, 1))
    if kept[0].is_median:
        return resamples.median(first, second)
    return resamples.ratio(first, second, n, kept[0].transform)
