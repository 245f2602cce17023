"""Evaluate a run on a split: eval-<split>.json and predictions-<split>.jsonl, written into the run folder.

eval-<split>.json
    rows         row -> metric -> {"value", "low", "high", "n"}: 95 % interval over albums (null: too few), n units.
                 Headline metrics (t = 4, the fifth frame from the first four) have plain names, others t1., t2., t3.
                 (and t0. for the tags seen on the first frame). Value null: "reason" says why.
    differences  row -> metric -> the same of the paired difference model - row, and "better": true, false or null
    protocol     what was counted how; recipe, words, run: what it was evaluated with
predictions-<split>.jsonl
    a line per (story, t): see `prediction_file`
"""
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.errors import UserError
from data.files import write_json
from data.folder.folder import Features
from data.folder.identity import differences
from evaluate.baselines.cache import cache_folder
from evaluate.baselines.fitted import Baselines, open_train
from evaluate.baselines.oracle import ORACLE, oracle_row
from evaluate.captions.caption_scores import score_meteor
from evaluate.captions.meteor import MeteorAligner, MeteorUnavailable
from evaluate.clock import Clock
from evaluate.config import HEADLINE_T, EvalConfig
from evaluate.photos.photo_scores import PhotoResult, PhotoScorer
from evaluate.photos.pixels import score_pixels
from evaluate.photos.pools import draw_candidates
from evaluate.photos.space import PhotoSpace
from evaluate.predicting import permute_inputs, predict_split
from evaluate.prediction_file import write_predictions
from evaluate.protocol import describe_protocol
from evaluate.published.tell import evaluate_stories
from evaluate.rows import CHANCE, COPY, MODEL, PERMUTED, Row, model_row
from evaluate.scoring import Scores, compare_rows, merge_scores, score_captions, score_photos, score_tag_rows, summarise
from evaluate.split import EvaluatedSplit
from evaluate.story_sense import chance_of_sense, score_cloze, score_ordering
from evaluate.tags.alignment import load_table, score_agreement, score_caption_choice
from evaluate.tags.tag_scores import TagGuess, choose_thresholds, describe_left_out
from train.runs import LoadedRun, load_run, open_features, require_same_folder

logger = logging.getLogger(__name__)

NO_PHOTOS = "no usable photo in this split"
NO_TRAIN = "the folder has no train stories: no baselines that learn"
METEOR_ROWS = (MODEL, ORACLE, "constant caption", "nearest train story")


