"""A row of the table: what one predictor says about a split. Parts it says nothing about stay empty."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

MODEL = "model"
PERMUTED = "model, inputs permuted"
CHANCE = "chance"
COPY = "copy last frame"
ORACLE = "oracle"
HUMAN, AS_HUMAN = "human", "model, scored as human"
CONSTANT_CAPTION, CONSTANT_STORY, NEAREST = "constant caption", "constant story", "nearest train story"
BASELINE, REFERENCE = "baseline", "reference"  # kinds, beside MODEL and ORACLE
ROW_ORDER = (MODEL, ORACLE, HUMAN, AS_HUMAN, PERMUTED, CHANCE, "train mean", COPY, "mean of inputs", "recency blend",
             "ridge from last frame", "ridge from last frame and caption", "ridge from all inputs", CONSTANT_CAPTION,
             CONSTANT_STORY, NEAREST, "unigram", "trigram", "text-only LSTM",
             "LSTM, no context", "tag prior", "copy last tags",
             "linear probe", "no tags")

Captions = Sequence[Sequence[str]]  # one a story, each a list of words


def kind_of(row: str) -> str:
    """What a row stands for: the model, the oracle, a baseline, or a reference that nothing has to beat.

    References are chance, people, and the model under other conditions ("model, inputs permuted").
    """
    if row == MODEL:
        return MODEL
    return ORACLE if row.startswith(ORACLE) else REFERENCE if row.startswith((MODEL, HUMAN, CHANCE)) else BASELINE


@dataclass(frozen=True)
class TagGuess:
    """What one row says about the tags of one frame of every story.

    Attributes:
        probs: (S, G) float, higher = surer; None for a row that only decides.
        predicted: (S, G) bool, or None as long as thresholds have to be applied.
    """

    probs: np.ndarray | None
    predicted: np.ndarray | None = None

    def decide(self, thresholds: np.ndarray | None) -> "TagGuess":
        """Apply thresholds, (G,) or for every story (S, G), None for 0.5, unless the decision is made already."""
        if self.probs is None or self.predicted is not None:
            return self
        return TagGuess(self.probs, self.probs >= (0.5 if thresholds is None else thresholds))


Guesses = dict[int, TagGuess]  # by t: about frame t + 1


class ByT(Mapping[int, np.ndarray]):
    """Arrays by t that are worked out whenever one is asked for: all of them at once would fill the memory."""

    def __init__(self, ts: Sequence[int], make: Callable[[int], np.ndarray]) -> None:
        self._ts, self._make = ts, make

    def __getitem__(self, t: int) -> np.ndarray:
        return self._make(t)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ts)

    def __len__(self) -> int:
        return len(self._ts)


@dataclass
class Row:
    """Predictions of one predictor, each part by t (frame t + 1 from frames 1..t).

    Attributes:
        photo: t -> (S, D) float32, standardised features. query: the same, what a photo is sought by where that is
        another. beliefs: t -> for every story probabilities of candidate photos, in place of a feature. written: t -> a
        caption for every story.
        nll: t -> (S,) float64, of the true captions' words and <END>, in nats. nll_known: the same without what is
        <UNK>, NaN where a caption's known words cannot be told apart.
        tags: "next" or "seen" -> t -> guess; "seen" has t = 0 too, the first frame.
    """

    name: str
    photo: Mapping[int, np.ndarray] = field(default_factory=dict)
    query: dict[int, np.ndarray] = field(default_factory=dict)
    beliefs: dict[int, list[dict[int, float]]] = field(default_factory=dict)
    written: dict[int, Captions] = field(default_factory=dict)
    nll: dict[int, np.ndarray] = field(default_factory=dict)
    nll_known: dict[int, np.ndarray] = field(default_factory=dict)
    tags: dict[str, Guesses] = field(default_factory=dict)
