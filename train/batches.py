"""Stories of a features folder as batches, gathered straight from the mapped shards; no workers, no copies between."""
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.folder.folder import Features
from data.folder.mapped import MappedRows

logger = logging.getLogger(__name__)

Batch = dict[str, Tensor]
VIEWS_SALT = 1  # so that views are not drawn with the numbers that shuffle the stories


class StoryDataset:
    """The stories of one split that take part, in the folder's order (album, story).

    Args:
        features: an opened folder. split: "train", "val" or "test". words: the word set.
        missing: "drop" leaves out stories with an unusable photo, "mask" keeps them and masks the photo.
        limit: at most so many stories; 0 or None for all.
        fraction: share of the split's albums, drawn by `seed`; a smaller share is part of a larger one.
        views: show each story clean or as one augmented view, drawn by `seed` and epoch; see `begin_epoch`.
        text: give the captions' text features too.

    Attributes:
        story_rows: (len(self),) int64, rows in the split's arrays. num_dropped: stories left out for their photos.
        caption_length: (S, K) uint16 real tokens of every caption of the split.
        text: (S, K, E) float16 rows, the captions' text features; None where they are not asked for.
    """

    def __init__(self, features: Features, split: str, words: str = "default", missing: str = "drop",
                 limit: int | None = None, fraction: float = 1.0, seed: int = 42, views: bool = False,
                 text: bool = False) -> None:
        self.features, self.split, self.missing = features, split, missing
        self.words = features.words(words)
        self.arrays = self.words.split(split)
        self.text = self.words.text_features(split) if text else None
        self._photo = self._checked_photos()
        self.caption_length = self._checked_lengths()
        self._usable = features.usable[self._photo]                                        # (S, K)
        self._photos = np.unique(self._photo)
        seen = np.ascontiguousarray(features.content.take(self._photos)).view("V32").reshape(-1)
        self._content = np.unique(seen, return_inverse=True)[1].reshape(-1)                # (len(_photos),)
        rows = np.arange(len(self.arrays))
        if fraction < 1:
            rows = rows[self._draw_albums(fraction, seed)]
        whole = self._usable[rows].all(axis=1)
        if missing == "drop":
            rows = rows[whole]
        self.num_dropped = int((~whole).sum()) if missing == "drop" else 0
        self.story_rows = rows[:limit] if limit else rows
        self.seed, self._num_views, self._views = seed, 0, None
        if views:
            stored = features.require_views()                                              # (N, W, D)
            self._num_views = stored.row_shape[0]
            self._views = MappedRows([piece.reshape(-1, features.width) for piece in stored.pieces])
        self.begin_epoch(1)

    def __len__(self) -> int:
        return len(self.story_rows)

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Gather a batch of B stories.

        Args:
            indices: positions in this dataset, 0 <= index < len(self).

        Returns:
            image_features: (B, K, D) float16, raw; zeros where there is no photo.
            photo_mask: (B, K) bool, True = a usable photo.
            token_ids: (B, K, T) int64, T the longest caption of this batch.
            tag_targets: (B, K, G) float32 multi-hot, all columns.
            tag_source: (B, K) uint8, see `data.folder.folder`.
            story_index: (B,) int64, the row in the split's arrays.
            content: (B, K) int64, a number for what a photo shows: byte-equal photos have one.
            input_features: (B, K, D) float16, what is seen in place of image_features; with `views` alone.
            text_features: (B, K, E) float16, of the captions as they were written; with `text` alone.
        """
        rows = self.story_rows[np.asarray(indices, np.int64)]
        usable, longest = self._usable[rows], int(self.caption_length[rows].max(initial=2))
        photos = self.features.feature.take(self._photo[rows].ravel()).reshape(len(rows), NUM_FRAMES, -1)
        if not usable.all():
            photos[~usable] = 0
        shown = {} if self._views is None else {"input_features": torch.from_numpy(self._take_views(rows, photos))}
        if self.text is not None:
            shown["text_features"] = torch.from_numpy(self.text.take(rows))
        return {**shown,
                "image_features": torch.from_numpy(photos),
                "photo_mask": torch.from_numpy(usable),
                "token_ids": torch.from_numpy(self.arrays.token.take(rows)[:, :, :longest].astype(np.int64)),
                "tag_targets": torch.from_numpy(self.arrays.tag.take(rows).astype(np.float32)),
                "tag_source": torch.from_numpy(self.arrays.tag_source.take(rows)),
                "content": torch.from_numpy(self._content[np.searchsorted(self._photos, self._photo[rows])]),
                "story_index": torch.from_numpy(rows)}

    def begin_epoch(self, epoch: int) -> None:
        """Draw what each story shows in an epoch: 0 its photos as they are, v > 0 their augmented view v - 1."""
        self.epoch = epoch
        if self._views is not None:
            random = np.random.default_rng([self.seed, epoch, VIEWS_SALT])
            self._shown = random.integers(0, self._num_views + 1, len(self.arrays))        # (S,)

    def prefetch(self, indices: np.ndarray) -> None:
        """Ask the system to read the photos of these stories ahead; returns at once."""
        rows = self.story_rows[indices]
        self.features.feature.prefetch(self._photo[rows][self._usable[rows]])

    def spread(self, most: int) -> np.ndarray:
        """(n,) positions of at most so many stories, evenly taken."""
        return np.arange(0, len(self), max(1, -(-len(self) // most)))

    @property
    def num_photos(self) -> int:
        """Usable photos that the stories name, each counted once."""
        return len(self.photo_rows())

    def photo_rows(self) -> np.ndarray:
        """Sorted rows of the usable photos that the stories name, each once."""
        return np.unique(self._photo[self.story_rows][self._usable[self.story_rows]])

    def _take_views(self, rows: np.ndarray, photos: np.ndarray) -> np.ndarray:
        assert self._views is not None
        shown, is_changed = photos.copy(), self._usable[rows] & (self._shown[rows] > 0)[:, None]   # (B, K)
        place = self._photo[rows].astype(np.int64) * self._num_views + self._shown[rows][:, None] - 1
        shown[is_changed] = self._views.take(place[is_changed])
        return shown

    def _draw_albums(self, fraction: float, seed: int) -> np.ndarray:
        albums, album_index = np.unique(self.arrays.album_id.all(), return_inverse=True)
        drawn = np.random.default_rng(seed).permutation(len(albums))[:max(1, round(fraction * len(albums)))]
        return np.isin(album_index, drawn)

    def _checked_photos(self) -> np.ndarray:
        photo = np.asarray(self.arrays.photo.all())
        if len(photo) and (photo.min() < 0 or photo.max() >= self.features.num_photos):
            raise UserError(f"expected photo rows 0..{self.features.num_photos - 1} in split {self.split!r} of "
                            f"{self.features.root}, found {photo.min()}..{photo.max()}; run verify")
        return photo

    def _checked_lengths(self) -> np.ndarray:
        """(S, K) uint16 tokens up to the last real one; ids and columns are checked on the way, shard by shard."""
        num_words = len(self.words.vocabulary)
        if self.arrays.tag.row_shape[-1] != len(self.words.tag_names):
            raise UserError(f"expected {len(self.words.tag_names)} tag columns as in tags.json of "
                            f"{self.features.root}, found {self.arrays.tag.row_shape[-1]}; run verify")
        lengths = []
        for token in self.arrays.token.pieces:
            if token.size and int(token.max()) >= num_words:
                raise UserError(f"expected token ids below {num_words} in split {self.split!r} of "
                                f"{self.features.root}, found {token.max()}; run verify")
            place = np.arange(1, token.shape[-1] + 1, dtype=np.uint16)
            lengths.append(np.where(token != 0, place, 0).max(axis=-1, initial=0))
        return np.concatenate(lengths)


def iterate_batches(dataset: StoryDataset, batch_size: int, order: np.ndarray | None = None) -> Iterator[Batch]:
    """Batches over a dataset, in its own order or in `order` ((n,) positions); the last one may be short."""
    order = np.arange(len(dataset)) if order is None else order
    for start in range(0, len(order), batch_size):
        yield dataset.__getitems__(order[start:start + batch_size])