class Evaluation:
    """One evaluation in steps; each step leaves what the next one needs."""

    def __init__(self, config: EvalConfig) -> None:
        self.config = config
        self.device = choose_device(config.device)
        self.run: LoadedRun = load_run(config.run, self.device)
        self.features = open_features(self.run, config.features)
        self.words = config.words or self.run.config.words
        words = self.features.words(self.words)
        require_same_folder(self.run, config.run, self.features.recipe, words.identity, self.features.root)
        self.source_note = check_source(self.run, self.features, config)
        if self.run.config.task == "tell":
            return
        self.split = self._open(config.split, config.missing, config.resamples)
        self.val = self._open("val", config.missing, 0) if "val" in words.splits else None
        self.train = (open_train(self.features, self.words, config.limit, config.seed)
                      if config.baselines and "train" in words.splits and len(words.split("train")) else None)
        model = self.run.model
        self.space = PhotoSpace(self.features, model.feature_mean.cpu().numpy(), model.feature_std.cpu().numpy())
        self.counted_tags = model.counted_tags.bool().cpu().numpy()  # (G,): without those the run leaves out
        self.reasons: dict[str, str] = {}
        self.writing = replace(config.writing, max_words=min(config.writing.max_words, self.split.token.shape[-1] - 2))

    def _open(self, split: str, missing: str, resamples: int) -> EvaluatedSplit:
        return EvaluatedSplit(self.features, self.words, split, missing, self.config.limit, resamples,
                              self.config.seed)

    def predict(self) -> list[Row]:
        """The rows of the model: as it is, and with the inputs' order broken."""
        config, model = self.config, self.run.model
        predict = predict_split(model, self.split, config.batch_size, self.device, self.writing)
        shuffled = predict_split(model, self.split, config.batch_size, self.device, self.writing,
                                 permute_inputs(config.seed, len(self.split)))
        return [model_row(predict), model_row(shuffled, PERMUTED, (HEADLINE_T,))]

    def fit_baselines(self) -> Baselines | None:
        """Baselines fitted on train; the constant is never chosen on the split that is evaluated."""
        if self.train is None:
            return None
        val = self.val if self.val is not None and self.config.split != "val" else None
        chosen_on = val if val is not None and self.config.split == "test" else self.train
        return Baselines.fit(self.train, self.val, chosen_on, self.space, self.config.seed,
                             cache_folder(self.features, self.config.run / "baselines"))

    def list_absent(self, baselines: Baselines | None) -> list[str]:
        """Which baselines are not in the table, and why."""
        if baselines is not None:
            return baselines.list_absent(self.split)
        return [NO_TRAIN] if self.config.baselines else []

    def decide_tags(self, rows: list[Row], baselines: Baselines | None) -> None:
        """Turn tag probabilities into decisions, with thresholds tuned on val."""
        on_val = {}
        if self.val is not None:
            predicted = predict_split(self.run.model, self.val, self.config.batch_size, self.device)
            others = baselines.rows(self.val, written=False) if baselines else []
            knowing = oracle_row(self.val) if any(row.name == ORACLE for row in rows) else None
            on_val = {row.name: row for row in (model_row(predicted), *others, knowing) if row is not None}
        for row in rows:
            tuned = on_val.get(MODEL if row.name == PERMUTED else row.name)
            for kind, guesses in row.tags.items():
                thresholds = None
                if tuned is not None and self.val is not None:
                    thresholds = choose_thresholds(self.val, tuned.tags[kind], self.counted_tags,
                                                   cross_fit=self.config.split == "val")
                row.tags[kind] = {t: _decide(guess, thresholds) for t, guess in guesses.items()}

    def collect_rows(self, clock: Clock) -> tuple[list[Row], Baselines | None]:
        """Every row of the tables with its tags decided, the model's first; and the baselines they come from."""
        rows = self.predict()
        clock.lap("model")
        rows += [row] if (row := oracle_row(self.split)) is not None else []
        clock.lap("oracle")
        baselines = self.fit_baselines()
        rows += baselines.rows(self.split) if baselines is not None else []
        self.decide_tags(rows, baselines)
        clock.lap("baselines")
        return rows, baselines

    def align(self, rows: list[Row], photos: dict[int, PhotoResult], baselines: Baselines | None) -> Scores:
        """Whether the model's photo, words and tags agree, at every t; and how a predicted photo picks its caption."""
        scores: Scores = {}
        table = load_table(self.split.words.tag_names)
        for row in rows:
            for t, predicted in row.photo.items():
                found = {}
                if row.name == MODEL and t == HEADLINE_T:
                    tags = row.tags["next"][t].predicted
                    assert tags is not None
                    found = score_agreement(self.split, table, tags, row.written[t], photos[t])
                if baselines is not None and baselines.linear is not None and t == HEADLINE_T:
                    found["caption_1_of_5"] = score_caption_choice(self.split, baselines.linear, predicted, t)
                scores.setdefault(row.name, {}).update(found)
        return scores

    def score_sense(self) -> Scores:
        """Cloze and ordering, unless they are switched off."""
        if self.config.sense == 0:
            return {}
        model, batch_size = self.run.model, self.config.batch_size
        found = score_cloze(model, self.split, batch_size, self.device)
        found |= score_ordering(model, self.split, batch_size, self.device, self.config.sense)
        return {MODEL: found, CHANCE: chance_of_sense(self.split, list(found))}

    def compare_pixels(self, photos: dict[int, PhotoResult]) -> Scores:
        """SSIM, PSNR, LPIPS against the true photo, headline t: of the model's first, the last seen, any."""
        last = self.split.units.photo[:, HEADLINE_T - 1]
        shown = {MODEL: photos[HEADLINE_T].retrieved[:, 0],
                 COPY: np.where(self.split.usable[:, HEADLINE_T - 1], last, -1),
                 CHANCE: draw_candidates(self.split.candidates, self.split.candidate, HEADLINE_T, self.config.seed)}
        found, reasons = score_pixels(self.split, self.config.dataset, shown, self.split.units.photo[:, HEADLINE_T])
        self.reasons |= reasons
        return found

    def miss_photos(self, scores: Scores) -> Scores:
        """Without a usable photo in the split: nothing, and the reason for each of the model's photo scores."""
        if self.split.usable.any():
            return scores
        metrics = [*scores.get(MODEL, {}), "caption_1_of_5", "tags_seen.map", "tags_seen.micro_f1"]
        self.reasons |= dict.fromkeys(metrics, NO_PHOTOS)
        return {}

    def run_meteor(self, rows: list[Row]) -> Scores:
        """METEOR of some rows at the headline t, where Java is; waits for another process, so call it from a thread."""
        if not self.config.meteor:
            self.reasons["meteor"] = "switched off with --no-meteor"
            return {}
        try:
            written = {row.name: row.written[HEADLINE_T] for row in rows if row.name in METEOR_ROWS}
            found = score_meteor(self.split, HEADLINE_T, written, MeteorAligner.find())
        except MeteorUnavailable as error:
            self.reasons["meteor"] = str(error)
            return {}
        return {name: {"meteor": estimate} for name, estimate in found.items()}


