"""Checks of a folder's word sets: S stories, K = 5 frames, T ids, G tag columns, V words, N photo rows."""
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.annotations.annotation_file import is_plain_name
from data.errors import UserError
from data.folder.identity import follows_from_fields
from data.folder.manifest import Manifest, WordsEntry, is_text, text_group
from data.folder.published import map_published
from data.folder.word_reader import DII, MAX_WORDS_BYTES, SIS, WordSet, digest_captions
from data.words.tokens import END, PAD, RESERVED, START
from extract.verification.check_files import require_digest
from extract.verification.check_photos import decode_id
from extract.verification.findings import Report

FILES = ("vocabulary.json", "tags.json")


def check_words(root: Path, manifest: Manifest, report: Report) -> None:
    """Check every word set: its JSON files, then its stories."""
    num_photos = sum(shard.rows for shard in manifest.shards.get("photos", ()))
    for name, entry in manifest.words.items():
        sizes = _check_files(root, name, entry, manifest, report)
        groups = [group for group in manifest.shards if group.startswith(f"words/{name}/")]
        text = [group for group in groups if is_text(group)]
        groups = [group for group in groups if group not in text]
        _check_text(root, name, entry, text, manifest, report)
        for group in groups:
            for shard in manifest.shards[group]:
                with report.blame(shard.name):
                    arrays = map_published(root, shard, "words")
                    for message in describe_bad_stories(arrays, num_photos, *sizes):
                        report.damage(shard.name, message)
        stories = ", ".join(f"{group.rpartition('/')[2]} {sum(shard.rows for shard in manifest.shards[group])}"
                            for group in groups)
        report.facts[f"words {name}"] = f"stories: {stories or 'none'}"
        if not follows_from_fields(entry.identity):
            report.contradict(f"words/{name}", "expected the words identity to be the sha256 of its fields, found "
                              "another")
    known = {f"words/{name}/" for name in manifest.words}
    for group in manifest.shards:
        if group.startswith("words/") and f"{group.rpartition('/')[0]}/" not in known:
            report.contradict(group, "expected the word set's entry in the manifest, found none")


def _check_text(root: Path, name: str, entry: WordsEntry, groups: list[str], manifest: Manifest, report: Report
                ) -> None:
    """Check a word set's text features: of its captions, of its identity's width, and numbers."""
    if entry.text is None and not groups:
        return
    if entry.text is None or not groups or not follows_from_fields(entry.text):
        report.contradict(f"words/{name}", "expected text features with the identity of what made them, the sha256 of "
                          "its fields, found otherwise")
        return
    fields = entry.text["fields"]
    report.facts[f"text features of {name}"] = f"{fields.get('width')} numbers by {fields.get('encoder')}"
    for group in groups:
        parts = manifest.shards[group]
        words = next((shards for beside, shards in manifest.shards.items() if text_group(beside) == group), ())
        if [(shard.rows, shard.offset) for shard in parts] != [(shard.rows, shard.offset) for shard in words]:
            report.contradict(group, "expected shards of as many stories as the words beside, found others")
            continue
        for shard, beside in zip(parts, words):
            with report.blame(shard.name):
                arrays = map_published(root, shard, "text")
                if arrays["feature"].shape[2] != fields.get("width") or not np.isfinite(arrays["feature"]).all():
                    raise UserError(f"expected {fields.get('width')} finite numbers a caption, found otherwise; -")
                if beside.name not in report.lacks and \
                        digest_captions(map_published(root, beside, "words")) != arrays["captions"].tobytes():
                    raise UserError("expected vectors of the captions beside them, found those of others; -")


