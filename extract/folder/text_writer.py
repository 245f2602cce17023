"""Text features: a frozen encoder's vector of every caption, in shards of their own beside a word set's."""
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.folder.manifest import Manifest, Shard, WordsEntry
from data.folder.published import map_published
from data.folder.word_reader import digest_captions
from extract.config import ExtractConfig
from extract.folder.word_writer import settle_shard

if TYPE_CHECKING:
    from extract.backbones.text_encoder import TextEncoder

NONE = "none"
Shards = dict[str, tuple[Shard, ...]]

log = logging.getLogger(__name__)


def open_encoder(config: ExtractConfig) -> "TextEncoder | None":
    """The encoder that the flags name, None where they name none; its weights are the backbone's where it is one net.

    Raises:
        UserError: if it cannot be built.
    """
    if config.text_encoder in (None, NONE):
        return None
    from extract.backbones.mapper import choose_device
    from extract.backbones.text_encoder import OWN, open_text_encoder
    log.info("loading %s", config.text_encoder)
    return open_text_encoder(config.text_encoder, choose_device(config.device, config.local_rank),
                             config.weights if config.text_encoder == config.backbone else OWN)


def write_text(config: ExtractConfig, shards: Shards, words: WordsEntry, encoder: "TextEncoder | None",
               old: Manifest | None) -> tuple[Shards, WordsEntry]:
    """Give a word set its text features; vectors that the folder has of equal captions are taken over.

    Args:
        shards, words: of the word set, as they were just written. encoder: None keeps the features that are there.
        old: the folder's manifest until now.

    Returns:
        Both, with the text features where there are any.

    Raises:
        UserError: if there are text features, but not of these captions, and no encoder to make them anew.
    """
    mapped = {group: [map_published(config.out, shard, "words") for shard in parts] for group, parts in shards.items()}
    before = _read_text(config.out, old, config.words)
    if config.text_encoder == NONE or encoder is None and not before:
        return shards, words
    if encoder is None:
        assert old is not None
        entry = old.words[config.words]
        wanted = {_beside(group): [digest_captions(arrays) for arrays in parts] for group, parts in mapped.items()}
        if {group: [arrays["captions"].tobytes() for arrays in parts] for group, parts in before.items()} != wanted:
            name = entry.text["fields"].get("encoder") if entry.text else "?"
            raise UserError(f"expected the captions that words {config.words!r} of {config.out} have text features of, "
                            f"found others; make these too with --text-encoder {name}, or leave them out with "
                            f"--text-encoder {NONE}")
        return shards | {group: old.shards[group] for group in before}, replace(words, text=entry.text)
    vectors = _encode_new(config, encoder, mapped, old)
    text: Shards = {}
    for group, parts in mapped.items():
        kept = old.shards.get(_beside(group), ()) if old is not None else ()
        features = [{"feature": np.stack([vectors[caption] for caption in _list_captions(arrays)] or [
            np.zeros(encoder.width, np.float16)])[:len(arrays["offset"]) - 1].reshape(-1, NUM_FRAMES, encoder.width),
            "captions": np.frombuffer(digest_captions(arrays), np.uint8)} for arrays in parts]
        text[_beside(group)] = tuple(
            replace(settle_shard(config.out, _beside(group), number, "text", arrays, kept), offset=shard.offset)
            for number, (arrays, shard) in enumerate(zip(features, shards[group])))
    return shards | text, replace(words, text=encoder.identity)


def _encode_new(config: ExtractConfig, encoder: "TextEncoder", mapped: dict[str, list[dict[str, np.ndarray]]],
                old: Manifest | None) -> dict[str, np.ndarray]:
    """(E,) float16 by caption: what word sets of this folder have by this encoder, and the others."""
    from extract.backbones.text_encoder import encode_captions
    wanted = {caption for parts in mapped.values() for arrays in parts for caption in _list_captions(arrays)}
    known: dict[str, np.ndarray] = {}
    for name, entry in (old.words if old is not None else {}).items():
        for group, parts in _read_text(config.out, old, name).items() if entry.text == encoder.identity else ():
            assert old is not None
            for arrays, shard in zip(parts, old.shards.get(group.replace("/text-", "/"), ())):
                words = map_published(config.out, shard, "words")
                if digest_captions(words) == arrays["captions"].tobytes():
                    known |= zip(_list_captions(words), arrays["feature"].reshape(-1, encoder.width))
    new = wanted - known.keys()
    if new:
        log.info("encoding %d captions with %s", len(new), encoder.name)
    return known | encode_captions(encoder, new, quiet=config.local_rank != 0)


def _beside(group: str) -> str:
    """The group of text shards beside a word set's split."""
    folder, _, split = group.rpartition("/")
    return f"{folder}/text-{split}"


def _read_text(folder: Path, manifest: Manifest | None, name: str) -> dict[str, list[dict[str, np.ndarray]]]:
    """The text shards of a word set that are there and whole, by group."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for group, parts in (manifest.shards if manifest is not None else {}).items():
        if group.startswith(f"words/{name}/text-"):
            try:
                found[group] = [map_published(folder, shard, "text") for shard in parts]
            except UserError as error:
                log.warning("made anew: %s", error)
    return found


def _list_captions(arrays: dict[str, np.ndarray]) -> list[str]:
    """The S * K captions of a words shard."""
    blob, offset = arrays["caption"].tobytes(), arrays["offset"].tolist()
    return [blob[start:stop].decode() for start, stop in zip(offset, offset[1:])]
