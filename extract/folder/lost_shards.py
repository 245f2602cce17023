"""Which photos a lost shard held, when this machine has no ledger: told by the folder's words and the annotations."""
from pathlib import Path

import numpy as np

from data.annotations.stories import Dataset
from data.errors import UserError
from data.folder.manifest import Manifest, Shard
from data.folder.published import map_published


def recall_photo_ids(folder: Path, manifest: Manifest, shard: Shard, dataset: Dataset) -> np.ndarray | None:
    """The photo ids of a shard's rows, or None where some row is named by no story that both know.

    Args:
        shard: of the manifest's photo shards, gone or unreadable.
    """
    known: dict[int, str] = {}
    for name in manifest.words:
        for split, stories in dataset.stories.items():
            photo_ids = {story.story_id.encode("ascii"): story.photo_ids for story in stories}
            for part in manifest.shards.get(f"words/{name}/{split}", ()):
                try:
                    arrays = map_published(folder, part, "words")
                except UserError:
                    continue  # damaged too: another word set may know
                for story_id, rows in zip(arrays["story_id"].tolist(), arrays["photo"].tolist()):
                    known.update(zip(rows, photo_ids.get(story_id, ())))
    wanted = range(shard.offset, shard.offset + shard.rows)
    if not all(row in known for row in wanted):
        return None
    return np.array([known[row].encode("ascii") for row in wanted])
