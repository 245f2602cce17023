"""From trained folds to one evaluation: crossval.json (as an eval-<split>.json) and crossval.md."""
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import read_json, sha256_file, write_json, write_text
from evaluate.config import EvalConfig
from evaluate.crossval.pooling import KeepingResamples, PooledSplit, join_rows, pool_scores
from evaluate.evaluation import scoring
from evaluate.evaluation.evaluation import Evaluation
from evaluate.evaluation.frames import Clock, collect_rows, list_absent, run_meteor, score_sense
from evaluate.evaluation.protocol import describe_protocol, list_cautions
from evaluate.evaluation.stories import collect_story_rows, describe_told, score_stories
from evaluate.photos.photo_scores import PhotoScorer
from evaluate.rows import Row
from evaluate.split import EvaluatedSplit
from evaluate.table import describe_result, format_markdown
from train.task import NEXT, TELL, Task

logger = logging.getLogger(__name__)

NUMBERS, TABLES = "crossval.json", "crossval.md"
_STORIES = {"stories": "the test stories of all folds, each once, by the model of its fold",
            "means, ratios and medians": "over the stories of all folds"}
_TAGS = {"tags": "decided by each fold's thresholds; average precision ranks frames by their place within the fold, "
                 "because probabilities of different models do not compare"}
POOLING = {
    NEXT: {**_STORIES,
           "photos": "ranked among the photos of the fold's test stories; distances in the space that the fold's train "
                     "photos standardise",
           "captions": "scored together: document frequencies and corpus BLEU from all folds' references, each t apart",
           **_TAGS},
    TELL: {**_STORIES,
           "captions": "scored together, album by album as published: document frequencies, corpus BLEU and the "
                       "constant story from all folds' references", **_TAGS}}


@dataclass(frozen=True)
class Measured:
    """What one fold gives to the pool: rows without photos, whose scores are kept per story; `counted`: (G,) tags."""

    task: Task
    split: EvaluatedSplit
    counted: np.ndarray
    rows: list[Row]
    scores: scoring.Scores
    protocol: dict[str, Any]
    run: dict[str, Any]


@dataclass(frozen=True)
class Measures:
    """How a task's stories are measured.

    Attributes:
        of_fold: rows without photos, scores that are kept per story, the protocol.
        of_pool: (all folds' rows, their stories, (G,) tags that count, whether METEOR is wanted) -> scores, why the
            model lacks a metric, sentences a user should read.
    """

    of_fold: Callable[[Evaluation], tuple[list[Row], scoring.Scores, dict[str, Any]]]
    of_pool: Callable[[list[Row], PooledSplit, np.ndarray, bool], tuple[scoring.Scores, dict[str, str], list[str]]]


def measure_folds(configs: Sequence[EvalConfig], dealt: dict[str, Any], out: Path, resamples: int, meteor: bool
                  ) -> Path:
    """Predict every fold's test stories and estimate over all of them; what was pooled already is left as it is.

    Args:
        configs: one for each fold, in order; their runs are trained and evaluated. dealt: the folds' manifest.

    Returns:
        The path of crossval.json.
    """
    path = out / NUMBERS
    made_from = {"resamples": resamples, "meteor": meteor, "folds": [
        sha256_file(config.run / f"eval-{config.split}.json") for config in configs]}
    if path.exists() and (out / TABLES).exists() and read_json(path, "pooled numbers", "delete it").get(
            "made_from") == made_from:
        return path
    folds = [_measure_fold(config) for config in configs]
    pooled = PooledSplit([fold.split for fold in folds], resamples, configs[0].seed)
    rows = join_rows([fold.rows for fold in folds])
    found, reasons, notes = MEASURES[folds[0].task].of_pool(rows, pooled, folds[0].counted, meteor)
    scores = scoring.merge_scores(pool_scores([fold.scores for fold in folds], pooled.resamples), found)
    evaluation = {
        "rows": scoring.summarise(scores, reasons), "differences": scoring.compare_rows(scores),
        "protocol": _describe(configs[0], folds, pooled, dealt, resamples, notes), "recipe": pooled.features.recipe,
        "words": {config.words: fold.split.words.identity for config, fold in zip(configs, folds)},
        "run": {"path": str(out), "features": str(pooled.features.root), "folds": [fold.run for fold in folds]},
        "made_from": made_from}
    write_text(out / TABLES, format_result(evaluation, out))
    return write_json(path, evaluation)


