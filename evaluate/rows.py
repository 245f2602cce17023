"""A row of the table: what one predictor says about a split. Parts it says nothing about stay empty."""
from dataclasses import dataclass, field

import numpy as np

from evaluate.captions.caption_scores import Captions
from evaluate.config import TS
from evaluate.predicting import ModelPredictions
from evaluate.tags.tag_scores import Guesses, TagGuess

MODEL = "model"
PERMUTED = "model, inputs permuted"
CHANCE = "chance"
COPY = "copy last frame"


@dataclass
class Row:
    """Predictions of one predictor, each part by t (frame t + 1 from frames 1..t).

    Attributes:
        photo: t -> (S, D) float32, standardised features. beliefs: t -> for every story probabilities of candidate
        photos, in place of a feature. written: t -> a caption for every story.
        nll: t -> (S,) float64, of the true captions' words and <END>, in nats. nll_known: the same without what is
        <UNK>, NaN where a caption's known words cannot be told apart.
        tags: "next" or "seen" -> t -> guess; "seen" has t = 0 too, the first frame.
    """

    name: str
    photo: dict[int, np.ndarray] = field(default_factory=dict)
    beliefs: dict[int, list[dict[int, float]]] = field(default_factory=dict)
    written: dict[int, Captions] = field(default_factory=dict)
    nll: dict[int, np.ndarray] = field(default_factory=dict)
    nll_known: dict[int, np.ndarray] = field(default_factory=dict)
    tags: dict[str, Guesses] = field(default_factory=dict)


def model_row(predictions: ModelPredictions, name: str = MODEL, ts: tuple[int, ...] = TS) -> Row:
    """A model's predictions as a row, for some t."""
    row = Row(name)
    for t in ts:
        row.photo[t] = predictions.features[:, t - 1]
        if predictions.written:
            row.written[t] = [captions[t - 1] for captions in predictions.written]
            row.nll[t], row.nll_known[t] = predictions.nll[:, t - 1], predictions.nll_known[:, t - 1]
    row.tags = {"next": {t: TagGuess(predictions.next_probs[:, t - 1]) for t in ts}}
    if ts == TS:
        row.tags["seen"] = {t: TagGuess(predictions.seen_probs[:, t]) for t in (0, *TS)}
    return row
