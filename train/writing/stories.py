"""Write whole stories: sentence after sentence, each after reading those that were written before it."""
from collections.abc import Sequence

import numpy as np
import torch

from data.words.tokens import END, PAD, START
from train.model.text import Context
from train.writing.captions import Decoder, Written, write_captions
from train.writing.config import WritingConfig


@torch.inference_mode()
def write_stories(decoder: Decoder, context: Context, config: WritingConfig, keys: np.ndarray,
                  begun: Sequence[list[int]] = ()) -> list[list[Written]]:
    """Write P sentences for every row of a context.

    Args:
        context: (B, P, ...), see `StoryModel.look_ahead` for the task `tell`; what it remembers of true captions is not
            looked at. keys: (B, P) ints that name the sentences for sampling.
        begun: word ids of the first sentences of every story where somebody else wrote them; they are read, and given
            back as they are.

    Returns:
        B stories of P sentences.
    """
    B, P = context.hidden.shape[:2]
    told = torch.full((B, P, config.max_words + 2), PAD, device=context.hidden.device)
    stories: list[list[Written]] = [[] for _ in range(B)]
    for place in range(P):
        now = context.select((slice(None), place))
        if now.memory is not None:
            memory = torch.full((*now.memory.shape[:2], told.shape[-1]), PAD, device=told.device)
            memory[:, :place] = told[:, :place].flip(1)[:, :memory.shape[1]]
            now = now._replace(memory=memory)
        earlier = told[:, :place].masked_fill(told[:, :place] == END, PAD).flatten(1)  # a story may end alike twice
        for row, written in enumerate([Written(list(begun[place]), 0.0, True)] * B if place < len(begun) else
                                      write_captions(decoder, now, config, keys[:, place], earlier)):
            stories[row].append(written)
            ids = torch.tensor([START, *written.token_ids, END])
            told[row, place, :len(ids)] = ids
    return stories
