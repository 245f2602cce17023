"""One annotation file: VIST's official JSON layout, read without trusting it.

A story file (`{split}.story-in-sequence.json`) holds {"images": [{"id", "album_id", ...}], "annotations": [[record]]},
each record a frame: `story_id`, `album_id`, `photo_flickr_id`, `worker_arranged_photo_order` (an int, 0..4) and a
caption as `text` (tokenised, lower-case) or `original_text`. A description file
(`{split}.description-in-isolation.json`) holds the same without a story. Other keys are left alone.

Ids are strings: a number is refused like any other id that is no plain name, because 007 and 7 would become one.
"""
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data.errors import UserError
from data.files import take_each_key_once

NUM_FRAMES = 5
MAX_ID_LENGTH = 200  # ids name photo files: a file system's 255 bytes less an ending
ORDER_KEY = "worker_arranged_photo_order"
STORY_KEYS = frozenset(("story_id", "album_id", "photo_flickr_id", ORDER_KEY))
DESCRIPTION_KEYS = frozenset(("photo_flickr_id",))

BAD_ID = "id is no plain name"
BAD_ORDER = "order outside 0..4"
SAME_PLACE = "two frames in one place"
NOT_FIVE = "not five frames"
TWO_ALBUMS = "frames of two albums"
EMPTY_CAPTION = "empty caption"
BAD_CAPTION = "caption is no text"
BAD_RECORD = "malformed record"

_PLAIN_NAME = re.compile(r"(?!\.)[A-Za-z0-9_.@-]+", re.ASCII)
_RESTORE = "get the file again or restore it"


@dataclass(frozen=True, slots=True)
class Story:
    """Five frames in order: photos and their captions.

    Attributes:
        captions: raw: the record's `text` where it has one, else its `original_text`.
        tokenised: True where the caption is `text`, whose words are split on white space.
    """

    story_id: str
    album_id: str
    split: str
    photo_ids: tuple[str, ...]
    captions: tuple[str, ...]
    tokenised: tuple[bool, ...]


