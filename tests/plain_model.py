"""The mathematics of `train.model.story_model`, written the plain way: all padded, every position scored, float32."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.words.tokens import PAD
from train.model.story_model import StoryModel


class PlainLoss(nn.Module):
    """The weighted loss of a `StoryModel` on batches of full caption length; it trains that model's own weights."""

    def __init__(self, model: StoryModel, tag_weight: float = 0.3) -> None:
        super().__init__()
        self.model, self.tag_weight = model, tag_weight
        lstm = model.text_encoder.lstm
        # one module a layer and direction, sharing the weights: a padded bidirectional LSTM would begin its way back
        # in the padding
        self.layers = nn.ModuleList(nn.ModuleList(share_layer(lstm, layer, suffix) for suffix in ("", "_reverse"))
                                    for layer in range(lstm.num_layers))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every term as a mean, and "total"."""
        model, token_ids = self.model, batch["token_ids"]
        photos = model.standardise(batch["image_features"])
        captions = self.encode_captions(token_ids)
        withheld = torch.zeros_like(captions)
        seen_logits = model.seen_head(self.fuse(photos, withheld))
        hidden = model.sequence_dropout(model.sequence(self.fuse(photos, captions)[:, :-1])[0])
        assert model.attention is not None
        hidden = model.attention(hidden, is_causal=True)
        next_logits = model.next_head(hidden)
        probs = next_logits.sigmoid() * model.counted_tags
        tag_embedding = (probs @ model.tag_embedding) / probs.sum(dim=-1, keepdim=True)
        context = torch.cat([hidden, tag_embedding], dim=-1)
        targets = batch["tag_targets"]
        terms = {"image": F.mse_loss(model.image_decoder(context), photos[:, 1:]),
                 "text": self.score_captions(context, token_ids[:, 1:]),
                 "tag_seen": self.score_tags(seen_logits, targets),
                 "tag_next": self.score_tags(next_logits, targets[:, 1:])}
        tags = self.tag_weight * (terms["tag_seen"] + terms["tag_next"]) / 2
        return {**terms, "total": terms["image"] + terms["text"] + tags}

    def encode_captions(self, token_ids: Tensor) -> Tensor:
        """(B, K, T) -> (B, K, 2 * text_dim), over every position."""
        flat = token_ids.flatten(0, 1)
        lengths = (flat != PAD).sum(dim=-1)
        words, final = self.model.text_encoder.dropout(self.model.text_encoder.embedding(flat)), []
        for index, (forth, back) in enumerate(self.layers):
            if index:
                words = F.dropout(words, self.model.text_encoder.lstm.dropout, self.training)
            forward = forth(words)[0]
            backward = back(turn(words, lengths))[0]
            last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, forward.shape[-1])
            final = [forward.gather(1, last).squeeze(1), backward.gather(1, last).squeeze(1)]
            words = torch.cat([forward, turn(backward, lengths)], dim=-1)
        return torch.cat(final, dim=-1).unflatten(0, token_ids.shape[:2])

    def fuse(self, photos: Tensor, captions: Tensor) -> Tensor:
        """Both halves of the first layer at once."""
        fusion = self.model.fusion
        return fusion.second(fusion.dropout(F.relu(fusion.first(torch.cat([photos, captions], dim=-1)))))

    def score_captions(self, context: Tensor, token_ids: Tensor) -> Tensor:
        """Logits at every position, padding ignored in the loss alone."""
        decoder, flat = self.model.text_decoder, token_ids.flatten(0, 1)
        words = decoder.dropout(decoder.embedding(flat[:, :-1]))
        contexts = context.flatten(0, 1).unsqueeze(1).expand(-1, words.shape[1], -1)
        output, _ = decoder.lstm(torch.cat([words, contexts], dim=-1).transpose(0, 1))
        logits = decoder.vocabulary(decoder.dropout(output.transpose(0, 1)))
        return F.cross_entropy(logits.flatten(0, 1), flat[:, 1:].flatten(), ignore_index=PAD)

    def score_tags(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the columns that count."""
        counted = self.model.counted_tags.bool()
        return F.binary_cross_entropy_with_logits(logits[..., counted], targets[..., counted])


def share_layer(lstm: nn.LSTM, layer: int, suffix: str) -> nn.LSTM:
    """One layer and direction of an LSTM as a module of its own, on the same weights."""
    width = lstm.input_size if layer == 0 else 2 * lstm.hidden_size
    single = nn.LSTM(width, lstm.hidden_size, batch_first=True)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(single, f"{name}_l0", getattr(lstm, f"{name}_l{layer}{suffix}"))
    return single


def turn(words: Tensor, lengths: Tensor) -> Tensor:
    """Reverse every row within its length: (N, T, D) -> (N, T, D)."""
    places = torch.arange(words.shape[1], device=words.device)
    source = torch.where(places < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - places, places)
    return words.gather(1, source.unsqueeze(-1).expand_as(words))
