"""An opened features folder: photos, thumbnails and word sets, mapped into memory."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.files import read_json, sha256_file
from data.manifest import Manifest, Shard, load_manifest
from data.mapped import MappedRows
from data.photos import MISSING, OK, STATUS, TOO_LARGE, UNREADABLE
from data.shards import SCHEMA, map_shard

__all__ = ["MISSING", "OK", "STATUS", "TOO_LARGE", "UNREADABLE", "Features", "SplitWords", "WordSet"]
SIS, DII = 1, 2  # bits of tag_source
MAX_WORDS_BYTES = 1 << 26  # of vocabulary.json and tags.json: 65,536 words take one MB
NUM_FRAMES = 5
ID_FIELDS = frozenset(("photo_id", "story_id", "album_id"))


@dataclass(frozen=True)
class SplitWords:
    """The stories of one split in one word set; S stories, K = 5 frames, T ids, G tag columns.

    Attributes:
        token: (S, K, T) uint16 rows. tag: (S, K, G) uint8. tag_source: (S, K) uint8, bit SIS and bit DII.
        photo: (S, K) int32, row over all photo shards. tokenised: (S, K) uint8.
        story_id, album_id: (S,) bytes.
    """

    token: MappedRows
    tag: MappedRows
    tag_source: MappedRows
    photo: MappedRows
    tokenised: MappedRows
    story_id: MappedRows
    album_id: MappedRows
    captions: tuple[tuple[np.ndarray, np.ndarray], ...]  # (blob, offset) per shard

    def __len__(self) -> int:
        return len(self.photo)

    def caption(self, story_index: int, order: int) -> str:
        """The raw caption of a frame: story's row in the split, order 0..4."""
        piece = int(np.searchsorted(self.photo.starts, story_index, side="right")) - 1
        blob, offset = self.captions[piece]
        start = (story_index - int(self.photo.starts[piece])) * NUM_FRAMES + order
        return blob[offset[start]:offset[start + 1]].tobytes().decode("utf-8", errors="replace")


