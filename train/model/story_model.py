"""The story model: photos and captions of the frames seen -> photo, caption and tags of the frame that follows.

B batch, K frames, T tokens, D feature width, G tag columns, V words; P predicted frames: K - 1 for the task `next`
(frame t+1 from frames 1..t, all t in one causal pass), K for `tell` (every caption from all photos, no caption read).
"""
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.annotations.annotation_file import NUM_FRAMES
from data.words.tokens import PAD
from train.config import INSTEAD, ModelConfig
from train.model.carry import PhotoCarry, TagCarry
from train.model.packed_lstm import run_frames
from train.model.packing import unpack
from train.model.query import PhotoQuery
from train.model.text import Context, TextDecoder, TextEncoder, TextVectors, pack_targets, pair_words

NUM_UNCOUNTED_TAGS = 2  # columns 0 <PAD> and 1 <UNK> take part in nothing
Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]


class StoryModel(nn.Module):
    """Fusion, sequence and decoder heads over cached photo features.

    Args:
        config: widths and switches.
        feature_dim: D of the features folder. vocabulary_size: V of its word set. num_tags: G, all columns.
        left_out_tags: columns that take part in nothing, beside the first two.
        text_feature_dim: E of the captions' text features, where the settings say that they are read.
    """

    def __init__(self, config: ModelConfig, feature_dim: int, vocabulary_size: int, num_tags: int,
                 left_out_tags: tuple[int, ...] = (), text_feature_dim: int = 0) -> None:
        super().__init__()
        self.config = config
        state_dim = config.hidden_dim + config.tag_embedding_dim
        self.text_encoder = TextEncoder(config, vocabulary_size) if config.text_features != INSTEAD else None
        self.text_vectors = TextVectors(text_feature_dim, config.dropout) if config.reads_vectors else None
        text_dim = sum(part.output_dim for part in (self.text_encoder, self.text_vectors) if part is not None)
        self.fusion = Fusion(feature_dim, text_dim, config.fusion_dim, config.dropout)
        self.sequence = nn.LSTM(config.fusion_dim, config.hidden_dim, config.sequence_layers, batch_first=True,
                                dropout=config.dropout if config.sequence_layers > 1 else 0.0)
        self.sequence_dropout = nn.Dropout(config.dropout)
        self.attention = FrameAttention(config.hidden_dim, config.attention_heads) if config.use_attention else None
        self.seen_head = _tag_head(config.fusion_dim, config, num_tags)
        self.next_head = _tag_head(config.hidden_dim, config, num_tags)
        self.tag_embedding = nn.Parameter(torch.randn(num_tags, config.tag_embedding_dim))
        self.image_decoder = _mlp(state_dim, (config.image_decoder_dim,) * 2, feature_dim, config.dropout)
        self.text_decoder = TextDecoder(config, vocabulary_size)
        carries = config.asked.looks_ahead
        self.photo_carry = PhotoCarry(NUM_FRAMES - 1) if config.photo_carry and carries else None
        self.photo_query = PhotoQuery(feature_dim) if config.photo_query and self.photo_carry else None
        self.tag_carry = TagCarry(NUM_FRAMES - 1) if config.tag_carry and carries else None
        self.seen_carry = TagCarry(NUM_FRAMES - 1) if config.tag_carry and carries else None
        self.seen_probe = nn.Linear(feature_dim, num_tags) if config.tag_probe else None
        if self.seen_probe is not None:
            for parameter in self.seen_probe.parameters():
                nn.init.zeros_(parameter)
        if self.photo_carry is not None:  # the decoder adds to the blend what it knows: at first nothing
            for parameter in self.image_decoder[-1].parameters():
                nn.init.zeros_(parameter)
        counted = torch.ones(num_tags)
        counted[[*range(NUM_UNCOUNTED_TAGS), *left_out_tags]] = 0
        self.register_buffer("counted_tags", counted)                                      # (G,) 1 = counts
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.counted_tags: Tensor
        self.feature_mean: Tensor
        self.feature_std: Tensor

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Keep the train photos' mean and deviation, both (D,), in the model's buffers."""
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)

    def standardise(self, features: Tensor) -> Tensor:
        """Raw features (..., D) -> float32 of mean 0 and deviation 1 over the train photos."""
        return (features.float() - self.feature_mean) / self.feature_std

    def unstandardise(self, features: Tensor) -> Tensor:
        """Standardised features (..., D) -> the folder's scale, float32."""
        return features.float() * self.feature_std + self.feature_mean

    def target_frames(self, frames: Tensor) -> Tensor:
        """The frames (B, P, ...) of a (B, K, ...) tensor that are predicted."""
        return frames[:, 1:] if self.config.asked.looks_ahead else frames

    def forward(self, batch: Batch, padded: bool = True, alone: bool | None = None) -> Outputs:
        """Predict everything, captions with the true words before each given.

        Args:
            batch: see `train.batches.StoryDataset`; `input_ids` (B, K, T) replaces `token_ids` as what is read.
            padded: whether to lay the caption logits out as a rectangle.
            alone: whether the decoder speaks without the trigram; unless told, where they are not.

        Returns:
            `encode`'s tensors and either "caption_logits" (B, P, T-1, V), position i scoring token i+1, zeros at
            padding; or, not padded, "token_logits" (n, V), "token_targets" (n,) and
            "token_pairs" (n, 2), the two words before, of the n real tokens.
        """
        outputs, alone = self.encode(batch), not padded if alone is None else alone
        context, target = Context.of(outputs), self.target_frames
        read, counts = batch.get("decoder_ids", batch["token_ids"]), _caption_lengths(batch)
        if context.past is not None and self.training and self.config.asked.looks_ahead:
            # the first caption follows nothing and is no prediction, but teaches the language
            context, target = context.from_the_first(), lambda frames: frames
        lengths = (target(counts).flatten() - 1).clamp(min=1)
        if context.past is not None:
            logits = self.text_decoder.read_stories(context, read, counts, alone=alone)
        else:
            logits = self.text_decoder(context.flatten(), target(read).flatten(0, 1)[:, :-1], lengths, alone=alone)
        token_ids = target(batch["token_ids"]).flatten(0, 1)                               # (B * P, T)
        if padded:
            captions = unpack(logits, lengths, token_ids.shape[1] - 1)
            outputs["caption_logits"] = captions.unflatten(0, outputs["hidden"].shape[:2])
        else:
            outputs["token_logits"] = logits.data
            outputs["token_targets"] = pack_targets(token_ids, lengths).data
            outputs["token_pairs"] = pair_words(token_ids[:, :-1], lengths).data
        return outputs

    def encode(self, batch: Batch) -> Outputs:
        """Predict everything but the words.

        Args:
            batch: see `train.batches.StoryDataset`. A caption of <PAD> alone is withheld, a frame without
                `photo_mask` has no photo; `input_features` (B, K, D) replaces `image_features` as what is seen.

        Returns:
            "seen_logits" (B, K, G), and what `look_ahead` returns.
        """
        frames, seen, photos = self.read_frames(batch)
        return {**self.look_ahead(frames), "seen_logits": self._read_tags(seen, photos, frames["tags"])}

    def read_frames(self, batch: Batch) -> tuple[Outputs, Tensor, Tensor]:
        """Every frame by itself.

        Returns:
            What `look_ahead` needs of the P frames that something is predicted after, in whatever order they come:
            "fused" (B, P, fusion_dim) photo and caption, "photos" (B, P, D) standardised, zeros where there is none,
            "words" (B, P, T) of the last caption that has been read by then, and its "tags" (B, P, G) where frames
            are predicted; zeros where it is withheld, or there is none yet. And of every frame what
            its tags are read from: (B, K, fusion_dim), the photo fused with no caption, and (B, K, D), the photo.
        """
        is_next, read = self.config.asked.looks_ahead, batch.get("input_ids", batch["token_ids"])
        shown_features = batch.get("input_features", batch["image_features"])
        photos = self.standardise(shown_features) * batch["photo_mask"].unsqueeze(-1)
        seen_photos = self.fusion.read_photos(photos)
        seen = fused = self.fusion.mix(seen_photos)
        ahead = slice(None, -1) if is_next else slice(None)
        if is_next:
            captions = self._encode_captions(batch) if self.config.use_text else None
            shown = seen_photos[:, :-1] if self.config.use_photos else self.fusion.read_photos(
                torch.zeros_like(photos[:, :-1]))
            fused = self.fusion.mix(shown, captions)
        words = (read[:, ahead] if is_next else F.pad(read, (0, 0, 1, 0))[:, :-1]) * self.config.use_text
        tags = batch["tag_targets"][:, ahead] * (words != PAD).any(dim=-1, keepdim=True) * self.counted_tags * is_next
        return {"fused": fused, "photos": photos[:, ahead] * self.config.use_photos, "tags": tags,
                "words": words}, seen, photos

    def look_ahead(self, frames: Batch) -> Outputs:
        """Predict what follows each of P frames, having seen those before it too.

        Args:
            frames: (B, P, ...), see `read_frames`.

        Returns:
            "hidden" (B, P, hidden_dim) the attended state, "next_logits" (B, P, G), "tag_embedding" (B, P,
            tag_embedding_dim), "predicted_features" (B, P, D) standardised, "query_features" (B, P, D) what the next
            photo is sought by; "memory" (B, P, K - 1, T) the captions
            read, the last one first, and "past" what each was to be written from, where the decoder reads them.
        """
        hidden = self.sequence_dropout(run_frames(self.sequence, frames["fused"]))
        if self.attention is not None:
            hidden = self.attention(hidden, is_causal=self.config.asked.looks_ahead)
        next_logits = self.next_head(hidden).float()
        if self.tag_carry is not None:
            next_logits = next_logits + self.tag_carry(frames["tags"])
        if self.seen_probe is not None and not self.config.asked.looks_ahead:              # the photo itself is seen
            next_logits = next_logits + self.seen_probe(self.sequence_dropout(frames["photos"])).float()
        tag_embedding = self._mean_tag_embedding(next_logits)
        predicted = self.image_decoder(torch.cat([hidden, tag_embedding], dim=-1)).float()
        outputs = {"hidden": hidden.float(), "next_logits": next_logits, "tag_embedding": tag_embedding,
                   "predicted_features": predicted}
        if self.photo_carry is not None:
            carried = self.photo_carry(frames["photos"])
            share = 1.0 if self.training else self.photo_carry.decoder_share
            outputs |= {"carried_features": carried, "added_features": predicted,
                        "predicted_features": carried + share * predicted}
        query = self.photo_query or nn.Identity()
        outputs["query_features"] = query(outputs["predicted_features"])
        if self.text_decoder.reads_memory:
            outputs["memory"] = _turn_back(frames["words"])
        if self.text_decoder.reads_on:
            outputs["past"] = _turn_back(F.pad(Context.of(outputs).about, (0, 0, 1, 0))[:, :-1])
        return outputs

    def _read_tags(self, seen: Tensor, photos: Tensor, tags_before: Tensor) -> Tensor:
        logits = self.seen_head(seen).float()
        if self.seen_probe is not None:
            logits = logits + self.seen_probe(self.sequence_dropout(photos)).float()
        if self.seen_carry is not None:
            logits = logits + F.pad(self.seen_carry(tags_before), (0, 0, 1, 0))            # frame 1 has none before it
        return logits

    def _encode_captions(self, batch: Batch) -> Tensor:
        read = batch.get("input_ids", batch["token_ids"])[:, :-1]                          # (B, K - 1, T)
        lengths, parts = _caption_lengths(batch)[:, :-1], []
        if self.text_encoder is not None:
            parts.append(self.text_encoder(read.flatten(0, 1), lengths.flatten()).unflatten(0, read.shape[:2]))
        if self.text_vectors is not None:
            parts.append(self.text_vectors(batch["text_features"][:, :-1], lengths))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def _mean_tag_embedding(self, next_logits: Tensor) -> Tensor:
        """The tags' embeddings weighted by how likely each comes next; gradients flow into the logits."""
        if not self.config.use_tag_embedding:
            return next_logits.new_zeros(*next_logits.shape[:-1], self.config.tag_embedding_dim)
        probs = next_logits.sigmoid() * self.counted_tags
        with torch.autocast(next_logits.device.type, enabled=False):
            return (probs @ self.tag_embedding) / probs.sum(dim=-1, keepdim=True).clamp(min=1e-6)


