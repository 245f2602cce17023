"""Captions in and out: the text encoder and the text decoder, both without work on padding."""
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from data.annotations.annotation_file import NUM_FRAMES
from data.words.tokens import PAD, START
from train.config import ModelConfig
from train.model.copying import WordCopier
from train.model.ngrams import NgramTable
from train.model.packed_lstm import last_states, run_packed
from train.model.packing import Packing, pack, send, unpack

SCORED_AT_ONCE = 2048  # words whose logits are in memory at a time


class TextEncoder(nn.Module):
    """Captions -> one vector each: embedding, bidirectional LSTM, the last state of both directions."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(config.embedding_dim, config.text_dim, config.text_layers, bidirectional=True,
                            dropout=config.dropout if config.text_layers > 1 else 0.0)
        self.word_scores = nn.Linear(2 * config.text_dim, 1) if config.word_attention else None
        self.output_dim = 2 * config.text_dim

    def forward(self, token_ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode captions.

        Args:
            token_ids: (N, T) int64, <PAD> behind the real ones.
            lengths: (N,) int64 on the CPU; 0 for a caption that is withheld.

        Returns:
            (N, 2 * text_dim) float32; zeros where the caption is withheld. Padding never changes it.
        """
        packed = pack(token_ids, lengths.clamp(min=1))
        words = run_packed(self.lstm, packed._replace(data=self.dropout(self.embedding(packed.data))))
        encoded = last_states(words) if self.word_scores is None else self._attend(words, lengths)
        if bool((lengths == 0).any()):
            encoded = encoded * send(lengths > 0, encoded.device).unsqueeze(-1)
        return encoded.float()

    def _attend(self, words: PackedSequence, lengths: Tensor) -> Tensor:
        assert self.word_scores is not None
        lengths, T = lengths.clamp(min=1), int(lengths.max())
        states = unpack(words, lengths, T)                                                 # (N, T, 2 * text_dim)
        is_word = send(torch.arange(T) < lengths.unsqueeze(-1), states.device)
        scores = self.word_scores(states).squeeze(-1).float().masked_fill(~is_word, -torch.inf)
        return (scores.softmax(dim=-1).unsqueeze(-1) * states).sum(dim=1)


class TextVectors(nn.Module):
    """Captions' frozen vectors as fusion reads them: standardised by train statistics, with dropout."""

    def __init__(self, text_feature_dim: int, dropout: float) -> None:
        super().__init__()
        self.output_dim, self.dropout = text_feature_dim, nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(text_feature_dim))
        self.register_buffer("std", torch.ones(text_feature_dim))
        self.mean: Tensor
        self.std: Tensor

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Keep the train captions' mean and deviation, both (E,), in the buffers."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Read vectors.

        Args:
            vectors: (..., E) as the folder has them. lengths: (...) on the CPU; 0 for a caption that is withheld.

        Returns:
            (..., E) float32; zeros where the caption is withheld.
        """
        read = self.dropout((vectors.float() - self.mean) / self.std)
        return read * send(lengths > 0, read.device).unsqueeze(-1)


class Context(NamedTuple):
    """What captions are written from; every part has the same N rows, or the leading dimensions (B, P).

    Attributes:
        hidden: (N, hidden_dim), the attended state. tag_embedding: (N, tag_embedding_dim).
        memory: (N, P, T) int64 captions seen, the last one first, <PAD> where there is none; None where none is read.
        past: (N, P, hidden_dim + tag_embedding_dim), what each of these was to be written from; zeros for the first.
    """

    hidden: Tensor
    tag_embedding: Tensor
    memory: Tensor | None = None
    past: Tensor | None = None

    @property
    def about(self) -> Tensor:
        """(..., hidden_dim + tag_embedding_dim), what is read at every step."""
        return torch.cat([self.hidden, self.tag_embedding], dim=-1)

    @classmethod
    def of(cls, outputs: Mapping[str, Tensor]) -> "Context":
        """The context among a model's outputs."""
        return cls(*(outputs.get(name) for name in cls._fields))  # type: ignore[arg-type]

    def select(self, rows: Any) -> "Context":
        """These rows of every part, by whatever a tensor takes as an index."""
        return Context(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]

    def from_the_first(self) -> "Context":
        """(B, P, ...) -> (B, P + 1, ...): before what follows each frame, what follows none, zeros."""
        return Context(*(None if part is None else torch.cat([torch.zeros_like(part[:, :1]), part], dim=1)
                         for part in self))  # type: ignore[arg-type]

    def flatten(self) -> "Context":
        """(B, P, ...) -> (B * P, ...)."""
        return Context(*(None if part is None else part.flatten(0, 1) for part in self))  # type: ignore[arg-type]


