"""Text encoders that need no weights, for tests: `--text-encoder tests.tiny_text_encoder:factory`."""
import hashlib
import os
import time

import numpy as np
import torch
from torch import nn

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


def nameless():
    """Nobody could tell its weights from others."""
    return encode, {"width": WIDTH}


def wide():
    return encode, {"width": WIDTH + 1, "sha256": "3" * 64}


def no_number():
    return lambda captions: encode(captions) * np.nan, {"width": WIDTH, "sha256": "4" * 64}
