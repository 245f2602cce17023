"""Does the model know how stories go? Choosing the true ending (cloze) and putting shuffled frames back in order.

The model's surprise at a frame is its own unweighted loss there: MSE of the standardised photo plus the caption's mean
nats per token. It can be asked of any frame after any others, so both tasks need no training. `photo` and `caption`
say what either half alone achieves. Whoever knows nothing scores chance: what surprises alike shares the place, and of
an order only what its frames surprise more or less *after these others* counts, see `rate_surprises`.
"""
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.words.tokens import PAD
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate
from train.batches import Batch
from train.model.story_model import StoryModel
from train.model.text import Context

PARTS = ("both", "photo", "caption")
NUM_OTHERS = (1, 3)
SOURCES = ("other_album", "same_album")
ORDERS = np.array(list(permutations(range(5))))  # (120, 5), the true order first
MOST_ORDERED, SHARE_ORDERED = 200, 20            # unless told otherwise: a twentieth of the stories, at most so many
TIE = 1e-6  # of the surprise itself: that much differs between batches
AHEAD = (*Context._fields, "predicted_features")


class Step(NamedTuple):
    """All different steps to one more frame, n of them, after m different beginnings of one length.

    Attributes:
        order: (m,) one that has each beginning. follows: (n,) the beginning of each step. comes: (n,) the frame that it
        adds: it ends in a beginning of the next length. of_order: (120,) the step that each order takes.
    """

    order: list[int]
    follows: list[int]
    comes: list[int]
    of_order: list[int]


def _list_steps() -> list[Step]:
    """Those to the second, third, fourth and fifth frame: 320 in place of 480."""
    orders, steps = ORDERS.tolist(), []
    begun = [list(dict.fromkeys(tuple(order[:length]) for order in orders)) for length in range(1, 6)]
    for length, (before, after) in enumerate(pairwise(begun), start=1):
        beginnings, ends = ([order[:upto] for order in map(tuple, orders)] for upto in (length, length + 1))
        steps.append(Step([beginnings.index(one) for one in before], [before.index(end[:-1]) for end in after],
                          [end[-1] for end in after], [after.index(end) for end in ends]))
    return steps


STEPS = _list_steps()


