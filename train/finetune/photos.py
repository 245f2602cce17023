"""Stories with their photos decoded, a story's photos augmented alike."""
import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data.cores import count_cores
from data.errors import UserError
from data.folder.folder import Features
from data.pictures.augmentation import Augmentation, augment_picture, draw_augmentation
from data.pictures.photos import BadPhoto, read_photo, scan_photos
from data.pictures.pictures import Resize, decode_photo
from train.batches import Batch, StoryDataset


class PhotoFeatures(Features):
    """A features folder with the photos it was made from: usable is only what both have.

    Args:
        root: the features folder. photos_root: the data folder.
    """

    def __init__(self, root: Path, photos_root: Path) -> None:
        super().__init__(root)
        self.photos_root = photos_root
        found, _ = scan_photos(photos_root)
        names = [photo_id.decode() for photo_id in self.photo_id.all()]
        self.paths = [found[name].path if name in found else "" for name in names]

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: the photo was read, is no placeholder, and its file is there."""
        return super().usable & np.array([bool(path) for path in self.paths], bool)

    def read_picture(self, row: int, resize: Resize) -> np.ndarray:
        """Decode the photo of a row to (S, S, 3) uint8.

        Raises:
            UserError: if it is not the photo that the row's feature was made from.
        """
        path, remedy = self.paths[row], "bring it back, or bring the folder up to date with: make features"
        try:
            raw = read_photo(path)
            if hashlib.sha256(raw).digest() != self.content.take(np.array([row]))[0].tobytes():
                raise UserError(f"expected {path} as it was when {self.root} was made from it, found other content; "
                                f"{remedy}")
            return decode_photo(raw, resize)
        except BadPhoto as error:
            raise UserError(f"expected {path} as it was when {self.root} was made from it, found it {error.cause} "
                            f"{error.detail}; {remedy}") from None


class PhotoDataset(StoryDataset):
    """The stories of one split as `StoryDataset` gives them, with pictures.

    Args:
        resize: how a photo becomes the backbone's input. augmentation: for the split train alone; drawn once per
            story and epoch. readers: decoding threads; 0 for one a core.
    """

    features: PhotoFeatures

    def __init__(self, features: PhotoFeatures, split: str, *settings: object, resize: Resize, augmentation: bool,
                 readers: int, text: bool = False) -> None:
        super().__init__(features, split, *settings, text=text)  # type: ignore[arg-type, misc]
        self.resize, self.is_augmented = resize, augmentation and split == "train"
        self._pool = ThreadPoolExecutor(readers or count_cores(), thread_name_prefix="photos")
        self._ahead: dict[int, list[Future[np.ndarray]]] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Draw other augmentations from here on."""
        super().begin_epoch(epoch)
        self._ahead = {}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Gather a batch.

        Returns:
            What `StoryDataset` gives, and `pictures`: (n, S, S, 3) uint8, one for every True of photo_mask in order.
        """
        batch = super().__getitems__(indices)
        side = self.resize.size
        waiting = [future for index in np.asarray(indices).tolist()
                   for future in self._ahead.pop(index, None) or self._begin_reading(index)]
        pictures = np.empty((len(waiting), side, side, 3), np.uint8)
        for place, future in enumerate(waiting):
            pictures[place] = future.result()
        return {**batch, "pictures": torch.from_numpy(pictures)}

    def prefetch(self, indices: np.ndarray) -> None:
        """Begin to decode the photos of these stories; returns at once."""
        for index in indices.tolist():
            if index not in self._ahead:
                self._ahead[index] = self._begin_reading(index)

    def draw(self, index: int) -> Augmentation | None:
        """What is done to all photos of a story in this epoch."""
        if not self.is_augmented:
            return None
        story_id = self.arrays.story_id.take(self.story_rows[[index]])[0].decode()
        return draw_augmentation("story", self.seed, self.epoch, story_id)

    def close(self) -> None:
        """Give up what is still waiting to be decoded."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin_reading(self, index: int) -> list[Future[np.ndarray]]:
        row, drawn = self.story_rows[index], self.draw(index)
        return [self._pool.submit(self._read, photo, drawn) for photo in self._photo[row][self._usable[row]].tolist()]

    def _read(self, row: int, drawn: Augmentation | None) -> np.ndarray:
        picture = self.features.read_picture(row, self.resize)
        return picture if drawn is None else augment_picture(picture, drawn)
