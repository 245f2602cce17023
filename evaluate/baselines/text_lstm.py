"""A language model of stories: an LSTM that reads a story's captions as one stream of words and sees no photo.

How far it comes says how much of the next caption the captions before it give away. Like the story model it is
asked for caption t + 1 after captions 1..t, for every t in one pass. With `reads_on` off every caption is a stream of
its own, in training too: a plain language model of captions, without their context.
"""
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from data.words.tokens import END, PAD, RARE_SHARE, START, UNK, find_rare_words
from evaluate.config import TS
from evaluate.split import EvaluatedSplit
from train.writing.captions import write_captions
from train.writing.config import WritingConfig

logger = logging.getLogger(__name__)

VERSION = 3
FEW_STORIES, MANY_STORIES = 500, 5000
LEAST_EPOCHS, MOST_PRODUCTS = 3, 4 * 10 ** 9  # a token's, over all stories and epochs: some 45 s on one core


@dataclass(frozen=True)
class LSTMConfig:
    """How it is trained; `choose_config` fits it to the number of stories."""

    embedding_dim: int = 256
    hidden_dim: int = 512
    dropout: float = 0.3
    lr: float = 2e-3
    batch_size: int = 32
    epochs: int = 12
    patience: int = 2  # epochs without a better val loss
    clip: float = 1.0
    seed: int = 42
    reads_on: bool = True  # off: what came before a caption is withheld


class StreamState(NamedTuple):
    """Where N captions that are being written stand: (N, hidden_dim) each."""

    output: Tensor
    cell: Tensor

    def select(self, rows: Tensor) -> "StreamState":
        """The state of these rows."""
        return StreamState(self.output[rows], self.cell[rows])


class TextLSTM(nn.Module):
    """Embedding, one LSTM layer, a linear layer to the vocabulary."""

    def __init__(self, vocabulary_size: int, config: LSTMConfig) -> None:
        super().__init__()
        self.reads_on = config.reads_on
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(config.embedding_dim, config.hidden_dim, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.vocabulary = nn.Linear(config.hidden_dim, vocabulary_size)

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.vocabulary.weight.device

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def of_arrays(cls, weights: dict[str, np.ndarray], vocabulary_size: int, config: LSTMConfig) -> "TextLSTM":
        """A model of given weights, in evaluation mode."""
        model = cls(vocabulary_size, config)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return model.eval()

    def read(self, token_ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, hidden_dim), the state after each."""
        return self.lstm(self.dropout(self.embedding(token_ids)))[0]

    def forward(self, states: Tensor) -> Tensor:
        """(..., hidden_dim) states -> (..., V) logits of the id that follows each."""
        return self.vocabulary(self.dropout(states))

    def start(self, state: StreamState) -> StreamState:
        """Go on after captions that have been read, see `states_after`."""
        return state

    def step(self, token_ids: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Read one word of each of N captions: (N, V) logits of the next one, and the state after reading."""
        output, (after, cell) = self.lstm(self.embedding(token_ids)[:, None],
                                          (state.output[None].contiguous(), state.cell[None].contiguous()))
        return self(output[:, 0]), StreamState(after[0], cell[0])

    def states_after(self, token_ids: Tensor, lengths: Tensor) -> StreamState:
        """State and cell after the first `lengths` (N,) ids of each row, at least 1."""
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(token_ids), lengths, batch_first=True,
                                                   enforce_sorted=False)
        _, (output, cell) = self.lstm(packed)
        return StreamState(output[0], cell[0])


