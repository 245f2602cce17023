"""Captions without a model: one sentence for all, and the sentence of the most similar train story."""
from collections import Counter

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from evaluate.captions.text_scores import score_units
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit

NUM_FREQUENT, NUM_DRAWN = 40, 40  # candidates for the constant: the commonest train captions and others at random
NUM_UNITS = 400  # units it is chosen on


def choose_constant(train: EvaluatedSplit, chosen_on: EvaluatedSplit, t: int, seed: int) -> list[str]:
    """The train caption of frame t + 1 that scores the highest CIDEr-D when it stands for every story.

    Args:
        train: where it comes from. chosen_on: where it is scored; never the split that is evaluated.
        t: frames seen.
    """
    random = np.random.default_rng([seed, t])
    counts = Counter(tuple(captions[t]) for captions in train.caption_words if captions[t])
    by_count = sorted(counts, key=lambda words: (-counts[words], words))
    rest = by_count[NUM_FREQUENT:]
    drawn = random.permutation(len(rest))[:NUM_DRAWN]
    candidates = by_count[:NUM_FREQUENT] + [rest[index] for index in drawn]
    stories_of = chosen_on.units.stories_of()
    units = random.permutation(len(stories_of))[:NUM_UNITS]
    references = [[chosen_on.caption_words[story][t] for story in stories_of[unit]] for unit in units]
    # Every candidate gets the units anew: document frequencies and their number grow alike, so their ratio stays.
    scores = score_units([candidate for candidate in candidates for _ in units],
                         np.arange(len(candidates) * len(units)), references * len(candidates))
    return list(candidates[int(np.argmax(scores.cider.reshape(len(candidates), -1).mean(axis=1)))])


def copy_nearest(train: EvaluatedSplit, split: EvaluatedSplit, space: PhotoSpace, t: int) -> list[list[str]]:
    """For every story the caption t + 1 of the train story whose photo t is nearest by cosine to its own photo t."""
    own, others = (space.read(part.units.photo[:, t - 1]) for part in (split, train))
    nearest = pairwise_distances_argmin(own, others, metric="cosine")
    return [train.caption_words[story][t] for story in nearest]
