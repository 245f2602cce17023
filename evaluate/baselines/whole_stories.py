"""Baselines of the task `tell`: what whole stories and tags one gets, and how likely the true stories are, without the
model. In their rows t is the place of a photo, 0..K - 1, and what is said of it."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from evaluate.baselines.fitted import NGRAMS, PLAIN_LSTM, TEXT_LSTM, fit_kept_linear, fit_kept_lstm
from evaluate.baselines.linear import LinearMaps
from evaluate.baselines.text_lstm import score_text_lstm, write_story
from evaluate.photos.retrieval import PhotoSpace
from evaluate.predictions import KINDS
from evaluate.rows import NEAREST, Captions, Guesses, Row, TagGuess
from evaluate.split import EvaluatedSplit
from train.model.ngrams import NgramModel
from train.writing.config import WritingConfig


class StoryBaselines:
    """Fitted on the train stories, kept beside the features as those of the task `next` are.

    Args:
        train, val: stories to learn from and to choose penalties on. space: how photos are standardised.
        cache: folder to keep the slow parts in. device: where LSTMs are trained and asked.
        plain_lstm: whether an LSTM without context is among them.
    """

    def __init__(self, train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, cache: Path | None,
                 device: str = "cpu", plain_lstm: bool = False) -> None:
        self.train, self.val, self.space = train, val, space
        self.linear: LinearMaps | None = fit_kept_linear(train, val, space, cache)
        self.lstms = {name: fit_kept_lstm(train, val, cache, device, name == TEXT_LSTM)
                      for name in (TEXT_LSTM, PLAIN_LSTM) if name == TEXT_LSTM or plain_lstm}

    def rows(self, split: EvaluatedSplit) -> list[Row]:
        """The nearest train album's story with its tags, n-grams, LSTMs, and who speaks of tags alone.

        N-grams and LSTMs look at no photo, so each writes one story for all; the trigram's has one sentence.
        """
        return [*self._nearest(split), *self._ngrams(split), *self._lstms(split), *self.tag_rows(split)]

    def tag_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        """The share of train, a linear probe of the photo, none; of photos seen alone and in their story the same."""
        shares, nothing = self.train.tag.mean(axis=0), np.zeros(split.tag[:, 0].shape, bool)
        frames = range(len(shares))
        yield _of_tags("tag prior", {t: TagGuess(np.tile(shares[t], (len(split), 1))) for t in frames})
        if self.linear is not None and split.usable.any():
            yield _of_tags("linear probe", {
                t: TagGuess(self.linear.tag_scores(self.space.read(split.units.photo[:, t]))) for t in frames})
        yield _of_tags("no tags", {t: TagGuess(None, nothing) for t in frames})

    def _nearest(self, split: EvaluatedSplit) -> Iterator[Row]:
        train = self.train
        if split.usable.any() and train.usable.any():
            places = find_nearest(split, train, self.space)
            row = _of_tags(NEAREST, {t: TagGuess(train.tag[places, t].astype(float), train.tag[places, t] > 0)
                                     for t in range(train.tag.shape[1])})
            row.written = {t: [train.caption_words[place][t] for place in places] for t in row.tags["next"]}
            yield row

    def _ngrams(self, split: EvaluatedSplit) -> Iterator[Row]:
        frames, width = range(split.token.shape[1]), split.token.shape[-1]
        tokens, held_out = (part.token.reshape(-1, width) if part is not None else np.zeros((0, width), np.uint16)
                            for part in (self.train, self.val))
        for name, order in NGRAMS.items():
            model = NgramModel.fit(tokens, held_out, order, len(split.words.vocabulary))
            row = Row(name, nll={t: model.nll(split.token[:, t]) for t in frames},
                      nll_known={t: model.nll(split.token[:, t], known=True) for t in frames})
            if order > 1:
                row.written = _tell(split, [model.write(width - 2)] * len(frames))
            yield row

    def _lstms(self, split: EvaluatedSplit) -> Iterator[Row]:
        frames, writing = range(split.token.shape[1]), WritingConfig(max_words=split.token.shape[-1] - 2)
        for name, lstm in self.lstms.items():
            nll, known = score_text_lstm(lstm, split, first=1)
            yield Row(name, nll={t: nll[:, t] for t in frames}, nll_known={t: known[:, t] for t in frames},
                      written=_tell(split, write_story(lstm, len(frames), writing)) if lstm.reads_on else {})


def find_nearest(split: EvaluatedSplit, train: EvaluatedSplit, space: PhotoSpace) -> np.ndarray:
    """(S,) the train story whose photos' mean feature is the most similar, by the cosine that ranks photos."""
    own, theirs = (sum(space.read(part.units.photo[:, frame]) for frame in range(part.units.photo.shape[1]))
                   for part in (split, train))  # a mean's direction is its sum's; unusable photos are zeros
    return pairwise_distances_argmin(own, theirs, metric="cosine")


def join_true(split: EvaluatedSplit, place: int) -> str:
    """A true story as one string, in the words of the vocabulary."""
    return " ".join(word for words in split.caption_words[place] for word in words)


def _of_tags(name: str, guesses: Guesses) -> Row:
    return Row(name, tags={kind: guesses for kind in KINDS})


def _tell(split: EvaluatedSplit, sentences: list[list[int]]) -> dict[int, Captions]:
    """One story for all: its sentences' words by place."""
    return {t: [[split.words.vocabulary[index] for index in words]] * len(split) for t, words in enumerate(sentences)}
