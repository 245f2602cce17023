"""Does the model know how stories go? Choosing the true ending (cloze) and putting shuffled frames back in order.

The model's surprise at a frame is its own unweighted loss there: MSE of the standardised photo plus the caption's mean
nats per token. It can be asked of any frame after any others, so both tasks need no training. `photo` and `caption`
say what either half alone achieves.
"""
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from data.words import PAD
from evaluate.predicting import caption_nll
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from train.batches import Batch
from train.model import StoryModel

PARTS = ("both", "photo", "caption")
NUM_OTHERS = (1, 3)
SOURCES = ("other_album", "same_album")
ORDERS = np.array(list(permutations(range(5))))  # (120, 5), the true order first
ORDERED_STORIES = 200
TIE = 1e-6


@torch.inference_mode()
def measure_surprise(model: StoryModel, batch: Batch, device: str) -> np.ndarray:
    """How surprising each frame is after those before it: (3, B, K - 1) float64, by PARTS."""
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    outputs = model(batch)
    photo = (outputs["predicted_features"] - model.standardise(batch["image_features"][:, 1:])).square().mean(dim=-1)
    photo = photo * batch["photo_mask"][:, 1:]  # no photo, no surprise
    token_ids = batch["token_ids"][:, 1:]
    caption = caption_nll(outputs["caption_logits"], token_ids) / ((token_ids != PAD).sum(dim=-1) - 1).clamp(min=1)
    return torch.stack([photo + caption, photo.double(), caption]).double().cpu().numpy()


def score_cloze(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str) -> dict[str, Estimate]:
    """How often the true ending surprises least, against 1 and 3 others, from other albums and from the same.

    Returns:
        `cloze.<source>.1_of_<2 or 4>` by both halves, and the same with `.photo` and `.caption`; ties count by half.
    """
    estimates: dict[str, Estimate] = {}
    true = _ending_surprise(model, split, np.arange(len(split)), batch_size, device)
    for source in SOURCES:
        endings = draw_endings(split, source)
        other = np.stack([_ending_surprise(model, split, column, batch_size, device) for column in endings.T], axis=-1)
        for count in NUM_OTHERS:
            enough = (endings[:, :count] >= 0).all(axis=1)
            for part, mine, theirs in zip(PARTS, true, other[..., :count]):
                gap = theirs - mine[:, None]
                beaten_by, level = (gap < -TIE).any(axis=1), (np.abs(gap) <= TIE).sum(axis=1)
                hit = np.where(enough, np.where(beaten_by, 0.0, 1 / (1 + level)), np.nan)
                name = f"cloze.{source}.1_of_{count + 1}" + ("" if part == "both" else f".{part}")
                estimates[name] = split.resamples.mean(hit, split.units.weight)
    return estimates


def draw_endings(split: EvaluatedSplit, source: str) -> np.ndarray:
    """(S, 3) stories that lend their last frame, -1 where there are too few.

    A lent ending has a usable photo of other content than the true one and than every frame of the story, and the
    three differ in content among themselves. Drawn by the split's seed.
    """
    random = np.random.default_rng([split.seed, SOURCES.index(source)])
    last, album = split.candidate[:, -1], split.resamples.album
    members = [np.flatnonzero(album == place) for place in range(split.resamples.num_albums)]
    endings = np.full((len(split), max(NUM_OTHERS)), -1)
    for story in range(len(split)):
        same = members[album[story]]
        pool = random.permutation(same) if source == "same_album" else _draw_elsewhere(random, album, story)
        taken = set(split.candidate[story].tolist()) | {-1}
        chosen: list[int] = []
        for other in pool.tolist():
            if int(last[other]) not in taken and len(chosen) < max(NUM_OTHERS) and split.usable[story, -1]:
                taken.add(int(last[other]))
                chosen.append(other)
        endings[story, :len(chosen)] = chosen
    return endings