def format_result(evaluation: dict[str, Any], out: Path) -> str:
    """The pooled tables, what can be said of them, and how they came about, as a page of text."""
    told = [*describe_result(evaluation), *(f"Note: {note}." for note in evaluation["protocol"]["notes"])]
    return (f"# Cross-validation {out.name}\n\n{format_markdown(evaluation)}\n\n"
            "[low, high]: 95 % over the albums of all folds; + the model is better than this row, - worse (paired "
            "difference).\n\n" + "\n".join(f"- {sentence}" for sentence in told) + "\n\n"
            + "\n".join(f"- {what}: {how}" for what, how in evaluation["protocol"]["crossval"]["pooling"].items())
            + "\n")


def _measure_fold(config: EvalConfig) -> Measured:
    evaluation = Evaluation.open(config)
    split, task = evaluation.split, evaluation.run.config.asked
    split.resamples = KeepingResamples(split.units.album_ids)
    measured = MEASURES[task].of_fold(evaluation)
    logger.info("%s: %d test stories", config.run.name, len(split))
    return Measured(task, split, evaluation.counted_tags, *measured,
                    {"path": str(config.run), "epoch": evaluation.run.epoch})


def _measure_frames(evaluation: Evaluation) -> tuple[list[Row], scoring.Scores, dict[str, Any]]:
    rows = collect_rows(evaluation, Clock())
    photos, _ = scoring.score_photos(rows, PhotoScorer(evaluation.split, evaluation.space))
    for row in rows:
        row.photo, row.beliefs = {}, {}  # scored, and the largest part
    return (rows, scoring.merge_scores(photos, score_sense(evaluation)),
            describe_protocol(evaluation.config, evaluation.split, evaluation.val, list_absent(evaluation)))


def _score_frames(rows: list[Row], pooled: PooledSplit, counted: np.ndarray, meteor: bool
                  ) -> tuple[scoring.Scores, dict[str, str], list[str]]:
    found, reasons = run_meteor(pooled, rows) if meteor else ({}, {})
    return scoring.merge_scores(scoring.score_captions(rows, pooled), scoring.score_tag_rows(rows, pooled, counted),
                                found), reasons, []


def _measure_stories(evaluation: Evaluation) -> tuple[list[Row], scoring.Scores, dict[str, Any]]:
    rows = collect_story_rows(evaluation)
    return rows, {}, describe_told(evaluation, rows)


MEASURES: dict[Task, Measures] = {NEXT: Measures(_measure_frames, _score_frames),
                                  TELL: Measures(_measure_stories, score_stories)}


def _describe(config: EvalConfig, folds: Sequence[Measured], pooled: PooledSplit, dealt: dict[str, Any],
              resamples: int, notes: Sequence[str]) -> dict[str, Any]:
    """The protocol of the first fold, with what is of all folds in its place."""
    first = folds[0].protocol
    kept = [group for group in dealt["groups"] if group["fold"] is None]
    notes = [*notes, *list_cautions(config, pooled)]
    for note in dict.fromkeys(note for fold in folds for note in fold.protocol["notes"]):
        told = [place for place, fold in enumerate(folds) if note in fold.protocol["notes"]]
        if not any(note in list_cautions(config, folds[place].split) for place in told):
            notes.append(note if len(told) == len(folds) else f"fold {', '.join(map(str, told))}: {note}")
    if kept:
        notes.append(f"{sum(group['stories'] for group in kept)} stories hang together in {len(kept)} group(s) larger "
                     "than a fold: they are in train in every fold and never tested")
    summed: dict[str, Any] = {name: sum(fold.protocol[name] for fold in folds) for name in (
        "stories", "units", "stories_left_out", "frames_without_photo", "described_frames") if name in first}
    retrieval = {"retrieval": {**first["retrieval"], **{
        name: [fold.protocol["retrieval"][name] for fold in folds] for name in (
            "candidates", "target_missing", "target_is_an_input")}}} if "retrieval" in first else {}
    frequencies = first["captions"]["document_frequencies"].replace("this split's", "all folds'")
    intervals = {**first["intervals"], "resamples": resamples, "drawn": bool(pooled.resamples.enough and resamples)}
    crossval = {"folds": len(folds), "seed": dealt["seed"], "rule": dealt["rule"], "pooling": POOLING[folds[0].task],
                "sizes": [part["sizes"] for part in dealt["parts"]]}
    return {**first, **summed, "albums": pooled.resamples.num_albums, "notes": notes, "intervals": intervals,
            **retrieval, "crossval": crossval, "captions": {**first["captions"], "document_frequencies": frequencies}}
