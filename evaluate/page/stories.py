"""The stories of a page: what is shown of each, and which are kept when not all fit."""
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from data.annotations.annotation_file import NUM_FRAMES
from data.folder.word_reader import WordSet
from evaluate.page.pictures import Pictures
from evaluate.predictions import TAG_KEYS, Prediction

Story = list[Prediction]  # the predictions of one story, by t


@dataclass(frozen=True)
class Browser:
    """What the page's story browser gets.

    Attributes:
        records: one per kept story, in the order of the split; see `_record`.
        total: stories that were evaluated.
        num_best, num_worst, num_sampled: how the kept ones were chosen; all 0 when every story is kept.
    """

    records: list[dict[str, Any]]
    total: int
    num_best: int = 0
    num_worst: int = 0
    num_sampled: int = 0


def group_stories(predictions: Sequence[Prediction]) -> list[Story]:
    """Gather the predictions of each story, stories in the order of the file, each by t."""
    grouped: dict[str, Story] = defaultdict(list)
    for prediction in predictions:
        grouped[prediction.story_id].append(prediction)
    return [sorted(story, key=lambda prediction: prediction.t) for story in grouped.values()]


def rank_stories(stories: Sequence[Story]) -> list[int]:
    """Positions of the stories, best first.

    A story's place is the mean of two percentiles at its last t: the rank of the true photo, and the likelihood of
    the true caption per token. A measure that is absent everywhere does not count.
    """
    standing = np.zeros(len(stories))
    for measure in [story[-1].rank for story in stories], [story[-1].surprise for story in stories]:
        worst = max((value for value in measure if value is not None), default=0.0)
        place = rankdata([worst if value is None else value for value in measure], "dense") - 1
        standing += place / max(1, place.max(initial=0))
    return sorted(range(len(stories)), key=lambda index: (standing[index], stories[index][0].story_id))


def choose_stories(stories: Sequence[Story], words: WordSet, split: str, pictures: Pictures, budget: int,
                   seed: int) -> Browser:
    """Keep as many stories as `budget` bytes hold: all, or a quarter best, a quarter worst, the rest a sample.

    Args:
        stories: the evaluated stories. words: their word set. split: their split.
        pictures: numbers and encodes their photos; what does not fit is left unread.
        budget: bytes for photos and text together.
        seed: of the sample.
    """
    frames = words.split(split)
    row_of = {story_id.decode(): row for row, story_id in enumerate(frames.story_id.all())}
    tag_index = {name: index for index, name in enumerate(words.tag_names)}
    spent = 0
    kept: dict[int, tuple[str, dict[str, Any]]] = {}
    for index, reason in _by_priority(rank_stories(stories), seed):
        story = stories[index]
        row = row_of.get(story[0].story_id)
        captions = [frames.caption(row, order) if row is not None else "" for order in range(NUM_FRAMES)]
        record = _record(story, captions, tag_index, pictures)
        needed = {*record["p"], *record["n"][str(story[-1].t)]["r"]}
        new = {number for number in needed if pictures.encoded[number] is None}
        spent += len(json.dumps(record)) + sum(len(pictures.encode(number)) for number in new)
        if spent > budget and kept:
            for number in new:
                pictures.encoded[number] = None
            break
        kept[index] = (reason, record)
    for number in (number for _, record in kept.values()  # what is left goes to the retrieved photos of the earlier t
                   for number in {number for predicted in record["n"].values() for number in predicted["r"]}):
        if pictures.encoded[number] is None:
            spent += len(pictures.encode(number))
            if spent > budget:
                pictures.encoded[number] = None
                break
    reasons = [reason for reason, _ in kept.values()] if len(kept) < len(stories) else []
    return Browser([kept[index][1] for index in sorted(kept)], len(stories), reasons.count("best"),
                   reasons.count("worst"), reasons.count("sample"))


def _by_priority(best_first: list[int], seed: int) -> Iterator[tuple[int, str]]:
    """Every position once: in turn one of the best, one of the worst, two of a seeded sample."""
    sampled = ("sample", iter(random.Random(seed).sample(best_first, len(best_first))))
    queues = [("best", iter(best_first)), sampled, ("worst", iter(best_first[::-1])), sampled]
    seen: set[int] = set()
    while len(seen) < len(best_first):
        for reason, queue in queues:
            index = next((index for index in queue if index not in seen), None)
            if index is not None:
                seen.add(index)
                yield index, reason


def _record(story: Story, captions: list[str], tag_index: dict[str, int], pictures: Pictures) -> dict[str, Any]:
    """One story as the script reads it: photos by page number, tags by column, frames t counted from 0."""
    def columns(names: Sequence[str]) -> list[int]:
        return [tag_index[name] for name in names if name in tag_index]

    def predicted(prediction: Prediction) -> dict[str, Any]:
        surprise = prediction.surprise
        return {"w": prediction.written, "g": columns(prediction.tags or ()),
                "s": columns(prediction.guessed.get("seen", ())), "x": columns(prediction.guessed.get("next", ())),
                "r": [pictures.number(name) for name in prediction.retrieved],
                "ra": prediction.ranks.get("album"), "rr": prediction.ranks.get("all"),
                "k": None if surprise is None else round(surprise, 3)}

    told = {"w": story[-1].sentences, "tags": [[columns(names or ()) for names in story[-1].tags_told[key]]
                                               for key in TAG_KEYS if key in story[-1].tags_told]}
    return {"id": story[0].story_id, "a": story[0].album_id, "c": captions, **(told if story[-1].sentences else {}),
            "p": [pictures.number(name) for name in story[0].photos],
            "n": {str(prediction.t): predicted(prediction) for prediction in story}}