class WordSet:
    """One word set of a folder: its vocabulary, tag columns, identity and splits.

    Args:
        compare: refuse files of another sha256 than the manifest's; verify, which tells more, does so itself.
    """

    def __init__(self, root: Path, name: str, manifest: Manifest, compare: bool = True) -> None:
        self.name, self._root, self._manifest, self._compare = name, root, manifest, compare
        entry = manifest.words[name]
        self.identity, self.info, self.counts = entry.identity, entry.info, entry.counts
        self.path = root / "words" / name

    @cached_property
    def vocabulary(self) -> list[str]:
        """The words in id order, the four reserved ones first."""
        return self._strings("vocabulary.json", "words")

    @cached_property
    def tag_names(self) -> list[str]:
        """The tag columns in order; columns 0 and 1 are <PAD> and <UNK>."""
        return self._strings("tags.json", "names")

    @cached_property
    def tag_categories(self) -> dict[str, str]:
        """The category of every tag by name."""
        raw = self._json("tags.json")
        return {str(name): str(category) for name, category in raw.get("categories", {}).items()}

    @property
    def splits(self) -> list[str]:
        """The splits that have stories, in the order train, val, test."""
        return [split for split in ("train", "val", "test") if self._manifest.shards.get(self._group(split))]

    def split(self, split: str) -> SplitWords:
        """Map one split's stories.

        Raises:
            UserError: if the folder has none, or a shard is damaged.
        """
        shards = self._manifest.shards.get(self._group(split))
        if not shards:
            raise UserError(f"expected stories of split {split!r} in {self._root} (word set {self.name!r}), found "
                            f"{', '.join(self.splits) or 'none'}; name one of those or add its annotations")
        mapped = [map_published(self._root, shard, "words") for shard in shards]
        for shard, arrays in zip(shards, mapped):
            self._require_known(shard, arrays)
        lengths = {arrays["token"].shape[2] for arrays in mapped}
        if len(lengths) > 1:
            raise UserError(f"expected rows of one length in the words of {self._root}, found {sorted(lengths)}; run "
                            "verify")
        fields = {name: MappedRows([arrays[name] for arrays in mapped])
                  for name in SCHEMA["words"] if name not in ("caption", "offset")}
        filled = [arrays for arrays in mapped if len(arrays["photo"])]
        return SplitWords(**fields, captions=tuple((arrays["caption"], arrays["offset"]) for arrays in filled))

    def _require_known(self, shard: Shard, arrays: dict[str, np.ndarray]) -> None:
        """Refuse ids, columns and rows of what is not there: a model would crash on them, or learn nonsense."""
        num_photos = sum(photos.rows for photos in self._manifest.shards.get("photos", ()))
        for what, values, count in (("token ids", arrays["token"], len(self.vocabulary)),
                                    ("photo rows", arrays["photo"], num_photos)):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < count:
                raise UserError(f"expected {what} from 0 to {count - 1} in {self._root / shard.name}, found "
                                f"{values.min()} to {values.max()}; run verify")
        if arrays["tag"].shape[2] != len(self.tag_names):
            raise UserError(f"expected {len(self.tag_names)} tag columns in {self._root / shard.name}, found "
                            f"{arrays['tag'].shape[2]}; run verify")

    def _group(self, split: str) -> str:
        return f"words/{self.name}/{split}"

    def _json(self, name: str) -> dict:
        refuse_links(self._root, f"words/{self.name}/{name}")
        raw = read_json(self.path / name, f"{name} of the word set {self.name!r}", "run verify",
                        MAX_WORDS_BYTES)
        if not isinstance(raw, dict):
            raise UserError(f"expected an object in {self.path / name}, found {type(raw).__name__}; run verify")
        expected, found = self._manifest.words[self.name].files.get(name), sha256_file(self.path / name)
        if self._compare and found != expected:  # ids of one vocabulary read with another would look like sentences
            raise UserError(f"expected sha256 {expected!s:.12} of {self.path / name} as the manifest says, found "
                            f"{found:.12}: new words are being written, or that was interrupted; wait for it, or give "
                            "the command that made the folder again (make features)")
        return raw

    def _strings(self, name: str, key: str) -> list[str]:
        values = self._json(name).get(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UserError(f"expected {key!r} as a list of strings in {self.path / name}, found "
                            f"{type(values).__name__}; run verify")
        return values


class Features:
    """A features folder opened for reading; N photos of width D.

    Attributes:
        feature: (N, D) float16 rows, zeros where the status is not ok.
        photo_id: (N,) bytes. content: (N, 32) uint8. status: (N,) uint8.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = load_manifest(root)
        shards = [map_published(root, shard, "photos") for shard in self.manifest.shards.get("photos", ())]
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
        if not root.is_dir():
            raise UserError(f"expected a features folder at {root}, found none; make it with: make features "
                            f"FEATURES={root}")
        return cls(root)

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
                            f"{', '.join(self.word_sets) or 'none'}; name one of those with --words")
        return WordSet(self.root, name, self.manifest)

    @cached_property
    def grid(self) -> MappedRows | None:
        """(N, D, 7, 7) float16, the map before pooling of every photo row; None where the folder has none."""
        shards = self.manifest.shards.get("grid", ())
        return MappedRows([map_published(self.root, shard, "grid")["feature"] for shard in shards]) if shards else None

    @cached_property
    def views(self) -> MappedRows | None:
        """(N, W, D) float16, W augmented views of every photo row; None where the folder has none."""
        shards = self.manifest.shards.get("views", ())
        pieces = [map_published(self.root, shard, "views")["feature"] for shard in shards]
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
                            f"FEATURES={self.root} VIEWS=4, or leave --views out")
        return self.views

    @cached_property
    def _thumbs(self) -> list[dict[str, np.ndarray]]:
        return [map_published(self.root, shard, "thumbs") for shard in self.manifest.shards.get("thumbs", ())]

    def thumbnail(self, row: int) -> bytes | None:
        """The small JPEG of a photo row, or None where the folder has none."""
        if not self._thumbs:
            return None
        piece = next(index for index, shard in enumerate(self.manifest.shards["thumbs"])
                     if shard.offset <= row < shard.offset + shard.rows)
        arrays, local = self._thumbs[piece], row - self.manifest.shards["thumbs"][piece].offset
        start, stop = (int(position) for position in arrays["offset"][local:local + 2])
        return arrays["blob"][start:stop].tobytes() or None


def refuse_links(root: Path, name: str) -> None:
    """Refuse a file of the folder that is a symbolic link, lies behind one, or is no regular file.

    Args:
        name: path inside the folder.

    Raises:
        UserError: if anything between the folder and the file is a link, or what is there is a pipe or a device.
    """
    path = root / name
    if any(part.is_symlink() for part in (path, *path.parents[:name.count("/")])):
        raise UserError(f"expected {path} to lie in the folder, found a symbolic link; links are refused: copy the "
                        "file itself")
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"expected {path} as a file, found something else; get the folder again")


def map_published(root: Path, shard: Shard, kind: str) -> dict[str, np.ndarray]:
    """Map a shard that a manifest names; see `data.shards.map_shard`.

    Raises:
        UserError: if it is absent, behind a link, of another size or number of rows, or no such shard.
    """
    path = root / shard.name
    refuse_links(root, shard.name)
    size = path.stat().st_size if path.exists() else -1
    if size != shard.bytes:
        raise UserError(f"expected {shard.bytes} bytes in {path}, found {size if size >= 0 else 'no such file'}; "
                        "run verify, then make features to rebuild it")
    arrays = map_shard(path, kind)
    rows = len(arrays["offset"]) - 1 if kind == "thumbs" else len(arrays[next(iter(SCHEMA[kind]))])
    if rows != shard.rows:
        raise UserError(f"expected {shard.rows} rows in {path}, found {rows}; run verify")
    for name in ID_FIELDS & arrays.keys():
        if (np.ascontiguousarray(arrays[name]).view(np.uint8) > 127).any():
            raise UserError(f"expected ASCII ids in {name!r} of {path}, found other bytes; run verify")
    return arrays