def choose_config(num_stories: int, num_words: int) -> LSTMConfig:
    """What is strong on val for so many train stories: seconds for 150, a minute or two for 1,500 on one core.

    Few stories are read in small batches, with much dropout, until val gets no better; of many, a number of products.
    """
    if num_stories <= FEW_STORIES:
        return LSTMConfig(128, 256, dropout=0.5, batch_size=8, epochs=60, patience=3)
    config = LSTMConfig() if num_stories > MANY_STORIES else LSTMConfig(128, 256, lr=3e-3, batch_size=16)
    of_token = config.hidden_dim * (4 * (config.embedding_dim + config.hidden_dim) + num_words)
    return replace(config, epochs=min(config.epochs, max(LEAST_EPOCHS, MOST_PRODUCTS // (num_stories * of_token))))


def train_text_lstm(train: EvaluatedSplit, val: EvaluatedSplit | None, config: LSTMConfig, device: str = "cpu"
                    ) -> TextLSTM:
    """Train on `device` until val gets no better; without val for all epochs. Rare words stand as <UNK> half of the
    time."""
    with torch.random.fork_rng(devices=[device] if device != "cpu" else []):  # this one alone, of however many
        torch.manual_seed(config.seed)
        model = TextLSTM(len(train.words.vocabulary), config).to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
        random, best, since = np.random.default_rng(config.seed), (np.inf, model.state_dict()), 0
        is_rare = find_rare_words(train.token, len(train.words.vocabulary))[train.token]
        for epoch in range(1, config.epochs + 1):
            model.train()
            shown = np.where(is_rare & (random.random(is_rare.shape) < RARE_SHARE), UNK, train.token)
            for token_ids, _ in _batches(model, shown[random.permutation(len(train))], config.batch_size):
                target = token_ids[:, 1:]
                loss = F.cross_entropy(model(model.read(token_ids[:, :-1])[target != PAD]), target[target != PAD])
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), config.clip)
                optimiser.step()
            if val is None:
                continue
            surprise, _ = score_text_lstm(model, val, config.batch_size)
            reached = float(surprise.sum() / val.num_tokens[:, 1:].sum())
            logger.info("%s LSTM, epoch %d: val %.4f nats a token", "text-only" if config.reads_on else "one-sentence",
                        epoch, reached)
            since = 0 if reached < best[0] else since + 1
            if since == 0:
                best = reached, {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if since >= config.patience:
                break
        if val is not None:
            model.load_state_dict(best[1])
    return model.eval()


@torch.inference_mode()
def score_text_lstm(model: TextLSTM, split: EvaluatedSplit, batch_size: int = 64, first: int = 2
                    ) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood of captions `first`..5, each after those before it; (S, 6 - first) float64 each.

    Returns:
        Summed over words and <END>; and summed over those of them that are not <UNK>.
    """
    model.eval()
    parts = []
    frames = split.token.shape[1] if model.reads_on else 1
    for token_ids, frame in _batches(model, split.token, batch_size):
        target = token_ids[:, 1:]
        logits = model(model.read(token_ids[:, :-1])).transpose(1, 2)                      # (B, V, L - 1)
        nll = F.cross_entropy(logits, target, ignore_index=PAD, reduction="none").double()
        told = frame[:, 1:] * (frame[:, 1:] == frame[:, :-1])  # a caption's <START> is given, as it is to every model
        parts.append(torch.stack([torch.stack([(part * (told == number)).sum(dim=1)
                                               for number in range(1, frames + 1)], dim=1)
                                  for part in (nll, nll * (target != UNK))]).cpu().numpy())      # (2, B, frames)
    both, known = np.concatenate(parts, axis=1).reshape(2, *split.token.shape[:2])[..., first - 1:]
    return both, known


@torch.inference_mode()
def write_text_lstm(model: TextLSTM, split: EvaluatedSplit, writing: WritingConfig, batch_size: int = 64
                    ) -> dict[int, list[list[str]]]:
    """Captions t + 1 after the true captions 1..t, in words, by t; of a model that reads on."""
    written: dict[int, list[list[str]]] = {t: [] for t in TS}
    for token_ids, frame in _batches(model, split.token, batch_size):
        for t in TS:
            lengths = ((frame > 0) & (frame <= t)).sum(dim=1).cpu()
            captions = write_captions(model, model.states_after(token_ids, lengths), writing)
            written[t] += [[split.words.vocabulary[index] for index in caption.token_ids] for caption in captions]
    return written


@torch.inference_mode()
def write_story(model: TextLSTM, num_sentences: int, writing: WritingConfig) -> list[list[int]]:
    """The story that follows nothing, sentence after sentence, each after the model's own: word ids."""
    state = StreamState(*(torch.zeros(1, model.lstm.hidden_size, device=model.device) for _ in StreamState._fields))
    told, sentences = torch.zeros(1, 0, dtype=torch.int64, device=model.device), list[list[int]]()
    for _ in range(num_sentences):
        earlier = told.masked_fill(told == END, PAD)  # as `train.writing.stories` has it
        sentences.append(write_captions(model, state, writing, earlier=earlier)[0].token_ids)
        told = torch.cat([told, torch.tensor([[START, *sentences[-1], END]], device=model.device)], dim=1)
        state = model.states_after(told, torch.tensor([told.shape[1]]))
    return sentences


def _batches(model: TextLSTM, token: np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Streams (B, L) int64 of the captions of (S, K, T), padded; and the frame 1..5 of each id, 0 at padding.

    Where the model does not read on, every caption is a stream and its own frame 1, K times as many in a batch.
    """
    if not model.reads_on:
        token, batch_size = token.reshape(-1, 1, token.shape[-1]), batch_size * token.shape[1]
    for start in range(0, len(token), batch_size):
        rows = token[start:start + batch_size]                                             # (B, K, T)
        streams = [row[row != PAD].astype(np.int64) for row in rows]
        frames = [np.repeat(np.arange(1, len(row) + 1), (row != PAD).sum(axis=1)) for row in rows]
        token_ids, frame = (pad_sequence([torch.from_numpy(ids) for ids in part], batch_first=True)  # PAD is 0
                            for part in (streams, frames))
        yield token_ids.to(model.device), frame.to(model.device)
