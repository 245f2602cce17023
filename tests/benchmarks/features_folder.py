"""A features folder of any size, made of noise: for measuring what reads it."""
from pathlib import Path

import numpy as np

from data.files import sha256_file, write_json
from data.folder.identity import identify
from data.folder.manifest import Manifest, Shard, WordsEntry
from data.folder.shards import fixed_bytes, join_blobs, write_shard

NUM_WORDS = 10_000
PHOTOS_PER_STORY = 5  # VIST: 210,000 photos, 40,155 train stories


def write_large_folder(root: Path, num_stories: int, width: int = 2048, shard_rows: int = 512) -> Path:
    """A features folder whose words and features are noise; pairs of stories share their photos."""
    random = np.random.default_rng(0)
    num_photos = num_stories * PHOTOS_PER_STORY
    noise = random.standard_normal((shard_rows, width)).astype(np.float16)
    shards: dict[str, list[Shard]] = {"photos": [], "words/default/train": []}

    def publish(group: str, folder: str, name: str, kind: str, offset: int, arrays: dict[str, np.ndarray],
                rows: int) -> None:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, kind, arrays)
        shards[group].append(Shard(f"{folder}/{name}", rows, offset, path.stat().st_size, "0" * 64))

    for index, start in enumerate(range(0, num_photos, shard_rows)):
        rows = min(shard_rows, num_photos - start)
        publish("photos", "photos", f"{index:05d}.h5", "photos", start, {
            "feature": np.roll(noise, index, axis=0)[:rows], "status": np.zeros(rows, np.uint8),
            "photo_id": fixed_bytes([f"{row:09d}" for row in range(start, start + rows)]),
            "content": random.integers(0, 256, (rows, 32)).astype(np.uint8)}, rows)
    for index, start in enumerate(range(0, num_stories, shard_rows)):
        rows = min(shard_rows, num_stories - start)
        publish("words/default/train", "words/default", f"train-{index:05d}.h5", "words", start,
                _make_words(random, start, rows), rows)
    words = ["<PAD>", "<START>", "<END>", "<UNK>", *(f"w{index}" for index in range(NUM_WORDS - 4))]
    files = {"vocabulary.json": {"words": words},
             "tags.json": {"names": ["<PAD>", "<UNK>", *(f"t{index}" for index in range(49))], "categories": {}}}
    digests = {name: sha256_file(write_json(root / "words/default" / name, value)) for name, value in files.items()}
    same = identify({"version": 1})
    Manifest(recipe=same, source=same, width=width, shards={group: tuple(found) for group, found in shards.items()},
             words={"default": WordsEntry(same, digests)}).save(root)
    return root


def _make_words(random: np.random.Generator, start: int, rows: int) -> dict[str, np.ndarray]:
    lengths = np.clip(random.gamma(4.3, 11.3 / 4.3, (rows, 5, 1)).astype(int) + 2, 4, 30)
    place = np.arange(30)
    token = np.where(place < lengths, random.integers(4, NUM_WORDS, (rows, 5, 30)), 0)
    token = np.where(place == lengths - 1, 2, np.where(place == 0, 1, token)).astype(np.uint16)
    stories = np.arange(start, start + rows)
    album = stories // 2
    photo = album[:, None] * 2 * PHOTOS_PER_STORY + np.sort(random.random((rows, 2 * PHOTOS_PER_STORY)).argsort(
        axis=1)[:, :5], axis=1)
    last = (start + rows) * PHOTOS_PER_STORY - 1
    caption, offset = join_blobs([b"x"] * rows * 5)
    return {"token": token, "tag": (random.random((rows, 5, 51)) < 0.05).astype(np.uint8),
            "tag_source": np.ones((rows, 5), np.uint8), "photo": np.minimum(photo, last).astype(np.int32),
            "tokenised": np.ones((rows, 5), np.uint8), "story_id": fixed_bytes([f"s{story:09d}" for story in stories]),
            "album_id": fixed_bytes([f"a{found:09d}" for found in album]), "caption": caption, "offset": offset}
