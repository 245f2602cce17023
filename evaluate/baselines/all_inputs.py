"""Predictors of the next photo from every frame seen: a ridge from all photos and captions, and a weighted blend.

Both are fitted for every t. The ridge is solved in its dual form, from the inner products of stories, where there are
fewer train stories than inputs, and else in its primal form, from sums over the stories. A frame without a photo says
nothing: zeros, the train mean.
"""
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from evaluate.baselines.linear import BLOCK, PENALTIES, LinearMaps, solve_ridge
from evaluate.config import TS
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit

VERSION = 1
MOST_PENALTIES = (*PENALTIES, 1000.0)  # several frames have as many times the inputs of one
MOST_HELD_OUT = 2000  # val stories


@dataclass(frozen=True)
class AllInputs:
    """What was fitted on train; K = 5 frames, D feature width, W words.

    Attributes:
        frames: (K, K) float64, inner products of the photos of two frames, summed over the train stories.
        weights: for every t (N, D) of the N train stories, or (t * (D + W), D) of the inputs, float32.
        penalties: (4,), chosen on val.
    """

    frames: np.ndarray
    weights: tuple[np.ndarray, ...]
    penalties: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name."""
        return {"frames": self.frames, "penalties": self.penalties,
                **{f"weights_{t}": weights for t, weights in zip(TS, self.weights)}}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> "AllInputs":
        """What `arrays` gave."""
        return cls(arrays["frames"], tuple(arrays[f"weights_{t}"] for t in TS), arrays["penalties"])

    def ridge(self, split: EvaluatedSplit, train: EvaluatedSplit, space: PhotoSpace, linear: LinearMaps
              ) -> dict[int, np.ndarray]:
        """By t the (S, D) float32 next photos of a split.

        Args:
            train, space, linear: those it was fitted with.
        """
        designs = _Designs(train, space, linear).read(split)
        return {t: design @ weights for t, design, weights in zip(TS, designs, self.weights)}

    def blend(self, photos: np.ndarray, usable: np.ndarray) -> np.ndarray:
        """The next photo as a sum of those seen, each times one number; frames without a photo are left out.

        Args:
            photos: (S, t, D) float32, standardised. usable: (S, t) bool.

        Returns:
            (S, D) float32.
        """
        t = photos.shape[1]
        patterns, pattern = np.unique(usable, axis=0, return_inverse=True)
        shares = np.stack([self.shares(seen, t) for seen in patterns]).astype(np.float32)
        return np.einsum("st,std->sd", shares[pattern.reshape(-1)], photos)

    def shares(self, seen: np.ndarray, t: int) -> np.ndarray:
        """(t,) least squares weights of the frames `seen` (t,) bool, for frame t + 1; 0 for the others."""
        frames, shares = np.flatnonzero(seen), np.zeros(t)
        shares[frames] = np.linalg.lstsq(self.frames[np.ix_(frames, frames)], self.frames[frames, t], rcond=None)[0]
        return shares


def fit_all_inputs(train: EvaluatedSplit, val: EvaluatedSplit | None, space: PhotoSpace, linear: LinearMaps
                   ) -> AllInputs:
    """Fit the ridge and the blend.

    Args:
        train: stories with five usable photos. val: where penalties are chosen; None takes a default.
        linear: fitted on the same train, for its scaled bags of words.
    """
    designs = _Designs(train, space, linear)
    frames = np.zeros((train.units.photo.shape[1],) * 2)
    for start in range(0, len(train), BLOCK):
        rows = train.units.photo[start:start + BLOCK]
        photos = space.read(rows.T.ravel()).reshape(len(frames), -1)                       # (K, B * D)
        frames += photos @ photos.T
    sums = designs.sum_inputs()
    held_out = designs.read(val, MOST_HELD_OUT) if val is not None else repeat(None)
    weights, penalties = [], []
    for t, products, inputs in zip(TS, designs.read_products(train), held_out):
        gram, told = sums[t] if t in sums else (products, space.read(train.units.photo[:, t]))
        checked = None
        if val is not None and inputs is not None:
            known = val.usable[:MOST_HELD_OUT, t]
            checked = inputs[known], space.read(val.units.photo[:MOST_HELD_OUT, t][known])
        found, penalty = solve_ridge(gram, told, len(train), checked, MOST_PENALTIES)
        weights.append(found)
        penalties.append(penalty)
    return AllInputs(frames, tuple(weights), np.array(penalties))


class _Designs:
    """What the ridge's weights are applied to: inputs where these are fewer than train stories (t <= num_primal), else
    inner products of inputs with those of every train story."""

    def __init__(self, train: EvaluatedSplit, space: PhotoSpace, linear: LinearMaps) -> None:
        self.train, self.space, self.linear = train, space, linear
        self.num_primal = min(max(TS), len(train) // (space.features.width + len(linear.word_mean)))

    def read(self, split: EvaluatedSplit, most: int | None = None) -> Iterator[np.ndarray]:
        """For every t (S, C) float32 of the first `most` stories of a split."""
        for t, products in zip(TS, self.read_products(split, most)):
            yield products if t > self.num_primal else self.read_inputs(split, t, slice(most))

    def read_inputs(self, split: EvaluatedSplit, t: int, stories: slice) -> np.ndarray:
        """(S, t * (D + W)) float32: photo and words of frame 1, then of frame 2, ..."""
        return np.concatenate([self._read_frame(split, frame, stories) for frame in range(t)], axis=1)

    def read_products(self, split: EvaluatedSplit, most: int | None = None) -> Iterator[np.ndarray]:
        """For every t (S, N) float32, the same array anew; empty where no t needs it."""
        count = len(split.units.photo[:most]) if self.num_primal < max(TS) else 0
        products = np.zeros((count, len(self.train)), np.float32)
        for t in TS:
            if count:
                theirs = self._read_frame(self.train, t - 1, slice(None))
                products += self._read_frame(split, t - 1, slice(most)) @ theirs.T
            yield products

    def sum_inputs(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """By t, as far as it is primal, the inputs' inner products and those with the next photos; one pass."""
        if not self.num_primal:
            return {}
        width = self.space.features.width
        columns = width + len(self.linear.word_mean)
        gram = np.zeros((self.num_primal * columns,) * 2, np.float32)
        told = {t: np.zeros((t * columns, width), np.float32) for t in range(1, self.num_primal + 1)}
        for start in range(0, len(self.train), BLOCK):
            stories = slice(start, start + BLOCK)
            inputs = self.read_inputs(self.train, self.num_primal, stories)
            gram += inputs.T @ inputs
            for t, total in told.items():
                total += inputs[:, :t * columns].T @ self.space.read(self.train.units.photo[stories, t])
        return {t: (gram[:t * columns, :t * columns], total) for t, total in told.items()}

    def _read_frame(self, split: EvaluatedSplit, frame: int, stories: slice) -> np.ndarray:
        photos = self.space.read(split.units.photo[stories, frame])
        return np.concatenate([photos, self.linear.bags(split.token[stories, frame])], axis=1, dtype=np.float32)
