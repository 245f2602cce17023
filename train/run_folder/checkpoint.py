"""last.pt: everything needed to go on as if nothing had happened; tensors and plain values alone."""
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import UserError
from data.files import replace_file
from train.distributed import World

VERSION = 1


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: the one that is under way, from 1; one more than `epochs` when all are done.
        step: batches of it that are done. best: the best selection loss so far, `best_epoch` when.
        stale: epochs since then. seconds: spent on the epoch under way. complete: nothing is left to do.
    """

    epoch: int = 1
    step: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    complete: bool = False


def save_checkpoint(path: Path, progress: Progress, sums: list[Tensor], parts: dict[str, Any]) -> Path:
    """Write last.pt atomically.

    Args:
        progress: where the run stands. sums: the loss sums of the epoch under way, every process's.
        parts: objects with `state_dict` by name: model, optimizer, plateau.

    Random numbers need no state of their own: order and dropout follow from seed, epoch, step and process.
    """
    with replace_file(path) as partial:
        torch.save({"version": VERSION, "progress": asdict(progress), "sums": torch.stack(sums).cpu(),
                    **{name: part.state_dict() for name, part in parts.items()}}, partial)
    return path


def load_checkpoint(path: Path, sums: Tensor, parts: dict[str, Any], world: World) -> Progress:
    """Read last.pt into `sums` and `parts`, and return where the run stands.

    Each process goes on with the sums it had; where there are others than then, the first takes them all.

    Raises:
        UserError: if it is damaged or of another version.
    """
    remedy = "start anew beside it with --force"
    try:
        state = torch.load(path, map_location=world.device, weights_only=True)
        if state["version"] != VERSION:
            raise UserError(f"expected version {VERSION} in {path}, found {state['version']}; {remedy}")
        progress = Progress(**{field.name: state["progress"][field.name] for field in fields(Progress)})
        kept = state["sums"].view(-1, *sums.shape)                                         # (processes, SUMS, 2)
        sums.copy_(kept[world.rank] if len(kept) == world.size else kept.sum(dim=0) * world.is_writer)
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"expected a state to go on from in {path}, found {type(error).__name__}: {error}; "
                        f"{remedy}") from None
    return progress


def is_complete(path: Path) -> bool:
    """Whether a checkpoint is that of a finished run; the tensors stay on disk.

    Raises:
        UserError: if it is damaged.
    """
    try:
        return bool(torch.load(path, weights_only=True, mmap=True)["progress"]["complete"])
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"expected a state to go on from in {path}, found {type(error).__name__}: {error}; start anew "
                        "beside it with --force") from None
