"""Mean and deviation of the train photos' features; they come from train alone and stay with the run."""
import logging

import numpy as np
import torch
from torch import Tensor

from data.errors import UserError
from data.folder import Features
from train.model import StoryModel

logger = logging.getLogger(__name__)
CHUNK = 2048
PRINCIPAL_PHOTOS = 4096      # as many train photos as the principal directions are measured on
WEAKEST_DIRECTION = 0.02     # floor under a direction's deviation, as a share of the strongest one's
LEAST_STD = 1e-6  # where every feature is constant


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
    shift = features.feature.take(rows[:1])[0].astype(np.float32)  # columns far from 0 keep their digits
    total, squares = np.zeros(features.width), np.zeros(features.width)
    for start in range(0, len(rows), CHUNK):
        chunk = features.feature.take(rows[start:start + CHUNK]).astype(np.float32) - shift
        total += chunk.sum(axis=0, dtype=np.float64)
        squares += np.einsum("nd,nd->d", chunk, chunk).astype(np.float64)
    if not np.isfinite(squares).all():
        raise UserError(f"expected finite features in {features.root}, found infinities or NaN; run verify, then make "
                        "the folder again with --precision float32")
    mean = total / len(rows)
    std = np.sqrt(np.maximum(squares / len(rows) - mean ** 2, 0))
    floor = max(std_floor * float(std.mean()), LEAST_STD)
    return torch.from_numpy(mean + shift).float(), torch.from_numpy(np.maximum(std, floor)).float()


def begin_on_principal_directions(model: StoryModel, features: Features, rows: np.ndarray, num_directions: int,
                                  seed: int) -> None:
    """Let the photo half of the first fusion layer begin on whitened principal directions of the train photos.

    Columns of a backbone's features are strongly correlated: a few directions carry nearly all variance, and what
    tells one thing from another lies in the weak ones. From random weights those are learned last.

    Args:
        model: its statistics are set; `fusion.first` is changed in place.
        rows: (n,) photo rows, sorted. num_directions: at most so many; 0 leaves the weights as they are.
        seed: of the directions' random mixture.
    """
    step = -(-len(rows) // PRINCIPAL_PHOTOS) or 1
    chosen = rows[::step]
    num_directions = min(num_directions, len(chosen) - 1, features.width)
    if num_directions < 1:
        return
    generator = torch.Generator().manual_seed(seed)
    weight = model.fusion.first.weight                                       # (fusion_dim, D + text_dim)
    photos = model.standardise(torch.from_numpy(features.feature.take(chosen)).to(weight.device))
    _, deviation, directions = torch.linalg.svd(photos - photos.mean(dim=0), full_matrices=False)
    deviation = deviation / len(chosen) ** 0.5
    scale = 1 / (deviation[:num_directions] + WEAKEST_DIRECTION * deviation[0]).clamp(min=LEAST_STD)
    mixture = torch.randn(len(weight), num_directions, generator=generator).to(weight.device) / num_directions ** 0.5
    with torch.no_grad():
        weight[:, :features.width] = (mixture * scale) @ directions[:num_directions]