def measure_surprise(model: StoryModel, ahead: Batch, follows: Tensor, frames: Batch,
                     before: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """How surprising frames are: (3, N) float64 by PARTS; and what the text decoder remembers after them.

    Args:
        ahead: what is AHEAD of M places, from what came before. follows: (N,) int64, the place that each frame follows.
        frames: "image_features", "photo_mask", "token_ids" of the N frames that came; without a photo it surprises
            by its caption alone.
        before: what the text decoder remembers at the M places; None: it reads what came before.
    """
    expected = ahead["predicted_features"][follows]
    photo = (expected - model.standardise(frames["image_features"])).square().mean(dim=-1)
    photo = (photo * frames["photo_mask"]).double()
    counts = (frames["token_ids"] != PAD).sum(dim=-1)
    nats, after = model.text_decoder.tell_surprise(Context.of(ahead), follows, frames["token_ids"], counts.cpu(),
                                                   before)
    caption = nats.double().sum(dim=-1) / (counts - 1).clamp(min=1)
    return torch.stack([photo + caption, photo, caption]), after


@torch.inference_mode()
def surprise_of_endings(model: StoryModel, split: EvaluatedSplit, endings: np.ndarray, batch_size: int, device: str
                        ) -> np.ndarray:
    """How surprising lent last frames are after a story's first four.

    Args:
        endings: (S, E) stories that lend their last frame; -1 takes the story's own.

    Returns:
        (3, S, E) float64, by PARTS.
    """
    parts = []
    for start in range(0, len(split), batch_size):
        places = np.arange(start, min(start + batch_size, len(split)))
        lent = np.where(endings[places] >= 0, endings[places], places[:, None])
        batch = _to(device, split.dataset.__getitems__(np.concatenate([places, *lent.T])))  # one length of captions
        outputs = model.encode({name: tensor[:len(places)] for name, tensor in batch.items()})
        ahead = {name: tensor[:, -1] for name, tensor in outputs.items() if name in AHEAD}
        frames = {name: tensor[len(places):, -1] for name, tensor in batch.items() if tensor.dim() > 1}
        follows = torch.arange(len(places), device=device).repeat(lent.shape[1])
        found, _ = measure_surprise(model, ahead, follows, frames)
        parts.append(found.view(len(PARTS), lent.shape[1], len(places)).transpose(1, 2).cpu().numpy())
    return np.concatenate(parts, axis=1)


@torch.inference_mode()
def surprise_of_orders(model: StoryModel, batch: Batch, batch_size: int, device: str) -> np.ndarray:
    """How surprising stories are told in every order: (3, B, 120, 4) float64, by PARTS, frame by frame from the second.

    Every frame is fused once, and every frame after the same frames is read and asked for once: 325 in place of 600.
    """
    batch = _to(device, batch)
    B = len(batch["story_index"])
    longer = {name: tensor[:, [*range(ORDERS.shape[1]), -1]] if tensor.dim() > 1 else tensor
              for name, tensor in batch.items()}  # the last frame of a batch is not fused: now that is a copy
    read = model.read_frames(longer)[0]                                                    # (B, 5, ...)
    orders = torch.from_numpy(ORDERS).to(device)
    outputs = model.look_ahead({name: tensor[:, orders[:, :-1]].flatten(0, 1) for name, tensor in read.items()})
    told = {name: tensor.unflatten(0, (B, len(ORDERS))) for name, tensor in outputs.items() if name in AHEAD}
    after, found, reads_on = _read_first(model, batch), [], model.text_decoder.reads_on
    for t, step in enumerate(STEPS):
        ahead = {name: tensor[:, step.order, t].flatten(0, 1) for name, tensor in told.items()}
        frames = {name: tensor[:, step.comes].flatten(0, 1) for name, tensor in batch.items() if tensor.dim() > 1}
        follows = torch.arange(B).unsqueeze(1) * len(step.order) + torch.tensor(step.follows)
        surprise, after = measure_surprise(model, ahead, follows.flatten().to(device), frames,
                                           after if reads_on else None)
        found.append(surprise.view(len(PARTS), B, -1)[..., step.of_order])
    return torch.stack(found, dim=-1).cpu().numpy()


def _read_first(model: StoryModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the text decoder remembers after each of five first captions, which follow nothing: (B * 5, ...) each."""
    token_ids, config = batch["token_ids"].flatten(0, 1), model.config
    nothing = Context(*(torch.zeros(1, width, device=token_ids.device) for width in (config.hidden_dim,
                                                                                    config.tag_embedding_dim)))
    none = torch.zeros(len(token_ids), dtype=torch.int64, device=token_ids.device)
    return model.text_decoder.tell_surprise(nothing, none, token_ids, (token_ids != PAD).sum(dim=-1).cpu())[1]


def score_cloze(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str) -> dict[str, Estimate]:
    """How often the true ending surprises least, against 1 and 3 others, from other albums and from the same.

    Returns:
        `cloze.<source>.1_of_<2 or 4>` by both halves, and the same with `.photo` and `.caption`; ties count by half.
    """
    estimates: dict[str, Estimate] = {}
    endings = [draw_endings(split, source) for source in SOURCES]
    surprise = surprise_of_endings(model, split, np.concatenate([np.full((len(split), 1), -1), *endings], axis=1),
                                   batch_size, device)
    for place, (source, drawn) in enumerate(zip(SOURCES, endings)):
        others = surprise[..., 1 + place * max(NUM_OTHERS):][..., :max(NUM_OTHERS)]
        for count in NUM_OTHERS:
            enough = (drawn[:, :count] >= 0).all(axis=1)
            for part, mine, theirs in zip(PARTS, surprise[..., 0], others[..., :count]):
                gap = theirs - mine[:, None]
                tie = TIE * np.maximum(1, np.abs(mine))[:, None]
                beaten_by, level = (gap < -tie).any(axis=1), (np.abs(gap) <= tie).sum(axis=1)
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
    members = np.split(np.argsort(album, kind="stable"), np.cumsum(np.bincount(album))[:-1])
    endings = np.full((len(split), max(NUM_OTHERS)), -1)
    for story in range(len(split)):
        same = members[album[story]]
        if source == "same_album":
            pool = random.permutation(same)
        else:  # 40 drawn anywhere suffice: most stories are of other albums
            pool = random.integers(0, len(album), 40)
            pool = pool[album[pool] != album[story]]
        taken = set(split.candidate[story].tolist()) | {-1}
        chosen: list[int] = []
        for other in pool.tolist():
            if int(last[other]) not in taken and len(chosen) < max(NUM_OTHERS) and split.usable[story, -1]:
                taken.add(int(last[other]))
                chosen.append(other)
        endings[story, :len(chosen)] = chosen
    return endings


def score_ordering(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str,
                   num_stories: int | None = None) -> dict[str, Estimate]:
    """Put the five frames of stories back in order: of all 120 orders the one that surprises least, see below.

    Args:
        num_stories: at most so many, of different photos, drawn by the split's seed among those with five usable
            ones; None: a twentieth of the split, at most 200. Each costs as much as the captions of 80 stories.

    Returns:
        `ordering.spearman`, `.pairwise` (share of pairs in the right order) and `.exact`, by both halves, and the
        same with `.photo` and `.caption`.
    """
    whole = np.random.default_rng(split.seed).permutation(np.flatnonzero(split.usable.all(axis=1)))
    _, first = np.unique(split.units.unit[whole], return_index=True)  # one story of each photo sequence
    wanted = min(MOST_ORDERED, -(-len(split) // SHARE_ORDERED)) if num_stories is None else num_stories
    chosen = np.sort(whole[np.sort(first)][:wanted])
    found = {part: np.full((len(split), 3), np.nan) for part in PARTS}
    for start in range(0, len(chosen), 4):  # few at a time: a story has 480 places
        stories = chosen[start:start + 4]
        surprise = surprise_of_orders(model, split.dataset.__getitems__(stories), batch_size, device)
        for part, of_stories in zip(PARTS, surprise):
            found[part][stories] = rate_surprises(of_stories)
    return {f"ordering.{name}" + ("" if part == "both" else f".{part}"):
            split.resamples.mean(values[:, column], np.ones(len(split)))
            for part, values in found.items() for column, name in enumerate(("spearman", "pairwise", "exact"))}


def rate_surprises(surprise: np.ndarray) -> np.ndarray:
    """Rate the order that surprises least, for every story; orders that surprise alike share their ratings.

    The frame in front is never predicted, so a plain total would favour the order that hides the most surprising frame
    there, and a look at single frames would pass for a sense of order. So from every surprise the frame's own mean is
    taken off, over all that may come before it: what is left says how well it fits *there*. A surprise that depends on
    the frame alone, on the place alone, or on their sum leaves nothing, and all orders tie.

    Args:
        surprise: (S, 120, 4), of the frames ORDERS[:, 1:].

    Returns:
        (S, 3) float64: Spearman's rank correlation, share of rightly ordered pairs, share of exact orders.
    """
    frames = ORDERS[:, 1:]
    usual = np.stack([surprise[:, frames == frame].mean(axis=-1) for frame in range(ORDERS.shape[1])], axis=-1)
    total = (surprise - usual[:, frames]).sum(axis=-1)                                     # (S, 120)
    tie = TIE * np.maximum(1, np.abs(surprise).sum(axis=-1).max(axis=-1, keepdims=True))
    least = total <= total.min(axis=-1, keepdims=True) + tie
    return least @ RATINGS / least.sum(axis=-1, keepdims=True)


def rate_order(order: np.ndarray) -> tuple[float, float, float]:
    """Spearman's rank correlation, share of rightly ordered pairs, and whether all is right; order (K,) of 0..K-1."""
    K = len(order)
    squared = float(np.square(order - np.arange(K)).sum())
    pairs = [order[first] < order[second] for first in range(K) for second in range(first + 1, K)]
    return 1 - 6 * squared / (K * (K * K - 1)), float(np.mean(pairs)), float(squared == 0)


RATINGS = np.array([rate_order(order) for order in ORDERS])  # (120, 3)


def chance_of_sense(split: EvaluatedSplit, metrics: list[str]) -> dict[str, Estimate]:
    """What guessing scores at the metrics named."""
    chance = {"1_of_2": 1 / 2, "1_of_4": 1 / 4, "spearman": 0.0, "pairwise": 1 / 2, "exact": 1 / len(ORDERS)}
    values = {metric: next(value for name, value in chance.items() if name in metric) for metric in metrics}
    return {metric: Estimate(np.full(len(split.resamples.counts), value), len(split))
            for metric, value in values.items()}


def _to(device: str, batch: Batch) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}
