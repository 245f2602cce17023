"""Sequences of different lengths side by side without padding, planned on the CPU so that no device is waited for.

N sequences of at most T steps are packed as `torch.nn.utils.rnn` does it: step by step, the longest sequence first.
Its own functions send the plan to the device from pageable memory and fetch parts of it back, which waits for
everything under way there.
"""
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def send(index: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the copy is queued there and not waited for."""
    return (index.pin_memory() if device.type == "cuda" else index).to(device, non_blocking=True)


@dataclass(frozen=True)
class Packing:
    """Where packed steps come from; everything int64 on the CPU.

    Attributes:
        sequence, step: (n,) of each packed row. sizes: (T,) how many sequences have each step.
        by_length: (N,) the sequences from the longest on.
    """

    sequence: Tensor
    step: Tensor
    sizes: Tensor
    by_length: Tensor

    @classmethod
    def plan(cls, lengths: Tensor) -> "Packing":
        """Plan for (N,) lengths, int64 on the CPU, at least 1."""
        ordered, by_length = torch.sort(lengths, descending=True)
        has_step = torch.arange(int(ordered[0])).unsqueeze(1) < ordered                    # (T, N)
        step, place = has_step.nonzero(as_tuple=True)
        return cls(by_length[place], step, has_step.sum(dim=1), by_length)

    def wrap(self, rows: Tensor) -> PackedSequence:
        """(n, ...) rows in packed order as torch's LSTMs read them."""
        back = torch.argsort(self.by_length)
        return PackedSequence(rows, self.sizes, send(self.by_length, rows.device), send(back, rows.device))


def pack(padded: Tensor, lengths: Tensor) -> PackedSequence:
    """Pack (N, T, ...) with (N,) lengths, int64 on the CPU and at least 1: data (n, ...)."""
    plan = Packing.plan(lengths)
    return plan.wrap(padded[send(plan.sequence, padded.device), send(plan.step, padded.device)])


def unpack(packed: PackedSequence, lengths: Tensor, longest: int) -> Tensor:
    """Undo `pack`: data (n, D) -> (N, longest, D), zeros behind the last real step."""
    plan, rows = Packing.plan(lengths), packed.data
    where = send(plan.sequence, rows.device), send(plan.step, rows.device)
    return rows.new_zeros(len(lengths), longest, *rows.shape[1:]).index_put(where, rows)
