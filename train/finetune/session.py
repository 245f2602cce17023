"""A fine-tuning from a run to another run with a backbone of its own; interrupted anywhere, it goes on there."""
import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import UserError, shell_word
from data.files import sha256_file
from data.folder.folder import Features
from train.batches import Batch
from train.distributed import World, join_world
from train.finetune.backbone import PhotoEncoder, extraction_flags, open_backbone
from train.finetune.config import Command, change_config
from train.finetune.photos import PhotoDataset, PhotoFeatures
from train.order import share_batch
from train.prepare import COMPLETE, FRESH, agree_on_plan, open_splits, resolve
from train.run_folder.runs import BACKBONE, BEST, RunRecord, load_run, measure_sizes, read_record, require_same_folder
from train.session import TrainingRun, build_trainer, open_run
from train.summary import print_summary as print_training
from train.trainer import Trainer

logger = logging.getLogger(__name__)


def run_finetuning(command: Command) -> Path:
    """Fine-tune, or go on fine-tuning.

    Returns:
        The new run folder: as training writes it, with backbone.safetensors.

    Raises:
        UserError: if run, features, photos and backbone do not belong together, or as `train.session.run_training`.
        KeyboardInterrupt: if a signal asked to stop; the state is saved.
    """
    world = join_world(change_config(read_record(command.begin_path).config, command).device)
    try:
        with ExitStack() as stack:
            _run_in_world(command, world, stack)
        world.wait()
    finally:
        world.leave()
    return command.run_path


def _run_in_world(command: Command, world: World, stack: ExitStack) -> None:
    begun = load_run(command.begin_path)
    features = PhotoFeatures(command.features_path, command.photos_path)
    words = features.words(begun.config.words)
    require_same_folder(begun, command.begin_path, features.recipe, words, command.features_path)
    backbone, resize = open_backbone(features.manifest, command.features_path, command.config.weights)
    make = partial(PhotoDataset, resize=resize, augmentation=command.config.augmentation,
                   readers=command.config.readers)
    config, train_set, val_set = open_splits(change_config(begun.config, command), features, make)
    for dataset in (train_set, val_set):
        if isinstance(dataset, PhotoDataset):
            stack.callback(dataset.close)
    if not train_set.num_photos:
        raise UserError(f"expected photos of the train stories below {command.photos_path}, found none; name the data "
                        f"folder that {command.features_path} was made from")
    record = RunRecord(
        config, measure_sizes(config, features.width, words), features.recipe, words.identity, features.source,
        str(command.features_path), {"train": len(train_set), "val": len(val_set) if val_set else 0,
                                     "dropped": train_set.num_dropped, "photos": train_set.num_photos},
        {**resolve(config, features, len(train_set), world), "photos": str(command.photos_path),
         "run": str(command.begin_path)},
        {**command.config.lasting(), "from": sha256_file(command.begin_path / BEST)}, begun.text)
    plan, record = agree_on_plan(command.run_path, record, command.force, world, stack)
    if plan == COMPLETE:
        if world.is_writer:
            logger.info("%s is complete: nothing to do (--force starts anew beside it)", command.run_path)
        return
    encoder = PhotoEncoder(backbone, world.device, record.resolved["precision"] == "bfloat16",
                           command.config.photos_at_once, command.config.checkpointing, command.config.trainable)
    trainer = build_trainer(record, train_set, world, partial(
        FinetuneTrainer, encoder=encoder, backbone_lr=command.config.backbone_lr))
    if plan == FRESH:
        trainer.model.load_state_dict(begun.model.state_dict())  # its standardisation too
    open_run(FinetuneRun, command.run_path, record, trainer, train_set, val_set, plan).finish()


class FinetuneTrainer(Trainer):
    """A `Trainer` that learns the backbone's weights too, at their own learning rate.

    What is seen comes from the backbone; what is to be predicted stays the folder's features, so that the two cannot
    agree on something simple.
    """

    def __init__(self, *settings: Any, encoder: PhotoEncoder, backbone_lr: float) -> None:
        super().__init__(*settings)
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


class FinetuneRun(TrainingRun):
    """The loop of training, which keeps the backbone of the best epoch too and decodes photos ahead."""

    trainer: FinetuneTrainer

    def _write_epoch(self, line: dict[str, Any], gradient: float, is_best: bool, seconds: float) -> None:
        if is_best:
            self.trainer.encoder.save(self.run_path / BACKBONE)
        if self.keeps(line["epoch"]):
            self.trainer.encoder.save(self.run_path / f"backbone-{line['epoch']:04d}.safetensors")
        super()._write_epoch(line, gradient, is_best, seconds)

    def _prefetch(self, order: np.ndarray, start: int, is_first: bool) -> None:
        size, world = self.config.batch_size, self.trainer.world
        for first in (start, start + size) if is_first else (start + size,):
            self.train_set.prefetch(share_batch(order[first:first + size], world.rank, world.size))


def print_summary(command: Command) -> None:
    """Print what lies where and how the loop closes: features through the new backbone, and training on them.

    The fine-tuned model predicts features of the frozen backbone; on a folder of the new one, numbers about photos
    mean something once a run was trained there.
    """
    run, features = command.run_path, command.features_path
    print_training(run, features, next_step="")
    made = f"{features}-finetuned"
    print(f"backbone {run / BACKBONE}")
    print(f"next:   make features DATA={shell_word(command.photos_path)} FEATURES={shell_word(made)} "
          f"WEIGHTS={shell_word(run / BACKBONE)} ARGS='{extraction_flags(Features.open(features).recipe)}'")
    print(f"        make train FEATURES={shell_word(made)} RUN={shell_word(f'{run}-trained')} "
          f"ARGS={shell_word(f'--init {shell_word(run)}')}")
