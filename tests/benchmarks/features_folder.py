"""A features folder of any size, made of noise: for measuring what reads it."""
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.files import sha256_file, write_json
from data.folder.identity import identify
from data.folder.manifest import Manifest, Shard, WordsEntry
from data.folder.shards import fixed_bytes, join_blobs, write_shard

NUM_WORDS = 10_000
PHOTOS_PER_STORY = 5  # VIST: 210,000 photos, 40,155 train stories


class Albums(NamedTuple):
    """How many stories tell an album, by how many choices of five of its photos."""

    stories: int = 2
    photos: int = 2 * PHOTOS_PER_STORY
    sequences: int = 2


AS_IN_VIST = Albums(5, 8, 2)  # 40,000 + 5,000 + 5,000 stories of 80,000 photos


def write_large_folder(root: Path, num_stories: int | dict[str, int], width: int = 2048, shard_rows: int = 512,
                       albums: Albums = Albums(), captions: bool = False) -> Path:
    """A features folder whose words and features are noise.

    Args:
        num_stories: of train, or by split. captions: with raw captions that say what their token ids do.
    """
    random = np.random.default_rng(0)
    splits = {"train": num_stories} if isinstance(num_stories, int) else num_stories
    num_albums = {split: -(-count // albums.stories) for split, count in splits.items()}
    num_photos = sum(num_albums.values()) * albums.photos
    noise = random.standard_normal((shard_rows, width)).astype(np.float16)
    vocabulary = ["<PAD>", "<START>", "<END>", "<UNK>", *(f"w{index}" for index in range(NUM_WORDS - 4))]
    shards: dict[str, list[Shard]] = {}

    def publish(group: str, folder: str, name: str, kind: str, offset: int, arrays: dict[str, np.ndarray],
                rows: int) -> None:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, kind, arrays)
        shards.setdefault(group, []).append(Shard(f"{folder}/{name}", rows, offset, path.stat().st_size, "0" * 64))

    for index, start in enumerate(range(0, num_photos, shard_rows)):
        rows = min(shard_rows, num_photos - start)
        publish("photos", "photos", f"{index:05d}.h5", "photos", start, {
            "feature": np.roll(noise, index, axis=0)[:rows], "status": np.zeros(rows, np.uint8),
            "photo_id": fixed_bytes([f"{row:09d}" for row in range(start, start + rows)]),
            "content": random.integers(0, 256, (rows, 32)).astype(np.uint8)}, rows)
    first_album = 0
    for split, count in splits.items():
        for index, start in enumerate(range(0, count, shard_rows)):
            rows = min(shard_rows, count - start)
            stories = np.arange(start, start + rows) + first_album * albums.stories
            publish(f"words/default/{split}", "words/default", f"{split}-{index:05d}.h5", "words", start,
                    _make_words(random, stories, albums, vocabulary if captions else None), rows)
        first_album += num_albums[split]
    files = {"vocabulary.json": {"words": vocabulary},
             "tags.json": {"names": ["<PAD>", "<UNK>", *(f"t{index}" for index in range(49))], "categories": {}}}
    digests = {name: sha256_file(write_json(root / "words/default" / name, value)) for name, value in files.items()}
    same = identify({"version": 1})
    Manifest(recipe=same, source=same, width=width, shards={group: tuple(found) for group, found in shards.items()},
             words={"default": WordsEntry(same, digests)}).save(root)
    return root


def _make_words(random: np.random.Generator, stories: np.ndarray, albums: Albums, vocabulary: list[str] | None
                ) -> dict[str, np.ndarray]:
    rows = len(stories)
    lengths = np.clip(random.gamma(4.3, 11.3 / 4.3, (rows, 5, 1)).astype(int) + 2, 4, 30)
    place = np.arange(30)
    often = np.cumsum(1 / (np.arange(NUM_WORDS - 4) + 2.7))  # as words come: the second half as often as the first
    drawn = 4 + np.searchsorted(often, random.random((rows, 5, 30)) * often[-1])
    token = np.where(place < lengths, drawn, 0)
    token = np.where(place == lengths - 1, 2, np.where(place == 0, 1, token)).astype(np.uint16)
    album, told = np.divmod(stories, albums.stories)
    choice = album * albums.sequences + told * albums.sequences // albums.stories
    chosen = {number: np.sort(np.random.default_rng([1, number]).permutation(albums.photos)[:PHOTOS_PER_STORY])
              for number in np.unique(choice).tolist()}
    photo = album[:, None] * albums.photos + np.stack([chosen[number] for number in choice.tolist()])
    said = [" ".join(vocabulary[index] for index in row if index > 2).encode() for row in token.reshape(-1, 30).tolist()
            ] if vocabulary is not None else [b"x"] * rows * 5
    caption, offset = join_blobs(said)
    return {"token": token, "tag": (random.random((rows, 5, 51)) < 0.05).astype(np.uint8),
            "tag_source": np.ones((rows, 5), np.uint8), "photo": photo.astype(np.int32),
            "tokenised": np.ones((rows, 5), np.uint8), "story_id": fixed_bytes([f"s{story:09d}" for story in stories]),
            "album_id": fixed_bytes([f"a{found:09d}" for found in album]), "caption": caption, "offset": offset}
