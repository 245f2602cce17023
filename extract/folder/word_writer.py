"""A word set of the folder: checked for before photos are looked at, written when every photo shard is there."""
import hashlib
import json
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES
from data.annotations.stories import Dataset
from data.errors import UserError
from data.files import format_json, settle_text, sha256_file
from data.folder.identity import Identity, identify, require_whole
from data.folder.manifest import Manifest, Shard, WordsEntry, load_manifest
from data.folder.shards import join_blobs
from data.words.tags import TagTable
from data.words.tokens import TOKENISATION, Vocabulary
from data.words.word_encoder import EncodedSplit, EncodedWords, encode_words
from extract.config import ExtractConfig
from extract.folder.plan import Plan
from extract.folder.writer import holds_arrays, publish_shard

VERSION = 1
SHARD_STORIES = 1 << 16  # one shard for every known set: a reader of one shard copies nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordsOrder:
    """What a word set is to be made with.

    Attributes:
        length: T, ids in a row. vocabulary, identity: of --words-from; None where they are made here.
    """

    table: TagTable
    length: int
    vocabulary: Vocabulary | None = None
    identity: Identity | None = None


def order_words(config: ExtractConfig, dataset: Dataset) -> WordsOrder:
    """What the flags ask of the word set; reads the tag table and the folder of --words-from.

    Raises:
        UserError: if --words-from names words that cannot be made again here.
    """
    table = TagTable.load(config.tag_table)
    if config.words_from is None:
        return WordsOrder(table, config.caption_length)
    vocabulary, identity = _read_origin(config.words_from, config.words, table)
    fields = identity["fields"]
    seed = fields.get("split_seed", config.seed)
    if dataset.derived_splits and fields.get("annotations") == dataset.files and seed != config.seed:
        raise UserError(f"expected the albums split by seed {seed!s:.20} as in the words of {config.words_from}, found "
                        f"--seed {config.seed}: its train stories would be tested on; give --seed {seed!s:.20}")
    return WordsOrder(table, fields["length"], vocabulary, identity)


def write_words(config: ExtractConfig, dataset: Dataset, order: WordsOrder, plan: Plan,
                manifest: Manifest | None) -> tuple[dict[str, tuple[Shard, ...]], WordsEntry]:
    """Write a word set; files that are there with the same content keep their names.

    Args:
        dataset: limited as the config says. plan: gives every photo its row. manifest: of the folder until now.

    Returns:
        Shards by group ("words/<name>/<split>") and the entry for the manifest.
    """
    encoded = encode_words(dataset, order.vocabulary, order.table, order.length, config.vocabulary_size)
    for warning in encoded.warnings:
        log.warning("%s", warning)
    row_of = {name: row for row, name in enumerate(plan.photo_id.tolist())}
    shards = {}
    for split, part in encoded.splits.items():
        group = f"words/{config.words}/{split}"
        old = manifest.shards.get(group, ()) if manifest is not None else ()
        shards[group] = _write_split(config.out, group, part, row_of, old)
    files = {}
    for name, value in (("vocabulary.json", {"words": encoded.vocabulary.words}),
                        ("tags.json", {"names": order.table.names, "categories": order.table.categories})):
        files[name] = sha256_file(settle_text(config.out / "words" / config.words / name, format_json(value)))
    identity = order.identity or describe_words(encoded, dataset, order.length, config.seed)
    return shards, WordsEntry(identity, files, dataset.info, {"splits": encoded.counts, "annotations": dataset.files})


def describe_words(encoded: EncodedWords, dataset: Dataset, length: int, seed: int) -> Identity:
    """The words' identity: how captions become ids and tags, and the annotation files that defined it.

    Words made with --words-from keep the identity they come from, so that runs can be evaluated on them.

    Args:
        seed: part of it where it decided which albums are train's: with another one a run would be tested on stories
            that it was trained on.
    """
    words = json.dumps(encoded.vocabulary.words, ensure_ascii=True)
    return identify({"version": VERSION, "tokenisation": TOKENISATION, "length": length,
                     "vocabulary": hashlib.sha256(words.encode()).hexdigest(),
                     "vocabulary_size": len(encoded.vocabulary), "tag_table": encoded.table.sha256,
                     "num_tags": len(encoded.table), "annotations": dataset.files,
                     **({"split_seed": seed} if dataset.derived_splits else {})})


def _read_origin(folder: Path, name: str, table: TagTable) -> tuple[Vocabulary, Identity]:
    manifest = load_manifest(folder)
    chosen = name if name in manifest.words else "default"
    if chosen not in manifest.words:
        raise UserError(f"expected a word set {name!r} or 'default' in {folder}, found "
                        f"{', '.join(sorted(manifest.words)) or 'none'}; name another folder with --words-from")
    identity = manifest.words[chosen].identity
    require_whole(f"words {chosen!r}", identity, f"features folder {folder}")
    fields = identity["fields"]
    for field, ours, remedy in (("tag_table", table.sha256, "give that table with --tag-table"),
                                ("tokenisation", TOKENISATION, "use the version of this program that made it")):
        if fields.get(field) != ours:
            raise UserError(f"expected the {field} of the words in {folder}, {fields.get(field)!s:.80}, found "
                            f"{ours!s:.80} here; {remedy}")
    return Vocabulary.load(folder / "words" / chosen / "vocabulary.json"), identity


def _write_split(folder: Path, group: str, part: EncodedSplit, row_of: dict[bytes, int],
                 old: tuple[Shard, ...]) -> tuple[Shard, ...]:
    ids, inverse = np.unique(part.photo_id, return_inverse=True)
    photo = np.array([row_of[name] for name in ids.tolist()], np.int32)[inverse].reshape(-1, NUM_FRAMES)
    written = []
    for number, start in enumerate(range(0, len(photo), SHARD_STORIES)):
        rows = slice(start, start + SHARD_STORIES)
        texts = part.captions[rows.start * NUM_FRAMES:rows.stop * NUM_FRAMES]
        caption, offset = join_blobs([text.encode() for text in texts])
        arrays = {"token": part.token[rows], "tag": part.tag[rows], "tag_source": part.tag_source[rows],
                  "photo": photo[rows], "tokenised": part.tokenised[rows], "story_id": part.story_id[rows],
                  "album_id": part.album_id[rows], "caption": caption, "offset": offset}
        written.append(replace(settle_shard(folder, group, number, "words", arrays, old), offset=start))
    return tuple(written)


def settle_shard(folder: Path, group: str, number: int, kind: str, arrays: dict[str, np.ndarray],
                 old: tuple[Shard, ...]) -> Shard:
    """Write a shard of stories, unless one that is there has these very arrays.

    Args:
        group: it belongs to, of which it is the `number`th. old: the shards of the group until now.
    """
    generation = 1 + max((_generation(shard.name) for shard in old), default=-1)
    name = f"{group}-{number:05d}{f'-{generation}' if generation else ''}.h5"
    return next((shard for shard in old if holds_arrays(folder, shard, kind, arrays)), None) or publish_shard(
        folder, name, kind, arrays, len(arrays["feature" if kind == "text" else "photo"]))


def _generation(name: str) -> int:
    match = re.search(r"-\d{5}(?:-(\d+))?\.h5$", name)
    return int(match[1] or 0) if match else 0
