"""Mean and deviation of the train photos' and captions' features; they come from train alone and stay with the run."""
import logging

import numpy as np
import torch
from torch import Tensor

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.folder.folder import Features
from data.folder.mapped import MappedRows
from train.batches import StoryDataset
from train.model.story_model import StoryModel

logger = logging.getLogger(__name__)
CHUNK = 2048
MOST_PHOTOS = 20_000  # evenly taken, decide a covariance as well as all do
LEAST_STD = 1e-6  # where every feature is constant


def measure_covariance(model: StoryModel, features: Features, rows: np.ndarray) -> np.ndarray:
    """Covariance of standardised features: (D, D) float64, of at most MOST_PHOTOS of the photo rows (n,)."""
    total, taken = np.zeros((features.width,) * 2), rows[::-(-len(rows) // MOST_PHOTOS)]
    for start in range(0, len(taken), CHUNK):
        chunk = model.standardise(torch.from_numpy(features.feature.take(taken[start:start + CHUNK]))).numpy()
        total += chunk.T @ chunk
    return total / len(taken)


def measure_features(features: Features, rows: np.ndarray, std_floor: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every feature column.

    Args:
        features: the folder. rows: (n,) photo rows, each photo once.
        std_floor: least deviation, as a share of the mean deviation over all columns: a column that hardly ever
            moved in train would otherwise blow up the first time it does.

    Returns:
        mean, std: (D,) float32; zeros and ones where there is no photo at all.

    Raises:
        UserError: if a feature is no finite number.
    """
    if not len(rows):
        return torch.zeros(features.width), torch.ones(features.width)
    return _measure(features.feature, rows, std_floor, features)


def measure_captions(dataset: StoryDataset, std_floor: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every column of the text features of a train set's captions, as `measure_features` gives
    them.

    Raises:
        UserError: if one is no finite number.
    """
    assert dataset.text is not None
    frames = MappedRows([piece.reshape(-1, piece.shape[2]) for piece in dataset.text.pieces])
    rows = (dataset.story_rows[:, None] * NUM_FRAMES + np.arange(NUM_FRAMES)).ravel()
    return _measure(frames, rows, std_floor, dataset.features)


def _measure(vectors: MappedRows, rows: np.ndarray, std_floor: float, features: Features) -> tuple[Tensor, Tensor]:
    shift = vectors.take(rows[:1])[0].astype(np.float32)  # columns far from 0 keep their digits
    total, squares = np.zeros(len(shift)), np.zeros(len(shift))
    for start in range(0, len(rows), CHUNK):
        chunk = vectors.take(rows[start:start + CHUNK]).astype(np.float32) - shift
        total += chunk.sum(axis=0, dtype=np.float64)
        squares += np.einsum("nd,nd->d", chunk, chunk).astype(np.float64)
    if not np.isfinite(squares).all():
        raise UserError(f"expected finite features in {features.root}, found infinities or NaN; run verify, then make "
                        "the folder again with --precision float32")
    mean = total / len(rows)
    std = np.sqrt(np.maximum(squares / len(rows) - mean ** 2, 0))
    floor = max(std_floor * float(std.mean()), LEAST_STD)
    return torch.from_numpy(mean + shift).float(), torch.from_numpy(np.maximum(std, floor)).float()
