"""Evaluate a run of task `next`: every row of the table at every t, and predictions-<split>.jsonl."""
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.folder.word_reader import DII
from evaluate.baselines.oracle import oracle_row
from evaluate.captions.caption_scores import score_meteor
from evaluate.captions.meteor import MeteorAligner, MeteorUnavailable
from evaluate.config import HEADLINE_T, TS
from evaluate.evaluation.evaluation import Evaluation
from evaluate.evaluation.predicting import name_tags, permute_inputs, predict_split
from evaluate.evaluation.protocol import NO_TRAIN, describe_protocol
from evaluate.evaluation.scoring import (
    Result,
    Scores,
    decide_tags,
    merge_scores,
    score_captions,
    score_photos,
    score_tag_rows,
)
from evaluate.photos.photo_scores import PhotoResult, PhotoScorer
from evaluate.photos.pixels import score_pixels
from evaluate.photos.pools import draw_candidates
from evaluate.predictions import KINDS, Prediction, write_predictions
from evaluate.rows import CHANCE, CONSTANT_CAPTION, COPY, MODEL, NEAREST, ORACLE, PERMUTED, Row
from evaluate.split import EvaluatedSplit
from evaluate.stories.alignment import load_table, score_agreement, score_caption_choice
from evaluate.stories.sense import chance_of_sense, score_cloze, score_ordering
from evaluate.tags.tag_scores import describe_left_out

logger = logging.getLogger(__name__)

NO_PHOTOS = "no usable photo in this split"
METEOR_ROWS = (MODEL, ORACLE, CONSTANT_CAPTION, NEAREST)


class Clock:
    """Seconds by part of the work, for the log; every lap ends a part."""

    def __init__(self) -> None:
        self._last, self._laps = time.perf_counter(), dict[str, float]()

    def lap(self, part: str) -> None:
        """End a part that began with the last lap."""
        before, self._last = self._last, time.perf_counter()
        self._laps[part] = self._last - before

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self._laps.items())


def evaluate_frames(evaluation: Evaluation) -> Result:
    """Score every row and write the model's predictions."""
    config, split, clock = evaluation.config, evaluation.split, Clock()
    rows = collect_rows(evaluation, clock)
    with ThreadPoolExecutor(1) as beside:
        meteor = beside.submit(run_meteor, split, rows, config.meteor)
        photo_scores, of_model = score_photos(rows, PhotoScorer(split, evaluation.space))
        clock.lap("photos")
        reasons = {} if split.usable.any() else dict.fromkeys(
            [*photo_scores.get(MODEL, {}), "caption_1_of_5", "tags_seen.map", "tags_seen.micro_f1"], NO_PHOTOS)
        parts = [{} if reasons else photo_scores, score_captions(rows, split)]
        clock.lap("captions")
        parts += [score_tag_rows(rows, split, evaluation.counted_tags), align(evaluation, rows, of_model)]
        clock.lap("tags")
        parts += [score_sense(evaluation)]
        clock.lap("story sense")
        for found, absent in (compare_pixels(evaluation, of_model), meteor.result()):
            parts, reasons = [*parts, found], reasons | absent
        clock.lap("pixels, rest of METEOR")
    write_predictions(config.run / f"predictions-{config.split}.jsonl", list_predictions(split, rows[0], of_model))
    protocol = describe_protocol(config, split, evaluation.val, list_absent(evaluation))
    query = evaluation.run.model.photo_query
    protocol["retrieval"]["model_query"] = "the predicted feature" + (
        ", with less of what all photos vary in" if query is not None and query.is_used else "")
    protocol["notes"] += describe_left_out(split, evaluation.counted_tags)
    if evaluation.source_note:
        protocol["notes"].append(f"{evaluation.source_note}; baselines and tag thresholds are fitted on this folder's "
                                 "train and val")
    logger.info("evaluated %d stories: %s", len(split), clock)
    return Result(merge_scores(*parts), reasons, protocol)


def collect_rows(evaluation: Evaluation, clock: Clock) -> list[Row]:
    """Every row of the tables with its tags decided, the model's first."""
    config, model, split = evaluation.config, evaluation.run.model, evaluation.split
    with evaluation.in_precision():
        rows = [predict_split(model, split, config.batch_size, evaluation.device, evaluation.writing),
                predict_split(model, split, config.batch_size, evaluation.device, evaluation.writing,
                              permute_inputs(config.seed, len(split)), PERMUTED, (HEADLINE_T,))]
    clock.lap("model")
    rows += [row] if (row := oracle_row(split)) is not None else []
    clock.lap("oracle")
    rows += evaluation.baselines.rows(split) if evaluation.baselines is not None else []
    _decide_tags(evaluation, rows)
    clock.lap("baselines")
    return rows


def list_absent(evaluation: Evaluation) -> list[str]:
    """Which baselines are not in the table, and why."""
    if evaluation.baselines is not None:
        return evaluation.baselines.list_absent(evaluation.split)
    return [NO_TRAIN] if evaluation.config.baselines else []


