"""Stories of any system and their references, read from the files that the field uses, without trusting them.

Predictions
    {album_id: [story]}                       JSON; several stories of an album are averaged within it
    {"album_id", "story"[, "story_id", "reference"]}   JSON lines, one story each: ours of task `tell`, which bring
                                              their references along
    {"album_id", "photos", "t", "written", "caption", ...}   JSON lines, one caption each: ours of task `next`, which
                                              bring their references along
References
    {album_id: [story, ...]}                  JSON
    {split}.story-in-sequence.json            VIST's annotations: one file, or a data folder and a split
"""
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import parse_stories
from data.annotations.stories import Story, read_dataset
from data.errors import UserError
from data.words.tokens import split_words

Stories = dict[str, list[str]]  # album id -> raw stories

STORY_KEYS, CAPTION_KEYS = ("album_id", "story"), ("album_id", "photos", "t", "written", "caption")
_EXPECTED = "expected {album_id: [story]} or lines with album_id and story"


@dataclass(frozen=True)
class WrittenCaption:
    """A line of our own predictions-<split>.jsonl: what was written for frame t + 1, and the true caption."""

    album_id: str
    photos: tuple[str, ...]
    t: int
    written: str
    caption: str


def read_predictions(path: Path) -> Stories | list[WrittenCaption]:
    """Read a system's stories, or the captions of a run of task `next`.

    Raises:
        UserError: if the file is none of the formats above, repeats a key, or holds something else than strings.
    """
    content = _read_text(path, "predictions")
    try:
        raw = _parse(content, path)
    except json.JSONDecodeError:
        lines = list(_read_lines(content, path))
        if not lines:
            raise UserError(f"{_EXPECTED} in {path}, found an empty file; write it again") from None
    else:
        if not isinstance(raw, dict) or "album_id" not in raw:
            return _check_stories(raw, path, "predictions")
        lines = [(1, raw)]  # a single line
    of_captions = "written" in lines[0][1] and "story" not in lines[0][1]
    return _gather_captions(lines, path) if of_captions else _gather_stories(lines, path)


def read_references(path: Path, split: str) -> tuple[Stories, list[str]]:
    """Read reference stories.

    Args:
        path: a JSON file of stories by album, a file of story annotations, or a data folder.
        split: which of a data folder's.

    Returns:
        The stories by album, and sentences a user should read.

    Raises:
        UserError: if it is none of these, or there is no story.
    """
    if path.is_dir():
        dataset = read_dataset(path)
        if not dataset.stories[split]:
            raise UserError(f"expected stories of split {split!r} in {path}, found none; choose another --split")
        skipped = sum(row.kind == "story" and row.split == split for row in dataset.skipped)
        return _join_captions(dataset.stories[split]), [*_tell_skipped(skipped), *dataset.warnings]
    content = _read_text(path, "references")
    try:
        raw = _parse(content, path)
    except json.JSONDecodeError as error:
        raise UserError(f"expected references as JSON in {path}, found none ({error}); write the file again") from None
    if isinstance(raw, dict) and isinstance(raw.get("annotations"), list) and "images" in raw:
        stories, skipped_rows = parse_stories(raw["annotations"], split, path)
        if not stories:
            raise UserError(f"expected at least one well-formed story in {path}, found none; mend the annotations")
        return _join_captions(stories), _tell_skipped(len(skipped_rows))
    return _check_stories(raw, path, "references"), []


def read_own_references(path: Path) -> Stories | None:
    """The true stories that a file of told stories brings along, by album; None where a line has none."""
    try:
        lines = [record for _, record in _read_lines(_read_text(path, "predictions"), path)]
    except UserError:
        return None  # one JSON object, over several lines
    references: Stories = {}
    for record in lines:
        album_id, reference = record.get("album_id"), record.get("reference")
        if not isinstance(album_id, str) or not isinstance(reference, str) or "story" not in record:
            return None
        references.setdefault(album_id, []).append(reference)
    return references or None


def _tell_skipped(count: int) -> list[str]:
    return [f"malformed stories of the annotations that are no references: {count}"] if count else []


