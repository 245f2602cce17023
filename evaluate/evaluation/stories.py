"""Evaluate a run of task `tell`: whole stories from all five photos, by the published album-level protocol.

The rows are the model, one constant story, baselines that write, say how likely the true stories are or speak of tags,
and the human writers; several stories of an album are averaged within it.
"""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evaluate.baselines.fitted import cache_folder
from evaluate.baselines.whole_stories import StoryBaselines, join_true
from evaluate.captions.caption_scores import score_surprise
from evaluate.evaluation.evaluation import Evaluation
from evaluate.evaluation.predicting import name_tags, tell_split
from evaluate.evaluation.protocol import NO_TRAIN, describe_stories
from evaluate.evaluation.scoring import Result, Scores, decide_tags
from evaluate.predictions import KINDS, Prediction, write_predictions
from evaluate.rows import AS_HUMAN, CONSTANT_STORY, HUMAN, MODEL, NEAREST, Guesses, Row
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate, Resamples
from evaluate.stories import scorer
from evaluate.stories.scorer import Corpus, score_corpus
from evaluate.tags.tag_scores import TagScores, counted_frames, describe_left_out

ROW_NAMES = {scorer.SYSTEM: MODEL, scorer.CONSTANT: CONSTANT_STORY, scorer.HUMAN: HUMAN, scorer.AS_HUMAN: AS_HUMAN}


def evaluate_stories(evaluation: Evaluation) -> Result:
    """Write and score a story for every story of the split."""
    config, split = evaluation.config, evaluation.split
    rows = collect_story_rows(evaluation)
    write_predictions(config.run / f"predictions-{config.split}.jsonl", list_stories(split, rows[0]))
    scores, reasons, notes = score_stories(rows, split, evaluation.counted_tags, config.meteor)
    protocol = describe_told(evaluation, rows)
    return Result(scores, reasons, {**protocol, "notes": notes + protocol["notes"]})


def collect_story_rows(evaluation: Evaluation) -> list[Row]:
    """Every row that says something of single stories, with its tags decided, the model's first."""
    config, split, val, device = evaluation.config, evaluation.split, evaluation.val, evaluation.device
    model = evaluation.run.model
    with evaluation.in_precision():
        rows = [tell_split(model, split, config.batch_size, device, evaluation.writing)]
        on_val = [tell_split(model, val, config.batch_size, device)] if val is not None else []
    if evaluation.train is not None:
        cache = cache_folder(evaluation.features, config.run / "baselines")
        baselines = StoryBaselines(evaluation.train, val, evaluation.space, cache, device, config.plain_lstm)
        rows += baselines.rows(split)
        on_val += baselines.tag_rows(val) if val is not None else ()
    decide_tags(rows, on_val, val, evaluation.counted_tags, config.split == "val")
    return rows


def score_stories(rows: Sequence[Row], split: EvaluatedSplit, counted: np.ndarray, meteor: bool
                  ) -> tuple[Scores, dict[str, str], list[str]]:
    """Score rows of whole stories, the model's first.

    Args:
        rows: by the place of a photo, with tags decided. counted: (G,) bool, tags that count.

    Returns:
        Scores, why the model lacks a metric, and sentences a user should read.
    """
    told = {row.name: group_by_album(split, join_sentences(row)) for row in rows if row.written}
    corpus = Corpus(sorted(set(split.units.album_ids)), told.pop(MODEL),
                    group_by_album(split, [join_true(split, place) for place in range(len(split))]))
    found, scored, no_meteor = score_corpus(corpus, meteor, len(split.resamples.counts) - 1, split.seed, others=told)
    scores: Scores = {ROW_NAMES.get(row, row): metrics for row, metrics in found.items()}
    for row in rows:
        own = scores.setdefault(row.name, {})
        if row.nll:
            own |= score_surprise(split, list(row.nll), *(np.sum(list(nats.values()), axis=0)
                                                          for nats in (row.nll, row.nll_known)))
        for kind, guesses in row.tags.items():
            own |= score_told_tags(split, kind, guesses, counted)
    return scores, {"meteor": no_meteor} if no_meteor else {}, scored.notes


