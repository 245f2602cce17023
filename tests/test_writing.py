"""Free writing against exhaustive search on a small decoder, and its invariances."""
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch

from data.words.tokens import END, PAD, START, UNK
from evaluate.captions.detokenise import detokenise
from train.model.text import Context
from train.writing.captions import next_log_probs, write_captions
from train.writing.config import WritingConfig

V = 9  # four reserved words and five others


class TableState(NamedTuple):
    logits: torch.Tensor   # (N, steps, V, V), by position and word read
    position: torch.Tensor

    def select(self, rows):
        return TableState(self.logits[rows], self.position[rows])


PLAIN = {"no_repeat_ngram": 0, "repetition_penalty": 1.0}


class TableDecoder:
    """Logits by position and last word, from a table: (N, steps, V, V). Counts the rows it was asked for."""

    rows = 0

    def start(self, context):
        return TableState(context.hidden, torch.zeros(len(context.hidden), dtype=torch.long))

    def step(self, token_ids, state):
        self.rows += len(token_ids)
        logits = state.logits[torch.arange(len(token_ids)), state.position, token_ids]
        return logits, TableState(state.logits, state.position + 1)


def draw_tables(num_rows, steps, seed=0, scale=2.0):
    return torch.randn(num_rows, steps, V, V, generator=torch.Generator().manual_seed(seed)) * scale


def write(tables, config=None, decoder=None, keys=None, **settings):
    config = config or WritingConfig(max_words=tables.shape[1], **{**PLAIN, **settings})
    return write_captions(decoder or TableDecoder(), Context(tables, torch.zeros(len(tables), 1)), config, keys)


def all_captions(table, config):
    """Every caption that may be written with its log-probability, by enumeration."""
    log_probs = table.double().log_softmax(dim=-1)
    allowed = [word for word in range(V) if word not in (PAD, START, UNK, END)]
    for length in range(config.min_words, config.max_words + 1):
        for words in product(allowed, repeat=length):
            read = (START, *words)
            total = sum(log_probs[place, read[place], word].item() for place, word in enumerate(words))
            if length < config.max_words:
                yield list(words), total + log_probs[length, read[length], END].item(), length + 1
            else:
                yield list(words), total, length


@pytest.mark.parametrize("length_weight", [0.0, 0.7, 1.5])
def test_a_wide_beam_finds_the_best_caption_there_is(length_weight):
    tables = draw_tables(12, 4)
    config = WritingConfig(method="beam", beam_width=5 ** 4, length_weight=length_weight, max_words=4,
                           **PLAIN)
    lengths = set()
    for written, table in zip(write(tables, config), tables):
        words, log_prob, _ = max(all_captions(table, config), key=lambda item: item[1] / item[2] ** length_weight)
        assert written.token_ids == words and written.log_prob == pytest.approx(log_prob, abs=1e-5)
        lengths.add(len(words))
    assert len(lengths) > 1


def test_wider_beams_rank_no_worse_and_one_beam_is_greedy_without_normalisation():
    tables = draw_tables(20, 6, seed=1, scale=1.0)

    def rank(width):
        return np.array([caption.log_prob / (len(caption.token_ids) + caption.ended) ** .7
                         for caption in write(tables, method="beam", beam_width=width)])
    assert (rank(50) >= rank(1) - 1e-9).all() and (rank(50) > rank(1) + 1e-6).any()


def test_greedy_takes_the_likeliest_allowed_word_every_time():
    tables = draw_tables(30, 6)
    for written, table in zip(write(tables), tables):
        words, read = [], START
        for place in range(6):
            logits = table[place, read].clone()
            logits[[PAD, START, UNK] + ([END] if place == 0 else [])] = -torch.inf
            read = int(logits.argmax())
            if read == END:
                break
            words.append(read)
        assert written.token_ids == words and written.ended == (read == END)


@pytest.mark.parametrize("settings", [
    {}, {"method": "beam", "beam_width": 3}, {"method": "sample"}, {"method": "sample", "top_k": 3, "temperature": .7},
    {"method": "sample", "top_p": .8}, {"method": "beam", "no_repeat_ngram": 2}, {"repetition_penalty": 1.5}])
