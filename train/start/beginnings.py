"""Where a fresh model begins: on what train says without any learning."""
from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.batches import StoryDataset, iterate_batches
from train.model.ngrams import NgramModel
from train.model.story_model import StoryModel

BLEND_STORIES = 20_000       # at most so many, evenly taken, decide a few weights as well as all do
BATCH = 256
PENALTIES = (1.0, 0.01, 0.1, 10.0, 100.0)  # of the ridge, times the number of photos; the first where there is no val
SCALES = (0.1, 0.3, 1.0)                   # of what it says, likewise


def begin_on_blend(model: StoryModel, train_set: StoryDataset) -> None:
    """Let the carry of photos begin on the weights that fit the train stories best."""
    assert model.photo_carry is not None

    def read() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        device = model.feature_mean.device
        for batch in iterate_batches(train_set, BATCH, train_set.spread(BLEND_STORIES)):
            is_photo = batch["photo_mask"].to(device)
            photos = model.standardise(batch["image_features"].to(device)) * is_photo.unsqueeze(-1)
            yield photos[:, :-1], photos[:, 1:], is_photo[:, 1:]
    model.photo_carry.fit(read())


def begin_on_probe(model: StoryModel, train_set: StoryDataset, val_set: StoryDataset | None) -> None:
    """Let the probe of seen tags begin on the ridge from photos to tags, as far as that makes val's tags likelier.

    A ridge tells shares, the probe logits: near a tag's share p a step in the share is 1 / (p (1 - p)) in its logit,
    farther off a smaller one. Of PENALTIES and SCALES those with the least cross-entropy on val are taken; nothing, if
    tags are likelier by their shares alone.
    """
    assert model.seen_probe is not None
    device = model.feature_mean.device
    begin = measure_tag_shares(train_set).to(device)                                       # (G,) logits
    share = begin.sigmoid()

    def read(dataset: StoryDataset) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in iterate_batches(dataset, BATCH, dataset.spread(BLEND_STORIES)):
            photos, tags = (batch[name][batch["photo_mask"]].to(device) for name in ("image_features", "tag_targets"))
            yield model.standardise(photos).double(), tags.double()                        # (n, D), (n, G)

    D, count = model.seen_probe.in_features, 0
    products, told = share.new_zeros(D, D), share.new_zeros(D, len(share))
    for photos, tags in read(train_set):
        products, told, count = products + photos.T @ photos, told + photos.T @ (tags - share), count + len(photos)

    def solve(penalty: float) -> Tensor:
        diagonal = torch.eye(D, dtype=torch.float64, device=device) * penalty * count
        return torch.cholesky_solve(told, torch.linalg.cholesky(products + diagonal)) / (share * (1 - share))

    held_out = list(read(val_set)) if val_set is not None else []

    def measure_loss(weight: Tensor) -> float:
        return sum(float((F.binary_cross_entropy_with_logits(begin + photos @ weight, tags, reduction="none")
                          * model.counted_tags).sum()) for photos, tags in held_out)

    choices = (scale * weight for weight in map(solve, PENALTIES) for scale in SCALES)
    best = min(chain(choices, [torch.zeros_like(told)]), key=measure_loss)
    with torch.no_grad():
        model.seen_probe.weight.copy_(best.T)


def begin_on_tag_shares(model: StoryModel, train_set: StoryDataset) -> None:
    """Let every tag begin as likely as it is in train."""
    begin = measure_tag_shares(train_set)
    with torch.no_grad():
        for layer in (model.seen_head[-1], model.next_head[-1]):
            assert isinstance(layer, nn.Linear)
            layer.bias.copy_(begin)


def begin_on_ngrams(model: StoryModel, train_set: StoryDataset, val_set: StoryDataset | None) -> None:
    """Give the text decoder the trigram of the train captions, its orders weighed on val's."""
    if model.text_decoder.ngrams is None:
        return
    T = train_set.arrays.token.row_shape[-1]
    told, held_out = (dataset.arrays.token.take(dataset.story_rows).reshape(-1, T) if dataset is not None
                      else np.zeros((0, T), np.uint16) for dataset in (train_set, val_set))
    model.text_decoder.ngrams.fill(NgramModel.fit(told, held_out, 3, len(train_set.words.vocabulary)))


def measure_tag_shares(train_set: StoryDataset) -> Tensor:
    """How likely every tag is in train, as logits (G,), float64, none of them 0 or 1."""
    tags = train_set.arrays.tag.take(train_set.story_rows)
    return torch.logit(torch.from_numpy((tags.sum(axis=(0, 1)) + 0.5) / (tags.shape[0] * tags.shape[1] + 1)))
