"""Photos as the model sees them: standardised by the run's train statistics."""
import numpy as np

from data.folder.folder import Features
from evaluate.photos.retrieval import normalise


class PhotoSpace:
    """Standardised features of a folder.

    Args:
        features: an opened folder of width D.
        mean, std: (D,) float32, the run's train statistics.
    """

    def __init__(self, features: Features, mean: np.ndarray, std: np.ndarray) -> None:
        self.features = features
        self.mean, self.std = mean.astype(np.float32), std.astype(np.float32)
        self._scale = 1 / self.std

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Standardised features of photo rows, (n, D) float32; zeros (the train mean) where a photo is unusable."""
        photos = self.features.feature.take(rows).astype(np.float32)
        photos -= self.mean
        photos *= self._scale
        photos[~self.features.usable[rows]] = 0
        return photos

    def read_directions(self, rows: np.ndarray) -> np.ndarray:
        """`read`, scaled to length 1: what retrieval compares."""
        return normalise(self.read(rows))
