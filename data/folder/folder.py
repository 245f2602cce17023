"""An opened features folder: photos, thumbnails and word sets, mapped into memory."""
import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from data.errors import UserError, shell_word
from data.folder.identity import require_whole
from data.folder.manifest import MANIFEST, Shard, load_manifest
from data.folder.mapped import MappedRows
from data.folder.part import PULLING, REST, describe_lacks, read_lacks, stand_in, without
from data.folder.published import map_published
from data.folder.word_reader import WordSet
from data.pictures.photos import MISSING, OK, STATUS, TOO_LARGE, UNREADABLE

__all__ = ["MISSING", "OK", "STATUS", "TOO_LARGE", "UNREADABLE", "Features", "WordSet"]

log = logging.getLogger(__name__)


def require_folder(root: Path) -> None:
    """Refuse a place where there is no folder, or one that is still on its way or being made.

    Raises:
        UserError: with what to do.
    """
    if not root.is_dir():
        raise UserError(f"expected a features folder at {root}, found none; make it with: make features "
                        f"FEATURES={shell_word(root)}, or get one with: make pull URL=...")
    if not (root / MANIFEST).exists() and (root / PULLING).exists():
        raise UserError(f"expected a whole features folder at {root}, found one whose pull has not ended; give the "
                        "command python -m extract pull again, it goes on where it stopped")


class Features:
    """A features folder opened for reading; N photos of width D.

    Of a folder handed on in part, photos that lack are rows with status 1; word sets, splits and kinds that lack are
    not there.

    Attributes:
        feature: (N, D) float16 rows, zeros where the status is not ok.
        photo_id: (N,) bytes. content: (N, 32) uint8. status: (N,) uint8.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        whole, self.lacks = load_manifest(root), read_lacks(root)
        self.manifest = without(whole, self.lacks)
        if self.lacks:
            log.warning("features folder %s is a part: it lacks %s; %s", root, describe_lacks(whole, self.lacks), REST)
        for kind, identity in (("recipe", self.recipe), ("source", self.source)):
            require_whole(kind, identity, f"features folder {root}")
        shards = self._map("photos")
        if not shards:
            raise UserError(f"expected photo shards in {root}, found none; make the folder with: make features")
        self.feature, self.photo_id, self.content, self._status = (
            MappedRows([arrays[name] for arrays in shards]) for name in ("feature", "photo_id", "content", "status"))
        widths = {arrays["feature"].shape[1] for arrays in shards}
        if widths != {self.manifest.width}:
            raise UserError(f"expected features of width {self.manifest.width} in {root}, found "
                            f"{', '.join(map(str, sorted(widths)))}; run verify")

    @classmethod
    def open(cls, root: Path) -> "Features":
        """Open a folder; sizes are checked here, content hashes by `verify`.

        Raises:
            UserError: if there is no folder, or anything in it is not what the manifest says.
        """
        require_folder(root)
        return cls(root)

    def _map(self, kind: str) -> list[dict[str, np.ndarray]]:
        """The shards of a kind that lies beside photo rows, in order."""
        return [self._map_shard(shard, kind) for shard in self.manifest.shards.get(kind, ())]

    def _map_shard(self, shard: Shard, kind: str) -> dict[str, np.ndarray]:
        if shard.name in self.lacks:
            return stand_in(shard, kind, self.manifest)
        return map_published(self.root, shard, kind)

    @property
    def width(self) -> int:
        """D, the width of a feature."""
        return self.manifest.width

    @property
    def num_photos(self) -> int:
        """N, the number of photo rows."""
        return len(self.feature)

    @property
    def recipe(self) -> dict:
        """The identity of how photos became features."""
        return self.manifest.recipe

    @property
    def source(self) -> dict:
        """The identity of which photos there are."""
        return self.manifest.source

    @cached_property
    def status(self) -> np.ndarray:
        """(N,) uint8, an index into STATUS."""
        return self._status.all()

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: the photo was read, and is no placeholder that stands under many ids."""
        usable = self.status == OK
        for placeholder in self.manifest.placeholders:
            content = np.frombuffer(bytes.fromhex(placeholder["content"]), np.uint8)
            usable &= ~np.concatenate([(piece == content).all(axis=1) for piece in self.content.pieces])
        return usable

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of every photo id."""
        return {photo_id.decode(): row for row, photo_id in enumerate(self.photo_id.all())}

    @property
    def word_sets(self) -> list[str]:
        """The names of the word sets."""
        return sorted(self.manifest.words)

    def words(self, name: str = "default") -> WordSet:
        """A word set by name.

        Raises:
            UserError: if the folder has no such word set.
        """
        if name not in self.manifest.words:
            raise UserError(f"expected a word set {name!r} in {self.root}, found "
                            f"{', '.join(self.word_sets) or 'none'}; name one of those with --words"
                            + (f", or {REST}" if self.lacks else ""))
        entry, where = self.manifest.words[name], f"features folder {self.root}"
        require_whole(f"words {name!r}", entry.identity, where)
        if entry.text is not None:
            require_whole(f"text features of words {name!r}", entry.text, where)
        return WordSet(self.root, name, self.manifest)

    @cached_property
    def tokens(self) -> MappedRows:
        """(N, P, D) float16, what a decoder can attend to of every photo row: 49 or 16 places of the map before
        pooling, row by row from its top left; where the folder has none beside, the feature alone, P = 1."""
        pieces = [arrays["feature"] for arrays in self._map("tokens")]
        return MappedRows(pieces or [piece[:, None] for piece in self.feature.pieces])

    @cached_property
    def views(self) -> MappedRows | None:
        """(N, W, D) float16, W augmented views of every photo row; None where the folder has none."""
        pieces = [arrays["feature"] for arrays in self._map("views")]
        if not pieces:
            return None
        shapes = {piece.shape[1:] for piece in pieces}
        if len(shapes) > 1 or pieces[0].shape[2] != self.width or sum(map(len, pieces)) != self.num_photos:
            raise UserError(f"expected equally many views of width {self.width} of each of {self.num_photos} photos in "
                            f"{self.root}, found {sorted(shapes)} of {sum(map(len, pieces))}; run verify")
        return MappedRows(pieces)

    def require_views(self) -> MappedRows:
        """The augmented views; see `views`.

        Raises:
            UserError: if the folder has none.
        """
        if self.views is None:
            raise UserError(f"expected augmented views in {self.root}, found none; make them with: make features "
                            f"FEATURES={shell_word(self.root)} VIEWS=4, or leave --views out")
        return self.views

    @cached_property
    def _thumbs(self) -> list[dict[str, np.ndarray]]:
        return self._map("thumbs")

    def thumbnail(self, row: int) -> bytes | None:
        """The small JPEG of a photo row, or None where the folder has none."""
        if not self._thumbs:
            return None
        piece = next(index for index, shard in enumerate(self.manifest.shards["thumbs"])
                     if shard.offset <= row < shard.offset + shard.rows)
        arrays, local = self._thumbs[piece], row - self.manifest.shards["thumbs"][piece].offset
        start, stop = (int(position) for position in arrays["offset"][local:local + 2])
        return arrays["blob"][start:stop].tobytes() or None
