"""Text features: a frozen encoder's vector of every caption, in shards of their own beside a word set's."""
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES
from data.annotations.stories import SPLITS, Dataset
from data.errors import UserError
from data.folder.manifest import Manifest, Shard, WordsEntry, text_group
from data.folder.published import map_published
from data.folder.shards import join_blobs
from data.folder.word_reader import digest_captions
from extract.config import ExtractConfig
from extract.folder.word_writer import SHARD_STORIES, settle_shard

if TYPE_CHECKING:
    from extract.backbones.text_encoder import TextEncoder

NONE = "none"
Shards = dict[str, tuple[Shard, ...]]

log = logging.getLogger(__name__)


def open_encoder(config: ExtractConfig, download: bool = True) -> "TextEncoder | None":
    """The encoder that the flags name, None where they name none; its weights are the backbone's where it is one net.

    Args:
        download: or else a CLIP whose weights are not here has random ones, and another encoder is refused.

    Raises:
        UserError: if it cannot be built.
    """
    if config.text_encoder in (None, NONE):
        return None
    from extract.backbones.mapper import choose_device
    from extract.backbones.named import describe_named
    from extract.backbones.text_encoder import CLIP, OWN, RANDOM, open_text_encoder
    log.info("loading %s", config.text_encoder)
    weights = config.weights if config.text_encoder == config.backbone else OWN
    if not download and config.text_encoder.startswith(CLIP) and describe_named(config.text_encoder).describe_absence():
        weights = RANDOM
    return open_text_encoder(config.text_encoder, choose_device(config.device, config.local_rank), weights, download)


def require_text(config: ExtractConfig, dataset: Dataset, manifest: Manifest | None) -> None:
    """Refuse captions other than those that the folder has text features of, where no encoder is named to make them
    anew; before anything is looked at.

    Raises:
        UserError: if they are others, or the features are not all there.
    """
    entry = manifest.words.get(config.words) if manifest is not None else None
    if manifest is None or config.text_encoder is not None or entry is None or entry.text is None:
        return
    for split, stories in dataset.stories.items():
        captions = [caption.encode() for story in stories for caption in story.captions]
        size = SHARD_STORIES * NUM_FRAMES
        told = [digest_captions(dict(zip(("caption", "offset"), join_blobs(captions[start:start + size]))))
                for start in range(0, len(captions), size)]
        shards = manifest.shards.get(text_group(f"words/{config.words}/{split}"), ())
        if told != [map_published(config.out, shard, "text")["captions"].tobytes() for shard in shards]:
            raise UserError(f"expected the captions that words {config.words!r} of {config.out} have text features of, "
                            f"found others; make these too with --text-encoder {entry.text['fields'].get('encoder')}, "
                            f"or leave text features out with --text-encoder {NONE}")


def write_text(config: ExtractConfig, shards: Shards, words: WordsEntry, encoder: "TextEncoder | None",
               old: Manifest | None) -> tuple[Shards, WordsEntry]:
    """Give a word set its text features; vectors that the folder has of equal captions are taken over.

    Args:
        shards, words: of the word set, as they were just written. encoder: None keeps the features that are there; they
        are of these captions, see `require_text`.
        old: the folder's manifest until now.

    Returns:
        Both, with the text features where there are any.
    """
    entry = old.words.get(config.words) if old is not None else None
    if config.text_encoder == NONE or encoder is None and (entry is None or entry.text is None):
        return shards, words
    kept = {group: old.shards.get(group, ()) if old is not None else () for group in map(text_group, shards)}
    if encoder is None:
        assert entry is not None and entry.text is not None
        return shards | kept, replace(words, text=entry.text)
    mapped = {group: [map_published(config.out, shard, "words") for shard in parts] for group, parts in shards.items()}
    vectors = _encode_new(config, encoder, mapped, old)
    for group, parts in mapped.items():
        text = [_lay_out(arrays, vectors, encoder.width) for arrays in parts]
        beside = text_group(group)
        kept[beside] = tuple(
            replace(settle_shard(config.out, beside, number, "text", arrays, kept[beside]), offset=shard.offset)
            for number, (arrays, shard) in enumerate(zip(text, shards[group])))
    return shards | kept, replace(words, text=encoder.identity)


def _encode_new(config: ExtractConfig, encoder: "TextEncoder", mapped: dict[str, list[dict[str, np.ndarray]]],
                old: Manifest | None) -> dict[str, np.ndarray]:
    """(E,) float16 by caption: what word sets of this folder have by this encoder, and the others."""
    from extract.backbones.text_encoder import encode_captions
    known: dict[str, np.ndarray] = {}
    same = [name for name, entry in old.words.items() if entry.text == encoder.identity] if old is not None else []
    for group in (f"words/{name}/{split}" for name in same for split in SPLITS):
        assert old is not None, "it has word sets"
        texts, words = (_map(config.out, old.shards.get(known_by, ()), kind)
                        for known_by, kind in ((text_group(group), "text"), (group, "words")))
        for text, beside in zip(texts, words):
            if text and beside and text["captions"].tobytes() == digest_captions(beside):
                known |= zip(_list_captions(beside), text["feature"].reshape(-1, encoder.width))
    wanted = {caption for parts in mapped.values() for arrays in parts for caption in _list_captions(arrays)}
    if new := wanted - known.keys():
        log.info("encoding %d different captions with %s", len(new), encoder.name)
    return known | encode_captions(encoder, new, quiet=config.local_rank != 0)


def _lay_out(arrays: dict[str, np.ndarray], vectors: dict[str, np.ndarray], width: int) -> dict[str, np.ndarray]:
    """The text shard beside a words shard."""
    feature = np.array([vectors[caption] for caption in _list_captions(arrays)], np.float16)
    return {"feature": feature.reshape(-1, NUM_FRAMES, width),
            "captions": np.frombuffer(digest_captions(arrays), np.uint8)}


def _map(folder: Path, shards: tuple[Shard, ...], kind: str) -> list[dict[str, np.ndarray]]:
    """Shards that are there and whole; nothing in place of one that is not: it is made anew."""
    found: list[dict[str, np.ndarray]] = []
    for shard in shards:
        try:
            found.append(map_published(folder, shard, kind))
        except UserError as error:
            log.warning("made anew: %s", error)
            found.append({})
    return found


def _list_captions(arrays: dict[str, np.ndarray]) -> list[str]:
    """The S * K captions of a words shard."""
    blob, offset = arrays["caption"].tobytes(), arrays["offset"].tolist()
    return [blob[start:stop].decode() for start, stop in zip(offset, offset[1:])]