def score_told_tags(split: EvaluatedSplit, kind: str, guesses: Guesses, counted: np.ndarray) -> dict[str, Estimate]:
    """Scores of the tags of all photos of a story together, named as those of `score_tags`."""
    frames, said = list(guesses), list(guesses.values())
    resamples = Resamples(split.units.album_ids * len(frames), len(split.resamples.counts) - 1, split.seed)
    usable = split.usable[:, frames] if kind == "seen" else np.ones((len(split), len(frames)), bool)
    probs = [guess.probs for guess in said if guess.probs is not None]
    predicted = np.concatenate([guess.predicted for guess in said if guess.predicted is not None])
    truth = np.concatenate([split.tag[:, t] for t in frames])
    scores: dict[str, Estimate] = {}
    for part, prefix in enumerate((f"tags_{kind}.", f"tags_{kind}.undescribed.")):
        shown = np.stack([counted_frames(split, t)[part] for t in frames], axis=1) & usable
        weight = (shown * split.units.weight[:, None]).T.ravel()                           # frame by frame, as the rest
        if weight.any():
            found = TagScores(split.words.tag_names, split.words.tag_categories, truth, weight, resamples,
                              np.concatenate(probs) if probs else None, predicted, counted)
            scores |= {prefix + name: estimate for name, estimate in found.estimates(bool(probs) and not part).items()}
    return scores


def describe_told(evaluation: Evaluation, rows: Sequence[Row]) -> dict[str, Any]:
    """The protocol, with what is missing and why."""
    config, split = evaluation.config, evaluation.split
    absent = describe_left_out(split, evaluation.counted_tags)
    if config.baselines and evaluation.train is None:
        absent.append(NO_TRAIN)
    elif config.baselines and NEAREST not in {row.name for row in rows}:
        absent.append("no usable photo in this split or in train: no nearest train story")
    return describe_stories(config, split, evaluation.val, [*absent, *filter(None, [evaluation.source_note])])


def group_by_album(split: EvaluatedSplit, stories: Sequence[str]) -> list[list[str]]:
    """The texts of S stories, for each album in order."""
    of_album: dict[str, list[str]] = {album_id: [] for album_id in sorted(set(split.units.album_ids))}
    for album_id, story in zip(split.units.album_ids, stories):
        of_album[album_id].append(story)
    return list(of_album.values())


def join_sentences(row: Row) -> list[str]:
    """A row's sentences of every story as one text."""
    return [" ".join(word for words in sentences for word in words) for sentences in zip(*row.written.values())]


def list_stories(split: EvaluatedSplit, row: Row) -> Iterator[Prediction]:
    """What a row told, story by story."""
    units, frames = split.units, list(row.written)
    names = [name.decode() for name in split.features.photo_id.take(units.photo.ravel())]
    nll, nll_known = (np.sum(list(nats.values()), axis=0) for nats in (row.nll, row.nll_known))
    tokens, unknown = (counts.sum(axis=1) for counts in (split.num_tokens, split.num_unknown))
    said = {kind: [guess.predicted for guess in row.tags[kind].values()] for kind in KINDS}
    for place, story in enumerate(join_sentences(row)):
        tags = {"tags": tuple(name_tags(split, split.tag[place, t]) for t in frames), **{
            f"tags_{kind}": tuple(name_tags(split, flags[place]) if kind == "next" or split.usable[place, t] else None
                                  for t, flags in zip(frames, said[kind]) if flags is not None) for kind in KINDS}}
        yield Prediction(
            album_id=units.album_ids[place], story_id=units.story_ids[place], t=len(frames), is_story=True,
            written=story, sentences=tuple(" ".join(row.written[t][place]) for t in frames),
            reference=join_true(split, place), photos=tuple(names[place * len(frames):][:len(frames)]),
            tags_told=tags, nll=float(nll[place]), tokens=int(tokens[place]), nll_known=float(nll_known[place]),
            tokens_known=int(tokens[place] - unknown[place]))
