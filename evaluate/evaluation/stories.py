"""Evaluate a run of task `tell`: whole stories from all five photos, by the published album-level protocol.

The rows are the model, one constant story, baselines that write or say how likely the true stories are, and the human
writers; several stories of an album are averaged within it.
"""
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from evaluate.baselines.fitted import cache_folder
from evaluate.baselines.whole_stories import StoryRow, join_true, list_story_rows
from evaluate.evaluation.evaluation import Evaluation
from evaluate.evaluation.predicting import caption_nll
from evaluate.evaluation.protocol import NO_TRAIN, describe_common, list_cautions
from evaluate.evaluation.scoring import Result, Scores
from evaluate.predictions import Prediction, write_predictions
from evaluate.rows import AS_HUMAN, CONSTANT_STORY, HUMAN, MODEL, NEAREST
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from evaluate.stories import scorer
from evaluate.stories.scorer import Corpus, score_corpus
from train.model.story_model import StoryModel
from train.model.text import Context
from train.writing.config import WritingConfig
from train.writing.stories import write_stories

ROW_NAMES = {scorer.SYSTEM: MODEL, scorer.CONSTANT: CONSTANT_STORY, scorer.HUMAN: HUMAN, scorer.AS_HUMAN: AS_HUMAN}


def evaluate_stories(evaluation: Evaluation) -> Result:
    """Write and score a story for every story of the split."""
    config, split = evaluation.config, evaluation.split
    sentences, (nll, known) = tell_split(evaluation.run.model, split, config.batch_size, evaluation.device,
                                         evaluation.writing)
    write_predictions(config.run / f"predictions-{config.split}.jsonl", list_stories(split, sentences, nll))
    cache = cache_folder(evaluation.features, config.run / "baselines")
    others = list(list_story_rows(split, evaluation.train, evaluation.val, evaluation.space, cache, evaluation.device)
                  ) if evaluation.train is not None else []
    rows, scored, no_meteor = score_corpus(
        gather_albums(split, sentences), config.meteor, config.resamples, config.seed,
        others={row.name: group_by_album(split, row.stories) for row in others if row.stories is not None})
    scores: Scores = {ROW_NAMES.get(row, row): metrics for row, metrics in rows.items()}
    for row in [StoryRow(MODEL, nll=np.stack([nll, known])), *others]:
        if row.nll is not None:
            scores.setdefault(row.name, {}).update(_score_surprise(split, *row.nll))
    notes = [*scored.notes, *list_cautions(config, split), *filter(None, [evaluation.source_note])]
    if config.baselines and evaluation.train is None:
        notes.append(NO_TRAIN)
    elif others and NEAREST not in {row.name for row in others}:
        notes.append("no usable photo in this split or in train: no nearest train story")
    return Result(scores, {"meteor": no_meteor} if no_meteor else {}, {
        **describe_common(config, split), "task": "tell", "notes": notes,
        "unit": "an album: one string a story, all its stories as references"})


@torch.inference_mode()
def tell_split(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str, writing: WritingConfig
               ) -> tuple[list[list[str]], np.ndarray]:
    """Five sentences for every story of a split; and (2, S, K) float64 nats of the true captions, see
    `caption_nll`."""
    stories: list[list[str]] = []
    nll: list[np.ndarray] = []
    frames = split.token.shape[1]
    for start in range(0, len(split), batch_size):
        places = np.arange(start, min(start + batch_size, len(split)))
        batch = {name: tensor.to(device) for name, tensor in split.dataset.__getitems__(places).items()}
        outputs = model(batch)
        nll.append(caption_nll(outputs["caption_logits"], batch["token_ids"]).cpu().numpy())
        keys = batch["story_index"].cpu().numpy()[:, None] * frames + np.arange(frames)
        stories += [[" ".join(split.words.vocabulary[index] for index in sentence.token_ids) for sentence in story]
                    for story in write_stories(model.text_decoder, Context.of(outputs), writing, keys)]
    return stories, np.concatenate(nll, axis=1)


def gather_albums(split: EvaluatedSplit, stories: list[list[str]]) -> Corpus:
    """Written and true stories by album, in the words of the vocabulary."""
    return Corpus(sorted(set(split.units.album_ids)), group_by_album(split, [" ".join(told) for told in stories]),
                  group_by_album(split, [join_true(split, place) for place in range(len(split))]))


def group_by_album(split: EvaluatedSplit, stories: Sequence[str]) -> list[list[str]]:
    """The texts of S stories, for each album in order."""
    of_album: dict[str, list[str]] = {album_id: [] for album_id in sorted(set(split.units.album_ids))}
    for album_id, story in zip(split.units.album_ids, stories):
        of_album[album_id].append(story)
    return list(of_album.values())


def _score_surprise(split: EvaluatedSplit, nll: np.ndarray, known: np.ndarray) -> dict[str, Estimate]:
    tokens, unknown = (counts.sum(axis=1).astype(float) for counts in (split.num_tokens, split.num_unknown))
    ratio = split.resamples.ratio
    return {"perplexity": ratio(nll.sum(axis=1), tokens, len(split), np.exp),
            "perplexity_known": ratio(known.sum(axis=1), tokens - unknown, len(split), np.exp)}


def list_stories(split: EvaluatedSplit, stories: list[list[str]], nll: np.ndarray) -> Iterator[Prediction]:
    """What was told, story by story; nll (S, K) of the true captions."""
    units = split.units
    names = [name.decode() for name in split.features.photo_id.take(units.photo.ravel())]
    for place, sentences in enumerate(stories):
        yield Prediction(
            album_id=units.album_ids[place], story_id=units.story_ids[place], t=len(sentences), is_story=True,
            written=" ".join(sentences), sentences=tuple(sentences), reference=join_true(split, place),
            photos=tuple(names[place * len(sentences):][:len(sentences)]), nll=float(nll[place].sum()),
            tokens=int(split.num_tokens[place].sum()))
