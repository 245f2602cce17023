"""All baselines together: fitted once on the train split, kept beside the features, asked for rows of any split."""
import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from data.files import replace_file
from evaluate.baselines.cache import cache_key
from evaluate.baselines.captions import choose_constant, copy_nearest
from evaluate.baselines.linear import VERSION, LinearMaps, fit_linear
from evaluate.baselines.ngrams import NgramModel
from evaluate.baselines.text_lstm import (TextLSTM, choose_config, load_text_lstm, save_text_lstm, score_text_lstm,
                                          train_text_lstm, write_text_lstm)
from evaluate.baselines.text_lstm import VERSION as LSTM_VERSION
from evaluate.captions.writing_config import WritingConfig
from evaluate.config import TS
from evaluate.photos.space import PhotoSpace
from evaluate.rows import Row
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_scores import TagGuess

TEXT_LSTM = "text-only LSTM"
NGRAMS = {"unigram": 1, "trigram": 3}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines.

    Attributes:
        train: the stories they come from. space: how photos are standardised.
        linear: ridge and probes. constants: by t one caption, in words. ngrams: by name "unigram", "trigram".
        tag_prior: (K, G) share of the train frames at each place that carry a tag.
        text_lstm: None as long as nobody trained it (python -m evaluate baselines).
    """

    train: EvaluatedSplit
    space: PhotoSpace
    linear: LinearMaps
    constants: dict[int, list[str]]
    ngrams: dict[str, NgramModel]
    tag_prior: np.ndarray
    text_lstm: TextLSTM | None = None

    @classmethod
    def fit(cls, train: EvaluatedSplit, val: EvaluatedSplit | None, chosen_on: EvaluatedSplit, space: PhotoSpace,
            seed: int, cache: Path | None = None) -> "Baselines":
        """Fit everything that is not cached.

        Args:
            train: stories with whole photos. val: for penalties and mixing weights, if there is one.
            chosen_on: where the constant captions are chosen; never the evaluated split.
            cache: folder to keep the slow parts in.
        """
        width, num_words = train.token.shape[-1], len(train.words.vocabulary)
        tokens, held_out = (part.token[:, 1:].reshape(-1, width) if part is not None
                            else np.zeros((0, width), np.uint16) for part in (train, val))
        return cls(
            train, space, cached_linear(train, val, space, cache),
            {t: choose_constant(train, chosen_on, t, seed) for t in TS},
            {name: NgramModel.fit(tokens, held_out, order, num_words) for name, order in NGRAMS.items()},
            train.tag.mean(axis=0), cached_text_lstm(train, val, cache))

    def rows(self, split: EvaluatedSplit, written: bool = True) -> list[Row]:
        """The baselines' rows for a split; without captions where only their tags are asked for."""
        rows = [*self._tag_rows(split)]
        if written:
            rows = [*self._photo_rows(split), *self._caption_rows(split), *rows]
        return rows

    def _photo_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        photo = {t: self.space.read(split.units.photo[:, t - 1]) for t in TS}
        yield Row("train mean", {t: np.zeros_like(photo[t]) for t in TS})  # the origin of the standardised space
        yield Row("copy last frame", photo)
        means, total = {}, np.zeros_like(photo[1])
        for t in TS:
            total = total + photo[t]
            means[t] = total / np.maximum(split.usable[:, :t].sum(axis=1), 1).astype(np.float32)[:, None]
        yield Row("mean of inputs", means)
        yield Row("ridge from last frame", {t: self.linear.next_photo(photo[t]) for t in TS})
        yield Row("ridge from last frame and caption",
                  {t: self.linear.next_photo(photo[t], split.token[:, t - 1]) for t in TS})

    def _caption_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        yield Row("constant caption", written={t: [self.constants[t]] * len(split) for t in TS})
        yield Row("nearest train story", written={t: copy_nearest(self.train, split, self.space, t) for t in TS})
        for name, model in self.ngrams.items():
            row = Row(name, nll={t: model.nll(split.token[:, t]) for t in TS})
            if model.order > 1:  # the likeliest next word without context is always the same one
                ids = model.write(split.token.shape[-1] - 2)
                row.written = {t: [[split.words.vocabulary[index] for index in ids]] * len(split) for t in TS}
            yield row

        if self.text_lstm is not None:
            nll = score_text_lstm(self.text_lstm, split)
            writing = WritingConfig(max_words=split.token.shape[-1] - 2)
            yield Row(TEXT_LSTM, nll={t: nll[:, t - 1] for t in TS},
                      written=dict(write_text_lstm(self.text_lstm, split, writing)))

    def _tag_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        frames, num_tags = (0, *TS), split.tag.shape[-1]
        prior = {t: TagGuess(np.tile(self.tag_prior[t], (len(split), 1))) for t in frames}
        last = {t: TagGuess(split.tag[:, t - 1].astype(float), split.tag[:, t - 1] > 0) for t in TS}
        silent = {t: TagGuess(None, np.zeros((len(split), num_tags), bool)) for t in frames}
        yield Row("tag prior", tags={"next": {t: prior[t] for t in TS}, "seen": prior})
        yield Row("copy last tags", tags={"next": last, "seen": last})
        yield Row("linear probe", tags={"seen": {
            t: TagGuess(self.linear.tag_scores(self.space.read(split.units.photo[:, t]))) for t in frames}})
        yield Row("no tags", tags={"next": {t: silent[t] for t in TS}, "seen": silent})


def cached_text_lstm(train: EvaluatedSplit, val: EvaluatedSplit | None, cache: Path | None,
                     trains: bool = False) -> TextLSTM | None:
    """The text-only LSTM of a folder: from the cache, or trained now where `trains`, else None."""
    path = cache / f"text-lstm-{cache_key(LSTM_VERSION, train, val)}.safetensors" if cache is not None else None
    num_words = len(train.words.vocabulary)
    if path is not None and path.exists():
        return load_text_lstm(path, num_words)
    if not trains:
        return None
    model = train_text_lstm(train, val, choose_config(num_words))
    if path is not None:
        save_text_lstm(path, model)
    return model


def cached_linear(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace,
                  cache: Path | None) -> LinearMaps:
    """The linear maps of a folder: from the cache, or fitted now and kept where there is one."""
    if cache is None:
        return fit_linear(train, val, space)
    path = cache / f"linear-{cache_key(VERSION, train, val, space.mean, space.std)}.npz"
    names = [field.name for field in fields(LinearMaps)]
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return LinearMaps(**{name: kept[name] for name in names})
    logger.info("fitting the linear baselines on %d stories", len(train))
    maps = fit_linear(train, val, space)
    try:
        with replace_file(path) as partial:
            with open(partial, "wb") as file:
                np.savez(file, **{name: getattr(maps, name) for name in names})
    except OSError as error:
        logger.warning("the linear baselines cannot be kept at %s (%s): they are fitted anew each time", path, error)
    return maps
