"""What predictors that learned nothing score on val: without them nobody can tell a loss of 0.99 from a good one."""
from collections.abc import Mapping

import numpy as np
import torch

from data.words.tokens import PAD, START, UNK, find_rare_words
from train.batches import StoryDataset, iterate_batches
from train.criterion import StoryCriterion
from train.start.beginnings import measure_tag_shares

Yardsticks = dict[str, dict[str, float]]  # term -> who knows nothing -> its loss on val
BATCH = 256
NOTHING = 0.995  # a head whose loss is above this share of the best yardstick's has learned nothing
HEADS = {"image": "next photo", "text": "caption", "tag_seen": "tags seen", "tag_next": "tags next"}


@torch.no_grad()
def measure_yardsticks(criterion: StoryCriterion, train_set: StoryDataset, val_set: StoryDataset) -> Yardsticks:
    """Losses on val of the mean of the train photos, the copied last photo, the words' and the tags' shares in train.

    Args:
        criterion: whose model has its statistics set; it says what counts.
    """
    model, device = criterion.model, criterion.model.feature_mean.device
    counts = count_words(train_set.arrays.token.take(train_set.story_rows), len(train_set.words.vocabulary),
                         criterion.rare_as_unknown) + 0.5
    log_words = torch.from_numpy(np.log(counts / counts.sum())).to(device)                 # (V,)
    tag_logits = measure_tag_shares(train_set).to(device)                                  # (G,)
    sums: dict[tuple[str, str], np.ndarray] = {}

    def add(term: str, name: str, total: torch.Tensor, count: torch.Tensor) -> None:
        sums[term, name] = sums.get((term, name), np.zeros(2)) + [float(total), float(count)]
    for batch in iterate_batches(val_set, BATCH):
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        photos = model.standardise(batch["image_features"]) * batch["photo_mask"].unsqueeze(-1)
        targets = model.target_frames(photos)
        guesses = {"mean": torch.zeros_like(targets), "copy": photos[:, :targets.shape[1]]}
        for name, guess in guesses.items() if criterion.has_photo_loss else ():
            loss = criterion.image_loss({"predicted_features": guess}, batch)
            add("image", name, loss.sum, loss.count)
        words_told = model.target_frames(batch["token_ids"])[..., 1:]
        add("text", "unigram", -log_words[words_told[words_told != PAD]].sum(), (words_told != PAD).sum())
        prior = tag_logits.float().expand(batch["tag_targets"].shape)
        for term, loss in (("tag_seen", criterion.seen_tag_loss({"seen_logits": prior}, batch)),
                           ("tag_next", criterion.next_tag_loss({"next_logits": model.target_frames(prior)}, batch))):
            add(term, "prior", loss.sum, loss.count)
    found: Yardsticks = {}
    for (term, name), (total, count) in sums.items():
        if count:
            found.setdefault(term, {})[name] = float(total / count)
    return found


def list_unlearned(val: Mapping[str, float | None], yardsticks: Yardsticks) -> list[str]:
    """A plain sentence for every head that is no better than who knows nothing."""
    sentences = []
    for term, label in HEADS.items():
        loss, others = val.get(term), yardsticks.get(term)
        if loss is None or not others:
            continue
        name, least = min(others.items(), key=lambda item: item[1])
        if loss > NOTHING * least:
            sentences.append(f"{label}: nothing learned that holds on val, loss {loss:.4f} against {least:.4f} of the "
                             f"{name}")
    return sentences


def count_words(token_ids: np.ndarray, num_words: int, rare_as_unknown: float) -> np.ndarray:
    """(V,) how often each id is to be predicted, in expectation where rare words may stand as <UNK>; 0 for <PAD> and
    <START>. token_ids: (..., T)."""
    counts = np.bincount(np.ravel(token_ids), minlength=num_words).astype(float)
    is_rare = find_rare_words(token_ids, num_words)
    counts[UNK] += rare_as_unknown * is_rare.sum()
    counts[is_rare] *= 1 - rare_as_unknown
    counts[[PAD, START]] = 0
    return counts
