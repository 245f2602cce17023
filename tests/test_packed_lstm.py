"""Packing and LSTMs against torch's own: values, gradients, both directions, several layers."""
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from train.model.packed_lstm import last_states, run_frames, run_in_steps, run_layers, run_packed
from train.model.packing import pack, unpack

LENGTHS = [[4, 1, 3, 3], [1, 1], [5], [2, 6, 6, 1, 4]]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_values_and_gradients_are_those_of_torch(lengths, is_bidirectional):
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, 2, bidirectional=is_bidirectional).double()
    words = torch.randn(len(lengths), max(lengths), 3, dtype=torch.float64, requires_grad=True)
    results = []
    for run in (lambda packed: lstm(packed)[0], lambda packed: run_packed(lstm, packed)):
        packed = pack_padded_sequence(words, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        output = run(packed).data
        weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found = torch.autograd.grad((output * weight).sum(), [words, *lstm.parameters()])
        results.append([output, *found])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_last_states_are_those_of_torch():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, 2, bidirectional=True)
    packed = pack_padded_sequence(torch.randn(5, 6, 3), torch.tensor([2, 6, 6, 1, 4]), batch_first=True,
                                  enforce_sorted=False)
    _, (state, _) = lstm(packed)
    torch.testing.assert_close(last_states(run_packed(lstm, packed)), torch.cat([state[-2], state[-1]], dim=-1))


def test_dropout_between_layers_acts_in_training_alone():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, 2, dropout=0.5)
    packed = pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 3]), enforce_sorted=False)
    assert not torch.equal(run_packed(lstm, packed).data, run_packed(lstm, packed).data)
    lstm.eval()
    assert torch.equal(run_packed(lstm, packed).data, run_packed(lstm, packed).data)


def test_half_precision_products_stay_near():
    torch.manual_seed(0)
    lstm = nn.LSTM(16, 16, 2)
    packed = pack_padded_sequence(torch.randn(9, 4, 16), torch.tensor([9, 3, 5, 7]), enforce_sorted=False)
    with torch.autocast("cpu", torch.bfloat16):
        half = run_packed(lstm, packed).data
    half.sum().backward()
    halved = [weight.grad.clone() for weight in lstm.parameters()]
    lstm.zero_grad()
    whole = run_packed(lstm, packed).data
    whole.sum().backward()
    assert half.dtype == torch.float32 and not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, atol=2e-2, rtol=0)
    for found, weight in zip(halved, lstm.parameters(), strict=True):
        assert (found - weight.grad).norm() < 0.02 * weight.grad.norm()


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_is_as_torch_packs_and_comes_back_as_it_was(lengths):
    padded, given = torch.randn(len(lengths), max(lengths), 3), torch.tensor(lengths)
    packed, expected = pack(padded, given), pack_padded_sequence(padded, given, batch_first=True, enforce_sorted=False)
    assert all(torch.equal(*pair) for pair in zip(packed, expected, strict=True))
    longer = max(lengths) + 2
    back, _ = pad_packed_sequence(expected, batch_first=True, total_length=longer)
    assert torch.equal(unpack(packed, given, longer), back)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_layers_one_by_one_are_one_lstm(layers, is_bidirectional):
    """What CUDA runs: values and gradients are those of the whole, in float32 whatever autocast says."""
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 4, layers, bidirectional=is_bidirectional, dropout=0.5 if layers > 1 else 0.0).eval()
    packed = pack_padded_sequence(torch.randn(4, 6, 3), torch.tensor([2, 6, 1, 4]), batch_first=True,
                                  enforce_sorted=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = run_layers(lstm, packed.data, packed.batch_sizes)
    expected = lstm(packed)[0].data
    torch.testing.assert_close(found, expected)
    for one, other in zip(*(torch.autograd.grad(output.square().sum(), list(lstm.parameters()))
                            for output in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_between_layers_follows_the_seed_alone():
    lstm = nn.LSTM(3, 4, 2, dropout=0.5)
    words, sizes = torch.randn(8, 3), torch.tensor([4, 3, 1])

    def run(seed):
        torch.manual_seed(seed)
        return run_layers(lstm, words, sizes)
    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_frames_in_steps_are_laid_out_as_they_came():
    lstm, frames = nn.LSTM(3, 4, 2, batch_first=True).eval(), torch.randn(5, 4, 3)
    torch.testing.assert_close(run_in_steps(lstm, frames), run_frames(lstm, frames))
