"""Writes annotation files in VIST's layout for the tests of whatever reads them."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SENTENCES = ("the dog ran .", "we sat at a table .", "she read a book .", "they went home .", "it was fun .")


def make_record(story_id: Any, order: Any, photo_id: Any = None, album_id: Any = "album", **fields: Any) -> dict:
    """One frame as VIST writes it; a field of None stays, so that a test can break it."""
    record = {"story_id": story_id, "album_id": album_id, "worker_arranged_photo_order": order,
              "photo_flickr_id": photo_id if photo_id is not None else f"{album_id}-{order}",
              "original_text": f"Original {order}.", "text": SENTENCES[order] if order in range(5) else "words .",
              "tier": "story-in-sequence", "setting": "first-2-pick-and-tell"}
    return {**record, **fields}


def make_story(story_id: Any, album_id: Any = "album", captions: Sequence[str] = SENTENCES,
               **fields: Any) -> list[dict]:
    """The five records of a story."""
    return [make_record(story_id, order, album_id=album_id, text=caption, **fields)
            for order, caption in enumerate(captions)]


def write_stories(root: Path, split: str, records: Sequence[dict], folder: str = "annotations", **top: Any) -> Path:
    """Write DATA/annotations/{split}.story-in-sequence.json from records; `top` replaces top-level keys."""
    photos = {(record.get("photo_flickr_id"), record.get("album_id")): None for record in records
              if isinstance(record.get("photo_flickr_id"), str) and isinstance(record.get("album_id"), str)}
    content = {"info": {"description": "test"}, "type": "story-in-sequence", "albums": [],
               "images": [{"id": photo_id, "album_id": album_id} for photo_id, album_id in photos],
               "annotations": [[record] for record in records], **top}
    return write_json_file(root / folder / f"{split}.story-in-sequence.json", content)


def write_descriptions(root: Path, split: str, captions: Sequence[tuple[str, str]], **top: Any) -> Path:
    """Write DATA/annotations/{split}.description-in-isolation.json from (photo id, text) pairs."""
    annotations = [[{"photo_flickr_id": photo_id, "album_id": "album", "photo_order_in_story": 0, "text": text,
                     "original_text": text, "tier": "descriptions-in-isolation"}] for photo_id, text in captions]
    content = {"info": {}, "images": [], "annotations": annotations, **top}
    return write_json_file(root / "annotations" / f"{split}.description-in-isolation.json", content)


def write_json_file(path: Path, content: Any) -> Path:
    """Write JSON in UTF-8 and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
