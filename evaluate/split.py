"""One split as evaluation sees it: units, true tags and words, photo candidates, the albums' resamples.

What is counted once, a unit, is a distinct photo sequence. Several stories of a split may tell the same five photos:
their captions are each other's references, and their scores are averaged, so that a much-told sequence weighs no more
than another.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.errors import UserError
from data.folder.folder import Features
from data.folder.word_reader import SplitWords
from data.words.tokens import PAD, UNK, split_words
from evaluate.statistics.bootstrap import Resamples
from train.batches import StoryDataset


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


def group_units(words: SplitWords, indices: np.ndarray) -> Units:
    """Group stories of a split by their five photos.

    Args:
        words: the split.
        indices: the rows to take, in this order; all when left out.
    """
    photo = words.photo.take(indices)
    _, unit, counts = np.unique(photo, axis=0, return_inverse=True, return_counts=True)
    unit = unit.reshape(-1)
    return Units(
        story_ids=[story_id.decode() for story_id in words.story_id.take(indices)],
        album_ids=[album_id.decode() for album_id in words.album_id.take(indices)],
        photo=photo, unit=unit, weight=1.0 / counts[unit],
        captions=[tuple(words.caption(int(index), frame) for frame in range(photo.shape[1])) for index in indices])


@dataclass(frozen=True)
class Candidates:
    """The distinct usable contents among some stories' photos.

    Attributes:
        rows: (C,) int64, a photo row that shows each. of_photo: (N,) int64, the candidate a photo row shows, -1 where
        it is unusable or no story's.
    """

    rows: np.ndarray
    of_photo: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def find_candidates(features: Features, photo: np.ndarray) -> Candidates:
    """Gather the distinct contents of the usable photos that stories name.

    Args:
        photo: (S, K) photo rows.
    """
    rows = np.unique(photo)
    rows = rows[features.usable[rows]]
    content = np.ascontiguousarray(features.content.take(rows)).view("V32").reshape(-1)
    _, first, inverse = np.unique(content, return_index=True, return_inverse=True)
    in_row_order = np.argsort(first)  # neighbours on disk stay neighbours
    position = np.empty_like(in_row_order)
    position[in_row_order] = np.arange(len(first))
    of_photo = np.full(features.num_photos, -1, np.int64)
    of_photo[rows] = position[inverse.reshape(-1)]
    return Candidates(rows[first[in_row_order]].astype(np.int64), of_photo)


class EvaluatedSplit:
    """The stories of a split that are scored; S stories, K = 5 frames, T token ids, G tag columns.

    Args:
        features: an opened folder. words: the word set. split: its name.
        missing: "mask" keeps stories with unusable photos, "drop" leaves them out. limit: at most so many, 0 = all.
        num_resamples, seed: of the intervals. text: for a model that reads text features.

    Attributes:
        dataset: the same stories as batches. units: how they are grouped.
        token: (S, K, T) uint16. tag: (S, K, G) uint8. tag_source: (S, K) uint8. usable: (S, K) bool.
        num_tokens: (S, K) int64, real words and <END> of a caption as the model is asked for them.

    Raises:
        UserError: if no story is left.
    """

    def __init__(self, features: Features, words: str, split: str, missing: str = "mask", limit: int = 0,
                 num_resamples: int = 1000, seed: int = 42, text: bool = False) -> None:
        self.features, self.name, self.seed = features, split, seed
        self.dataset = StoryDataset(features, split, words, missing, limit, text=text)
        if not len(self.dataset):
            raise UserError(f"expected stories with five usable photos in split {split!r} of {features.root}, found "
                            "none; evaluate with --missing mask, or mend the photos with: make features ARGS=--retry")
        self.words, arrays = self.dataset.words, self.dataset.arrays
        rows = self.dataset.story_rows
        self.units: Units = group_units(arrays, rows)
        self.token, self.tag, self.tag_source, self._tokenised = (
            field.take(rows) for field in (arrays.token, arrays.tag, arrays.tag_source, arrays.tokenised))
        self.usable = features.usable[self.units.photo]
        self.num_tokens = np.maximum((self.token != PAD).sum(axis=-1) - 1, 0)  # <START> is given
        self.num_unknown = (self.token == UNK).sum(axis=-1)
        self.resamples = Resamples(self.units.album_ids, num_resamples, seed)

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def caption_words(self) -> list[list[list[str]]]:
        """The true captions as lower-case words, story by story, frame by frame."""
        return [[split_words(caption, bool(tokenised)) for caption, tokenised in zip(captions, flags)]
                for captions, flags in zip(self.units.captions, self._tokenised)]

    @cached_property
    def num_raw_words(self) -> np.ndarray:
        """(S, K) float64, white-space words of the raw captions, as far as their token ids reach."""
        counts = np.array([[len(caption.split()) for caption in captions] for captions in self.units.captions], float)
        whole = np.array([[len(words) for words in captions] for captions in self.caption_words], float)
        kept = np.maximum(self.num_tokens - 1, 0)
        return np.where(whole > kept, counts * kept / np.maximum(whole, 1), counts)  # a cut caption counts in part

    @cached_property
    def candidates(self) -> Candidates:
        """The distinct photos of these stories."""
        return find_candidates(self.features, self.units.photo)

    @cached_property
    def candidate(self) -> np.ndarray:
        """(S, K) int64, the candidate each frame shows, -1 where its photo is unusable."""
        return self.candidates.of_photo[self.units.photo]
