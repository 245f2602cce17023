"""Rows of predictions to estimates: every metric of every row, and how the model differs from each row."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluate.captions.caption_scores import CaptionScorer, score_surprise
from evaluate.config import HEADLINE_T, TS
from evaluate.metrics import find_metric
from evaluate.photos.photo_scores import PhotoResult, PhotoScorer
from evaluate.rows import AS_HUMAN, CHANCE, CONSTANT_CAPTION, HUMAN, MODEL, PERMUTED, Row
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate, judge
from evaluate.tags.tag_scores import choose_thresholds, score_tags

Scores = dict[str, dict[str, Estimate]]  # row -> metric -> estimate

ORIGINAL_ROWS = (MODEL, CONSTANT_CAPTION)


@dataclass(frozen=True)
class Result:
    """What a task's evaluator found; `reasons`: why the model lacks a metric."""

    scores: Scores
    reasons: dict[str, str]
    protocol: dict[str, Any]


def metric_name(metric: str, t: int) -> str:
    """Headline metrics have plain names, those of other t a prefix."""
    return metric if t == HEADLINE_T else f"t{t}.{metric}"


def score_photos(rows: Sequence[Row], scorer: PhotoScorer) -> tuple[Scores, dict[int, PhotoResult]]:
    """Photo metrics of every row that predicts photos, what chance gives, and the model's own results by t."""
    scores: Scores = {}
    of_model: dict[int, PhotoResult] = {}
    for row in rows:
        for t, predicted in row.photo.items():
            result = scorer.score(predicted, t, row.query.get(t))
            _put(scores, row.name, t, result.estimates)
            if row.name == MODEL:
                of_model[t] = result
        for t, beliefs in row.beliefs.items():
            _put(scores, row.name, t, scorer.score_beliefs(beliefs, t).estimates)
    for t in TS:
        _put(scores, CHANCE, t, scorer.chance(t))
    return scores, of_model


def score_captions(rows: Sequence[Row], split: EvaluatedSplit) -> Scores:
    """Caption metrics of every row that writes or that tells how likely the true captions are."""
    scores: Scores = {}
    for t in TS:
        written = {row.name: row.written[t] for row in rows if t in row.written}
        scorer = CaptionScorer(split, t, written)
        for row in rows:
            if t in row.nll:
                _put(scores, row.name, t, score_surprise(split, t, row.nll[t], row.nll_known.get(t)))
            if t in row.written:
                _put(scores, row.name, t, scorer.score(row.name))
        if MODEL in written:
            for name, estimates in scorer.score_humans(MODEL).items():
                _put(scores, name, t, estimates)
        if t == HEADLINE_T:
            for name in set(ORIGINAL_ROWS) & set(written):
                _put(scores, name, t, scorer.score_original(name))
    return scores


def decide_tags(rows: Sequence[Row], on_val: Iterable[Row], val: EvaluatedSplit | None, counted: np.ndarray,
                cross_fit: bool) -> None:
    """Turn tag probabilities into decisions, with thresholds tuned on val.

    Args:
        on_val: what the predictors of these names say of val; who says nothing there is decided at 0.5.
        counted, cross_fit: see `choose_thresholds`.
    """
    of_val = {row.name: row for row in on_val}
    for row in rows:
        tuned = of_val.get(MODEL if row.name == PERMUTED else row.name)
        for kind, guesses in row.tags.items():
            thresholds = None if tuned is None or val is None else choose_thresholds(val, tuned.tags[kind], counted,
                                                                                     cross_fit)
            row.tags[kind] = {t: guess.decide(thresholds) for t, guess in guesses.items()}


def score_tag_rows(rows: Sequence[Row], split: EvaluatedSplit, counted: np.ndarray) -> Scores:
    """Tag metrics of every row that speaks of tags, by the tags that count (G,); single tags at the headline t."""
    scores: Scores = {}
    for row in rows:
        for kind, guesses in row.tags.items():
            for t, guess in guesses.items():
                per_tag = t == HEADLINE_T and guess.probs is not None
                _put(scores, row.name, t, score_tags(split, kind, t, guess, counted, per_tag))
    return scores


def merge_scores(*parts: Scores) -> Scores:
    """Join the metrics of each row."""
    merged: Scores = {}
    for part in parts:
        for row, metrics in part.items():
            merged.setdefault(row, {}).update(metrics)
    return merged


def compare_rows(scores: Scores, model: str = MODEL) -> dict[str, dict[str, dict]]:
    """Paired differences model - row for every metric with a better and a worse.

    People are scored on one reference less, so what is held against them is the model scored in the same way.

    Returns:
        row -> metric -> Estimate.summary() with "better": True where the model is better and the interval excludes
        zero, False where it is worse, None where neither is shown.
    """
    differences: dict[str, dict[str, dict]] = {}
    for row, metrics in scores.items():
        for metric, estimate in metrics.items():
            sign = find_metric(metric).direction
            mine = scores.get(AS_HUMAN if row == HUMAN else model, {}).get(metric)
            if row in (model, AS_HUMAN) or not sign or mine is None or len(mine.draws) != len(estimate.draws):
                continue
            summary = (mine - estimate).summary()
            differences.setdefault(row, {})[metric] = {**summary, "better": judge(summary, sign)}
    return differences


def summarise(scores: Scores, reasons: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Estimates as plain values; what the model lacks is null with its reason."""
    rows: dict[str, dict[str, Any]] = {row: {metric: estimate.summary() for metric, estimate in metrics.items()}
                                       for row, metrics in scores.items()}
    for metric, reason in reasons.items():
        rows[MODEL].setdefault(metric, {"value": None, "low": None, "high": None, "n": 0, "reason": reason})
    return rows


def _put(scores: Scores, row: str, t: int, estimates: dict[str, Estimate]) -> None:
    scores.setdefault(row, {}).update({metric_name(metric, t): estimate for metric, estimate in estimates.items()})
