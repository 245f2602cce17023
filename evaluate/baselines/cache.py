"""Where fitted baselines are kept: beside the features, under a name that says what they were fitted on."""
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from data.folder.folder import Features
from evaluate.split import EvaluatedSplit

LOCAL = ".local"


def cache_folder(features: Features, fallback: Path | None = None) -> Path | None:
    """The folder's .local/baselines: this machine's, never packed; `fallback` where it cannot be written to."""
    local = features.root / LOCAL
    writable = os.access(local if local.is_dir() else features.root, os.W_OK)
    return local / "baselines" if writable else fallback


def cache_key(version: int, train: EvaluatedSplit, val: EvaluatedSplit | None, *arrays: np.ndarray) -> str:
    """Hash what a fit depends on: recipe, words, photos, the stories that take part, and further arrays."""
    digest = hashlib.sha256(json.dumps([version, train.features.recipe["id"], train.words.identity["id"],
                                        train.features.source["id"]]).encode())
    rows = val.dataset.story_rows if val is not None else np.zeros(0, np.int64)
    for array in (train.dataset.story_rows, rows, *arrays):
        digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    return digest.hexdigest()[:16]