def _join_captions(stories: list[Story]) -> Stories:
    """A story as one string, in the case it has in the file: the published references are not lower-cased."""
    joined: Stories = {}
    for story in stories:
        words = (caption.split() if tokenised else split_words(caption, tokenised)
                 for caption, tokenised in zip(story.captions, story.tokenised))
        joined.setdefault(story.album_id, []).append(" ".join(word for caption in words for word in caption))
    return joined


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"expected {what} at {path}, found no such file; check --{what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"expected {what} as UTF-8 text in {path}, found {type(error).__name__}: {error}; check "
                        f"--{what}") from None


def _parse(content: str, path: Path) -> Any:
    def refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise UserError(f"expected every key once, found {key!r} again in {path}; keep one of the two")
        return dict(pairs)
    try:
        return json.loads(content, object_pairs_hook=refuse_repeated)
    except RecursionError:
        raise UserError(f"{_EXPECTED} in {path}, found JSON nested beyond reason; write the file again") from None


def _check_stories(raw: Any, path: Path, what: str) -> Stories:
    if not isinstance(raw, dict) or not raw:
        raise UserError(f"expected {{album_id: [story, ...]}} in {path}, found {_describe(raw)}; write {what} by album")
    stories: Stories = {}
    for album_id, value in raw.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            wrong = texts if not isinstance(texts, list) else next(x for x in texts if not isinstance(x, str))
            raise UserError(f"album {album_id}: expected a list of stories, each a string, in {path}, found "
                            f"{_describe(wrong)}; write {what} as {{album_id: [story, ...]}}")
        stories[album_id] = texts
    return stories


def _read_lines(content: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line, path)
        except json.JSONDecodeError as error:
            raise UserError(f"line {number}: {_EXPECTED} in {path}, found no JSON ({error}); mend the line") from None
        if not isinstance(record, dict):
            raise UserError(f"line {number}: expected an object in {path}, found {_describe(record)}; mend the line")
        yield number, record


def _gather_stories(lines: list[tuple[int, dict[str, Any]]], path: Path) -> Stories:
    stories: Stories = {}
    seen: set[tuple[str, str]] = set()
    for number, record in lines:
        album_id, story = _take(record, STORY_KEYS, (str, str), number, path)
        if "story_id" in record:
            (story_id,) = _take(record, ("story_id",), (str,), number, path)
            if (album_id, story_id) in seen:
                raise UserError(f"line {number}: expected story {story_id} of album {album_id} once in {path}, found "
                                "it again; keep one of the two")
            seen.add((album_id, story_id))
        stories.setdefault(album_id, []).append(story)
    return stories


def _gather_captions(lines: list[tuple[int, dict[str, Any]]], path: Path) -> list[WrittenCaption]:
    captions = []
    seen: set[tuple[str, int]] = set()
    for number, record in lines:
        album_id, photos, t, written, caption = _take(record, CAPTION_KEYS, (str, list, int, str, str), number, path)
        if "story_id" in record:
            (story_id,) = _take(record, ("story_id",), (str,), number, path)
            if (story_id, t) in seen:
                raise UserError(f"line {number}: expected story {story_id} with t = {t} once in {path}, found it "
                                "again; keep one of the two")
            seen.add((story_id, t))
        captions.append(WrittenCaption(album_id, tuple(map(str, photos)), t, written, caption))
    return captions


def _take(record: dict[str, Any], keys: tuple[str, ...], types: tuple[type, ...], number: int, path: Path) -> list[Any]:
    for key, kind in zip(keys, types):
        if key not in record:
            raise UserError(f"line {number}: expected the keys {', '.join(keys)} in {path}, found "
                            f"{', '.join(map(repr, sorted(record)))}; add {key!r}")
        if type(record[key]) is not kind:
            raise UserError(f"line {number}: expected {key!r} as {kind.__name__} in {path}, found "
                            f"{_describe(record[key])}; mend the line")
    return [record[key] for key in keys]


def _describe(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    kind = {dict: "an object", list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number or flag")
    return f"{kind}, {text[:60]}{'...' if len(text) > 60 else ''}"