class Caption(NamedTuple):
    """A raw caption and whether it is a record's `text` (tokenised) or its `original_text`."""

    text: str
    tokenised: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out and why: one row of skipped.csv. `kind` is story, photo or description."""

    kind: str
    id: str
    split: str
    cause: str
    detail: str


class Malformed(Exception):
    """A story or record that is left out: `args` are its cause and the detail."""


def load_annotations(path: Path) -> tuple[dict[str, Any], str]:
    """Read one annotation file.

    Returns:
        The top-level object, with "images" and "annotations" as lists, and the sha256 of the file's bytes.

    Raises:
        UserError: if the file cannot be read, is no UTF-8 JSON, or lacks a top-level key.
    """
    try:
        content = path.read_bytes()
        raw = json.loads(content.decode("utf-8-sig"), object_pairs_hook=take_each_key_once)
    except (OSError, ValueError, RecursionError) as error:  # ValueError: broken JSON, no UTF-8, a key twice
        raise UserError(f"expected JSON in UTF-8 in {path}, found {type(error).__name__}: {str(error)[:200]}; "
                        f"{_RESTORE}") from None
    if not isinstance(raw, dict):
        raise UserError(f"expected an object with the keys 'images' and 'annotations' in {path}, found "
                        f"{_name_type(raw)}; {_RESTORE}")
    for key in ("images", "annotations"):
        if key not in raw:
            raise UserError(f"expected the top-level key {key!r} in {path}, found {_list_keys(raw)}; {_RESTORE}")
        if not isinstance(raw[key], list):
            raise UserError(f"expected {key!r} to be a list in {path}, found {_name_type(raw[key])}; {_RESTORE}")
    return raw, hashlib.sha256(content).hexdigest()


def parse_stories(annotations: list[Any], split: str, path: Path) -> tuple[list[Story], list[Skipped]]:
    """Gather a story file's records into stories, in the order of their first frames.

    Raises:
        UserError: if there is no record at all, or a record is no list of one object with the keys of a frame.
    """
    if not annotations:
        raise UserError(f"expected at least one story in {path}, found an empty list of annotations; {_RESTORE}, or "
                        f"remove it if there is no split {split!r}")
    frames: dict[Any, list[dict[str, Any]]] = {}
    for index, annotation in enumerate(annotations):
        record = _take_record(annotation, STORY_KEYS, index, path)
        story_id = record["story_id"]
        key = story_id if type(story_id) is str else (show(story_id),)  # a number never joins a string's story
        frames.setdefault(key, []).append(record)
    stories, skipped = [], []
    plain_names: dict[str, str] = {}
    for records in frames.values():
        try:
            stories.append(_make_story(records, split, plain_names))
        except Malformed as reason:
            skipped.append(Skipped("story", show(records[0]["story_id"]), split, *reason.args))
    return stories, skipped


def parse_images(images: list[Any], split: str, path: Path) -> tuple[list[tuple[str, str]], list[Skipped]]:
    """Read the photos of every album, told of in a story or not.

    Returns:
        (album id, photo id) pairs in file order, each once, and the images left out.

    Raises:
        UserError: if an image is no object with `id` and `album_id`.
    """
    pairs: dict[tuple[str, str], None] = {}
    skipped = []
    for index, image in enumerate(images):
        if not isinstance(image, dict) or "id" not in image or "album_id" not in image:
            found = _list_keys(image) if isinstance(image, dict) else _name_type(image)
            raise UserError(f"expected an object with the keys 'id' and 'album_id' in image {index} of {path}, found "
                            f"{found}; {_RESTORE}")
        try:
            pairs[_plain_name(image, "album_id"), _plain_name(image, "id")] = None
        except Malformed as reason:
            skipped.append(Skipped("photo", show(image["id"]), split, *reason.args))
    return list(pairs), skipped


def parse_descriptions(annotations: list[Any], split: str,
                       path: Path) -> tuple[dict[str, list[Caption]], list[Skipped]]:
    """Read captions that describe photos in isolation, by photo id; a malformed record is left out and listed."""
    descriptions: dict[str, list[Caption]] = {}
    skipped = []
    for index, annotation in enumerate(annotations):
        try:
            record = _take_record(annotation, DESCRIPTION_KEYS, index, path)
            photo_id, caption = _plain_name(record, "photo_flickr_id"), _take_caption(record)
        except UserError:
            skipped.append(Skipped("description", f"annotations[{index}]", split, BAD_RECORD,
                                   "expected a list of one record with photo_flickr_id and text or original_text"))
        except Malformed as reason:
            skipped.append(Skipped("description", show(record["photo_flickr_id"]), split, *reason.args))
        else:
            descriptions.setdefault(photo_id, []).append(caption)
    return descriptions, skipped


def show(value: Any) -> str:
    """A value of untrusted JSON as one short printable ASCII line."""
    if isinstance(value, (dict, list)):
        return _name_type(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return ascii(text[:MAX_ID_LENGTH])[1:-1]


def _take_record(annotation: Any, keys: frozenset[str], index: int, path: Path) -> dict[str, Any]:
    if not isinstance(annotation, list) or len(annotation) != 1 or not isinstance(annotation[0], dict):
        found = f"a list of {len(annotation)}" if isinstance(annotation, list) and len(annotation) != 1 else \
            f"a list of {_name_type(annotation[0])}" if isinstance(annotation, list) else _name_type(annotation)
        raise UserError(f"expected a list of one record in annotation {index} of {path}, found {found}; {_RESTORE}")
    record = annotation[0]
    missing = sorted(keys - record.keys())
    if not ("text" in record or "original_text" in record):
        missing.append("text")
    if missing:
        story = f" (story {show(record['story_id'])})" if "story_id" in record else ""
        raise UserError(f"expected the key {missing[0]!r} in the record of annotation {index}{story} of {path}, found "
                        f"{_list_keys(record)}; {_RESTORE}")
    return record


def _make_story(records: list[dict[str, Any]], split: str, plain_names: dict[str, str]) -> Story:
    """`plain_names`: ids found to be plain, each as the one string that all stories share."""
    for record in records:
        for key in ("story_id", "album_id", "photo_flickr_id"):
            name = record[key]
            if type(name) is not str or name not in plain_names:
                plain_names.setdefault(_plain_name(record, key), name)
    by_order: dict[int, dict[str, Any]] = {}
    for record in records:
        order = record[ORDER_KEY]
        if type(order) is not int or not 0 <= order < NUM_FRAMES:
            raise Malformed(BAD_ORDER, f"expected {ORDER_KEY} as a number from 0 to {NUM_FRAMES - 1}, found "
                                       f"{show(order)} ({_name_type(order)})")
        if order in by_order:
            raise Malformed(SAME_PLACE, f"expected one frame of order {order}, found photos "
                                        f"{by_order[order]['photo_flickr_id']} and {record['photo_flickr_id']}")
        by_order[order] = record
    if len(by_order) != NUM_FRAMES:
        raise Malformed(NOT_FIVE, f"expected {NUM_FRAMES} frames, found {len(by_order)} "
                                  f"(order {', '.join(map(str, sorted(by_order)))})")
    ordered = [by_order[order] for order in range(NUM_FRAMES)]
    album_id = ordered[0]["album_id"]
    for record in ordered:
        if record["album_id"] != album_id:
            raise Malformed(TWO_ALBUMS, f"expected one album, found {album_id} and {record['album_id']}")
    captions = [_take_caption(record) for record in ordered]
    return Story(ordered[0]["story_id"], plain_names[album_id], split,
                 tuple([plain_names[record["photo_flickr_id"]] for record in ordered]),
                 tuple([caption.text for caption in captions]), tuple([caption.tokenised for caption in captions]))


def is_plain_name(name: str) -> bool:
    """Whether an id is a plain name, which no path can be made of."""
    return len(name) <= MAX_ID_LENGTH and _PLAIN_NAME.fullmatch(name) is not None


def _plain_name(record: dict[str, Any], key: str) -> str:
    name = record[key]
    if type(name) is not str:
        raise Malformed(BAD_ID, f"expected {key} as a string, found {show(name)} ({_name_type(name)})")
    if not is_plain_name(name):
        raise Malformed(BAD_ID, f"expected {key} of letters, digits, _ . @ - without a leading dot, at most "
                                f"{MAX_ID_LENGTH} characters, found {show(name)!r}")
    return name


def _take_caption(record: dict[str, Any]) -> Caption:
    for key in ("text", "original_text"):
        text = record.get(key)
        if text is None:
            continue
        if not isinstance(text, str):
            raise Malformed(BAD_CAPTION, f"expected {key} as a string, found {_name_type(text)}{_name_frame(record)}")
        if text.strip():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:  # half of a surrogate pair: JSON can say it, no file can keep it
                raise Malformed(BAD_CAPTION, f"expected {key} as Unicode text, found half a character at position "
                                             f"{error.start}{_name_frame(record)}") from None
            return Caption(text, key == "text")
    raise Malformed(EMPTY_CAPTION, f"expected words in text or original_text, found none{_name_frame(record)}")


def _name_frame(record: dict[str, Any]) -> str:
    return f" (order {show(record[ORDER_KEY])})" if ORDER_KEY in record else ""


def _list_keys(record: dict[str, Any]) -> str:
    names = ", ".join(show(key)[:40] for key in sorted(record)[:20])
    return f"the keys {names}" if record else "an empty object"


def _name_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number",
             float: "a fraction", type(None): "null"}
    return names[type(value)]
