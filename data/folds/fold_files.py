"""The annotation files of one fold: records of the source as they are, in the files of other splits."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import load_annotations
from data.annotations.stories import SPLITS, Dataset, find_files
from data.files import sha256_file, write_text

STORIES, DESCRIPTIONS = "story-in-sequence", "description-in-isolation"
Record = dict[str, Any]


def load_sources(dataset: Dataset) -> dict[str, dict[str, Record]]:
    """The raw annotation files of a data folder: tier -> split -> its content."""
    return {tier: {split: load_annotations(path)[0] for split, path in find_files(dataset.root, tier)[0].items()}
            for tier in (STORIES, DESCRIPTIONS)}


def write_fold(sources: Mapping[str, Mapping[str, Record]], dataset: Dataset, part_of: Mapping[str, str], folder: Path
               ) -> dict[str, str]:
    """Write FOLDER/annotations/<split>.<tier>.json.

    Args:
        sources: see `load_sources`. dataset: what is well-formed of them.
        part_of: album id -> split. An album that no story tells of is left out.

    Returns:
        The sha256 of every file by its name.
    """
    photo_part = {photo_id: part_of[story.album_id] for stories in dataset.stories.values() for story in stories
                  for photo_id in story.photo_ids}
    owner: dict[str, str] = {}  # the split whose file tells a story; malformed ones have none
    for split in SPLITS:
        for story in dataset.stories[split]:
            owner.setdefault(story.story_id, "train" if dataset.derived_splits else split)

    def place(tier: str, annotation: Any, source: str) -> str | None:
        """The split that a record goes to, None where it is left out."""
        if tier == DESCRIPTIONS:
            return photo_part.get(_name(annotation, "photo_flickr_id"))
        is_told = owner.get(_name(annotation, "story_id")) == source
        return part_of.get(_name(annotation, "album_id")) if is_told else None

    hashes = {}
    for tier, files in sources.items():
        parts: dict[str, Record] = {}
        for source, raw in files.items():
            for split in SPLITS:
                part = parts.setdefault(split, {**raw, "images": [], "annotations": [], "albums": []})
                part["images"] += [image for image in raw["images"] if part_of.get(_name(image, "album_id")) == split]
                part["albums"] += [album for album in raw.get("albums", ()) if part_of.get(_name(album, "id")) == split]
                part["annotations"] += [annotation for annotation in raw["annotations"]
                                        if place(tier, annotation, source) == split]
        for split, part in parts.items():
            path = write_text(folder / "annotations" / f"{split}.{tier}.json", json.dumps(part, ensure_ascii=False))
            hashes[path.name] = sha256_file(path)
    return hashes


def _name(value: Any, key: str) -> str:
    """A field of untrusted JSON, or of the record that stands alone in a list; empty where it is no string."""
    value = value[0] if isinstance(value, list) and value else value
    name = value.get(key) if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""