def score_ordering(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str,
                   num_stories: int = ORDERED_STORIES) -> dict[str, Estimate]:
    """Put the five frames of stories back in order: of all 120 orders the one that surprises least in total.

    Args:
        num_stories: at most so many, drawn by the split's seed among those with five usable photos; each costs 120
            passes.

    Returns:
        `ordering.spearman`, `.pairwise` (share of pairs in the right order) and `.exact`, by both halves, and the
        same with `.photo` and `.caption`.
    """
    whole = np.flatnonzero(split.usable.all(axis=1))
    chosen = np.sort(np.random.default_rng(split.seed).permutation(whole)[:num_stories])
    found = {part: np.full((len(split), 3), np.nan) for part in PARTS}
    for story in chosen.tolist():
        totals = np.concatenate([measure_surprise(model, batch, device).sum(axis=-1)
                                 for batch in _orders_of(split.dataset.__getitems__([story]), batch_size)], axis=1)
        for part, total in zip(PARTS, totals):
            found[part][story] = rate_order(ORDERS[int(np.argmin(total))])
    return {f"ordering.{name}" + ("" if part == "both" else f".{part}"):
            split.resamples.mean(values[:, column], split.units.weight)
            for part, values in found.items() for column, name in enumerate(("spearman", "pairwise", "exact"))}


def rate_order(order: np.ndarray) -> tuple[float, float, float]:
    """Spearman's rank correlation, share of rightly ordered pairs, and whether all is right; order (K,) of 0..K-1."""
    K = len(order)
    squared = float(np.square(order - np.arange(K)).sum())
    pairs = [order[first] < order[second] for first in range(K) for second in range(first + 1, K)]
    return 1 - 6 * squared / (K * (K * K - 1)), float(np.mean(pairs)), float(squared == 0)


def chance_of_sense(split: EvaluatedSplit, metrics: list[str]) -> dict[str, Estimate]:
    """What guessing scores at the metrics named."""
    chance = {"1_of_2": 1 / 2, "1_of_4": 1 / 4, "spearman": 0.0, "pairwise": 1 / 2, "exact": 1 / len(ORDERS)}
    values = {metric: next(value for name, value in chance.items() if name in metric) for metric in metrics}
    return {metric: Estimate(np.full(len(split.resamples.counts), value), len(split))
            for metric, value in values.items()}


def _ending_surprise(model: StoryModel, split: EvaluatedSplit, endings: np.ndarray, batch_size: int, device: str
                     ) -> np.ndarray:
    """(3, S): surprise at the last frame of story `endings[s]` after the first four of story s; -1 takes its own."""
    parts = []
    for start in range(0, len(split), batch_size):
        places = np.arange(start, min(start + batch_size, len(split)))
        lent = np.where(endings[places] >= 0, endings[places], places)
        both = split.dataset.__getitems__(np.concatenate([places, lent]))  # together: one length of captions
        count = len(places)
        batch = {name: torch.cat([tensor[:count, :-1], tensor[count:, -1:]], dim=1) if tensor.dim() > 1
                 else tensor[:count] for name, tensor in both.items()}
        parts.append(measure_surprise(model, batch, device)[..., -1])
    return np.concatenate(parts, axis=1)


def _draw_elsewhere(random: np.random.Generator, album: np.ndarray, story: int) -> np.ndarray:
    drawn = random.integers(0, len(album), 40)  # a few suffice: most stories are of other albums
    return drawn[album[drawn] != album[story]]


def _orders_of(batch: Batch, batch_size: int) -> Iterator[Batch]:
    """One story in all 120 orders, in batches."""
    for start in range(0, len(ORDERS), batch_size):
        order = torch.from_numpy(ORDERS[start:start + batch_size])
        yield {name: _reorder(tensor, order) for name, tensor in batch.items()}


def _reorder(tensor: Tensor, order: Tensor) -> Tensor:
    return tensor[0][order] if tensor.dim() > 1 else tensor.expand(len(order))
