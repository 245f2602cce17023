"""One split as evaluation sees it: units, true tags and words, photo candidates, the albums' resamples."""
from functools import cached_property

import numpy as np

from data.errors import UserError
from data.folder.folder import Features
from data.words.tokens import PAD, UNK, split_words
from evaluate.photos.pools import Candidates, find_candidates
from evaluate.statistics.bootstrap import Resamples
from evaluate.units import Units, group_units
from train.batches import StoryDataset


class EvaluatedSplit:
    """The stories of a split that are scored; S stories, K = 5 frames, T token ids, G tag columns.

    Args:
        features: an opened folder. words: the word set. split: its name.
        missing: "mask" keeps stories with unusable photos, "drop" leaves them out. limit: at most so many, 0 = all.
        num_resamples, seed: of the intervals.

    Attributes:
        dataset: the same stories as batches. units: how they are grouped.
        token: (S, K, T) uint16. tag: (S, K, G) uint8. tag_source: (S, K) uint8. usable: (S, K) bool.
        num_tokens: (S, K) int64, real words and <END> of a caption as the model is asked for them.

    Raises:
        UserError: if no story is left.
    """

    def __init__(self, features: Features, words: str, split: str, missing: str = "mask", limit: int = 0,
                 num_resamples: int = 1000, seed: int = 42) -> None:
        self.features, self.name, self.seed = features, split, seed
        self.dataset = StoryDataset(features, split, words, missing, limit)
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

    def spread(self, unit_values: np.ndarray) -> np.ndarray:
        """Per-unit values (U, ...) at the first story of each unit, zeros at the others: (S, ...)."""
        _, first = np.unique(self.units.unit, return_index=True)
        spread = np.zeros((len(self), *unit_values.shape[1:]))
        spread[first] = unit_values
        return spread
