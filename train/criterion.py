"""The losses: one method per term, each a sum over its valid elements with their count.

Sums and counts, not means: they add up over batches and processes, and are divided once, at the end.
"""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from data.folder.word_reader import DII
from data.words.tokens import PAD
from train.config import TrainConfig
from train.model.story_model import StoryModel

TERMS = ("image", "text", "tag_seen", "tag_next", "contrastive")
SELECTION_TERMS = ("image", "text")  # unweighted, on val: so that loss weights can be compared


@dataclass(frozen=True)
class Term:
    """A loss summed over `count` valid elements; both are tensors without dimensions."""

    sum: Tensor
    count: Tensor


class StoryCriterion:
    """Loss terms of a batch.

    Args:
        config: loss weights, task and temperature.
        model: whose statistics standardise the targets and whose tags count.
        described_apart: whether a photo that nobody described is no negative for a tag, see `tag_loss`.
    """

    def __init__(self, config: TrainConfig, model: StoryModel, described_apart: bool = False) -> None:
        self.described_apart = described_apart
        self.model, self.temperature = model, config.contrastive_temperature
        self.rare_as_unknown = config.rare_as_unknown
        self.has_photo_loss = config.asked.predicts_photo
        self.weights = {"image": config.image_weight, "text": config.text_weight, "tag_seen": config.tag_weight / 2,
                        "tag_next": config.tag_weight / 2, "contrastive": config.contrastive_weight}

    def __call__(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Term]:
        """Every term that has a weight, or is reported without one; outputs from `StoryModel(padded=False)`."""
        terms = {"image": self.image_loss(outputs, batch), "text": self.text_loss(outputs),
                 "tag_seen": self.seen_tag_loss(outputs, batch),
                 "tag_next": self.next_tag_loss(outputs, batch)}
        if self.weights["contrastive"]:
            terms["contrastive"] = self.contrastive_loss(outputs, batch)
        return terms

    def total(self, means: Mapping[str, Tensor] | Mapping[str, float]) -> Tensor | float:
        """The weighted sum of the terms' means."""
        return sum((self.weights[name] * mean for name, mean in means.items()), start=0.0)

    def image_loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Term:
        """Squared error of standardised features, mean over D, summed over predicted frames that have a photo."""
        is_photo = self._target_photos(batch)                                              # (B, P)
        error = (outputs["predicted_features"] - self._target_features(batch)).square().mean(dim=-1)
        return Term((error * is_photo).sum(), is_photo.sum())

    @torch.no_grad()
    def raw_image_error(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Term:
        """The same in the folder's own scale, to report."""
        is_photo = self._target_photos(batch)
        error = (outputs["predicted_features"] - self._target_features(batch)) * self.model.feature_std
        return Term((error.square().mean(dim=-1) * is_photo).sum(), is_photo.sum())

    def text_loss(self, outputs: Mapping[str, Tensor]) -> Term:
        """Cross-entropy, summed over real words and <END>."""
        targets = outputs["token_targets"]
        loss = F.cross_entropy(outputs["token_logits"].float(), targets, ignore_index=PAD, reduction="sum")
        return Term(loss, (targets != PAD).sum())

    def seen_tag_loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Term:
        """Tags of the frames seen that have a photo, their own captions withheld."""
        return self.tag_loss(outputs["seen_logits"], batch["tag_targets"], batch["tag_source"],
                             batch["photo_mask"])

    def next_tag_loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Term:
        """Tags of the predicted frames from the attended state."""
        logits, target = outputs["next_logits"], self.model.target_frames
        everywhere = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        return self.tag_loss(logits, target(batch["tag_targets"]), target(batch["tag_source"]), everywhere)

    def tag_loss(self, logits: Tensor, tag_targets: Tensor, tag_source: Tensor, is_valid: Tensor) -> Term:
        """Binary cross-entropy, mean over the tags that count, summed over valid frames.

        Where `described_apart`, a frame whose photo nobody described (no DII) teaches the tags it has, and no absence.

        Args:
            logits, tag_targets: (B, P, G). tag_source: (B, P) uint8. is_valid: (B, P) bool.
        """
        counted = self.model.counted_tags.expand(logits.shape)
        if self.described_apart:
            counted = counted * ((tag_source & DII > 0).unsqueeze(-1) | (tag_targets > 0))
        loss = F.binary_cross_entropy_with_logits(logits, tag_targets, reduction="none")
        per_frame = (loss * counted).sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
        return Term((per_frame * is_valid).sum(), is_valid.sum())

    def contrastive_loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Term:
        """InfoNCE in both directions between predicted and true features, over the batch's other photos.

        van den Oord et al. 2018. Other copies of the true photo are no negatives.
        """
        is_photo = self._target_photos(batch).flatten()
        predicted = F.normalize(outputs["predicted_features"].flatten(0, 1), dim=-1)
        true = F.normalize(self._target_features(batch).flatten(0, 1), dim=-1)             # (n, D)
        content = self.model.target_frames(batch["content"]).flatten()
        excluded = (content.unsqueeze(1) == content) | ~is_photo
        excluded.fill_diagonal_(False)
        scores = (predicted @ true.T / self.temperature)
        own = torch.arange(len(scores), device=scores.device)
        forth = F.cross_entropy(scores.masked_fill(excluded, -torch.inf), own, reduction="none")
        back = F.cross_entropy(scores.T.masked_fill(excluded, -torch.inf), own, reduction="none")
        return Term(((forth + back) / 2 * is_photo).sum(), is_photo.sum())

    def _target_features(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.model.standardise(self.model.target_frames(batch["image_features"]))

    def _target_photos(self, batch: Mapping[str, Tensor]) -> Tensor:
        is_photo = self.model.target_frames(batch["photo_mask"])
        return is_photo if self.has_photo_loss else torch.zeros_like(is_photo)
