"""One process or many: torchrun's environment, sums over processes."""
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from data.errors import UserError


def _hold_nothing() -> None:
    pass


@dataclass
class World:
    """This process among all of a run; only rank 0 writes.

    Attributes:
        still_held: raises a UserError once the writer has lost the run folder; asked before anything is written.
    """

    rank: int
    size: int
    device: torch.device
    still_held: Callable[[], None] = _hold_nothing

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place; every process must come here."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's tensor, in their order; every process must come here."""
        if self.size == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(gathered, tensor)
        return gathered

    def tell(self, text: str | None) -> str | None:
        """What the writer has to say, to all: None for nothing."""
        if self.size == 1:
            return text
        said = [text]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def wait(self) -> None:
        """Go on when all processes have come here: one that ended while another writes would take it down."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the group, where there is one; call it when nothing holds a wrapped model any more.

        Gloo's threads let go of tensors late. If that comes after the interpreter's end the process aborts (one run in
        ten did), so what holds the group, itself held by cycles, goes first, and with it end its threads.
        """
        if self.size > 1 and dist.is_initialized():
            gc.collect()
            dist.destroy_process_group()
            gc.collect()


def join_world(device: str) -> World:
    """Read torchrun's environment and join its group: nccl where every process has a GPU, else gloo.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: if CUDA is asked for and absent.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("setting device: expected a CUDA device, found none; use --device cpu")
    uses_cuda = device != "cpu" and torch.cuda.is_available()
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if uses_cuda and local_rank >= torch.cuda.device_count():
        raise UserError(f"expected a GPU per process, found {torch.cuda.device_count()}; lower NPROC or use --device "
                        "cpu")
    place = torch.device("cuda", local_rank) if uses_cuda else torch.device("cpu")
    if uses_cuda:
        torch.cuda.set_device(place)
    if size > 1:
        dist.init_process_group("nccl" if uses_cuda else "gloo", timeout=timedelta(minutes=30))
    return World(rank, size, place)
