"""Sequences of different lengths side by side without their padding, planned on the CPU so that no device is waited for.

N sequences of at most T steps are packed as `torch.nn.utils.rnn` does it: step by step, the longest sequence first.
Its own `pack_padded_sequence` sends the plan to the device from pageable memory, which waits for everything under way.
"""
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def send(index: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the copy is queued there and not waited for."""
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)


def plan_packing(lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where packed steps come from.

    Args:
        lengths: (N,) int64 on the CPU, at least 1.

    Returns:
        On the CPU, int64: (n,) sequence and (n,) step of each packed row, (T,) how many sequences have each step, and
        (N,) the sequences from the longest on.
    """
    ordered, by_length = torch.sort(lengths, descending=True)
    has_step = torch.arange(int(ordered[0])).unsqueeze(1) < ordered                        # (T, N)
    step, place = has_step.nonzero(as_tuple=True)
    return by_length[place], step, has_step.sum(dim=1), by_length


def pack(padded: Tensor, lengths: Tensor) -> PackedSequence:
    """Pack (N, T, ...) with (N,) lengths, int64 on the CPU and at least 1: data (n, ...)."""
    row, step, sizes, by_length = plan_packing(lengths)
    device = padded.device
    back = torch.argsort(by_length)
    return PackedSequence(padded[send(row, device), send(step, device)], sizes, send(by_length, device),
                          send(back, device))


def unpack(packed: PackedSequence, length: int) -> Tensor:
    """Packed (n, V) -> (N, length, V), zeros behind the last real step."""
    padded, _ = pad_packed_sequence(packed, batch_first=True)
    return F.pad(padded, (0, 0, 0, length - padded.shape[1]))