class DecoderState(NamedTuple):
    """Where N captions that are being written stand; every part has N rows, so a beam is a row selection.

    Attributes:
        hidden: (N, hidden_dim). tag_embedding: (N, tag_embedding_dim).
        output, cell: (N, layers, decoder_dim), the LSTM's.
        before: (N,) int64, the word read last. memory, keys, scores: what may be copied, see `WordCopier.read`; None
        without.
    """

    hidden: Tensor
    tag_embedding: Tensor
    output: Tensor
    cell: Tensor
    before: Tensor
    memory: Tensor | None = None
    keys: Tensor | None = None
    scores: Tensor | None = None

    def select(self, rows: Tensor) -> "DecoderState":
        """The state of these rows, (M,) int64, repeats allowed."""
        return DecoderState(*(None if part is None else part[rows] for part in self))  # type: ignore[arg-type]


class TextDecoder(nn.Module):
    """State and tag embedding -> a caption, word by word; both are read at every step.

    Args:
        config: widths. vocabulary_size: V.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(config.embedding_dim + config.hidden_dim + config.tag_embedding_dim, config.decoder_dim,
                            config.decoder_layers, dropout=config.dropout if config.decoder_layers > 1 else 0.0)
        self.dropout, self.context_dropout = nn.Dropout(config.dropout), config.context_dropout
        self.vocabulary = nn.Linear(config.decoder_dim, vocabulary_size)
        is_given = config.use_text  # captions of the frames before
        self.reads_on = config.reads_on and is_given
        self.reads_memory = (config.reads_on or config.word_copying) and is_given
        self.copier = (WordCopier(config.decoder_dim, config.embedding_dim, NUM_FRAMES - 1)
                       if config.word_copying and is_given else None)
        self.ngrams = NgramTable(vocabulary_size) if config.ngram_blend else None
        self.register_buffer("ngram_share", torch.zeros(())) if config.ngram_blend else None
        self.ngram_share: Tensor

    def forward(self, context: Context, token_ids: Tensor, lengths: Tensor, alone: bool = False) -> PackedSequence:
        """Score the next word at every real token, the words before it given.

        Args:
            context: N rows.
            token_ids: (N, T) int64, the input words, from <START> on.
            lengths: (N,) int64 on the CPU, how many of them are real, at least 1.
            alone: without the trigram.

        Returns:
            Packed logits (sum of lengths, V) in the order of `train.model.packing`: no padding in between.
        """
        if context.memory is not None and context.past is not None:
            read = F.pad(token_ids, (0, context.memory.shape[-1] - token_ids.shape[-1])).unsqueeze(1)
            captions = torch.cat([context.memory.flip(1), read], dim=1)                    # (N, P + 1, T)
            about = torch.cat([context.past.flip(1), context.about.unsqueeze(1)], dim=1)
            counts = torch.cat([(context.memory.flip(1) != PAD).sum(dim=-1).cpu(), lengths.unsqueeze(1)], dim=1)
            states = self._read_on(captions, about, counts)[:, -1]                         # (N, T, decoder_dim)
            return self._score(pack(states, lengths), context, None if alone else pair_words(token_ids, lengths))
        packed = pack(token_ids, lengths)
        assert packed.sorted_indices is not None
        about = self._drop(context.about).index_select(0, packed.sorted_indices)
        abouts = torch.cat([about[:size] for size in packed.batch_sizes.tolist()])         # (sum of lengths, ...)
        words = torch.cat([self.dropout(self.embedding(packed.data)), abouts], dim=-1)
        return self._score(run_packed(self.lstm, packed._replace(data=words)), context,
                           None if alone else pair_words(token_ids, lengths))

    def read_stories(self, context: Context, token_ids: Tensor, counts: Tensor, alone: bool = False
                     ) -> PackedSequence:
        """Score the captions that follow each of P frames in one pass over each story; needs `context.past`.

        Args:
            context: (B, P, ...), of the last P captions. token_ids: (B, K, T) int64, every caption; the first has
                nothing it follows. counts: (B, K) int64 on the CPU. alone: without the trigram.

        Returns:
            As `forward` for the B * P captions.
        """
        first = token_ids.shape[1] - context.hidden.shape[1]
        about = F.pad(context.about, (0, 0, first, 0))
        states = self._read_on(token_ids, self._drop(about), counts)[:, first:].flatten(0, 1)
        lengths = (counts[:, first:].flatten() - 1).clamp(min=1)
        return self._score(pack(states, lengths), context.flatten(),
                           None if alone else pair_words(token_ids[:, first:, :-1].flatten(0, 1), lengths))

    def start(self, context: Context) -> DecoderState:
        """Begin a caption for each row of a context."""
        output = cell = context.hidden.new_zeros(len(context.hidden), self.lstm.num_layers, self.lstm.hidden_size)
        copied: tuple[Tensor, ...] = ()
        if context.memory is not None and context.past is not None:
            captions = context.memory.flip(1)
            stream, _ = self._lay_out(captions, context.past.flip(1), (captions != PAD).sum(dim=-1).cpu())
            ends = (end.transpose(0, 1) for end in self._run(stream)[1])
            output, cell = (end * (captions != PAD).any(dim=-1).any(dim=-1).view(-1, 1, 1) for end in ends)
        if self.copier is not None and context.memory is not None:
            copied = (context.memory, *self.copier.read(context.memory, self.embedding))
        before = torch.full((len(output),), START, device=output.device)
        return DecoderState(context.hidden, context.tag_embedding, output, cell, before, *copied)

    def step(self, token_ids: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one word of each of N captions.

        Args:
            token_ids: (N,) int64, the words last written; <START> at first.
            state: from `start` or the step before.

        Returns:
            (N, V) logits of the word that follows, and the state after reading.
        """
        words = torch.cat([self.dropout(self.embedding(token_ids)), state.hidden, state.tag_embedding], dim=-1)
        before = (state.output.transpose(0, 1).contiguous(), state.cell.transpose(0, 1).contiguous())
        output, (after, cell) = self._run(words.unsqueeze(0), before)
        states = self.dropout(output.squeeze(0))
        logits = self.vocabulary(states)
        if self.copier is not None and state.memory is not None:
            assert state.keys is not None and state.scores is not None
            rows = torch.arange(len(states), device=states.device)
            logits = self.copier.mix(states, logits, state.keys, state.scores, state.memory, rows,
                                     torch.zeros_like(rows), 1)
        logits = self._blend(logits, torch.stack([state.before, token_ids], dim=1))
        return logits, state._replace(output=after.transpose(0, 1), cell=cell.transpose(0, 1), before=token_ids)

    def tell_surprise(self, context: Context, follows: Tensor, token_ids: Tensor, counts: Tensor,
                      before: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """How surprising every word of captions is; what comes before is read once, however many captions follow it.
        No other word's probability is worked out than the true one's. Not for training.

        Args:
            context: M rows. follows: (N,) int64, the row of the context that each caption follows.
            token_ids: (N, T) int64. counts: (N,) int64 on the CPU, how many of them are real.
            before: the LSTM's state after what comes before, as this function gives it, for M rows; None reads it.

        Returns:
            (N, T - 1) float32 nats of token 1 on, zeros at padding; and the LSTM's output and cell, each (N, layers,
            decoder_dim), after the caption.
        """
        state = self.start(context if before is None else context._replace(past=None))
        output, cell = (part[follows].transpose(0, 1).contiguous() for part in before or (state.output, state.cell))
        plan, about = Packing.plan(counts.clamp(min=1)), torch.cat([state.hidden, state.tag_embedding], dim=-1)[follows]
        rows, steps = (send(index, token_ids.device) for index in (plan.sequence, plan.step))
        words = torch.cat([self.embedding(token_ids[rows, steps]), about[rows]], dim=-1)
        read, after = self._run(plan.wrap(words), (output, cell))
        is_asked = steps < send(counts, steps.device)[rows] - 1  # nothing follows <END>
        nats = self._tell(read.data[is_asked], state.select(follows), token_ids, rows[is_asked], steps[is_asked])
        return nats, (after[0].transpose(0, 1), after[1].transpose(0, 1))

    def tell_stories(self, context: Context, token_ids: Tensor, counts: Tensor, places: list[int]) -> Tensor:
        """`tell_surprise` of captions that follow frames, each story read once.

        Args:
            context, token_ids, counts: those of `read_stories`; a decoder that does not read on is welcome too.
            places: among the P frames, those whose next caption is asked for; n of them.

        Returns:
            (B, n, T - 1) float32 nats, zeros at padding.
        """
        first, asked = token_ids.shape[1] - context.hidden.shape[1], context.select((slice(None), places)).flatten()
        frames = [first + place for place in places]
        told, lengths = token_ids[:, frames].flatten(0, 1), counts[:, frames].flatten()
        if context.past is None:
            nats = self.tell_surprise(asked, torch.arange(len(told), device=told.device), told, lengths)[0]
        else:
            states = self._read_on(token_ids, F.pad(context.about, (0, 0, first, 0)), counts)[:, frames].flatten(0, 1)
            plan = Packing.plan((lengths - 1).clamp(min=1))
            rows, steps = (send(index, told.device) for index in (plan.sequence, plan.step))
            nats = self._tell(states[rows, steps], self.start(asked._replace(past=None)), told, rows, steps)
        return nats.unflatten(0, (len(token_ids), len(places)))

    def _tell(self, states: Tensor, state: DecoderState, token_ids: Tensor, rows: Tensor, steps: Tensor) -> Tensor:
        """(n, decoder_dim) states at n places of N captions -> (N, T - 1) nats of the words that follow there."""
        told = token_ids[rows, steps + 1]
        chances = torch.cat([_log_chance(self.vocabulary(part).float(), words) for part, words in zip(
            states.split(SCORED_AT_ONCE), told.split(SCORED_AT_ONCE))])
        if self.copier is not None and state.memory is not None:
            assert state.keys is not None and state.scores is not None
            chances = self.copier.mix_told(states, chances, told, state.keys, state.scores, state.memory, rows, steps,
                                           token_ids.shape[1])
        if self.ngrams is not None and self.ngram_share > 0:
            pairs = torch.stack([F.pad(token_ids, (1, 0), value=START)[rows, steps], token_ids[rows, steps]], dim=1)
            chances = ((1 - self.ngram_share) * chances.exp() + self.ngram_share * self.ngrams.tell(pairs, told)).log()
        nats = (-chances).masked_fill(told == PAD, 0.0)
        return nats.new_zeros(len(token_ids), token_ids.shape[1] - 1).index_put((rows, steps), nats)

    def _run(self, words: Any, before: tuple[Tensor, Tensor] | None = None) -> Any:
        """The LSTM in float32, whatever autocast says."""
        with torch.autocast(self.vocabulary.weight.device.type, enabled=False):
            return self.lstm(words._replace(data=words.data.float()) if isinstance(words, PackedSequence)
                             else words.float(), before)

    def _read_on(self, captions: Tensor, about: Tensor, counts: Tensor) -> Tensor:
        """Read captions one after the other as one text: (N, K, T) -> (N, K, T, decoder_dim), zeros at padding."""
        stream, (row, slot, place) = self._lay_out(captions, about, counts)
        lengths, (N, K, T) = counts.sum(dim=1).clamp(min=1), captions.shape
        states = unpack(run_packed(self.lstm, stream), lengths, int(lengths.max()))        # (N, longest, decoder_dim)
        laid = states.new_zeros(N, K * T, states.shape[-1]).index_put((row, place), states[row, slot])
        return laid.unflatten(1, (K, T))

    def _lay_out(self, captions: Tensor, about: Tensor, counts: Tensor
                 ) -> tuple[PackedSequence, tuple[Tensor, Tensor, Tensor]]:
        """Captions without their padding as one text a row: its packed words with what they are about; and for every
        word its row, its place in the row's text, and its place among the row's captions."""
        device, (N, K, T) = captions.device, captions.shape
        is_word = torch.arange(T) < counts.unsqueeze(-1)                                   # (N, K, T), on the CPU
        row, place = (send(index, device) for index in is_word.flatten(1).nonzero(as_tuple=True))
        slot = send((is_word.flatten(1).cumsum(dim=1) - 1)[is_word.flatten(1)], device)
        lengths = counts.sum(dim=1).clamp(min=1)
        words = self.dropout(self.embedding(captions.flatten(1)[row, place]))
        # index_select: gradients of what is repeated are added in one order, with square brackets as threads come
        words = torch.cat([words, about.flatten(0, 1).index_select(0, row * K + place // T)], dim=-1)
        stream = words.new_zeros(N, int(lengths.max()), words.shape[-1]).index_put((row, slot), words)
        return pack(stream, lengths), (row, slot, place)

    def _drop(self, about: Tensor) -> Tensor:
        """Withhold what a share of the captions is about; the whole of it: half a context would be another one."""
        if not self.training or not self.context_dropout:
            return about
        return about * (torch.rand(*about.shape[:-1], 1, device=about.device) >= self.context_dropout)

    def _score(self, states: PackedSequence, context: Context, pairs: PackedSequence | None) -> PackedSequence:
        """Packed states -> packed logits, with what may be copied, and with the trigram after `pairs` of words."""
        dropped = self.dropout(states.data)
        logits = self.vocabulary(dropped)
        if self.copier is not None and context.memory is not None:
            assert states.sorted_indices is not None
            memory = context.memory.index_select(0, states.sorted_indices)
            sizes, device = states.batch_sizes, dropped.device
            rows = send(torch.cat([torch.arange(size) for size in sizes.tolist()]), device)
            steps = send(torch.arange(len(sizes)).repeat_interleave(sizes), device)
            logits = self.copier.mix(dropped, logits, *self.copier.read(memory, self.embedding), memory, rows, steps,
                                     len(sizes))
        return states._replace(data=logits if pairs is None else self._blend(logits, pairs.data))

    def _blend(self, logits: Tensor, pairs: Tensor) -> Tensor:
        """(n, V) logits after (n, 2) words -> log-probabilities blended with the trigram's; as they are in training."""
        if self.ngrams is None or self.training:
            return logits
        share, logits = self.ngram_share, logits.float()
        blended = ((1 - share) * logits.softmax(dim=-1) + share * self.ngrams(pairs)).log()
        return torch.where(share > 0, blended, logits)


def _log_chance(logits: Tensor, words: Tensor) -> Tensor:
    """(n, V) logits, (n,) words -> (n,) log-probabilities."""
    return logits.gather(1, words.unsqueeze(1)).squeeze(1) - logits.logsumexp(dim=1)


def pair_words(token_ids: Tensor, lengths: Tensor) -> PackedSequence:
    """Every word read with the one before it, packed (n, 2): token_ids (N, T) from <START> on, lengths (N,)."""
    before = F.pad(token_ids[:, :-1], (1, 0), value=START)
    return pack(torch.stack([before, token_ids], dim=-1), lengths)


def pack_targets(token_ids: Tensor, lengths: Tensor) -> PackedSequence:
    """The words to be predicted, in the order of the decoder's packed logits.

    Args:
        token_ids: (N, T) int64 from <START> on; the target of position i is token i + 1.
        lengths: (N,) int64 on the CPU, how many targets are real, at least 1.
    """
    return pack(token_ids[:, 1:], lengths)