class Fusion(nn.Module):
    """Mix each frame's photo and caption: concat -> fusion_dim -> fusion_dim.

    The first layer is applied to its two halves apart: the photo's half is the same with and without the caption,
    and is computed once.
    """

    def __init__(self, feature_dim: int, text_dim: int, output_dim: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(feature_dim + text_dim, output_dim)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(output_dim, output_dim)
        self.feature_dim = feature_dim

    def read_photos(self, photos: Tensor) -> Tensor:
        """The photos' half of the first layer: (..., D) standardised -> (..., output_dim)."""
        return F.linear(photos, self.first.weight[:, :self.feature_dim], self.first.bias)

    def mix(self, read_photos: Tensor, captions: Tensor | None = None) -> Tensor:
        """Finish with the encoded captions (..., text_dim), or without: None is the same as zeros."""
        if captions is not None:
            read_photos = read_photos + F.linear(captions, self.first.weight[:, self.feature_dim:])
        return self.second(self.dropout(F.relu(read_photos)))


class FrameAttention(nn.Module):
    """Multi-head attention over frames, with residual and norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, is_causal: bool) -> Tensor:
        """(B, P, width) -> (B, P, width); causal: position t attends to 1..t."""
        frames = hidden.shape[1]
        ahead = torch.ones(frames, frames, dtype=torch.bool, device=hidden.device).triu(1) if is_causal else None
        attended, _ = self.attention(hidden, hidden, hidden, attn_mask=ahead, need_weights=False)
        return self.norm(hidden + attended)


def _turn_back(words: Tensor) -> Tensor:
    """(B, P, T) captions, or whatever frames have -> (B, P, K - 1, T): after frame t its own, the one before it and so
    on, then zeros."""
    frame = torch.arange(words.shape[1], device=words.device)
    place = frame.unsqueeze(1) - frame                                                     # (P, P): t - age
    return (words[:, place.clamp(min=0)] * (place >= 0).view(1, *place.shape, 1))[:, :, :NUM_FRAMES - 1]


def _caption_lengths(batch: Batch) -> Tensor:
    """(B, K) int64 on the CPU; taken from the batch where the loop put it, to spare a wait for the device."""
    return batch["caption_length"] if "caption_length" in batch else (batch["token_ids"] != PAD).sum(dim=-1).cpu()


def _tag_head(width: int, config: ModelConfig, num_tags: int) -> nn.Sequential:
    return _mlp(width, (config.tag_head_dim,), num_tags, config.tag_dropout)


def _mlp(width: int, inner: tuple[int, ...], output_dim: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner_dim in inner:
        layers += [nn.Linear(width, inner_dim), nn.ReLU(), nn.Dropout(dropout)]
        width = inner_dim
    return nn.Sequential(*layers, nn.Linear(width, output_dim))
