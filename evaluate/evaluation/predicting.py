"""Run a model over a split: features, tags, likelihood of the true captions, captions written freely."""
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from data.words.tokens import PAD, UNK
from evaluate.config import TS
from evaluate.predictions import KINDS
from evaluate.rows import MODEL, Row, TagGuess
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_scores import FIRST_TAG
from train.batches import Batch
from train.model.story_model import StoryModel
from train.model.text import Context
from train.writing.captions import write_captions
from train.writing.config import WritingConfig
from train.writing.stories import write_stories

Rearrange = Callable[[Batch, np.ndarray], Batch]


@torch.inference_mode()
def predict_split(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str,
                  writing: WritingConfig | None = None, rearrange: Rearrange | None = None, name: str = MODEL,
                  ts: Sequence[int] = TS) -> Row:
    """Predict everything for every story, all t in one causal pass.

    Args:
        model: of the task `next`, in evaluation mode, on `device`.
        writing: how to write captions; None neither writes nor scores the true ones.
        rearrange: changes a batch before the model sees it, given the stories' positions (S of them in all).
        name, ts: of the row, and what it keeps and is written; tags seen are kept with all t.
    """
    kept = [t - 1 for t in ts]
    parts: list[list[np.ndarray]] = []
    written: list[list[list[str]]] = []
    vocabulary = split.words.vocabulary
    for start in range(0, len(split), batch_size):
        places = np.arange(start, min(start + batch_size, len(split)))
        batch = split.dataset.__getitems__(places)
        if rearrange is not None:
            batch = rearrange(batch, places)
        on_device = {name: tensor.to(device) for name, tensor in batch.items()}
        outputs = model.encode(on_device)
        surprise = (score_true_captions(model, outputs, on_device["token_ids"], kept) if writing
                    else torch.zeros(2, len(places), len(ts), dtype=torch.float64))
        parts.append([outputs["predicted_features"].cpu().numpy(), outputs["query_features"].cpu().numpy(),
                      outputs["next_logits"].sigmoid().cpu().numpy(),
                      outputs["seen_logits"].sigmoid().cpu().numpy(), *surprise.cpu().numpy()])
        if writing:
            keys = (batch["story_index"].numpy()[:, None] * len(TS) + kept).ravel()
            captions = write_captions(model.text_decoder, Context.of(outputs).select((slice(None), kept)).flatten(),
                                      writing, keys)
            texts = [[vocabulary[index] for index in caption.token_ids] for caption in captions]
            written += [texts[first:first + len(ts)] for first in range(0, len(texts), len(ts))]
    features, queries, next_probs, seen_probs, nll, known = (np.concatenate(column) for column in zip(*parts))
    row = Row(name, photo={t: features[:, t - 1] for t in ts}, query={t: queries[:, t - 1] for t in ts})
    row.tags["next"] = {t: TagGuess(next_probs[:, t - 1]) for t in ts}
    if writing:
        row.written = {t: [captions[place] for captions in written] for place, t in enumerate(ts)}
        row.nll, row.nll_known = ({t: nats[:, place] for place, t in enumerate(ts)} for nats in (nll, known))
    if ts == TS:
        row.tags["seen"] = {t: TagGuess(seen_probs[:, t]) for t in (0, *TS)}
    return row


@torch.inference_mode()
def tell_split(model: StoryModel, split: EvaluatedSplit, batch_size: int, device: str,
               writing: WritingConfig | None = None) -> Row:
    """Tell every story: its sentences, how likely the true ones are, and tags, by the place 0..K - 1 of the photo.

    Args:
        model: of the task `tell`, in evaluation mode, on `device`.
        writing: how to write sentences; None neither writes nor scores the true ones.
    """
    frames = range(split.token.shape[1])
    parts: list[list[np.ndarray]] = []
    written: list[list[list[str]]] = []
    for start in range(0, len(split), batch_size):
        batch = {name: tensor.to(device) for name, tensor in split.dataset.__getitems__(
            np.arange(start, min(start + batch_size, len(split)))).items()}
        outputs = model.encode(batch)
        tags = [outputs[f"{kind}_logits"].sigmoid() for kind in KINDS]
        surprise = score_true_captions(model, outputs, batch["token_ids"], frames) if writing else ()
        parts.append([part.cpu().numpy() for part in (*tags, *surprise)])
        if writing:
            keys = batch["story_index"].cpu().numpy()[:, None] * len(frames) + np.arange(len(frames))
            written += [[[split.words.vocabulary[index] for index in sentence.token_ids] for sentence in story]
                        for story in write_stories(model.text_decoder, Context.of(outputs), writing, keys)]
    seen, ahead, *surprises = (np.concatenate(column) for column in zip(*parts))
    row = Row(MODEL, tags={kind: {t: TagGuess(probs[:, t]) for t in frames}
                           for kind, probs in zip(KINDS, (seen, ahead))})
    if writing:
        row.written = {t: [story[t] for story in written] for t in frames}
        row.nll, row.nll_known = ({t: nats[:, t] for t in frames} for nats in surprises)
    return row


def name_tags(split: EvaluatedSplit, flags: np.ndarray) -> tuple[str, ...]:
    """The tags whose columns are set in (G,) flags."""
    return tuple(split.words.tag_names[column] for column in np.flatnonzero(flags).tolist() if column >= FIRST_TAG)


def score_true_captions(model: StoryModel, outputs: dict[str, Tensor], token_ids: Tensor,
                        places: Sequence[int]) -> Tensor:
    """(2, B, n) float64 nats of the true captions of n of the P predicted frames, by (B, K, T) ids: of all words and
    <END>, and of those that are not <UNK>."""
    first = token_ids.shape[1] - outputs["hidden"].shape[1]
    counts, true = (token_ids != PAD).sum(dim=-1).cpu(), token_ids[:, [first + place for place in places], 1:]
    nats = model.text_decoder.tell_stories(Context.of(outputs), token_ids, counts, list(places)).double()
    return torch.stack([nats, nats * (true != UNK)]).sum(dim=-1)


def permute_inputs(seed: int, num_stories: int) -> Rearrange:
    """Put the frames 1..4 of every story into another order, photos, captions and masks together; frame 5 stays.

    Args:
        seed: fixes each story's order by its place. num_stories: S.
    """
    random = np.random.default_rng(seed)
    orders = np.empty((num_stories, len(TS) + 1), np.int64)
    for order in orders:
        order[:] = [*random.permutation(len(TS)), len(TS)]
        while (order == np.arange(len(order))).all():  # "another" order: the true one does not count
            order[:-1] = random.permutation(len(TS))

    def rearrange(batch: Batch, places: np.ndarray) -> Batch:
        index = torch.from_numpy(orders[places])
        stories = torch.arange(len(places))[:, None]
        return {name: tensor[stories, index] if tensor.dim() > 1 else tensor for name, tensor in batch.items()}
    return rearrange
