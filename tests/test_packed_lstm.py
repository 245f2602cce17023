"""The packed LSTM against torch's own: values, gradients, both directions, several layers."""
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from train.packed_lstm import last_states, run_packed


@pytest.mark.parametrize("lengths", [[4, 1, 3, 3], [1, 1], [5], [2, 6, 6, 1, 4]])
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
