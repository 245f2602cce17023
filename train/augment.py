"""What training may do to the words that are read; of those to be predicted, rare ones alone become <UNK>.

Everything is drawn from torch's global generator of the CPU, which the loop seeds anew at every step.
"""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from data.words.tokens import END, PAD, START, UNK
from train.model.packing import send


def drop_words(token_ids: Tensor, share: float) -> Tensor:
    """Replace a share of the real words by <UNK> (Bowman et al. 2016)."""
    is_word = (token_ids != PAD) & (token_ids != START) & (token_ids != END)
    return token_ids.masked_fill(is_word & (torch.rand(token_ids.shape) < share), UNK)


def hide_rare_words(token_ids: Tensor, is_rare: Tensor, share: float) -> Tensor:
    """Let a share of the rare words stand as <UNK>, read and to be predicted: else nothing in train would ever be
    unknown, and a model could not expect what it will meet. token_ids (..., T), is_rare (V,)."""
    return token_ids.masked_fill(is_rare[token_ids] & (torch.rand(token_ids.shape) < share), UNK)


class SynonymSwaps:
    """Replaces words that mean a tag by another single-word form of the same tag.

    Args:
        forms: the single-word forms of every tag.
        vocabulary: words in id order; forms it lacks are left out.
    """

    def __init__(self, forms: Iterable[Sequence[str]], vocabulary: Sequence[str]) -> None:
        index = {word: position for position, word in enumerate(vocabulary)}
        groups = [sorted({index[form] for form in group if form in index}) for group in forms]
        groups = [group for group in groups if len(group) > 1]
        width = max((len(group) for group in groups), default=1)
        self.others = torch.arange(len(vocabulary)).unsqueeze(1).repeat(1, width)          # (V, most forms)
        self.num_forms = torch.ones(len(vocabulary), dtype=torch.int64)
        for group in groups:
            for word in group:
                self.others[word, :len(group)] = torch.tensor(group)
                self.num_forms[word] = len(group)

    def __call__(self, token_ids: Tensor, share: float) -> Tensor:
        """Swap a share of the words that have other forms, on the CPU: (..., T) int64 -> the same shape."""
        chosen = (torch.rand(token_ids.shape) * self.num_forms[token_ids]).long()
        swapped = self.others[token_ids, chosen]
        return torch.where(torch.rand(token_ids.shape) < share, swapped, token_ids)


def mix_in_own_words(token_ids: Tensor, caption_logits: Tensor, share: float) -> Tensor:
    """Scheduled sampling in parallel: a share of the words read are the model's own choice at that place.

    Args:
        token_ids: (B, P, T) the true words. caption_logits: (B, P, T-1, V), position i scores token i+1.
        share: how many of the real words, <START> and <END> apart.

    Source: Bengio et al. 2015; all positions at once as in Mihaylova and Martins 2019.
    """
    own = token_ids.clone()
    own[..., 1:] = caption_logits.argmax(dim=-1)
    replaceable = (token_ids != PAD) & (token_ids != START) & (token_ids != END) & (own >= UNK)
    return torch.where(replaceable & send(torch.rand(token_ids.shape) < share, token_ids.device), own, token_ids)
