"""The trigram as tensors says what the trigram says; its share of a blend is the one that makes val likeliest."""
import numpy as np
import pytest
import torch

from data.words.tokens import END, START
from train.model.ngrams import NgramModel, NgramTable
from train.share import NgramShare

V = 12


@pytest.fixture
def model() -> NgramModel:
    random = np.random.default_rng(0)
    captions = np.zeros((60, 9), np.uint16)
    for row in captions:
        length = int(random.integers(1, 7))
        row[:length + 2] = [START, *random.integers(3, V, length), END]
    return NgramModel.fit(captions[:40], captions[40:], 3, V)


def test_rows_of_probabilities_are_those_of_the_model(model):
    table = NgramTable(V)
    table.fill(model)
    again = NgramTable(V)
    again.load_state_dict(table.state_dict())
    pairs = torch.tensor([[a, b] for a in (START, 4, 7, 11) for b in (START, 3, 5, 9)])
    rows = again(pairs)
    torch.testing.assert_close(rows.sum(dim=-1), torch.ones(len(pairs)), atol=1e-5, rtol=0)
    for pair, row in zip(pairs.tolist(), rows):
        grams = np.array([[*pair, word] for word in range(V)])
        assert row.numpy() == pytest.approx(model.mix(grams), rel=1e-4, abs=1e-9), pair


def test_the_share_is_the_one_under_which_words_are_likeliest(model):
    table, generator = NgramTable(V), torch.Generator().manual_seed(0)
    table.fill(model)
    pairs = torch.randint(3, V, (500, 2), generator=generator)
    logits = torch.randn(500, V, generator=generator)
    mixture = 0.7 * logits.softmax(dim=-1) + 0.3 * table(pairs)
    targets = torch.multinomial(mixture, 1, generator=generator).squeeze(1)
    blend = NgramShare(table)
    for part in (slice(0, 200), slice(200, 500)):
        blend.add({"token_logits": logits[part], "token_targets": targets[part], "token_pairs": pairs[part]})
    share, nats = blend.choose(lambda tensor: tensor)

    def surprise(share: float) -> float:
        chances = (1 - share) * logits.softmax(dim=-1) + share * table(pairs)
        return -chances[torch.arange(500), targets].log().mean().item()
    assert nats == pytest.approx(surprise(share), rel=1e-5)
    assert nats <= min(surprise(other) for other in np.linspace(0.02, 0.98, 25)) + 1e-3
    assert 0.05 < share < 0.6
