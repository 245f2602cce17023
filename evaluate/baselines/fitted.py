"""All baselines together: fitted once on the train split, kept beside the features, asked for rows of any split."""
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import replace_file
from data.folder.folder import Features
from evaluate.baselines.all_inputs import VERSION as ALL_INPUTS_VERSION
from evaluate.baselines.all_inputs import AllInputs, fit_all_inputs
from evaluate.baselines.cache import cache_key
from evaluate.baselines.captions import choose_constant, copy_nearest
from evaluate.baselines.linear import VERSION, LinearMaps, fit_linear
from evaluate.baselines.text_lstm import VERSION as LSTM_VERSION
from evaluate.baselines.text_lstm import (
    TextLSTM,
    choose_config,
    load_text_lstm,
    save_text_lstm,
    score_text_lstm,
    train_text_lstm,
    write_text_lstm,
)
from evaluate.captions.writing_config import WritingConfig
from evaluate.config import TS
from evaluate.photos.space import PhotoSpace
from evaluate.rows import COPY, Row
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_scores import TagGuess
from train.ngrams import NgramModel

TEXT_LSTM = "text-only LSTM"
NGRAMS = {"unigram": 1, "trigram": 3}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baselines:
    """Fitted baselines.

    Attributes:
        train: the stories they come from. space: how photos are standardised.
        linear: ridge and probes. all_inputs: what looks at every frame. Both None where no train story has five usable
            photos. constants: by t one caption,
            in words. ngrams: by name "unigram", "trigram".
        tag_prior: (K, G) share of the train frames at each place that carry a tag.
        text_lstm: a language model of whole stories.
    """

    train: EvaluatedSplit
    space: PhotoSpace
    linear: LinearMaps | None
    all_inputs: AllInputs | None
    constants: dict[int, list[str]]
    ngrams: dict[str, NgramModel]
    tag_prior: np.ndarray
    text_lstm: TextLSTM

    @classmethod
    def fit(cls, train: EvaluatedSplit, val: EvaluatedSplit | None, chosen_on: EvaluatedSplit, space: PhotoSpace,
            seed: int, cache: Path | None = None) -> "Baselines":
        """Fit everything that is not cached.

        Args:
            train: see `open_train`. val: for penalties and mixing weights, if there is one.
            chosen_on: where the constant captions are chosen; never the evaluated split.
            cache: folder to keep the slow parts in.
        """
        width, num_words = train.token.shape[-1], len(train.words.vocabulary)
        tokens, held_out = (part.token[:, 1:].reshape(-1, width) if part is not None
                            else np.zeros((0, width), np.uint16) for part in (train, val))
        linear, all_inputs, text_lstm = fit_kept(train, val, space, cache)
        return cls(
            train, space, linear, all_inputs, {t: choose_constant(train, chosen_on, t, seed) for t in TS},
            {name: NgramModel.fit(tokens, held_out, order, num_words) for name, order in NGRAMS.items()},
            train.tag.mean(axis=0), text_lstm)

    def list_absent(self, split: EvaluatedSplit) -> list[str]:
        """Which rows a split lacks, and why."""
        if not split.usable.any():
            return ["no usable photo in this split: no baselines that look at photos"]
        if self.linear is None:
            return ["no train story has five usable photos: no ridge, blend, linear probe or nearest train story"]
        return []

    def rows(self, split: EvaluatedSplit, written: bool = True) -> list[Row]:
        """The baselines' rows for a split; without captions where only their tags are asked for."""
        rows = [*self._tag_rows(split)]
        if written:
            rows = [*self._photo_rows(split), *self._caption_rows(split), *rows]
        return rows

    def _photo_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        if not split.usable.any():
            return
        photo = {t: self.space.read(split.units.photo[:, t - 1]) for t in TS}
        yield Row("train mean", {t: np.zeros_like(photo[t]) for t in TS})  # the origin of the standardised space
        yield Row(COPY, photo)
        means, total = {}, np.zeros_like(photo[1])
        for t in TS:
            total = total + photo[t]
            means[t] = total / np.maximum(split.usable[:, :t].sum(axis=1), 1).astype(np.float32)[:, None]
        yield Row("mean of inputs", means)
        if self.linear is None or self.all_inputs is None:
            return
        yield Row("recency blend", {t: self.all_inputs.blend(np.stack([photo[seen] for seen in TS[:t]], axis=1),
                                                             split.usable[:, :t]) for t in TS})
        yield Row("ridge from last frame", {t: self.linear.next_photo(photo[t]) for t in TS})
        yield Row("ridge from last frame and caption",
                  {t: self.linear.next_photo(photo[t], split.token[:, t - 1]) for t in TS})
        yield Row("ridge from all inputs", self.all_inputs.ridge(split, self.train, self.space, self.linear))

    def _caption_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        yield Row("constant caption", written={t: [self.constants[t]] * len(split) for t in TS})
        if self.linear is not None and split.usable.any():
            yield Row("nearest train story", written={t: copy_nearest(self.train, split, self.space, t) for t in TS})
        for name, model in self.ngrams.items():
            row = Row(name, nll={t: model.nll(split.token[:, t]) for t in TS},
                      nll_known={t: model.nll(split.token[:, t], known=True) for t in TS})
            if model.order > 1:  # the likeliest next word without context is always the same one
                ids = model.write(split.token.shape[-1] - 2)
                row.written = {t: [[split.words.vocabulary[index] for index in ids]] * len(split) for t in TS}
            yield row
        nll, known = score_text_lstm(self.text_lstm, split)
        writing = WritingConfig(max_words=split.token.shape[-1] - 2)
        yield Row(TEXT_LSTM, nll={t: nll[:, t - 1] for t in TS}, nll_known={t: known[:, t - 1] for t in TS},
                  written=dict(write_text_lstm(self.text_lstm, split, writing)))

    def _tag_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        frames, num_tags = (0, *TS), split.tag.shape[-1]
        prior = {t: TagGuess(np.tile(self.tag_prior[t], (len(split), 1))) for t in frames}
        last = {t: TagGuess(split.tag[:, t - 1].astype(float), split.tag[:, t - 1] > 0) for t in TS}
        silent = {t: TagGuess(None, np.zeros((len(split), num_tags), bool)) for t in frames}
        yield Row("tag prior", tags={"next": {t: prior[t] for t in TS}, "seen": prior})
        yield Row("copy last tags", tags={"next": last, "seen": last})
        if (linear := self.linear) is not None and split.usable.any():
            yield Row("linear probe", tags={"seen": {
                t: TagGuess(linear.tag_scores(self.space.read(split.units.photo[:, t]))) for t in frames}})
        yield Row("no tags", tags={"next": {t: silent[t] for t in TS}, "seen": silent})


