"""All baselines together: fitted once on the train split, kept beside the features, asked for rows of any split."""
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from data.errors import UserError
from data.files import replace_file
from data.folder.folder import Features
from evaluate.baselines.all_inputs import VERSION as ALL_INPUTS_VERSION
from evaluate.baselines.all_inputs import AllInputs, fit_all_inputs
from evaluate.baselines.linear import VERSION, LinearMaps, fit_linear
from evaluate.baselines.text_lstm import VERSION as LSTM_VERSION
from evaluate.baselines.text_lstm import TextLSTM, choose_config, score_text_lstm, train_text_lstm, write_text_lstm
from evaluate.captions.text_scores import score_constants
from evaluate.config import TS
from evaluate.photos.retrieval import BLOCK, PhotoSpace
from evaluate.rows import CONSTANT_CAPTION, COPY, NEAREST, ByT, Row, TagGuess
from evaluate.split import EvaluatedSplit
from train.config import TrainConfig
from train.model.ngrams import NgramModel
from train.start.statistics import measure_features
from train.writing.config import WritingConfig

LOCAL = ".local"
NUM_FREQUENT, NUM_DRAWN = 40, 40  # candidates for the constant: the commonest train captions and others at random
NUM_UNITS = 400  # units it is chosen on
TEXT_LSTM, PLAIN_LSTM = "text-only LSTM", "LSTM, no context"
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
        text_lstm: a language model of whole stories. plain_lstm: one of single captions, where it is asked for.
    """

    train: EvaluatedSplit
    space: PhotoSpace
    linear: LinearMaps | None
    all_inputs: AllInputs | None
    constants: dict[int, list[str]]
    ngrams: dict[str, NgramModel]
    tag_prior: np.ndarray
    text_lstm: TextLSTM
    plain_lstm: TextLSTM | None = None

    @classmethod
    def fit(cls, train: EvaluatedSplit, val: EvaluatedSplit | None, chosen_on: EvaluatedSplit, space: PhotoSpace,
            seed: int, cache: Path | None = None, device: str = "cpu", plain_lstm: bool = False) -> "Baselines":
        """Fit everything that is not cached.

        Args:
            train: see `open_train`. val: for penalties and mixing weights, if there is one.
            chosen_on: where the constant captions are chosen; never the evaluated split.
            cache: folder to keep the slow parts in. device: where LSTMs are trained and asked.
            plain_lstm: whether an LSTM without context is fitted too.
        """
        width, num_words = train.token.shape[-1], len(train.words.vocabulary)
        tokens, held_out = (part.token[:, 1:].reshape(-1, width) if part is not None
                            else np.zeros((0, width), np.uint16) for part in (train, val))
        linear, all_inputs, text_lstm = fit_kept(train, val, space, cache, device)
        return cls(
            train, space, linear, all_inputs, {t: choose_constant(train, chosen_on, t, seed) for t in TS},
            {name: NgramModel.fit(tokens, held_out, order, num_words) for name, order in NGRAMS.items()},
            train.tag.mean(axis=0), text_lstm,
            fit_kept_lstm(train, val, cache, device, reads_on=False) if plain_lstm else None)

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
        def read(t: int) -> np.ndarray:
            return self.space.read(split.units.photo[:, t - 1])

        def average(t: int) -> np.ndarray:
            total = sum((read(seen) for seen in TS[:t]), start=np.float32(0))
            return total / np.maximum(split.usable[:, :t].sum(axis=1), 1).astype(np.float32)[:, None]
        yield Row("train mean", ByT(TS, lambda t: np.zeros((len(split), self.space.features.width), np.float32)))
        yield Row(COPY, ByT(TS, read))  # the train mean is the origin of the standardised space
        yield Row("mean of inputs", ByT(TS, average))
        if (linear := self.linear) is None or (all_inputs := self.all_inputs) is None:
            return
        yield Row("recency blend", ByT(TS, lambda t: all_inputs.blend(
            np.stack([read(seen) for seen in TS[:t]], axis=1), split.usable[:, :t])))
        yield Row("ridge from last frame", ByT(TS, lambda t: linear.next_photo(read(t))))
        yield Row("ridge from last frame and caption",
                  ByT(TS, lambda t: linear.next_photo(read(t), split.token[:, t - 1])))
        yield Row("ridge from all inputs", all_inputs.ridge(split, self.train, self.space, linear))

    def _caption_rows(self, split: EvaluatedSplit) -> Iterator[Row]:
        yield Row(CONSTANT_CAPTION, written={t: [self.constants[t]] * len(split) for t in TS})
        if self.linear is not None and split.usable.any():
            yield Row(NEAREST, written={t: copy_nearest(self.train, split, self.space, t) for t in TS})
        for name, model in self.ngrams.items():
            row = Row(name, nll={t: model.nll(split.token[:, t]) for t in TS},
                      nll_known={t: model.nll(split.token[:, t], known=True) for t in TS})
            if model.order > 1:  # the likeliest next word without context is always the same one
                ids = model.write(split.token.shape[-1] - 2)
                row.written = {t: [[split.words.vocabulary[index] for index in ids]] * len(split) for t in TS}
            yield row
        writing = WritingConfig(max_words=split.token.shape[-1] - 2)
        for name, lstm in ((TEXT_LSTM, self.text_lstm), (PLAIN_LSTM, self.plain_lstm)):
            if lstm is not None:
                nll, known = score_text_lstm(lstm, split)
                yield Row(name, nll={t: nll[:, t - 1] for t in TS}, nll_known={t: known[:, t - 1] for t in TS},
                          written=dict(write_text_lstm(lstm, split, writing)) if lstm.reads_on else {})

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


def choose_constant(train: EvaluatedSplit, chosen_on: EvaluatedSplit, t: int, seed: int) -> list[str]:
    """The train caption of frame t + 1 that scores the highest CIDEr-D when it stands for every story.

    Args:
        train: where it comes from. chosen_on: where it is scored; never the split that is evaluated.
        t: frames seen.
    """
    random = np.random.default_rng([seed, t])
    counts = Counter(tuple(captions[t]) for captions in train.caption_words if captions[t])
    by_count = sorted(counts, key=lambda words: (-counts[words], words))
    rest = by_count[NUM_FREQUENT:]
    drawn = random.permutation(len(rest))[:NUM_DRAWN]
    candidates = by_count[:NUM_FREQUENT] + [rest[index] for index in drawn]
    stories_of = chosen_on.units.stories_of()
    units = random.permutation(len(stories_of))[:NUM_UNITS]
    references = [[chosen_on.caption_words[story][t] for story in stories_of[unit]] for unit in units]
    return list(candidates[int(np.argmax(score_constants(candidates, references)))])


def copy_nearest(train: EvaluatedSplit, split: EvaluatedSplit, space: PhotoSpace, t: int) -> list[list[str]]:
    """For every story the caption t + 1 of the train story whose photo t is nearest by cosine to its own photo t."""
    own, place = np.unique(split.units.photo[:, t - 1], return_inverse=True)
    _, first = np.unique(train.units.photo[:, t - 1], return_index=True)
    story = np.sort(first)  # of equally near photos the one of the first story
    queries, nearest = space.read_directions(own), np.zeros(len(own), np.int64)
    least = np.full(len(own), np.inf, np.float32)
    for start in range(0, len(story), BLOCK):
        stories = story[start:start + BLOCK]
        distance = 1 - queries @ space.read_directions(train.units.photo[stories, t - 1]).T
        here = distance.argmin(axis=1)
        found = distance[np.arange(len(own)), here]
        nearest, least = np.where(found < least, stories[here], nearest), np.minimum(found, least)
    return [train.caption_words[nearest[index]][t] for index in place.reshape(-1).tolist()]


def open_train(features: Features, words: str, limit: int = 0, seed: int = 42) -> EvaluatedSplit:
    """The train stories with five usable photos; where there are none, all, for their text and tags."""
    try:
        return EvaluatedSplit(features, words, "train", "drop", limit, 0, seed)
    except UserError:
        return EvaluatedSplit(features, words, "train", "mask", limit, 0, seed)


def train_baselines(features_path: Path, words: str = "default") -> Path:
    """Fit the ridges, the probe and the text-only LSTM of a folder ahead of any run, where they are not kept yet.

    The linear ones are those of runs that train on all stories with the default floor under the deviation; a run with
    other statistics fits its own at its first evaluation.

    Returns:
        The folder they lie in.

    Raises:
        UserError: if there are no train stories, or the folder cannot be written to.
    """
    features = Features.open(features_path)
    cache = cache_folder(features)
    if cache is None:
        raise UserError(f"expected a features folder one may write to, found {features_path} read-only; evaluations "
                        "keep baselines in their runs")
    train = open_train(features, words)
    val = EvaluatedSplit(features, words, "val", num_resamples=0) if "val" in features.words(words).splits else None
    mean, std = measure_features(features, train.dataset.photo_rows(), TrainConfig.std_floor)
    fit_kept(train, val, PhotoSpace(features, mean.numpy(), std.numpy()), cache)
    return cache


def fit_kept(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, cache: Path | None,
             device: str = "cpu") -> tuple[LinearMaps | None, AllInputs | None, TextLSTM]:
    """The parts that take long and are kept; those that look at photos are None where train has no whole stories."""
    linear, all_inputs = fit_kept_linear(train, val, space, cache), None
    if linear is not None:
        seen, maps = _with_photos(val), linear
        kept = _keep(cache, f"all-inputs-{ALL_INPUTS_VERSION}-{_cache_key(train, seen, space.mean, space.std)}",
                     lambda: fit_all_inputs(train, seen, space, maps).arrays())
        all_inputs = AllInputs.of_arrays(kept)
    return linear, all_inputs, fit_kept_lstm(train, val, cache, device)


def fit_kept_linear(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, cache: Path | None
                    ) -> LinearMaps | None:
    """The ridges and the probe, fitted where they are not kept; None where a train story lacks a photo."""
    if not train.usable.all():
        return None
    seen = _with_photos(val)
    return LinearMaps(**_keep(cache, f"linear-{VERSION}-{_cache_key(train, seen, space.mean, space.std)}",
                              lambda: vars(fit_linear(train, seen, space))))


def _with_photos(val: EvaluatedSplit | None) -> EvaluatedSplit | None:
    return val if val is not None and val.usable.any() else None


def fit_kept_lstm(train: EvaluatedSplit, val: EvaluatedSplit | None, cache: Path | None, device: str = "cpu",
                  reads_on: bool = True) -> TextLSTM:
    """The text-only LSTM, or the one without context, trained where it is not kept; on `device`."""
    num_words = len(train.words.vocabulary)
    config = replace(choose_config(len(train), num_words), reads_on=reads_on)
    weights = _keep(cache, f"{'text' if reads_on else 'plain'}-lstm-{LSTM_VERSION}-{_cache_key(train, val)}",
                    lambda: train_text_lstm(train, val, config, device).arrays())
    return TextLSTM.of_arrays(weights, num_words, config).to(device)


def cache_folder(features: Features, fallback: Path | None = None) -> Path | None:
    """The folder's .local/baselines: this machine's, never packed; `fallback` where it cannot be written to."""
    local = features.root / LOCAL
    writable = os.access(local if local.is_dir() else features.root, os.W_OK)
    return local / "baselines" if writable else fallback


def _cache_key(train: EvaluatedSplit, val: EvaluatedSplit | None, *arrays: np.ndarray) -> str:
    """Hash what a fit depends on: recipe, words, photos, the stories that take part, and further arrays."""
    digest = hashlib.sha256(json.dumps([train.features.recipe["id"], train.words.identity["id"],
                                        train.features.source["id"]]).encode())
    rows = val.dataset.story_rows if val is not None else np.zeros(0, np.int64)
    for array in (train.dataset.story_rows, rows, *arrays):
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    return digest.hexdigest()[:16]


def _keep(cache: Path | None, name: str, fit: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Fitted arrays: from the cache, or fitted now and kept where there is one.

    Raises:
        UserError: if what is kept is damaged.
    """
    path = cache / f"{name}.safetensors" if cache is not None else None
    if path is not None and path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"expected a fitted baseline in {path}, found {type(error).__name__}; delete that file: it "
                            "is fitted again at the next evaluation") from None
    logger.info("fitting the baseline %s", name.rpartition("-")[0])
    arrays = fit()
    try:
        if path is not None:
            with replace_file(path) as partial:
                save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, partial)
    except OSError as error:
        logger.warning("a baseline cannot be kept at %s (%s): it is fitted anew each time", path, error)
    return arrays
