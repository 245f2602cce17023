"""Fixtures that several test files use: small features folders made by the project's own writers."""
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data.files import sha256_file, write_json
from data.folder.identity import identify, source_digest
from data.folder.manifest import Manifest, Shard, WordsEntry
from data.folder.shards import fixed_bytes, join_blobs, write_shard

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"
GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"

TAGS = {"object": "person dog cat car table chair cup bottle tree building phone laptop book bed window door plant "
                  "bicycle motorcycle".split(),
        "action": "walking running sitting standing eating drinking reading writing talking smiling jumping sleeping "
                  "cooking driving dancing".split(),
        "location": "kitchen bedroom living_room office street park restaurant beach forest city home school hospital "
                    "store garden".split()}
TAG_NAMES = ["<PAD>", "<UNK>", *(name for names in TAGS.values() for name in names)]
WORDS = ["<PAD>", "<START>", "<END>", "<UNK>", ".", "the", "a", "we", "dog", "ran", "park", "to", "home", "was",
         "happy", "then", "everyone", "saw", "big", "tree"]


def write_features_folder(root: Path, stories: dict[str, int] | None = None, width: int = 16, shard_rows: int = 8,
                          stories_per_album: int = 2, bad_photos: tuple[int, ...] = (), seed: int = 0) -> Path:
    """Write a small whole features folder: five photos of its own for every album, shared by the album's stories.

    Args:
        root: the folder to make. stories: stories by split. width: feature width D.
        bad_photos: photo rows (over the whole folder) that get status 1 and a row of zeros.
    """
    random = np.random.default_rng(seed)
    stories = stories or {"train": 12, "val": 6, "test": 6}
    shards: dict[str, tuple[Shard, ...]] = {}
    photo_ids: list[str] = []
    blocks: list[tuple[int, int]] = []
    for split, count in stories.items():
        first = len(photo_ids)
        albums = -(-count // stories_per_album)
        photo_ids += [f"{split}{album:03d}{order}" for album in range(albums) for order in range(5)]
        blocks += [(start, min(start + shard_rows, len(photo_ids)))
                   for start in range(first, len(photo_ids), shard_rows)]
        shards[f"words/default/{split}"] = _write_words(root, split, count, stories_per_album, first, random)
    feature = (random.standard_normal((len(photo_ids), width)) * 2 + 3).astype(np.float16)
    status = np.zeros(len(photo_ids), np.uint8)
    status[list(bad_photos)] = 1
    feature[status != 0] = 0
    content = np.stack([np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint8) for name in photo_ids])
    content[status != 0] = 0
    shards["photos"] = tuple(
        _publish(root, f"photos/{index:05d}.h5", "photos", start, stop - start, {
            "feature": feature[start:stop], "photo_id": fixed_bytes(photo_ids[start:stop]),
            "content": content[start:stop], "status": status[start:stop]})
        for index, (start, stop) in enumerate(blocks))
    files = {"vocabulary.json": {"words": WORDS},
             "tags.json": {"names": TAG_NAMES, "categories": {name: category for category, names in TAGS.items()
                                                              for name in names}}}
    digests = {name: sha256_file(write_json(root / "words/default" / name, value)) for name, value in files.items()}
    Manifest(recipe=identify({"version": 1, "backbone": "test", "size": 224}),
             source=identify({"version": 1, "photos": source_digest(fixed_bytes(photo_ids), content, status)}),
             width=width, shards=shards,
             words={"default": WordsEntry(identify({"version": 1, "length": 30, "seed": seed}), digests)}).save(root)
    return root


def _write_words(root: Path, split: str, count: int, stories_per_album: int, first_photo: int,
                 random: np.random.Generator) -> tuple[Shard, ...]:
    token = np.zeros((count, 5, 30), np.uint16)
    tag = np.zeros((count, 5, len(TAG_NAMES)), np.uint8)
    captions = []
    for story in range(count):
        for order in range(5):
            ids = random.integers(4, len(WORDS), random.integers(3, 9))
            token[story, order, :len(ids) + 2] = [1, *ids, 2]
            captions.append(" ".join(WORDS[index] for index in ids).encode())
            columns = random.choice(np.arange(2, len(TAG_NAMES)), random.integers(0, 4), replace=False)
            tag[story, order, columns if len(columns) else [1]] = 1
    album = np.arange(count) // stories_per_album
    caption, offset = join_blobs(captions)
    arrays = {"token": token, "tag": tag, "tag_source": np.full((count, 5), 1, np.uint8),
              "photo": (first_photo + album[:, None] * 5 + np.arange(5)).astype(np.int32),
              "tokenised": np.ones((count, 5), np.uint8),
              "story_id": fixed_bytes([f"{split}-{index}" for index in range(count)]),
              "album_id": fixed_bytes([f"{split}-album-{index}" for index in album]),
              "caption": caption, "offset": offset}
    return (_publish(root, f"words/default/{split}-00000.h5", "words", 0, count, arrays),)


def _publish(root: Path, name: str, kind: str, offset: int, rows: int, arrays: dict[str, np.ndarray]) -> Shard:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, kind, arrays)
    return Shard(name, rows, offset, path.stat().st_size, sha256_file(path))


@pytest.fixture
def make_features(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small features folder below tmp_path; see `write_features_folder`."""
    def make(name: str = "features", **settings: object) -> Path:
        return write_features_folder(tmp_path / name, **settings)  # type: ignore[arg-type]
    return make


@pytest.fixture
def realdata() -> Path:
    """The folder of real input beside the checkout; skips where it is absent."""
    if not REALDATA.is_dir():
        pytest.skip(f"no real data beside the checkout (looked for {REALDATA.name}/)")
    return REALDATA


@pytest.fixture
def golden() -> Path:
    """The folder of sentences and scores that must come out right; skips where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden files beside the checkout (looked for {GOLDEN.name}/)")
    return GOLDEN


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch: small trainings are quicker so, and sums come out equal to the bit."""
    import torch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def call_here(asked: list[list[str]]) -> Callable[..., int]:
    """What runs trainings and evaluations in this process that would be some of their own; keeps what was asked."""
    import torch

    from evaluate.__main__ import main
    torch.set_num_threads(1)

    def call(self: object, arguments: list[str], words: object) -> int:
        asked.append(arguments)
        if arguments[0] == "evaluate":
            return main(arguments[1:])
        from train.session import run_training
        from train.settings import read_command
        told = read_command(arguments[1:])
        run_training(told.config, told.features_path, told.run_path)
        return 0
    return call


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Processes of our own commands run in this one; the commands so far."""
    from evaluate.processes import Processes
    asked: list[list[str]] = []
    monkeypatch.setattr(Processes, "call", call_here(asked))
    return asked


@pytest.fixture(scope="session")
def browser():
    """A Chromium, one for all pages; what needs it is skipped without one."""
    from tests.chromium import ABSENT, Chromium
    if ABSENT:
        pytest.skip(ABSENT)
    opened = Chromium()
    yield opened
    opened.close()