def test_batched_equals_single_and_order_is_irrelevant(settings):
    tables = draw_tables(25, 8, scale=1.0)
    together = write(tables, **settings)
    keys = np.arange(25)
    single = [write(tables[row:row + 1], keys=keys[row:row + 1], **settings)[0] for row in range(25)]
    order = np.random.default_rng(0).permutation(25)
    moved = write(tables[order], keys=keys[order], batch_size=4, **settings)
    for row in range(25):
        assert together[row].token_ids == single[row].token_ids == moved[list(order).index(row)].token_ids
        assert together[row].log_prob == pytest.approx(single[row].log_prob, abs=1e-5)


def test_reserved_words_are_never_written_even_when_they_are_likeliest():
    tables = draw_tables(40, 6)
    tables[..., [PAD, START, UNK]] += 50
    for settings in {}, {"method": "beam"}, {"method": "sample"}:
        for caption in write(tables, **settings):
            assert caption.token_ids and not {PAD, START, UNK, END} & set(caption.token_ids)


def test_captions_stop_at_end_and_ended_rows_leave_the_batch():
    tables = draw_tables(10, 6)
    tables[:9, 1:, :, END] += 50   # nine rows end after one word
    tables[9, ..., END] -= 50
    decoder = TableDecoder()
    written = write(tables, decoder=decoder)
    assert [len(caption.token_ids) for caption in written] == [1] * 9 + [6]
    assert [caption.ended for caption in written] == [True] * 9 + [False]
    assert decoder.rows == 10 * 2 + 4


def test_sampling_follows_the_distribution_and_the_seed():
    table = draw_tables(1, 1, scale=1.0).expand(4000, -1, -1, -1)
    probs = table[0, 0, START].double().clone()
    probs[[PAD, START, UNK, END]] = -torch.inf
    expected = (probs / 0.8).softmax(dim=-1).numpy()
    drawn = [caption.token_ids[0] for caption in write(table, method="sample", temperature=0.8)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=V) / 4000, expected, atol=.03)
    again = write(table, method="sample", temperature=0.8)
    other = write(table, method="sample", temperature=0.8, seed=43)
    assert drawn == [caption.token_ids[0] for caption in again]
    assert drawn != [caption.token_ids[0] for caption in other]


@pytest.mark.parametrize("settings, kept", [({"top_k": 2}, 2), ({"top_p": .65}, 2), ({"top_p": .55}, 1),
                                            ({"top_k": 3, "top_p": .9}, 2), ({"top_k": 3, "top_p": .95}, 3),
                                            ({"top_p": .999999}, 5)])
def test_top_k_and_nucleus_keep_the_likeliest_words(settings, kept):
    probs = torch.tensor([0, 0, 0, 0, .05, .6, .08, .25, .02])
    table = probs.log().clamp(min=-1e9).expand(3000, 1, V, V)
    drawn = {caption.token_ids[0] for caption in write(table, method="sample", **settings)}
    assert drawn == set(probs.argsort(descending=True)[:kept].tolist())


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_is_written_twice(method, size):
    tables = draw_tables(1, 1, scale=3.0).expand(20, 12, -1, -1).clone()  # the same table at every step: loops
    tables += draw_tables(20, 12, seed=2, scale=.1)
    tables[..., END] -= 8

    def repeated(captions):
        grams = [[tuple(caption.token_ids[place:place + size]) for place in range(len(caption.token_ids) - size + 1)]
                 for caption in captions]
        return sum(len(row) - len(set(row)) for row in grams)
    assert repeated(write(tables, method=method)) > 0
    held = write(tables, method=method, no_repeat_ngram=size)
    assert repeated(held) == 0
    if size == 1:  # five words to write with: what has written them all can only end
        assert all(len(caption.token_ids) <= 5 and caption.ended for caption in held)


