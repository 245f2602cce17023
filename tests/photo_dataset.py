"""A small data folder in VIST's format with photos drawn from a seed, for tests of extraction."""
import json
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = ("the dog ran to the park .", "we saw a big tree", "everyone was happy then", "a cat on the table",
            "they went home")


def write_dataset(root: Path, albums: dict[str, int] | None = None, stories_per_album: int = 2,
                  photos_per_album: int = 7, seed: int = 0) -> Path:
    """Write annotations and photos; stories of an album share photos.

    Args:
        albums: number of albums by split.
    """
    albums = albums or {"train": 4, "val": 1, "test": 1}
    random = np.random.default_rng(seed)
    for split, count in albums.items():
        write_stories(root, split, count, stories_per_album, photos_per_album)
        for album in range(count):
            for number in range(photos_per_album):
                path = root / "images" / f"{photo_id(split, album, number)}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw_photo(random).save(path, quality=90)
    return root


def write_stories(root: Path, split: str, count: int, stories_per_album: int = 2, photos_per_album: int = 7) -> None:
    """Write one annotation file for `count` albums."""
    records, images = [], []
    for album in range(count):
        album_id = f"{split}-{album:03d}"
        images += [{"id": photo_id(split, album, number), "album_id": album_id} for number in range(photos_per_album)]
        for story in range(stories_per_album):
            for order in range(5):
                number = (story + order) % photos_per_album
                records.append([{
                    "story_id": f"{album_id}-{story}", "album_id": album_id, "worker_arranged_photo_order": order,
                    "photo_flickr_id": photo_id(split, album, number), "text": CAPTIONS[(album + order) % 5],
                    "original_text": CAPTIONS[(album + order) % 5]}])
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / f"{split}.story-in-sequence.json"
    path.write_text(json.dumps({"images": images, "albums": [], "annotations": records, "info": {"made": split}}))


def photo_id(split: str, album: int, number: int) -> str:
    """The id of an album's photo."""
    return f"{split[:2]}{album:03d}{number}"


def draw_photo(random: np.random.Generator, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Soft colours, different every time."""
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
