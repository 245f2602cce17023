"""Tags of frame t + 1: seen (read off its photo) and next (said before it is seen).

Multi-label scores with weighted frames: per tag, per category, micro, macro, mAP, Hamming.

Columns 0 and 1 (<PAD>, <UNK>) never count. A tag without a single true frame has neither recall nor average
precision: it is left out of every mean, and how many were left out is told (`num_supported`).
"""
from collections.abc import Sequence

import numpy as np

from data.folder.word_reader import DII
from evaluate.rows import Guesses, TagGuess
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate, Resamples, divide

FIRST_TAG = 2
DEFAULT_THRESHOLD = 0.5
MIN_SUPPORT = 5  # true frames (units) that a threshold of a tag's own needs


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
    used = np.flatnonzero(weight > 0)
    order = used[np.argsort(-probs[used], kind="stable")]                                  # the surest first
    level = np.cumsum(np.diff(probs[order], prepend=probs[order[:1]]) != 0)                # equally sure: one level
    is_hit = truth[order]
    hit_levels, hit_place = np.unique(level[is_hit], return_inverse=True)
    place = np.searchsorted(hit_levels, level)                     # which hits are the next, at this level or below
    hits = resamples.sums_by(order[is_hit], weight[order[is_hit]], hit_place, len(hit_levels))
    before = place < len(hit_levels)
    found = resamples.sums_by(order[before], weight[order[before]], place[before], len(hit_levels))
    precision = divide(hits.cumsum(axis=0), found.cumsum(axis=0))
    return divide(np.where(hits > 0, hits * precision, 0).sum(axis=0), hits.sum(axis=0))


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


def choose_thresholds(split: EvaluatedSplit, guesses: Guesses, counted: np.ndarray, cross_fit: bool = False
                      ) -> np.ndarray | None:
    """Thresholds with the best F1 over all t on `split`; None where a row has decided already.

    Args:
        counted: (G,) bool; a tag that does not count is never predicted.
        cross_fit: for the split that is scored itself: each half of the albums, drawn by the split's seed, takes the
            thresholds of the other half, so that no story is decided by what was tuned on it.

    Returns:
        (G,) float64, or (S, G) with `cross_fit`.
    """
    if not cross_fit:
        return _tune(split, guesses, counted, np.ones(len(split)))
    half = split.resamples.deal_halves(split.seed)
    first, second = (_tune(split, guesses, counted, (half != own).astype(float)) for own in (0, 1))
    return None if first is None or second is None else np.stack([first, second])[half]


def _tune(split: EvaluatedSplit, guesses: Guesses, counted: np.ndarray, taken: np.ndarray) -> np.ndarray | None:
    """Thresholds (G,) from the stories where `taken` (S,) is 1."""
    frames = sorted(guesses)
    probs = [guess.probs for guess in (guesses[t] for t in frames)
             if guess.probs is not None and guess.predicted is None]
    if len(probs) < len(frames):
        return None
    weight = np.concatenate([counted_frames(split, t)[0] * split.units.weight * taken for t in frames])
    columns = counted | (np.arange(len(counted)) < FIRST_TAG)
    thresholds = np.full(len(counted), np.inf)
    thresholds[columns] = tune_thresholds(np.concatenate(probs)[:, columns],
                                          np.concatenate([split.tag[:, t][:, columns] for t in frames]), weight)
    return thresholds


def counted_frames(split: EvaluatedSplit, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Which stories' frame (0-based) counts in the headline, and which is reported apart; (S,) bool each.

    A photo that nobody described (no DII) is no negative for what only a description could have said. Where a split
    has both kinds, described frames make the headline and the others stand apart; where it has one kind, that counts.
    """
    described = (split.tag_source[:, frame] & DII) > 0
    both = (split.tag_source & DII > 0).any() and (split.tag_source & DII == 0).any()
    return (described, ~described) if both else (np.ones(len(split), bool), np.zeros(len(split), bool))


def score_tags(split: EvaluatedSplit, kind: str, t: int, guess: TagGuess, counted: np.ndarray,
               per_tag: bool = False) -> dict[str, Estimate]:
    """Scores named `tags_<kind>.<metric>`, and `tags_<kind>.undescribed.<metric>` for the frames reported apart.

    Args:
        kind: "next" or "seen". For "seen" only frames with a usable photo count.
        guess: with decisions made. counted: (G,) bool, see TagScores.
    """
    assert guess.predicted is not None
    usable = split.usable[:, t] if kind == "seen" else np.ones(len(split), bool)
    scores: dict[str, Estimate] = {}
    for prefix, frames in zip((f"tags_{kind}.", f"tags_{kind}.undescribed."), counted_frames(split, t)):
        weight = np.where(frames & usable, split.units.weight, 0.0)
        if weight.any():
            found = TagScores(split.words.tag_names, split.words.tag_categories, split.tag[:, t], weight,
                              split.resamples, guess.probs, guess.predicted, counted)
            per_tag_here = per_tag and not prefix.endswith("undescribed.")
            scores |= {prefix + name: estimate for name, estimate in found.estimates(per_tag_here).items()}
    return scores


def describe_left_out(split: EvaluatedSplit, counted: np.ndarray) -> list[str]:
    """A note on the tags that the run was trained without, if there are any."""
    names = [name for name, counts in zip(split.words.tag_names[FIRST_TAG:], counted[FIRST_TAG:]) if not counts]
    return [f"{len(names)} tags take no part in training and are scored in no row: {', '.join(names)}"] if names else []
