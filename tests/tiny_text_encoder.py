"""Text encoders that need no weights, for tests: `--text-encoder tests.tiny_text_encoder:factory`."""
import hashlib
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.files import sha256_file
from data.folder.folder import Features
from data.folder.identity import identify
from data.folder.manifest import Shard, load_manifest
from data.folder.shards import map_shard, write_shard
from data.folder.word_reader import digest_captions

WIDTH = 6
ASKED: list[str] = []  # captions that were encoded in this process, in order


def hash_caption(caption: str) -> np.ndarray:
    """(WIDTH,) float32 from -1 to 1, that a caption alone decides."""
    return np.frombuffer(hashlib.sha256(caption.encode()).digest()[:WIDTH], np.uint8) / np.float32(127.5) - 1


def encode(captions):
    """TINY_SECONDS makes each batch take as long, so that it can be interrupted."""
    time.sleep(float(os.environ.get("TINY_SECONDS", 0)))
    ASKED.extend(captions)
    return np.stack([hash_caption(caption) for caption in captions])


def factory():
    return encode, {"width": WIDTH, "licence": "CC0", "sha256": "1" * 64, "origin": {"pooling": "sha256"}}


def hashless():
    return encode, {"width": WIDTH, "sha256": None}


def other():
    """The same net with other weights."""
    return encode, {"width": WIDTH, "licence": "CC0", "sha256": "2" * 64, "origin": {"pooling": "sha256"}}


class Counting(nn.Module):
    """Captions -> numbers of their length, with a weight."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, captions):
        return torch.tensor([[float(len(caption))] for caption in captions]) * self.scale

    def tell(self, captions):
        return self(captions)


def module():
    return Counting(), {"width": 3}


def method():
    return Counting().tell, {"width": 3}


def partly():
    return partial(Counting().tell), {"width": 3}


def nameless():
    """Nobody could tell its weights from others."""
    return encode, {"width": WIDTH}


def wide():
    return encode, {"width": WIDTH + 1, "sha256": "3" * 64}


def no_number():
    return lambda captions: encode(captions) * np.nan, {"width": WIDTH, "sha256": "4" * 64}


def add_text_features(folder: Path, make=hash_caption, width: int = WIDTH, weights: str = "1" * 64) -> Path:
    """Give the captions of a folder's default words vectors, without an extraction.

    Args:
        make: caption, split, story's row, order -> (width,); takes what it has room for.
    """
    manifest, words = load_manifest(folder), Features.open(folder).words()
    shards = dict(manifest.shards)
    for split in words.splits:
        stories, name = words.split(split), f"words/default/text-{split}-00000.h5"
        feature = np.array([[make(stories.caption(story, order)) if make is hash_caption else make(split, story, order)
                             for order in range(5)] for story in range(len(stories))], np.float16)
        (folder / name).unlink(missing_ok=True)
        write_shard(folder / name, "text", {
            "feature": feature.reshape(-1, 5, width), "captions": np.frombuffer(digest_captions(
                map_shard(folder / f"words/default/{split}-00000.h5", "words")), np.uint8)})
        shards[f"words/default/text-{split}"] = (
            Shard(name, len(stories), 0, (folder / name).stat().st_size, sha256_file(folder / name)),)
    text = identify({"version": 1, "encoder": "tests.tiny_text_encoder:factory", "weights": weights, "width": width})
    replace(manifest, shards=shards, words={"default": replace(manifest.words["default"], text=text)}).save(folder)
    return folder