def align(evaluation: Evaluation, rows: Sequence[Row], photos: dict[int, PhotoResult]) -> Scores:
    """Whether the model's photo, words and tags agree; and how every row's predicted photo picks its caption."""
    scores: Scores = {}
    split, baselines = evaluation.split, evaluation.baselines
    for row in (row for row in rows if HEADLINE_T in row.photo):
        scores[row.name] = {}
        if row.name == MODEL:
            tags = row.tags["next"][HEADLINE_T].predicted
            assert tags is not None
            scores[MODEL] |= score_agreement(split, load_table(split.words.tag_names), tags, row.written[HEADLINE_T],
                                             photos[HEADLINE_T])
        if baselines is not None and baselines.linear is not None:
            scores[row.name]["caption_1_of_5"] = score_caption_choice(split, baselines.linear, row.photo[HEADLINE_T],
                                                                      HEADLINE_T)
    return scores


def score_sense(evaluation: Evaluation) -> Scores:
    """Cloze and ordering, unless they are switched off."""
    config, model, split = evaluation.config, evaluation.run.model, evaluation.split
    if config.sense == 0:
        return {}
    with evaluation.in_precision():
        found = score_cloze(model, split, config.batch_size, evaluation.device)
        found |= score_ordering(model, split, config.batch_size, evaluation.device, config.sense)
    return {MODEL: found, CHANCE: chance_of_sense(split, list(found))}


def compare_pixels(evaluation: Evaluation, photos: dict[int, PhotoResult]) -> tuple[Scores, dict[str, str]]:
    """SSIM, PSNR, LPIPS against the true photo, headline t: of the model's first, the last seen, any."""
    split = evaluation.split
    last = split.units.photo[:, HEADLINE_T - 1]
    shown = {MODEL: photos[HEADLINE_T].retrieved[:, 0], COPY: np.where(split.usable[:, HEADLINE_T - 1], last, -1),
             CHANCE: draw_candidates(split.candidates, split.candidate, HEADLINE_T, evaluation.config.seed)}
    return score_pixels(split, evaluation.config.dataset, shown, split.units.photo[:, HEADLINE_T])


def run_meteor(split: EvaluatedSplit, rows: Sequence[Row], wanted: bool = True) -> tuple[Scores, dict[str, str]]:
    """METEOR of some rows at the headline t, where Java is; waits for another process, so call it from a thread."""
    if not wanted:
        return {}, {"meteor": "switched off with --no-meteor"}
    try:
        written = {row.name: row.written[HEADLINE_T] for row in rows if row.name in METEOR_ROWS}
        found = score_meteor(split, HEADLINE_T, written, MeteorAligner.find())
    except MeteorUnavailable as error:
        return {}, {"meteor": str(error)}
    return {name: {"meteor": estimate} for name, estimate in found.items()}, {}


def list_predictions(split: EvaluatedSplit, row: Row, photos: dict[int, PhotoResult]) -> Iterator[Prediction]:
    """One row's predictions, story by story, t by t."""
    units = split.units
    used = np.unique(np.concatenate([units.photo.ravel(), *(result.retrieved.ravel() for result in photos.values())]))
    used = used[used >= 0]
    photo_ids = dict(zip(used.tolist(), (name.decode() for name in split.features.photo_id.take(used))))

    means = {t: {pool: places.mean for pool, places in photos[t].ranks.items()} for t in TS}
    for story in range(len(split)):
        for t in TS:
            guesses = {kind: row.tags[kind][t].predicted for kind in KINDS}
            yield Prediction(
                story_id=units.story_ids[story], album_id=units.album_ids[story], t=t,
                photos=tuple(photo_ids[photo] for photo in units.photo[story].tolist()),
                caption=units.captions[story][t], reference=" ".join(split.caption_words[story][t]),
                written=" ".join(row.written[t][story]), tags=name_tags(split, split.tag[story, t]),
                described=bool(split.tag_source[story, t] & DII),
                guessed={kind: name_tags(split, guess[story]) for kind, guess in guesses.items()
                         if guess is not None and (kind == "next" or split.usable[story, t])},
                retrieved=tuple(photo_ids[photo] for photo in photos[t].retrieved[story].tolist() if photo >= 0),
                ranks={pool: None if np.isnan(rank := ranks[story]) else float(rank)
                       for pool, ranks in means[t].items()},
                tied={pool: int(places.tied[story]) for pool, places in photos[t].ranks.items()},
                nll=float(row.nll[t][story]), tokens=int(split.num_tokens[story, t]),
                nll_known=float(row.nll_known[t][story]),
                tokens_known=int(split.num_tokens[story, t] - split.num_unknown[story, t]))


def _decide_tags(evaluation: Evaluation, rows: Sequence[Row]) -> None:
    config, val = evaluation.config, evaluation.val
    on_val: list[Row] = []
    if val is not None:
        with evaluation.in_precision():
            on_val += [predict_split(evaluation.run.model, val, config.batch_size, evaluation.device)]
        on_val += evaluation.baselines.rows(val, written=False) if evaluation.baselines is not None else []
        knowing = oracle_row(val) if any(row.name == ORACLE for row in rows) else None
        on_val += [knowing] if knowing is not None else []
    decide_tags(rows, on_val, val, evaluation.counted_tags, config.split == "val")
