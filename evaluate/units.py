"""What is counted once: a distinct photo sequence.

Several stories of a split may tell the same five photos. They share a unit: their captions are each other's
references, and their scores are averaged, so that a much-told sequence weighs no more than another.
"""
from dataclasses import dataclass

import numpy as np

from data.folder.word_reader import SplitWords


@dataclass(frozen=True)
class Units:
    """The stories of a split, grouped into units; S stories, U units, K = 5 frames.

    Attributes:
        story_ids, album_ids: S strings. photo: (S, K) int32, rows over all photo shards.
        unit: (S,) int64, which unit a story belongs to, 0..U-1. weight: (S,) float64, 1 / stories of its unit.
        captions: S tuples of K raw captions.
    """

    story_ids: list[str]
    album_ids: list[str]
    photo: np.ndarray
    unit: np.ndarray
    weight: np.ndarray
    captions: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.story_ids)

    @property
    def num_units(self) -> int:
        """U, the number of distinct photo sequences."""
        return int(self.unit.max()) + 1 if len(self.unit) else 0

    def stories_of(self) -> list[np.ndarray]:
        """The stories of every unit, U arrays of indices."""
        order = np.argsort(self.unit, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.unit[order])) + 1)

    def references(self, frame: int) -> list[list[str]]:
        """The raw captions of every unit at a frame (0-based), U lists in story order."""
        return [[self.captions[story][frame] for story in stories] for stories in self.stories_of()]


def group_units(words: SplitWords, indices: np.ndarray | None = None) -> Units:
    """Group stories of a split by their five photos.

    Args:
        words: the split.
        indices: the rows to take, in this order; all when left out.
    """
    indices = np.arange(len(words)) if indices is None else np.asarray(indices)
    photo = words.photo.take(indices)
    _, unit, counts = np.unique(photo, axis=0, return_inverse=True, return_counts=True)
    unit = unit.reshape(-1)
    return Units(
        story_ids=[story_id.decode() for story_id in words.story_id.take(indices)],
        album_ids=[album_id.decode() for album_id in words.album_id.take(indices)],
        photo=photo, unit=unit, weight=1.0 / counts[unit],
        captions=[tuple(words.caption(int(index), frame) for frame in range(photo.shape[1])) for index in indices])
