"""Write captions freely, many at once: greedy, beam search, sampling.

The decoder's state grows by one word per step, the prefix is never computed again, and a caption that has ended
leaves the batch. What is written for a row depends on that row, the settings and its key alone, never on its
neighbours in the batch.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from data.words.tokens import END, PAD, START, UNK
from train.writing.config import WritingConfig

FORBIDDEN = [PAD, START, UNK]  # never written; <END> ends


class State(Protocol):
    """What N captions are written from, or where they stand."""

    def select(self, rows: Any) -> "State":
        """These rows of every part, (M,) int64 or a slice, repeats allowed."""


class Decoder(Protocol):
    """What writes: `train.model.text.TextDecoder` and whatever has its two methods. N rows, V words."""

    def start(self, context: Any) -> Any:
        """Begin N captions from what each is about."""

    def step(self, token_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one word (N,) of each caption: the (N, V) logits of the next one, and the state after reading."""


@dataclass(frozen=True)
class Written:
    """One freely written caption.

    Attributes:
        token_ids: its words, without reserved ids.
        log_prob: log-probability of the words, and of `<END>` where it was written, in nats.
        ended: False where the caption was cut at `max_words`.
    """

    token_ids: list[int]
    log_prob: float
    ended: bool


@torch.inference_mode()
def write_captions(decoder: Decoder, context: Any, config: WritingConfig,
                   keys: Sequence[int] | np.ndarray | None = None, earlier: Tensor | None = None) -> list[Written]:
    """Write a caption for every row.

    Args:
        decoder: in eval mode, or dropout makes every caption another one.
        context: what `decoder.start` reads, its first part a tensor of N rows.
        config: how.
        keys: (N,) ints from 0 up that name the rows for sampling (a story's row times 4 plus t): a row draws the same
            words in whatever batch it stands. Positions 0..N-1 when left out.
        earlier: (N, L) int64, the sentences of the story before, one after the other, <PAD> where there is no word.

    Returns:
        N captions, in row order.
    """
    count, device = len(context[0]), context[0].device
    keys = np.arange(count) if keys is None else np.asarray(keys)
    if len(keys) != count:
        raise ValueError(f"keys: expected one per row ({count}), found {len(keys)}")
    written: list[Written] = []
    for first in range(0, count, config.batch_size):
        rows = slice(first, first + config.batch_size)
        state = decoder.start(context.select(rows))
        before = torch.full((len(keys[rows]), 0), PAD, device=device) if earlier is None else earlier[rows].to(device)
        if config.method == "beam":
            written += _search_beams(decoder, state, before, config)
        else:
            uniforms = _draw_uniforms(keys[rows], config).to(device) if config.method == "sample" else None
            written += _write_forward(decoder, state, before, config, uniforms)
    return written


def _write_forward(decoder: Decoder, state: Any, earlier: Tensor, config: WritingConfig,
                   uniforms: Tensor | None) -> list[Written]:
    """Greedy (uniforms None) or sampled captions; uniforms (N, max_words) float64 decide the draws."""
    num_rows, device = len(earlier), earlier.device
    rows = torch.arange(num_rows, device=device)                       # the rows that are still being written
    history = rows.new_zeros(num_rows, 0)                              # (rows, words so far)
    token_ids = torch.full_like(rows, START)
    log_prob = torch.zeros(num_rows, dtype=torch.float64, device=device)
    done: dict[int, tuple[list[int], bool]] = {}
    for position in range(config.max_words):
        logits, state = decoder.step(token_ids, state)
        log_probs = next_log_probs(logits, history, config, earlier[rows])
        if uniforms is None:
            token_ids = log_probs.argmax(dim=-1)
        else:
            token_ids = _sample(log_probs, uniforms[rows, position], config)
        log_prob[rows] += log_probs.gather(1, token_ids[:, None])[:, 0].double()
        ended = token_ids == END
        if ended.any():
            done.update((row, (words, True)) for row, words in zip(rows[ended].tolist(), history[ended].tolist()))
            alive = (~ended).nonzero()[:, 0]
            if not len(alive):
                break
            rows, history, token_ids, state = rows[alive], history[alive], token_ids[alive], state.select(alive)
        history = torch.cat([history, token_ids[:, None]], dim=1)
    else:
        done.update((row, (words, False)) for row, words in zip(rows.tolist(), history.tolist()))
    return [Written(done[row][0], total, done[row][1]) for row, total in enumerate(log_prob.tolist())]


