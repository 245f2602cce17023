"""The trainer whose batches are seen through the backbone that learns with it."""
from typing import Any

import torch
from torch import Tensor, nn

from train.augment import SynonymSwaps
from train.batches import Batch
from train.config import TrainConfig
from train.distributed import World
from train.finetune.backbone import PhotoEncoder
from train.model.story_model import StoryModel
from train.trainer import Trainer


class FinetuneTrainer(Trainer):
    """A `Trainer` that learns the backbone's weights too, at their own learning rate.

    What is seen comes from the backbone; what is to be predicted stays the folder's features, so that the two cannot
    agree on something simple.
    """

    def __init__(self, config: TrainConfig, model: StoryModel, world: World, precision: str,
                 swaps: SynonymSwaps | None = None, rare: Tensor | None = None, described_apart: bool = False, *,
                 encoder: PhotoEncoder, backbone_lr: float) -> None:
        super().__init__(config, model, world, precision, swaps, rare, described_apart)
        self.encoder = encoder
        self.optimizer.add_param_group({"params": encoder.parameters, "lr": backbone_lr})

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds beside the progress."""
        return {**super().parts, "backbone": self.encoder.module}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the gradient norm is taken over: story model and backbone together."""
        return [*super().parameters, *self.encoder.parameters]

    def move(self, batch: Batch) -> Batch:
        """A batch with its pictures looked at."""
        moved = super().move(batch)
        features, mask = self.encoder.look(moved.pop("pictures")), moved["photo_mask"]
        shown = features.new_zeros(*mask.shape, features.shape[-1])                        # (B, K, D)
        shown[mask] = features
        return {**moved, "input_features": shown}

    def backward(self, total: Tensor) -> None:
        """Give story model and backbone their gradients."""
        super().backward(total)
        self.encoder.backward()
        if self.world.size == 1:
            return
        for parameter in self.encoder.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # no photo in this process's share
            self.world.sum(parameter.grad).div_(self.world.size)  # as DistributedDataParallel does for the model
