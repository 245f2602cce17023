"""Stories of any system and their references, read from the files that the field uses, without trusting them.

Predictions
    {album_id: [story]}                       JSON; several stories of an album are averaged within it
    lines with album_id and story, or of captions, see `evaluate.predictions`; ours bring their references along
References
    {album_id: [story, ...]}                  JSON
    {split}.story-in-sequence.json            VIST's annotations: one file, or a data folder and a split
"""
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import parse_stories
from data.annotations.stories import Story, read_dataset
from data.errors import UserError
from data.words.tokens import split_words
from evaluate.predictions import Prediction, describe_json, parse_json, read_predictions, read_text

Stories = dict[str, list[str]]  # album id -> raw stories
A_LINE = re.compile(r'\s*\{.*"album_id"\s*:.*')  # of a file of lines; else it is one JSON value


def read_stories(path: Path) -> tuple[Stories, Stories | None] | list[Prediction]:
    """Read a system's stories and, where every one brings it along, the true one; or captions of task `next`.

    Raises:
        UserError: if the file is none of the formats above, repeats a key, or holds something else than strings.
    """
    content = read_text(path, "predictions")
    if content.strip() and not A_LINE.match(content):
        return _check_stories(parse_json(content, f"{{album_id: [story]}} or lines of stories in {path}"), path,
                              "predictions"), None
    lines = read_predictions(path, content)
    if not all(line.is_story for line in lines):
        return lines
    has_own = all(line.reference is not None for line in lines)
    return (_by_album((line.album_id, line.written or "") for line in lines),
            _by_album((line.album_id, line.reference or "") for line in lines) if has_own else None)


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
    raw = parse_json(read_text(path, "references"), f"references in {path}")
    if isinstance(raw, dict) and isinstance(raw.get("annotations"), list) and "images" in raw:
        stories, skipped_rows = parse_stories(raw["annotations"], split, path)
        if not stories:
            raise UserError(f"expected at least one well-formed story in {path}, found none; mend the annotations")
        return _join_captions(stories), _tell_skipped(len(skipped_rows))
    return _check_stories(raw, path, "references"), []


def choose_references(named: Path | None, split: str, own: Stories | None, of: Path) -> tuple[Stories, list[str]]:
    """The references that are named, else those that the stories bring along; and sentences a user should read.

    Args:
        own: what the stories of the file `of` bring along.
    """
    if named is not None:
        return read_references(named, split)
    if own is None:
        raise UserError(f"expected --references for the stories of {of}, found none; name a JSON file of stories by "
                        "album, a file of story annotations or a data folder")
    return own, []


def _tell_skipped(count: int) -> list[str]:
    return [f"malformed stories of the annotations that are no references: {count}"] if count else []


def _join_captions(stories: Sequence[Story]) -> Stories:
    """A story as one string, in the case it has in the file: the published references are not lower-cased."""
    return _by_album((story.album_id, " ".join(
        word for caption, tokenised in zip(story.captions, story.tokenised)
        for word in (caption.split() if tokenised else split_words(caption, tokenised)))) for story in stories)


def _by_album(told: Iterable[tuple[str, str]]) -> Stories:
    stories: Stories = {}
    for album_id, story in told:
        stories.setdefault(album_id, []).append(story)
    return stories


def _check_stories(raw: Any, path: Path, what: str) -> Stories:
    if not isinstance(raw, dict) or not raw:
        raise UserError(f"expected {{album_id: [story, ...]}} in {path}, found {describe_json(raw)}; write {what} by "
                        "album")
    stories: Stories = {}
    for album_id, value in raw.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            wrong = texts if not isinstance(texts, list) else next(x for x in texts if not isinstance(x, str))
            raise UserError(f"album {album_id}: expected a list of stories, each a string, in {path}, found "
                            f"{describe_json(wrong)}; write {what} as {{album_id: [story, ...]}}")
        stories[album_id] = texts
    return stories