def evaluate_run(config: EvalConfig) -> Path:
    """Evaluate a run; see the head of this file for what is written.

    Returns:
        The path of eval-<split>.json, in the run folder.

    Raises:
        UserError: if the run, the folder or the split is missing or they do not fit each other.
    """
    evaluation, clock = Evaluation(config), Clock()
    if evaluation.run.config.task == "tell":
        return evaluate_stories(config, evaluation.run, evaluation.features, evaluation.words, evaluation.device,
                                evaluation.source_note)
    split = evaluation.split
    rows, baselines = evaluation.collect_rows(clock)
    with ThreadPoolExecutor(1) as beside:
        meteor = beside.submit(evaluation.run_meteor, rows)
        photo_scores, of_model = score_photos(rows, PhotoScorer(split, evaluation.space))
        clock.lap("photos")
        parts = [evaluation.miss_photos(photo_scores), score_captions(rows, split)]
        clock.lap("captions")
        parts += [score_tag_rows(rows, split, evaluation.counted_tags), evaluation.align(rows, of_model, baselines)]
        clock.lap("tags")
        parts += [evaluation.score_sense()]
        clock.lap("story sense")
        parts += [evaluation.compare_pixels(of_model)]
        clock.lap("pixels")
        parts += [meteor.result()]
        clock.lap("rest of METEOR")
    scores = merge_scores(*parts)
    write_predictions(config.run / f"predictions-{config.split}.jsonl", split, rows[0], of_model)
    protocol = describe_protocol(config, split, evaluation.val, evaluation.list_absent(baselines))
    protocol["notes"] += describe_left_out(split, evaluation.counted_tags)
    if evaluation.source_note:
        protocol["notes"].append(f"{evaluation.source_note}; baselines and tag thresholds are fitted on this folder's "
                                 "train and val")
    path = write_json(config.run / f"eval-{config.split}.json", {
        "rows": summarise(scores, evaluation.reasons), "differences": compare_rows(scores), "protocol": protocol,
        "recipe": evaluation.features.recipe, "words": evaluation.split.words.identity,
        "run": {"path": str(config.run), "epoch": evaluation.run.epoch, "features": str(evaluation.features.root)}})
    clock.lap("writing")
    logger.info("evaluated %d stories: %s", len(split), clock)
    return path


def check_source(run: LoadedRun, features: Features, config: EvalConfig) -> str:
    """Tell, or with --strict refuse, that the photos are others than those the run was trained on."""
    lines = differences(run.source, features.source)
    if not lines:
        return ""
    note = (f"the photos of {features.root} are not those that run {config.run} was trained on "
            f"({run.source['id'][:12]} there, {features.source['id'][:12]} here)")
    if config.strict:
        raise UserError(f"{note}; evaluate on its own folder ({run.features}) or leave out --strict")
    logger.warning("%s", note)
    return note


def choose_device(device: str) -> str:
    """Resolve "auto"."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _decide(guess: TagGuess, thresholds: np.ndarray | None) -> TagGuess:
    if thresholds is None and guess.probs is not None:
        thresholds = np.full(guess.probs.shape[1], 0.5)
    return guess if thresholds is None else guess.decide(thresholds)