def test_repetition_penalty_by_hand():
    logits = torch.tensor([[0., 0, 0, 0, 2, -1, 1]])
    history = torch.tensor([[4, 5, 4]])
    penalised = next_log_probs(logits, history, WritingConfig(no_repeat_ngram=0, repetition_penalty=2.0),
                               history[:, :0])
    expected = torch.tensor([0., 0, 0, 0, 1, -2, 1]).log_softmax(dim=-1)
    torch.testing.assert_close(penalised[0, [END, 4, 5, 6]], expected[[END, 4, 5, 6]])


@pytest.fixture(scope="module")
def decoder():
    from train.config import ModelConfig
    from train.model.text import TextDecoder
    torch.manual_seed(0)
    config = replace(ModelConfig(), embedding_dim=8, hidden_dim=16, tag_embedding_dim=4, decoder_dim=16,
                     word_copying=True)
    decoder = TextDecoder(config, 40).eval()
    for weight in decoder.parameters():  # a fresh decoder writes one word for ever
        torch.nn.init.normal_(weight, std=.7)
    return decoder


def draw_context(rows):
    """What captions are written from: every second one has seen words."""
    memory = torch.randint(4, 40, (rows, 4, 6))
    memory[1::2] = 0
    return Context(torch.randn(rows, 16), torch.randn(rows, 4), memory)


@pytest.mark.parametrize("settings", [{}, {"method": "beam"}, {"method": "sample", "top_p": .9}])
def test_the_model_s_own_decoder_writes_the_same_alone_and_in_a_batch(decoder, settings):
    context = draw_context(12)
    config = WritingConfig(**settings)
    together = write_captions(decoder, context, config)
    single = [write_captions(decoder, context.select(slice(row, row + 1)), config, [row])[0]
              for row in range(12)]
    assert [caption.token_ids for caption in together] == [caption.token_ids for caption in single]
    assert len({tuple(caption.token_ids) for caption in together}) > 1


@pytest.mark.parametrize("settings", [{}, {"method": "beam", "length_weight": 1.0}, {"method": "sample"}])
def test_log_probability_is_that_of_reading_the_caption_again(decoder, settings):
    """What a beam reports belongs to what it wrote: its state follows its words through every reordering."""
    context = draw_context(30)
    for row, caption in enumerate(write_captions(decoder, context, WritingConfig(**PLAIN, **settings))):
        read = [START, *caption.token_ids]
        targets = [*caption.token_ids, END][:len(caption.token_ids) + caption.ended]
        with torch.inference_mode():
            logits = decoder(context.select(slice(row, row + 1)), torch.tensor([read]), torch.tensor([len(read)])).data
        again = logits.log_softmax(dim=-1)[torch.arange(len(targets)), targets].sum().item()
        assert caption.log_prob == pytest.approx(again, abs=1e-3)


def test_no_rows_no_captions():
    assert write(draw_tables(0, 3)) == []


@pytest.mark.parametrize("settings, message", [
    ({"method": "best"}, "expected one of greedy"), ({"temperature": 0.0}, "more than 0"), ({"top_p": 0.0}, "in "),
    ({"min_words": 40}, "in 0..28"), ({"method": "beam", "top_k": 5}, "belong to method 'sample'"),
    ({"beam_width": 0}, "at least 1")])
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WritingConfig(**settings)


@pytest.mark.parametrize("words, sentence", [
    ("we did n't go . i stayed at [male] 's house !", "We didn't go. I stayed at [male]'s house!"),
    ('she said " i \'m happy , too " and left .', 'She said "I\'m happy, too" and left.'),
    ("`` wow '' they cried", '"Wow" they cried'),
    ("we can not see it ( yet ) ... or ca n't we ?", "We cannot see it (yet)... Or can't we?"),
    ("it cost $ 5 ; 10 % less than location 's", "It cost $5; 10% less than location's"),
    ("", ""), (". the end", ". The end"), ("they 're gon na win", "They're gonna win"),
    ("[female] smiled . the old-fashioned café", "[female] smiled. The old-fashioned café")])
def test_detokenised_for_people(words, sentence):
    assert detokenise(words.split()) == sentence
