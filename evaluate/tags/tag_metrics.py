"""Multi-label tag scores with weighted frames: per tag, per category, micro, macro, mAP, Hamming.

Columns 0 and 1 (<PAD>, <UNK>) never count. A tag without a single true frame has neither recall nor average
precision: it is left out of every mean, and how many were left out is told (`num_supported`).
"""
from collections.abc import Sequence

import numpy as np

from evaluate.statistics.bootstrap import Estimate, Resamples, divide

FIRST_TAG = 2
DEFAULT_THRESHOLD = 0.5
MIN_SUPPORT = 5  # true frames (units) that a threshold of a tag's own needs
BLOCK = 512


def tune_thresholds(probs: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Choose for every tag the threshold with the best F1.

    Args:
        probs: (S, G) float. truth: (S, G) 0/1. weight: (S,) of every frame.

    Returns:
        (G,) float; a tag is predicted where its probability is at least that. Of equally good thresholds the
        highest. A tag with fewer than MIN_SUPPORT true frames takes the threshold that is best over all tags
        together: its own would be a guess.
    """
    pooled = _best_threshold(probs.reshape(-1), truth.reshape(-1), np.repeat(weight, probs.shape[1]))
    supported = (truth * weight[:, None]).sum(axis=0) >= MIN_SUPPORT
    return np.array([_best_threshold(probs[:, tag], truth[:, tag], weight) if supported[tag] else pooled
                     for tag in range(probs.shape[1])])


def _best_threshold(probs: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(-probs, kind="stable")
    score, hit = probs[order], (truth * weight)[order]
    if not hit.sum():
        return DEFAULT_THRESHOLD
    last_of_score = np.append(score[1:] != score[:-1], True)
    found, predicted = np.cumsum(hit)[last_of_score], np.cumsum(weight[order])[last_of_score]
    best = int(np.argmax(2 * found / (predicted + hit.sum())))
    levels = score[last_of_score]
    below = levels[best + 1] if best + 1 < len(levels) else levels[best]
    return float((levels[best] + below) / 2)  # halfway to the next score seen


def average_precision(probs: np.ndarray, truth: np.ndarray, weight: np.ndarray, resamples: Resamples) -> np.ndarray:
    """Average precision of one tag in every resample, ties taken together as scikit-learn does.

    Args:
        probs: (S,). truth: (S,) bool. weight: (S,).

    Returns:
        (R + 1,) float64, NaN where no true frame was drawn.
    """
    positive = np.flatnonzero(truth & (weight > 0))
    total, hits = np.zeros(len(resamples.counts)), np.zeros(len(resamples.counts))
    for start in range(0, len(positive), BLOCK):
        block = positive[start:start + BLOCK]
        at_least = (probs[:, None] >= probs[block]) * weight[:, None]  # (S, block): the frames as sure as this one
        precision = divide(resamples.sums(at_least * truth[:, None]), resamples.sums(at_least))
        here = resamples.counts[:, resamples.album[block]] * weight[block]
        total += np.where(here > 0, here * precision, 0).sum(axis=1)
        hits += here.sum(axis=1)
    return divide(total, hits)


class TagScores:
    """The scores of one row of the table on one set of frames.

    Args:
        names: tag names of all G columns. categories: category of each tag.
        truth: (S, G) 0/1. weight: (S,), 0 for a frame that does not count.
        resamples: the albums' draws, over the same S stories.
        probs: (S, G) scores, or None for a row that only decides. predicted: (S, G) bool.
        counted: (G,) bool, tags that count; the others stand in no score, as if the table did not have them.
    """

    def __init__(self, names: Sequence[str], categories: dict[str, str], truth: np.ndarray, weight: np.ndarray,
                 resamples: Resamples, probs: np.ndarray | None, predicted: np.ndarray, counted: np.ndarray) -> None:
        columns = np.flatnonzero(counted[FIRST_TAG:]) + FIRST_TAG
        self.names, self.categories = [names[column] for column in columns.tolist()], categories
        self.truth = truth[:, columns].astype(bool)
        self.predicted = predicted[:, columns].astype(bool)
        self.probs = None if probs is None else probs[:, columns]
        self.weight, self.resamples = weight, resamples
        self.support = (self.truth * weight[:, None]).sum(axis=0)
        self.n = round(float(weight.sum()))
        scaled = weight[:, None]
        self._hit, self._false, self._missed = (resamples.sums(cells * scaled) for cells in (
            self.truth & self.predicted, ~self.truth & self.predicted, self.truth & ~self.predicted))  # (R + 1, tags)

    def estimates(self, per_tag: bool = False) -> dict[str, Estimate]:
        """Every score by name.

        Args:
            per_tag: also `precision.<tag>`, `recall.<tag>`, `f1.<tag>` and `ap.<tag>` for supported tags; their n is
                the support.
        """
        supported = self.support > 0
        precision, recall, f1 = self._ratios(self._hit, self._false, self._missed)
        per_tag_values = {"precision": precision, "recall": recall, "f1": f1}
        scores = self._pooled("micro", np.ones(len(self.names), bool))
        for category in dict.fromkeys(self.categories.get(name, "") for name in self.names):
            inside = np.array([self.categories.get(name, "") == category for name in self.names])
            if category:
                scores |= self._pooled(category, inside)
        for name, values in per_tag_values.items():
            scores[f"macro_{name}"] = Estimate(_mean_of_defined(values[:, supported]), self.n)
        wrong = (self._false + self._missed).sum(axis=1)
        cells = self.resamples.sums(self.weight)[:, 0] * len(self.names)
        scores["hamming"] = Estimate(divide(wrong, cells), self.n)
        scores["num_supported"] = Estimate(np.full(1, supported.sum(), float), self.n)
        if self.probs is not None:
            per_tag_values["ap"] = np.full(f1.shape, np.nan)
            for tag in np.flatnonzero(supported):
                per_tag_values["ap"][:, tag] = average_precision(self.probs[:, tag], self.truth[:, tag], self.weight,
                                                                 self.resamples)
            scores["map"] = Estimate(_mean_of_defined(per_tag_values["ap"][:, supported]), self.n)
        if per_tag:
            scores |= {f"{kind}.{self.names[tag]}": Estimate(values[:, tag], round(float(self.support[tag])))
                       for tag in np.flatnonzero(supported) for kind, values in per_tag_values.items()}
        return scores

    def _pooled(self, name: str, inside: np.ndarray) -> dict[str, Estimate]:
        counts = (cells[:, inside].sum(axis=1) for cells in (self._hit, self._false, self._missed))
        values = zip(("precision", "recall", "f1"), self._ratios(*counts))
        return {f"{name}_{kind}": Estimate(draws, self.n) for kind, draws in values}

    @staticmethod
    def _ratios(hit: np.ndarray, false: np.ndarray, missed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision (0 where nothing was predicted but something was there), recall, F1; NaN where no frame has it."""
        recall = divide(hit, hit + missed)
        silent = (hit + false == 0) & (missed > 0)
        precision = np.where(silent, 0.0, divide(hit, hit + false))
        f1 = divide(2 * hit, np.where(hit + missed > 0, 2 * hit + false + missed, 0))
        return precision, recall, f1


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the columns that are no NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(float))
