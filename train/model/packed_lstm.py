"""LSTMs as both kinds of device want them; the mathematics and the weights are those of `torch.nn.LSTM`.

On the CPU torch's own packed LSTM is unrolled by autograd: every time step adds a product of its own to the weight's
gradient, which for a few dozen captions costs more than everything else. Here the gates' gradients are kept, and every
weight's gradient is one product over all words.

On CUDA cuDNN does the work, in float32 (TF32): autocast would give it float16, which wants a loss scaler. Its dropout
between layers has a state of its own that no seed sets, so layers are run one by one with torch's dropout between.
"""
import warnings
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from train.model.packing import send


def run_packed(lstm: nn.LSTM, packed: PackedSequence) -> PackedSequence:
    """What `lstm(packed)[0]` gives; n words, H hidden, in the order of `packed`.

    Args:
        lstm: its weights, its dropout between layers, both directions where it has them.
        packed: data (n, I). Under autocast the matrix products are done in its dtype on the CPU.

    Returns:
        Packed (n, H) or (n, 2 * H) float32.
    """
    if packed.data.device.type != "cpu":
        return packed._replace(data=run_layers(lstm, packed.data, packed.batch_sizes))
    words, sizes = packed.data, packed.batch_sizes.tolist()
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    with torch.autocast("cpu", enabled=False):
        for layer in range(lstm.num_layers):
            if layer:
                words = F.dropout(words, lstm.dropout, lstm.training)
            directions = [("", False), ("_reverse", True)] if lstm.bidirectional else [("", False)]
            outputs = [_PackedLayer.apply(words, *(getattr(lstm, f"{name}_l{layer}{suffix}")
                                                   for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
                                          sizes, is_reverse, dtype)
                       for suffix, is_reverse in directions]
            words = torch.cat(outputs, dim=-1) if lstm.bidirectional else outputs[0]
    return packed._replace(data=words)


def run_frames(lstm: nn.LSTM, frames: Tensor) -> Tensor:
    """What `lstm(frames)[0]` gives for an LSTM in one direction: (B, P, I) -> (B, P, H)."""
    return lstm(frames)[0] if frames.device.type == "cpu" else run_in_steps(lstm, frames)


def run_in_steps(lstm: nn.LSTM, frames: Tensor) -> Tensor:
    """`run_frames` by `run_layers`."""
    B, P, I = frames.shape  # noqa: E741
    sizes = torch.full((P,), B)  # all of one length: packed, step by step
    return run_layers(lstm, frames.transpose(0, 1).reshape(P * B, I), sizes).view(P, B, -1).transpose(0, 1)


def run_layers(lstm: nn.LSTM, words: Tensor, sizes: Tensor) -> Tensor:
    """An LSTM in float32 whatever autocast says, its layers one by one with torch's dropout between.

    Args:
        words: (n, I), packed. sizes: (T,) int64 on the CPU, rows of every step.

    Returns:
        (n, H) or (n, 2 * H) float32, in the order of `words`.
    """
    with torch.autocast(words.device.type, enabled=False):
        words = words.float()
        if lstm.num_layers == 1:
            return lstm(PackedSequence(words, sizes))[0].data
        directions = 2 if lstm.bidirectional else 1
        zeros = words.new_zeros(directions, int(sizes[0]), lstm.hidden_size)
        for layer in range(lstm.num_layers):
            if layer:
                words = F.dropout(words, lstm.dropout, lstm.training)
            of_layer: list[list[Tensor]] = lstm.all_weights[layer * directions:(layer + 1) * directions]  # type: ignore
            with warnings.catch_warnings():  # a layer of a flattened LSTM is no chunk of its own: copied
                warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")
                words = torch._VF.lstm(words, sizes, (zeros, zeros), sum(of_layer, []), True, 1, 0.0, lstm.training,
                                       lstm.bidirectional)[0]
        return words


def last_states(words: PackedSequence) -> Tensor:
    """Where both directions of the last layer end: packed (n, 2 * H) -> (N, 2 * H), in the caller's order."""
    sizes = words.batch_sizes
    starts = torch.cumsum(sizes, 0) - sizes
    lengths = (sizes.unsqueeze(1) > torch.arange(int(sizes[0]))).sum(dim=0)                # (N,) as sorted
    rows = send(starts[lengths - 1] + torch.arange(int(sizes[0])), words.data.device)
    width = words.data.shape[-1] // 2
    forward = words.data[:, :width].index_select(0, rows)
    ended = torch.cat([forward, words.data[:int(sizes[0]), width:]], dim=-1)
    assert words.unsorted_indices is not None
    return ended.index_select(0, words.unsorted_indices)


class _PackedLayer(torch.autograd.Function):
    """One layer in one direction: (n, I) -> (n, H)."""

    @staticmethod
    def forward(ctx: Any, words: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor,
                sizes: list[int], is_reverse: bool, dtype: torch.dtype | None) -> Tensor:
        width = weight_hh.shape[1]
        words, weight_ih, weight_hh = (_cast(tensor, dtype) for tensor in (words, weight_ih, weight_hh))
        gates = (words @ weight_ih.T).to(bias_ih.dtype).add_(bias_ih + bias_hh)            # (n, 4 * H)
        cells, tanhs, outputs = (gates.new_empty(len(gates), width) for _ in range(3))
        hidden, cell = gates.new_zeros(sizes[0], width), gates.new_zeros(sizes[0], width)
        recurrent = weight_hh.T
        for start, stop in _steps(sizes, is_reverse):
            rows, size = slice(start, stop), stop - start
            step = gates[rows]
            if dtype is None:
                step.addmm_(hidden[:size], recurrent)
            else:
                step += hidden[:size].to(dtype) @ recurrent
            step[:, :2 * width].sigmoid_()                                                 # input, forget
            step[:, 2 * width:3 * width].tanh_()                                           # candidate
            step[:, 3 * width:].sigmoid_()                                                 # output
            kept = cell[:size].mul_(step[:, width:2 * width])
            torch.addcmul(kept, step[:, :width], step[:, 2 * width:3 * width], out=cells[rows])
            torch.tanh(cells[rows], out=tanhs[rows])
            torch.mul(tanhs[rows], step[:, 3 * width:], out=outputs[rows])
            kept.copy_(cells[rows])
            hidden[:size] = outputs[rows]
        ctx.save_for_backward(words, weight_ih, weight_hh, gates, cells, tanhs, outputs)
        ctx.sizes, ctx.is_reverse, ctx.dtype = sizes, is_reverse, dtype
        return outputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        words, weight_ih, weight_hh, gates, cells, tanhs, outputs = ctx.saved_tensors
        width, dtype, steps = weight_hh.shape[1], ctx.dtype, list(_steps(ctx.sizes, ctx.is_reverse))
        before_cell, before_hidden = (_shift(states, ctx.sizes, ctx.is_reverse) for states in (cells, outputs))
        enter, keep, candidate, leave = gates.view(-1, 4, width).unbind(dim=1)
        # what a gate's input changes, per change of the cell (first three) or of the output (the last)
        slopes = torch.stack([candidate * enter * (1 - enter), before_cell * keep * (1 - keep),
                              enter * (1 - candidate * candidate)], dim=1)                 # (n, 3, H)
        leave_slope, cell_slope = tanhs * leave * (1 - leave), leave * (1 - tanhs * tanhs)
        slopes_grad = torch.empty_like(gates).view(-1, 4, width)
        hidden_grad, cell_grad = (grad.new_zeros(ctx.sizes[0], width) for _ in range(2))
        for start, stop in reversed(steps):
            rows, size = slice(start, stop), stop - start
            output_grad = grad[rows] + hidden_grad[:size]
            changed = torch.addcmul(cell_grad[:size], output_grad, cell_slope[rows])
            torch.mul(changed.unsqueeze(1), slopes[rows], out=slopes_grad[rows, :3])
            torch.mul(output_grad, leave_slope[rows], out=slopes_grad[rows, 3])
            torch.mul(changed, keep[rows], out=cell_grad[:size])
            through = _cast(slopes_grad[rows].view(size, 4 * width), dtype) @ weight_hh
            hidden_grad[:size] = through
        flat = slopes_grad.view(-1, 4 * width)
        bias_grad, flat = flat.sum(dim=0), _cast(flat, dtype)
        words_grad = (flat @ weight_ih).to(grad.dtype) if ctx.needs_input_grad[0] else None
        return (words_grad, (flat.T @ words).to(grad.dtype),
                (flat.T @ _cast(before_hidden, dtype)).to(grad.dtype), bias_grad, bias_grad, None, None, None)


def _steps(sizes: list[int], is_reverse: bool) -> list[tuple[int, int]]:
    """The rows of every time step, in the order they are read."""
    steps = list(pairwise(accumulate(sizes, initial=0)))
    return steps[::-1] if is_reverse else steps


def _shift(states: Tensor, sizes: list[int], is_reverse: bool) -> Tensor:
    """Each word's state one step before, zeros where a caption is entered: (n, H) -> (n, H)."""
    shifted = torch.zeros_like(states)
    steps = _steps(sizes, is_reverse=False)
    for (start, _stop), (next_start, next_stop) in pairwise(steps):
        size = next_stop - next_start
        if is_reverse:
            shifted[start:start + size] = states[next_start:next_stop]
        else:
            shifted[next_start:next_stop] = states[start:start + size]
    return shifted


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None else tensor.to(dtype)
