"""Trainings that take a second: their settings, what comes out of them, and how one is stopped on the way."""
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from train.config import TrainConfig, make_config
from train.run_folder.runs import read_metrics
from train.trainer import Trainer

SIZES: dict[str, Any] = dict(embedding_dim=8, text_dim=8, fusion_dim=16, hidden_dim=16, attention_heads=2,
                             tag_head_dim=8, tag_embedding_dim=4, image_decoder_dim=16, decoder_dim=16)
TINY: dict[str, Any] = dict(preset="paper", **SIZES, epochs=2, batch_size=4, lr=3e-3, dropout=0.2, tag_dropout=0.2,
                            precision="float32", device="cpu")


def tiny(**settings: Any) -> TrainConfig:
    return make_config({**TINY, **settings})


def flags_of(settings: dict[str, Any]) -> list[str]:
    """The same as a command's flags."""
    return [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def weights_of(run_path: Path, name: str = "best.safetensors") -> bytes:
    return (run_path / name).read_bytes()


def losses_of(run_path: Path) -> list[tuple]:
    """Losses and learning rate of every epoch."""
    return [(line["train"], line["val"], line["lr"]) for line in read_metrics(run_path)]


class Interrupted(Exception):
    """Ends a training as a crash would: nothing is saved on the way out."""


@contextlib.contextmanager
def interrupted_before(epoch: int, step: int) -> Iterator[None]:
    """The training within ends as it comes to a batch; epochs count from 1, steps from 0."""
    take_step = Trainer.step

    def stop(self: Trainer, dataset: Any, indices: Any, *place: int) -> None:
        if place == (epoch, step):
            raise Interrupted
        take_step(self, dataset, indices, *place)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Trainer, "step", stop)
        yield
