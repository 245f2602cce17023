"""A small data folder of picture books: albums that share no picture and no sentence, for tests of folds."""
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.annotation_files import make_story, write_stories
from tests.photo_dataset import draw_photo

NOUNS, VERBS = ("dog", "cat", "car", "tree"), ("sat", "ran", "slept", "was")


def write_books(root: Path, albums: int = 12) -> Path:
    """Albums a0, a1, ... of one story and five photos each, over the three splits of the source."""
    random = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for place, split in enumerate(("train", "val", "test")):
        records = []
        for number in range(place, albums, 3):
            records += make_story(f"s{number}", f"a{number}", [
                f"the {random.choice(NOUNS)} of book {number} {random.choice(VERBS)} on page {order}"
                for order in range(5)])
            for order in range(5):
                draw_photo(random).save(root / "images" / f"a{number}-{order}.jpg")
        write_stories(root, split, records)
    return root


def edit_records(root: Path, split: str, change: Callable[[list[dict]], None]) -> None:
    """Change the records of one of the source's files in place."""
    path = root / "annotations" / f"{split}.story-in-sequence.json"
    raw = json.loads(path.read_text())
    change([annotation[0] for annotation in raw["annotations"]])
    path.write_text(json.dumps(raw))