def open_train(features: Features, words: str, limit: int = 0, seed: int = 42) -> EvaluatedSplit:
    """The train stories with five usable photos; where there are none, all, for their text and tags."""
    try:
        return EvaluatedSplit(features, words, "train", "drop", limit, 0, seed)
    except UserError:
        return EvaluatedSplit(features, words, "train", "mask", limit, 0, seed)


def fit_kept(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, cache: Path | None
             ) -> tuple[LinearMaps | None, AllInputs | None, TextLSTM]:
    """The parts that take long and are kept; those that look at photos are None where train has no whole stories."""
    linear = all_inputs = None
    if train.usable.all():
        seen = val if val is not None and val.usable.any() else None
        linear = cached_linear(train, seen, space, cache)
        all_inputs = cached_all_inputs(train, seen, space, linear, cache)
    return linear, all_inputs, cached_text_lstm(train, val, cache)


def cached_text_lstm(train: EvaluatedSplit, val: EvaluatedSplit | None, cache: Path | None) -> TextLSTM:
    """The text-only LSTM of a folder: from the cache, or trained now and kept where there is one."""
    path = cache / f"text-lstm-{cache_key(LSTM_VERSION, train, val)}.safetensors" if cache is not None else None
    num_words = len(train.words.vocabulary)
    config = choose_config(len(train), num_words)
    if path is not None and path.exists():
        return load_text_lstm(path, num_words, config)
    logger.info("training the text-only LSTM on %d stories", len(train))
    model = train_text_lstm(train, val, config)
    _keep(path, lambda path: save_text_lstm(path, model))
    return model


def cached_linear(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace,
                  cache: Path | None) -> LinearMaps:
    """The linear maps of a folder: from the cache, or fitted now and kept where there is one."""
    path = cache / f"linear-{cache_key(VERSION, train, val, space.mean, space.std)}.npz" if cache is not None else None
    if path is not None and path.exists():
        return LinearMaps(**_load_arrays(path))
    logger.info("fitting the linear baselines on %d stories", len(train))
    maps = fit_linear(train, val, space)
    _keep(path, lambda path: _save_arrays(path, {field.name: getattr(maps, field.name) for field in fields(maps)}))
    return maps


def cached_all_inputs(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, linear: LinearMaps,
                      cache: Path | None) -> AllInputs:
    """What looks at all inputs: from the cache, or fitted now and kept where there is one."""
    key = cache_key(ALL_INPUTS_VERSION, train, val, space.mean, space.std)
    path = cache / f"all-inputs-{key}.npz" if cache is not None else None
    if path is not None and path.exists():
        kept = _load_arrays(path)
        return AllInputs(kept["frames"], tuple(kept[f"weights_{t}"] for t in TS), kept["penalties"])
    fitted = fit_all_inputs(train, val, space, linear)
    _keep(path, lambda path: _save_arrays(path, {
        "frames": fitted.frames, "penalties": fitted.penalties,
        **{f"weights_{t}": weights for t, weights in zip(TS, fitted.weights)}}))
    return fitted


def _keep(path: Path | None, save: Callable[[Path], None]) -> None:
    try:
        if path is not None:
            save(path)
    except OSError as error:
        logger.warning("a baseline cannot be kept at %s (%s): it is fitted anew each time", path, error)


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with replace_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
