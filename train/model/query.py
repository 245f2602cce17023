"""What the next photo is sought by: the predicted photo, with less of what all photos vary in.

A cosine is ruled by the few directions in which photos differ most, whatever they show, and a prediction is surest of
just these. Mu and Viswanath (All-but-the-Top, 2018) take such directions off word vectors. Here they are weakened as
the inverse of the photos' covariance does it, with FLOOR mean variances added to its diagonal.
"""
import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor, nn

FLOOR = 30.0         # mean variances; a direction that varies so much is halved
NUM_DIRECTIONS = 64  # those that vary most; the others would keep more than nine tenths


class PhotoQuery(nn.Module):
    """Weakens the directions in which train photos vary most, where that ranks the photos of val better.

    Attributes:
        is_used: 1 or 0, chosen on val. directions: (R, D) of length 1. kept: (R,) what is left of each.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        count = min(NUM_DIRECTIONS, feature_dim)
        self.register_buffer("directions", torch.zeros(count, feature_dim))
        self.register_buffer("kept", torch.ones(count))
        self.register_buffer("is_used", torch.zeros(()))
        self.directions: Tensor
        self.kept: Tensor
        self.is_used: Tensor

    def forward(self, predicted: Tensor) -> Tensor:
        """(..., D) standardised, the predicted photo -> (..., D), what candidates are compared with by cosine."""
        return torch.where(self.is_used > 0, self.weaken(predicted), predicted)

    def weaken(self, predicted: Tensor) -> Tensor:
        """The same, used or not."""
        return predicted - (predicted @ self.directions.T * (1 - self.kept)) @ self.directions

    def fit(self, covariance: np.ndarray) -> None:
        """Take the directions of the train photos' covariance, (D, D) float64."""
        size = len(covariance)
        variance, directions = eigh(covariance, subset_by_index=[size - len(self.kept), size - 1])
        kept = 1 / (1 + variance.clip(min=0) / (FLOOR * max(np.trace(covariance) / size, 1e-12)))
        self.directions.copy_(torch.from_numpy(directions.T))
        self.kept.copy_(torch.from_numpy(kept))
