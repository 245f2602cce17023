"""Unigram and trigram language models over token ids: baselines, and what the text decoder is blended with.

The trigram model interpolates relative frequencies of orders 3, 2, 1 and a uniform floor; the weights are those that
make the val captions most likely (expectation maximisation, Jelinek and Mercer 1980). A word that train knows from one
place counts half as itself and half as <UNK>: that is the models' rule in expectation (see `train.augment`).
"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.words.tokens import END, PAD, RARE_SHARE, START, UNK, find_rare_words

EM_STEPS = 30


@dataclass(frozen=True)
class NgramModel:
    """An interpolated model of one order.

    Attributes:
        order: 1, 2 or 3. keys, counts: per order n the sorted n-gram keys and how often each occurred; halves occur.
        weights: (order + 1,) float64, of orders 1..order and, last, the uniform floor. num_words: V.
    """

    order: int
    keys: list[np.ndarray]
    counts: list[np.ndarray]
    weights: np.ndarray
    num_words: int

    @classmethod
    def fit(cls, train: np.ndarray, val: np.ndarray, order: int, num_words: int) -> "NgramModel":
        """Count train captions and weigh the orders on val captions.

        Args:
            train, val: (n, T) token ids, <START> first, <PAD> behind <END>. Without val the orders weigh equally.
            order: 1 to 3. num_words: V.
        """
        keys, counts = _count(train, order, num_words)
        weights = np.full(order + 1, 1 / (order + 1))
        model = cls(order, keys, counts, weights, num_words)
        held_out = _windows(val, 3)
        if not len(held_out):
            return model
        chances, known = model._chances(held_out)
        for _ in range(EM_STEPS):
            share = chances * weights
            weights = (share / share.sum(axis=1, keepdims=True)).sum(axis=0)
            weights /= np.maximum(known.sum(axis=0), 1)  # an order is asked only where it knows the context
            weights /= weights.sum()
        return cls(order, keys, counts, weights, num_words)

    def nll(self, token_ids: np.ndarray, known: bool = False) -> np.ndarray:
        """(n, T) captions -> (n,) summed negative log-likelihood of their words and <END>, in nats.

        Args:
            known: leave out what is <UNK>.
        """
        grams = _windows(token_ids, 3)
        owner = np.nonzero(token_ids[:, 1:] != PAD)[0]
        counted = grams[:, -1] != UNK if known else np.ones(len(grams), bool)
        return np.bincount(owner, np.where(counted, -np.log(self.mix(grams)), 0.0), minlength=len(token_ids))

    def write(self, max_words: int) -> list[int]:
        """The likeliest next word, again and again from <START> on, until <END>."""
        context = (START, START)
        written: list[int] = []
        candidates = np.array([index for index in range(self.num_words) if index not in (PAD, START, UNK)])
        while len(written) < max_words:
            grams = np.column_stack([np.tile(context, (len(candidates), 1)), candidates])
            word = int(candidates[np.argmax(self.mix(grams))])
            if word == END:
                break
            written.append(word)
            context = (context[1], word)
        return written

    def mix(self, grams: np.ndarray) -> np.ndarray:
        """(n, 3) windows -> (n,) probability of the last word; orders that never met its context are left out."""
        chances, known = self._chances(grams)
        return (chances @ self.weights) / (known @ self.weights)

    def _chances(self, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3) windows -> (n, order + 1) probability of the last word by each order and the uniform floor, and
        whether that order knows the context."""
        columns, known = [], []
        for n in range(1, self.order + 1):
            found = _look_up(self.keys[n - 1], self.counts[n - 1], _keys(grams[:, 3 - n:], self.num_words))
            if n == 1:
                columns.append(found / max(1.0, self.counts[0].sum()))
                known.append(np.ones(len(grams), bool))
                continue
            context_keys, context_counts = self._contexts(n)
            context = _look_up(context_keys, context_counts, _keys(grams[:, 3 - n:2], self.num_words))
            columns.append(np.divide(found, context, out=np.zeros(len(found)), where=context > 0))
            known.append(context > 0)
        columns.append(np.full(len(grams), 1 / self.num_words))
        known.append(np.ones(len(grams), bool))
        return np.column_stack(columns), np.column_stack(known)

    def _contexts(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """How often the first n - 1 words of each n-gram occurred, from the n-grams' counts."""
        context, inverse = np.unique(self.keys[n - 1] // self.num_words, return_inverse=True)
        return context, np.bincount(inverse, self.counts[n - 1])


def _count(token_ids: np.ndarray, order: int, num_words: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sorted n-gram keys and their counts by n: the captions once as they are, once with their rare words unknown."""
    unknown = np.where(find_rare_words(token_ids, num_words)[token_ids], UNK, token_ids)
    grams = np.concatenate([_windows(token_ids, 3), _windows(unknown, 3)])
    share = np.repeat([1 - RARE_SHARE, RARE_SHARE], len(grams) // 2)
    keys, counts = [], []
    for n in range(1, order + 1):
        distinct, place = np.unique(_keys(grams[:, 3 - n:], num_words), return_inverse=True)
        keys.append(distinct)
        counts.append(np.bincount(place, share))
    return keys, counts


class NgramTable(nn.Module):
    """A trigram model as tensors that are kept with a model's weights: whole rows of probabilities, on any device.

    Buffers are empty until `fill`; a checkpoint's sizes are taken over when it is loaded.
    """

    NAMES = ("keys_2", "counts_2", "keys_3", "counts_3")

    def __init__(self, num_words: int) -> None:
        super().__init__()
        self.num_words = num_words
        self.register_buffer("unigram", torch.full((num_words,), 1 / num_words))           # (V,)
        self.register_buffer("weights", torch.zeros(4))  # of orders 1 to 3 and the uniform floor
        for name in self.NAMES:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64 if name.startswith("keys") else torch.float32))
        self.unigram: Tensor
        self.weights: Tensor

    def fill(self, model: NgramModel) -> None:
        """Take over a trigram model."""
        device, counts = self.unigram.device, np.zeros(self.num_words)
        counts[model.keys[0]] = model.counts[0]
        self.unigram.copy_(torch.from_numpy(counts / max(counts.sum(), 1)))
        self.weights.copy_(torch.from_numpy(model.weights))
        for order in (2, 3):
            setattr(self, f"keys_{order}", torch.from_numpy(model.keys[order - 1]).to(device))
            setattr(self, f"counts_{order}", torch.from_numpy(model.counts[order - 1]).float().to(device))

    def forward(self, before: Tensor) -> Tensor:
        """(n, 2) int64, the last two words -> (n, V) float32 probabilities of the next; orders that never met the
        context are left out, as `NgramModel.mix` has it."""
        probs = self.weights[0] * self.unigram + self.weights[3] / self.num_words
        probs, known = probs.repeat(len(before), 1), (self.weights[0] + self.weights[3]).repeat(len(before))
        contexts = before[:, 1], before[:, 0] * self.num_words + before[:, 1]
        for order, context in zip((2, 3), contexts):
            keys, counts = getattr(self, f"keys_{order}"), getattr(self, f"counts_{order}")
            start = torch.searchsorted(keys, context * self.num_words)
            lengths = torch.searchsorted(keys, (context + 1) * self.num_words) - start
            row = torch.arange(len(before), device=before.device).repeat_interleave(lengths)
            place = torch.arange(len(row), device=before.device) - (lengths.cumsum(0) - lengths)[row] + start[row]
            total = torch.zeros(len(before), device=before.device).index_add(0, row, counts[place])
            probs = probs.index_put((row, keys[place] % self.num_words), self.weights[order - 1] * counts[place]
                                    / total[row], accumulate=True)
            known = known + self.weights[order - 1] * (lengths > 0)
        return probs / known.unsqueeze(-1)

    def tell(self, before: Tensor, words: Tensor) -> Tensor:
        """(n, 2) last two words, (n,) the next ones -> (n,) their probabilities, as `forward` has them."""
        V = self.num_words
        probs = self.weights[0] * self.unigram[words] + self.weights[3] / V
        known = (self.weights[0] + self.weights[3]).expand(len(words))
        for order, context in zip((2, 3), (before[:, 1], before[:, 0] * V + before[:, 1])):
            keys, counts = getattr(self, f"keys_{order}"), getattr(self, f"counts_{order}")
            upto = F.pad(counts.double().cumsum(0), (1, 0))
            start, place, stop = (torch.searchsorted(keys, key) for key in (context * V, context * V + words,
                                                                            (context + 1) * V))
            is_there = F.pad(keys, (0, 1), value=-1)[place] == context * V + words
            found = torch.where(is_there, F.pad(counts, (0, 1))[place], 0.0)
            total = (upto[stop] - upto[start]).float()
            probs = probs + self.weights[order - 1] * found / total.clamp(min=0.5)  # the least count there is
            known = known + self.weights[order - 1] * (stop > start)
        return probs / known

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        for name in self.NAMES:
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.unigram.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _windows(token_ids: np.ndarray, order: int) -> np.ndarray:
    """Every word and <END> with the order - 1 tokens before it; <START> repeats before the caption: (n, order)."""
    padded = np.concatenate([np.full((len(token_ids), order - 2), START), token_ids.astype(np.int64)], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, order, axis=1)
    return windows[windows[:, :, -1] != PAD]


def _keys(grams: np.ndarray, num_words: int) -> np.ndarray:
    """One int64 per n-gram: V^3 stays below 2^63 for every vocabulary of 16-bit ids."""
    key = np.zeros(len(grams), np.int64)
    for column in grams.T:
        key = key * num_words + column
    return key


def _look_up(keys: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    return np.where(keys[place] == wanted, counts[place], 0.0) if len(keys) else np.zeros(len(wanted))