def _search_beams(decoder: Decoder, state: Any, earlier: Tensor, config: WritingConfig) -> list[Written]:
    """Beam search: W unfinished captions per row, every one's ending considered at every step.

    A row stops when its best ended caption outranks whatever its beams could still become.
    """
    W, num_rows, device = config.beam_width, len(earlier), earlier.device
    rows = torch.arange(num_rows, device=device)
    history = rows.new_zeros(num_rows, W, 0)
    score = torch.full((num_rows, W), -torch.inf, dtype=torch.float64, device=device)  # of each beam: log-probability
    score[:, 0] = 0                                                    # the beams are equal at first: one counts
    state = state.select(rows.repeat_interleave(W))
    token_ids = torch.full((num_rows * W,), START, device=device)
    best: list[tuple[float, Written | None]] = [(-np.inf, None)] * num_rows
    furthest = (config.max_words + 1) ** config.length_weight
    for position in range(config.max_words):
        A = len(rows)
        logits, state = decoder.step(token_ids, state)
        log_probs = next_log_probs(logits, history.flatten(0, 1), config, earlier[rows].repeat_interleave(W, dim=0))
        log_probs = log_probs.double().view(A, W, -1)
        total = score[..., None] + log_probs                           # (A, W, V)
        _keep_best(best, rows, history, total[..., END], position + 1, True, config)
        total[..., END] = -torch.inf
        V = total.shape[-1]
        score, place = total.flatten(1).topk(W, dim=-1)                # (A, W)
        parent, word = place // V, place % V
        history = torch.cat([history.gather(1, parent[..., None].expand(-1, -1, position)), word[..., None]], dim=-1)
        reached = torch.tensor([best[row][0] for row in rows.tolist()], dtype=torch.float64, device=device)
        alive = (score[:, 0] / furthest > reached).nonzero()[:, 0]
        if not len(alive):
            break
        state = state.select((alive[:, None] * W + parent[alive]).flatten())
        rows, history, score, token_ids = rows[alive], history[alive], score[alive], word[alive].flatten()
    else:
        _keep_best(best, rows, history, score, config.max_words, False, config)
    found = [written for _, written in best if written is not None]
    assert len(found) == num_rows
    return found


def _keep_best(best: list[tuple[float, Written | None]], rows: Tensor, history: Tensor, log_prob: Tensor,
               num_tokens: int, ended: bool, config: WritingConfig) -> None:
    """Take over complete captions that outrank the best one of their row; log_prob (A, W)."""
    top, beam = log_prob.max(dim=1)
    ranked = (top / num_tokens ** config.length_weight).tolist()
    for place, (row, rank) in enumerate(zip(rows.tolist(), ranked)):
        if rank > best[row][0]:
            words = history[place, beam[place]].tolist()
            best[row] = (rank, Written(words, float(top[place]), ended))


def next_log_probs(logits: Tensor, history: Tensor, config: WritingConfig, earlier: Tensor) -> Tensor:
    """Log-probabilities of the next word, -inf where it may not be written.

    Args:
        logits: (N, V). history: (N, L) int64, the words so far. earlier: (N, M) int64, those of the sentences before.

    Returns:
        (N, V), the model's own (after the repetition penalty) and not normalised again over what is allowed. Where
        nothing is allowed, `<END>` is.
    """
    L, logits = history.shape[1], logits.float()  # half as precise, likely words would tie
    if config.repetition_penalty != 1 and L:
        seen = logits.gather(1, history)
        logits = logits.scatter(1, history, torch.where(seen > 0, seen / config.repetition_penalty,
                                                        seen * config.repetition_penalty))
    own = logits.log_softmax(dim=-1)
    log_probs = own.clone()
    log_probs[:, FORBIDDEN] = -torch.inf
    if L < config.min_words:
        log_probs[:, END] = -torch.inf
    for text, size in ((history, config.no_repeat_ngram), (earlier, config.no_repeat_across)):
        if 0 < size <= text.shape[1] and size <= L + 1:
            windows = text.unfold(1, size, 1)                          # (N, words - size + 1, size)
            ending = history[:, L - size + 1:]                         # (N, size - 1), the n-gram to be completed
            row, place = (windows[..., :-1] == ending[:, None]).all(dim=-1).nonzero(as_tuple=True)
            log_probs[row, windows[row, place, -1]] = -torch.inf
    stuck = log_probs.isinf().all(dim=-1)
    log_probs[stuck, END] = own[stuck, END]
    return log_probs


def _sample(log_probs: Tensor, uniforms: Tensor, config: WritingConfig) -> Tensor:
    """Draw a word per row by inverting the cumulative distribution, in id order; uniforms (N,) in [0, 1)."""
    probs = (log_probs.double() / config.temperature).softmax(dim=-1)
    if 0 < config.top_k < probs.shape[-1]:
        least = probs.topk(config.top_k, dim=-1).values[:, -1:]
        probs = probs.where(probs >= least, 0)
    if config.top_p < 1:
        ordered, place = (probs / probs.sum(dim=-1, keepdim=True)).sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered                      # a word counts while less stands before it
        probs = probs.where((before < config.top_p).gather(1, place.argsort(dim=-1)), 0)
    cumulative = probs.cumsum(dim=-1)
    return torch.searchsorted(cumulative, (uniforms[:, None] * cumulative[:, -1:]), right=True)[:, 0]


def _draw_uniforms(keys: np.ndarray, config: WritingConfig) -> Tensor:
    """(N, max_words) float64 in [0, 1): a stream of its own for every (seed, key)."""
    streams = [np.random.Generator(np.random.Philox(key=[config.seed, int(key)])).random(config.max_words)
               for key in keys]
    return torch.from_numpy(np.stack(streams))
