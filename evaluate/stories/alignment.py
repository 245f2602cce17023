"""Do photo, words and tags of one prediction speak of the same thing?

Agreement is Dice's coefficient over all frames, 2 |A and B| / (|A| + |B|), of three sets of tags: those predicted
ahead, those found in the written caption, and those of the retrieved photo (everything the split says of it). The
truth does not enter. `caption_1_of_5` does compare with the truth: the predicted photo is mapped linearly to words
(fitted on train photos and their captions) and has to pick the true caption among those of four other units.
"""
from functools import cache

import numpy as np

from data.words.tags import TagTable
from evaluate.baselines.linear import LinearMaps
from evaluate.photos.photo_scores import PhotoResult
from evaluate.photos.retrieval import normalise, pool_ranks
from evaluate.rows import Captions
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from evaluate.tags.tag_scores import FIRST_TAG

NUM_OTHERS = 4


def score_agreement(split: EvaluatedSplit, table: TagTable | None, predicted: np.ndarray, written: Captions,
                    result: PhotoResult) -> dict[str, Estimate]:
    """Agreement of predicted tags, the written caption's tags and the retrieved photo's tags.

    Args:
        table: finds tags in written words; None where the folder's table is another than ours.
        predicted: (S, G) bool, tags predicted ahead. written: a caption for every story. result: photos retrieved.
    """
    sets = {"predicted": predicted.astype(bool)}
    if len(split.candidates):
        sets["retrieved"] = _photo_tags(split)[split.candidates.of_photo[result.retrieved[:, 0]]]
        sets["retrieved"][result.retrieved[:, 0] < 0] = False
    if table is not None:
        sets["written"] = table.tags_of_many(list(written)).astype(bool)
    pairs = [("predicted", "written"), ("predicted", "retrieved"), ("written", "retrieved")]
    return {f"agreement.{first}_{second}": _dice(split, sets[first], sets[second])
            for first, second in pairs if first in sets and second in sets}


def load_table(tag_names: list[str]) -> TagTable | None:
    """The shipped tag table, if the folder's tags are its tags."""
    table = _load_shipped()
    return table if table.names == tag_names else None


@cache
def _load_shipped() -> TagTable:
    """The shipped tag table, once: it takes a second, and a page asks for it with every sentence."""
    return TagTable.load()


def score_caption_choice(split: EvaluatedSplit, linear: LinearMaps, predicted: np.ndarray, t: int) -> Estimate:
    """How often the predicted photo's words are nearest to the true caption, among five.

    Args:
        predicted: (S, D) float32, standardised features of frame t + 1. t: frames seen.
    """
    random = np.random.default_rng([split.seed, t, NUM_OTHERS])
    unit = split.units.unit
    elsewhere = len(split) - np.bincount(unit)[unit]
    others = np.stack([_draw_others(random, unit, story, count >= NUM_OTHERS) for story, count in enumerate(elsewhere)])
    wanted = others[:, 0] >= 0
    bags = normalise(linear.bags(split.token[:, t]).astype(np.float32))
    said = normalise(predicted @ linear.words)
    to_true = np.einsum("sw,sw->s", said, bags)
    query = np.repeat(np.arange(len(split)), NUM_OTHERS)
    to_others = np.einsum("sw,sw->s", said[query], bags[others.ravel()])
    hit = np.where(wanted, pool_ranks(to_true, to_others, query).recall(1), np.nan)
    return split.resamples.mean(hit, split.units.weight)


def _draw_others(random: np.random.Generator, unit: np.ndarray, story: int, enough: bool) -> np.ndarray:
    """Stories of other units, all different; -1 where there are not enough."""
    others: list[int] = []
    while enough and len(others) < NUM_OTHERS:
        drawn = int(random.integers(len(unit)))
        if unit[drawn] != unit[story] and drawn not in others:
            others.append(drawn)
    return np.array(others or [-1] * NUM_OTHERS)


def _photo_tags(split: EvaluatedSplit) -> np.ndarray:
    """(C, G) bool: every tag that the split gives a candidate photo in any of its frames."""
    tags = np.zeros((len(split.candidates) + 1, split.tag.shape[-1]), bool)  # the last row takes unusable photos
    np.logical_or.at(tags, split.candidate.ravel(), split.tag.reshape(-1, split.tag.shape[-1]).astype(bool))
    return tags[:-1]


def _dice(split: EvaluatedSplit, first: np.ndarray, second: np.ndarray) -> Estimate:
    first, second = first[:, FIRST_TAG:], second[:, FIRST_TAG:]
    weight = split.units.weight
    both, total = (first & second).sum(axis=1) * weight, (first.sum(axis=1) + second.sum(axis=1)) * weight
    return split.resamples.ratio(2 * both, total, split.units.num_units)
