"""A word set of a features folder, mapped into memory."""
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError, shell_word
from data.files import read_json, sha256_file
from data.folder.manifest import Manifest, Shard, text_group
from data.folder.mapped import MappedRows
from data.folder.part import REST, read_lacks
from data.folder.published import map_published, refuse_links
from data.folder.shards import SCHEMA

SIS, DII = 1, 2  # bits of tag_source
MAX_WORDS_BYTES = 1 << 26  # of vocabulary.json and tags.json: 65,536 words take one MB


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

    Attributes:
        text: the identity of the captions' text features, None where there are none.
    """

    def __init__(self, root: Path, name: str, manifest: Manifest, compare: bool = True) -> None:
        self.name, self._root, self._manifest, self._compare = name, root, manifest, compare
        entry = manifest.words[name]
        self.identity, self.info, self.counts, self.text = entry.identity, entry.info, entry.counts, entry.text
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
                            f"{', '.join(self.splits) or 'none'}; name one of those or "
                            f"{REST if read_lacks(self._root) else 'add its annotations'}")
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

    def text_features(self, split: str) -> MappedRows:
        """Map the vectors that a frozen text encoder made of a split's captions.

        Returns:
            (S, K, E) float16, row for row beside `split`.

        Raises:
            UserError: if the word set has none, or they are of other captions.
        """
        shards, words = (self._manifest.shards.get(group, ()) for group in (text_group(self._group(split)),
                                                                            self._group(split)))
        if self.text is None or not shards:
            lacks = self.text is not None and read_lacks(self._root)
            raise UserError(f"expected text features of split {split!r} in {self.path}, found none; "
                            + (REST if lacks else f"make them with: {self.describe_remedy('NAME')}, or leave "
                               "--text-features out"))
        mapped = [map_published(self._root, shard, "text") for shard in shards]
        captions = [map_published(self._root, shard, "words") for shard in words]
        if {arrays["feature"].shape[2] for arrays in mapped} != {self.text["fields"].get("width")} or [
                (shard.rows, arrays["captions"].tobytes()) for shard, arrays in zip(shards, mapped)] != [
                (shard.rows, digest_captions(arrays)) for shard, arrays in zip(words, captions)]:
            raise UserError(f"expected text features of the captions of split {split!r} in {self.path}, of width "
                            f"{self.text['fields'].get('width')}, found those of others; run verify")
        return MappedRows([arrays["feature"] for arrays in mapped])

    def describe_remedy(self, encoder: str) -> str:
        """The command that gives the word set's captions text features."""
        words = f" --words {self.name}" if self.name != "default" else ""
        return f"make features FEATURES={shell_word(self._root)} ARGS=\"--text-encoder {encoder}{words}\""

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


def digest_captions(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The sha256 over the captions of a words shard."""
    return hashlib.sha256(arrays["offset"].tobytes() + arrays["caption"].tobytes()).digest()