def _check_files(root: Path, name: str, entry: WordsEntry, manifest: Manifest,
                 report: Report) -> tuple[int | None, int | None]:
    """Check vocabulary.json and tags.json; their V and G, None where that file cannot be used."""
    for file in sorted({*FILES, *entry.files}):
        path = f"words/{name}/{file}"
        with report.blame(path):
            require_digest(root, path, entry.files.get(file), MAX_WORDS_BYTES)
    words = WordSet(root, name, manifest, compare=False)
    num_words = num_tags = None
    with report.blame(f"words/{name}/vocabulary.json"):
        vocabulary = words.vocabulary
        if tuple(vocabulary[:len(RESERVED)]) != RESERVED or len(set(vocabulary)) != len(vocabulary):
            raise UserError(f"expected different words that begin with {', '.join(RESERVED)}, found otherwise; -")
        found = hashlib.sha256(json.dumps(vocabulary, ensure_ascii=True).encode()).hexdigest()
        if entry.identity["fields"].get("vocabulary", found) != found:
            raise UserError("expected the vocabulary that the words identity names, found another; -")
        num_words = len(vocabulary)
    with report.blame(f"words/{name}/tags.json"):
        num_tags = len(words.tag_names)
        if len(set(words.tag_names)) != num_tags or set(words.tag_names[2:]) != words.tag_categories.keys():
            raise UserError("expected different tag names, each from column 2 on with a category, found otherwise; -")
    return num_words, num_tags


def describe_bad_stories(arrays: dict[str, np.ndarray], num_photos: int, num_words: int | None,
                         num_tags: int | None) -> Iterator[str]:
    """A sentence for every kind of impossible story in a words shard.

    Args:
        num_words, num_tags: V and G, None where they are not known.
    """
    stories = len(arrays["photo"])
    for expected, broken in _look_at_frames(arrays, num_photos, num_words).items():
        if broken.any():
            first = int(broken.any(axis=1).argmax())
            yield (f"expected {expected}, found otherwise in {int(broken.sum())} of {5 * stories} frames, first in "
                   f"story {decode_id(arrays['story_id'][first])!r} (row {first})")
    if num_tags is not None and arrays["tag"].shape[2] != num_tags:
        yield f"expected {num_tags} tag columns as tags.json names, found {arrays['tag'].shape[2]}"
    for name in ("story_id", "album_id"):
        odd = [decode_id(value) for value in set(arrays[name].tolist()) if not is_plain_name(decode_id(value))]
        if odd:
            yield f"expected plain names as {name}, found {len(odd)} that are none (first: {min(odd)[:60]!r})"
    if len(set(arrays["story_id"].tolist())) != stories:
        yield "expected every story once, found some more often"
    blob, offset = arrays["caption"], arrays["offset"]
    if offset[0] != 0 or offset[-1] != len(blob) or (np.diff(offset) < 0).any():
        yield f"expected caption offsets that rise from 0 to {len(blob)}, found {offset[0]} to {offset[-1]}"
        return
    try:
        blob.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"expected captions in UTF-8, found other bytes at {error.start}"


def _look_at_frames(arrays: dict[str, np.ndarray], num_photos: int, num_words: int | None) -> dict[str, np.ndarray]:
    """What is expected -> (S, 5) bool, True where it is not so."""
    token, tag, source, photo = (arrays[name] for name in ("token", "tag", "tag_source", "photo"))
    is_end, is_pad = token == END, token == PAD
    length = is_end.argmax(axis=2)  # (S, 5), position of the first <END>
    after = np.arange(token.shape[2]) > length[..., None]
    return {
        "<START> first": token[:, :, 0] != START,
        "one <END> and padding after it alone": (is_end.sum(axis=2) != 1) | (is_pad != after).any(axis=2),
        "<START> nowhere but first": (token[:, :, 1:] == START).any(axis=2),
        f"token ids below the vocabulary's {num_words}": (
            (token >= num_words).any(axis=2) if num_words is not None else np.zeros(source.shape, bool)),
        "tags of 0 and 1, column 0 unset and column 1 set where there is no other": (
            (tag > 1).any(axis=2) | (tag[:, :, 0] != 0) | ((tag[:, :, 1] != 0) == tag[:, :, 2:].any(axis=2))),
        "labels from the caption, or from it and descriptions": (source != SIS) & (source != SIS | DII),
        f"photo rows from 0 to {num_photos - 1}": (photo < 0) | (photo >= num_photos),
        "captions marked as split on white space (1) or not (0)": arrays["tokenised"] > 1,
    }
