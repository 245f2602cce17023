"""A word set of the folder: made beside it in `.local/words/<name>`, published when every photo shard is there."""
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from data.annotations.annotation_file import NUM_FRAMES
from data.annotations.stories import Dataset
from data.errors import UserError
from data.files import read_sealed_json, replace_file, settle_text, sha256_file, write_json, write_sealed_json
from data.folder.identity import Identity, identify, require_whole
from data.folder.manifest import Manifest, Shard, WordsEntry, load_manifest
from data.folder.shards import join_blobs, write_shard
from data.words.tags import TagTable
from data.words.tokens import TOKENISATION, Vocabulary
from data.words.word_encoder import EncodedSplit, EncodedWords, encode_words
from extract.config import ExtractConfig
from extract.folder.ledger import hash_ids
from extract.folder.plan import Plan, row_index
from extract.folder.recipe import file_state

VERSION = 1
SHARD_STORIES = 1 << 16  # one shard for every known set: a reader of one shard copies nothing
STAGED = ".local/words"

log = logging.getLogger(__name__)


def stage_words(config: ExtractConfig, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Make the word set's files in `.local`, unless an earlier run made the same ones.

    Args:
        dataset: limited as the config says.
        plan: gives every photo its row.

    Returns:
        What `publish_words` needs: {"key", "identity", "info", "counts", "annotations", "shards", "files"}.

    Raises:
        UserError: if --words-from names words that cannot be made again here.
    """
    folder = config.out / STAGED / config.words
    table = TagTable.load(config.tag_table)
    origin = None if config.words_from is None else _read_origin(config.words_from, config.words, table)
    if origin is not None and dataset.derived_splits:
        _refuse_other_splits(config, dataset, origin[1])
    key = _make_key(config, dataset, plan, table, origin)
    staged = staged_words(config.out, config.words)
    if staged is not None and staged["key"] == key:
        if staged["wanted"] != _describe_wish(config, plan):
            write_sealed_json(folder / "entry.json", {**staged, "wanted": _describe_wish(config, plan)})
        return {**staged, "wanted": _describe_wish(config, plan)}
    shutil.rmtree(folder, ignore_errors=True)
    vocabulary = None if origin is None else origin[0]
    length = config.caption_length if origin is None else origin[1]["fields"]["length"]
    arrays = encode_words(dataset, vocabulary, table, length, config.vocabulary_size)
    for warning in arrays.warnings:
        log.warning("%s", warning)
    identity = describe_words(arrays, dataset, length, config.seed) if origin is None else origin[1]
    shards = {split: _write_split(folder, split, part, plan) for split, part in arrays.splits.items()}
    write_json(folder / "vocabulary.json", {"words": arrays.vocabulary.words})
    write_json(folder / "tags.json", {"names": table.names, "categories": table.categories})
    entry = {"key": key, "wanted": _describe_wish(config, plan), "identity": identity, "info": dataset.info,
             "counts": arrays.counts, "annotations": dataset.files, "shards": shards,
             "files": {name: sha256_file(folder / name) for name in ("vocabulary.json", "tags.json")}}
    write_sealed_json(folder / "entry.json", entry)
    again = staged_words(config.out, config.words)
    assert again is not None, "what was just written is whole"
    return again  # as every later run will read it


def staged_for(config: ExtractConfig, plan: Plan) -> dict[str, Any] | None:
    """The staged word set that another process, or an earlier part of this one, made for these rows and settings."""
    staged = staged_words(config.out, config.words)
    return staged if staged is not None and staged["wanted"] == _describe_wish(config, plan) else None


def staged_words(folder: Path, name: str) -> dict[str, Any] | None:
    """What an earlier `stage_words` of this machine made, if it is whole."""
    entry = read_sealed_json(folder / STAGED / name / "entry.json")
    if entry is None:
        return None
    parts = [shard for shards in entry["shards"].values() for shard in shards]
    whole = all((folder / STAGED / name / shard["name"]).exists() for shard in parts)
    return entry if whole else None


def publish_words(folder: Path, name: str, entry: dict[str, Any],
                  manifest: Manifest | None) -> tuple[dict[str, tuple[Shard, ...]], WordsEntry]:
    """Put a staged word set in its place; files that are there with the same bytes keep their names.

    Returns:
        Shards by group ("words/<name>/<split>") and the entry for the manifest.
    """
    shards: dict[str, tuple[Shard, ...]] = {}
    for split, staged in entry["shards"].items():
        group = f"words/{name}/{split}"
        old = {shard.sha256: shard for shard in (manifest.shards.get(group, ()) if manifest else ())}
        generation = 1 + max((_generation(shard.name) for shard in old.values()), default=-1)
        placed, row = [], 0
        for number, part in enumerate(staged):
            known = old.get(part["sha256"])
            if known is not None and _is_whole(folder / known.name, known):
                target = known.name
            else:
                target = f"words/{name}/{split}-{number:05d}{f'-{generation}' if generation else ''}.h5"
                with replace_file(folder / target) as partial:
                    shutil.copyfile(folder / STAGED / name / part["name"], partial)
            placed.append(Shard(target, part["rows"], row, part["bytes"], part["sha256"]))
            row += part["rows"]
        shards[group] = tuple(placed)
    for file in entry["files"]:
        settle_text(folder / "words" / name / file, (folder / STAGED / name / file).read_text(encoding="utf-8"))
    counts = {"splits": entry["counts"], "annotations": entry["annotations"]}
    return shards, WordsEntry(entry["identity"], dict(entry["files"]), entry["info"], counts)


def describe_words(arrays: EncodedWords, dataset: Dataset, length: int, seed: int) -> Identity:
    """The words' identity: how captions become ids and tags, and the annotation files that defined it.

    Words made with --words-from keep the identity they come from, so that runs can be evaluated on them.

    Args:
        seed: part of it where it decided which albums are train's: with another one a run would be tested on stories
            that it was trained on.
    """
    words = json.dumps(arrays.vocabulary.words, ensure_ascii=True)
    return identify({"version": VERSION, "tokenisation": TOKENISATION, "length": length,
                     "vocabulary": hashlib.sha256(words.encode()).hexdigest(),
                     "vocabulary_size": len(arrays.vocabulary), "tag_table": arrays.table.sha256,
                     "num_tags": len(arrays.table), "annotations": dataset.files,
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


def _refuse_other_splits(config: ExtractConfig, dataset: Dataset, origin: Identity) -> None:
    fields = origin["fields"]
    seed = fields.get("split_seed", config.seed)
    if fields.get("annotations") == dataset.files and seed != config.seed:
        raise UserError(f"expected the albums split by seed {seed!s:.20} as in the words of {config.words_from}, found "
                        f"--seed {config.seed}: its train stories would be tested on; give --seed {seed!s:.20}")


def _describe_wish(config: ExtractConfig, plan: Plan) -> str:
    """What a process asks of the words, known without reading annotations again: they did not change in between."""
    settings = {name: value for name, value in config.lasting().items() if name not in ("dataset", "out")}
    states = {path.name: file_state(path) for folder in (config.dataset, config.dataset / "annotations")
              for path in sorted(folder.glob("*.json"))}
    return hashlib.sha256(json.dumps([settings, hash_ids(plan.photo_id), states], sort_keys=True).encode()).hexdigest()


def _make_key(config: ExtractConfig, dataset: Dataset, plan: Plan, table: TagTable,
              origin: tuple[Vocabulary, Identity] | None) -> str:
    made_from = {"version": VERSION, "annotations": dataset.files, "limit": config.limit, "table": asdict_table(table),
                 "rows": hash_ids(plan.photo_id), "seed": config.seed if dataset.derived_splits else None,
                 "origin": None if origin is None else origin[1]["id"],
                 "length": config.caption_length, "size": config.vocabulary_size, "tokenisation": TOKENISATION}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def asdict_table(table: TagTable) -> dict[str, Any]:
    """What tells a tag table from another."""
    return {"sha256": table.sha256, "names": table.names, "categories": table.categories}


def _write_split(folder: Path, split: str, part: EncodedSplit, plan: Plan) -> list[dict[str, Any]]:
    rows = row_index(plan)
    ids, inverse = np.unique(part.photo_id, return_inverse=True)
    photo = np.array([rows[name] for name in ids.tolist()], np.int32)[inverse].reshape(-1, NUM_FRAMES)
    written = []
    for number, start in enumerate(range(0, len(photo), SHARD_STORIES)):
        stop = min(start + SHARD_STORIES, len(photo))
        texts = part.captions[start * NUM_FRAMES:stop * NUM_FRAMES]
        caption, offset = join_blobs([text.encode() for text in texts])
        path = folder / f"{split}-{number:05d}.h5"
        with replace_file(path) as partial:
            write_shard(partial, "words", {
                "token": part.token[start:stop], "tag": part.tag[start:stop],
                "tag_source": part.tag_source[start:stop], "photo": photo[start:stop],
                "tokenised": part.tokenised[start:stop], "story_id": part.story_id[start:stop],
                "album_id": part.album_id[start:stop], "caption": caption, "offset": offset})
        written.append({"name": path.name, "rows": stop - start, "bytes": path.stat().st_size,
                        "sha256": sha256_file(path)})
    return written


def _is_whole(path: Path, shard: Shard) -> bool:
    try:
        return os.stat(path).st_size == shard.bytes
    except OSError:
        return False


def _generation(name: str) -> int:
    match = re.search(r"-\d{5}(?:-(\d+))?\.h5$", name)
    return int(match[1] or 0) if match else 0
