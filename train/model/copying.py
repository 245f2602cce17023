"""Words of the captions seen that come again: names above all.

A pointer beside the vocabulary (See et al. 2017; Merity et al. 2017): the decoder's state attends to the words seen,
each with the word before it, and a gate says how much of the next word's probability they get.
"""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.words.tokens import END, PAD, START

COPY_DIM = 64          # width of the attention over words seen
LEAST = 1e-12          # probability of a word that was not seen
FIRST_GATE = -2.0      # the gate's logit at the start: an eighth of the probability


class WordCopier(nn.Module):
    """Attention over the words seen, and the mixture with the vocabulary.

    Args:
        state_dim: of what asks. embedding_dim: of the words. num_frames: P, frames that may have been seen.
    """

    def __init__(self, state_dim: int, embedding_dim: int, num_frames: int) -> None:
        super().__init__()
        self.query = nn.Linear(state_dim, COPY_DIM)
        self.key = nn.Linear(2 * embedding_dim, COPY_DIM)
        self.age = nn.Parameter(torch.zeros(num_frames))
        self.gate = nn.Linear(state_dim, 1)
        nn.init.constant_(self.gate.bias, FIRST_GATE)

    def read(self, memory: Tensor, embedding: nn.Embedding) -> tuple[Tensor, Tensor]:
        """Keys of the words seen.

        Args:
            memory: (N, P, T) int64 captions seen, the last one first, <PAD> where there is none.

        Returns:
            (N, P * T, COPY_DIM) keys and (N, P * T) scores before any question: by age, -inf for what is no word.
        """
        words = embedding(memory)                                                          # (N, P, T, E)
        before = F.pad(words, (0, 0, 1, 0))[:, :, :-1]
        is_word = (memory != PAD) & (memory != START) & (memory != END)
        scores = self.age[:memory.shape[1]].view(1, -1, 1).expand(memory.shape).masked_fill(~is_word, -torch.inf)
        return self.key(torch.cat([words, before], dim=-1)).flatten(1, 2), scores.flatten(1)

    def mix(self, states: Tensor, logits: Tensor, keys: Tensor, scores: Tensor, memory: Tensor, rows: Tensor,
            steps: Tensor, longest: int) -> Tensor:
        """Log-probabilities of the next word, at n places of N captions.

        Args:
            states: (n, state_dim), what asks. logits: (n, V). keys, scores: see `read`. memory: (N, P, T).
            rows: (n,) int64, the caption of each place. steps: (n,) int64, its position there,
                below `longest`.

        Returns:
            (n, V) float32.
        """
        with torch.autocast(logits.device.type, enabled=False):
            log_probs, states = logits.float().log_softmax(dim=-1), states.float()
            attention, has_words = self._attend(states, keys, scores, rows, steps, longest)
            copied = torch.zeros_like(log_probs).scatter_add(-1, memory.flatten(1)[rows], attention)
            return torch.where(has_words, self._weigh(log_probs, copied, self.gate(states)), log_probs)

    def mix_told(self, states: Tensor, log_probs: Tensor, words: Tensor, keys: Tensor, scores: Tensor, memory: Tensor,
                 rows: Tensor, steps: Tensor, longest: int) -> Tensor:
        """`mix` for one word at each place: its log-probability (n,) in the vocabulary -> mixed; `words` (n,) int64."""
        with torch.autocast(states.device.type, enabled=False):
            states = states.float()
            attention, has_words = self._attend(states, keys, scores, rows, steps, longest)
            copied = (attention * (memory.flatten(1)[rows] == words.unsqueeze(1))).sum(dim=-1)
            mixed = self._weigh(log_probs, copied, self.gate(states).squeeze(1))
            return torch.where(has_words.squeeze(1), mixed, log_probs)

    def _attend(self, states: Tensor, keys: Tensor, scores: Tensor, rows: Tensor, steps: Tensor, longest: int
                ) -> tuple[Tensor, Tensor]:
        """(n, P * T) shares of the words seen, and (n, 1) whether there are any."""
        queries = states.new_zeros(len(keys), longest, COPY_DIM)
        queries = queries.index_put((rows, steps), self.query(states))
        asked = (queries @ keys.float().transpose(1, 2))[rows, steps] / COPY_DIM ** 0.5       # (n, P * T)
        has_words = scores.isfinite().any(dim=-1)[rows].unsqueeze(-1)
        return (asked + scores.index_select(0, rows)).masked_fill(~has_words, 0.0).softmax(dim=-1), has_words

    @staticmethod
    def _weigh(log_probs: Tensor, copied: Tensor, gate: Tensor) -> Tensor:
        return torch.logaddexp(log_probs + F.logsigmoid(-gate), copied.clamp(min=LEAST).log() + F.logsigmoid(gate))
