"""predictions-<split>.jsonl: what a run said, a line per (story, t)."""
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.files import replace_file
from data.folder.word_reader import DII
from evaluate.config import TS
from evaluate.photos.photo_scores import PhotoResult
from evaluate.rows import Row
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_metrics import FIRST_TAG


def write_predictions(path: Path, split: EvaluatedSplit, row: Row, photos: dict[int, PhotoResult]) -> Path:
    """Write one row's predictions.

    Fields: story_id, album_id; t = 1..4, the frames seen; photos: the story's five ids; caption: the true one of frame
    t + 1, raw; reference: its words as they are scored, and written: words, both joined by blanks; tags: true names of
    frame t + 1; described: whether its photo has descriptions, which then made its tags together with the caption;
    tags_seen: names read off its photo, null without a usable one; tags_next: names predicted ahead; retrieved: up to
    five photo ids of the split, best first; rank_all, rank_album, rank_1_of_5, rank_1_of_100: of the true photo,
    1 = best, null where it is missing, an input, or the pool too small; nll: of the caption's words and <END>, in
    nats, and tokens, how many these are.
    """
    with replace_file(path) as partial, open(partial, "w", encoding="utf-8") as file:
        for line in _lines(split, row, photos):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def _lines(split: EvaluatedSplit, row: Row, photos: dict[int, PhotoResult]) -> Iterator[dict[str, Any]]:
    units = split.units
    used = np.unique(np.concatenate([units.photo.ravel(), *(result.retrieved.ravel() for result in photos.values())]))
    used = used[used >= 0]
    photo_ids = dict(zip(used.tolist(), (name.decode() for name in split.features.photo_id.take(used))))
    names = split.words.tag_names
    for story in range(len(split)):
        for t in TS:
            guesses = {kind: row.tags[kind][t].predicted for kind in ("seen", "next")}
            yield {
                "story_id": units.story_ids[story], "album_id": units.album_ids[story], "t": t,
                "photos": [photo_ids[photo] for photo in units.photo[story].tolist()],
                "caption": units.captions[story][t], "reference": " ".join(split.caption_words[story][t]),
                "written": " ".join(row.written[t][story]),
                "tags": _names(names, split.tag[story, t]),
                "described": bool(split.tag_source[story, t] & DII),
                **{f"tags_{kind}": _names(names, guess[story]) if kind == "next" or split.usable[story, t] else None
                   for kind, guess in guesses.items() if guess is not None},
                "retrieved": [photo_ids[photo] for photo in photos[t].retrieved[story].tolist() if photo >= 0],
                **{f"rank_{name}": _number(rank[story]) for name, rank in photos[t].ranks.items()},
                "nll": float(row.nll[t][story]), "tokens": int(split.num_tokens[story, t])}


def _names(names: Sequence[str], flags: np.ndarray) -> list[str]:
    return [names[column] for column in np.flatnonzero(flags).tolist() if column >= FIRST_TAG]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
