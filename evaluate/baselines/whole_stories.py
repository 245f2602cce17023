"""Baselines of the task `tell`: what whole stories one gets, and how likely the true ones are, without the model."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from evaluate.baselines.fitted import NGRAMS, TEXT_LSTM, fit_kept_lstm
from evaluate.baselines.text_lstm import score_text_lstm, write_story
from evaluate.photos.retrieval import PhotoSpace
from evaluate.rows import NEAREST
from evaluate.split import EvaluatedSplit
from train.model.ngrams import NgramModel
from train.writing.config import WritingConfig


@dataclass(frozen=True)
class StoryRow:
    """What one predictor says of S stories of K sentences: the stories, and (2, S, K) float64 nats of the true
    captions, all of it and without <UNK>; None where it does not say."""

    name: str
    stories: list[str] | None = None
    nll: np.ndarray | None = None


def list_story_rows(split: EvaluatedSplit, train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace,
                    cache: Path | None, device: str = "cpu") -> Iterator[StoryRow]:
    """The story of the nearest train album, n-grams of all five sentences, and the LSTM that reads a story as one text.

    Neither of the last two looks at photos, so each writes one story for all; the trigram's has one sentence.
    """
    num_frames, width = split.token.shape[1:]
    if split.usable.any() and train.usable.any():
        yield StoryRow(NEAREST, [join_true(train, place) for place in find_nearest(split, train, space)])
    tokens, held_out = (part.token.reshape(-1, width) if part is not None else np.zeros((0, width), np.uint16)
                        for part in (train, val))
    vocabulary = split.words.vocabulary

    def tell(sentences: list[list[int]]) -> list[str]:
        return [" ".join(vocabulary[index] for words in sentences for index in words)] * len(split)
    flat = split.token.reshape(-1, width)
    for name, order in NGRAMS.items():
        model = NgramModel.fit(tokens, held_out, order, len(vocabulary))
        nll = np.stack([model.nll(flat, known).reshape(-1, num_frames) for known in (False, True)])
        yield StoryRow(name, tell([model.write(width - 2)] * num_frames) if order > 1 else None, nll)
    lstm = fit_kept_lstm(train, val, cache, device)
    yield StoryRow(TEXT_LSTM, tell(write_story(lstm, num_frames, WritingConfig(max_words=width - 2))),
                   np.stack(score_text_lstm(lstm, split, first=1)))


def find_nearest(split: EvaluatedSplit, train: EvaluatedSplit, space: PhotoSpace) -> np.ndarray:
    """(S,) the train story whose photos' mean feature is the most similar, by the cosine that ranks photos."""
    own, theirs = (sum(space.read(part.units.photo[:, frame]) for frame in range(part.units.photo.shape[1]))
                   for part in (split, train))  # a mean's direction is its sum's; unusable photos are zeros
    return pairwise_distances_argmin(own, theirs, metric="cosine")


def join_true(split: EvaluatedSplit, place: int) -> str:
    """A true story as one string, in the words of the vocabulary."""
    return " ".join(word for words in split.caption_words[place] for word in words)
