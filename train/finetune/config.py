"""What fine-tuning adds to the settings of the run it begins with; no torch here."""
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.settings import Checked, setting
from train.config import TrainConfig

TRAINABLE = ("all", "last")
FREE = ("readers", "weights")  # change nothing about what comes out; the weights themselves are hashed

# Settings of the run it begins with that a flag may change; the others are the run's: they shape the model.
CHANGEABLE = ("missing", "fraction", "limit", "seed", "weight_decay", "clip", "plateau_patience", "plateau_factor",
              "early_stopping", "image_weight", "text_weight", "tag_weight", "precision", "device", "keep_every",
              "save_every", "wandb")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Checked):
    """Settings of a fine-tuning beside those of TrainConfig."""

    epochs: int = setting(3, "passes over the train stories", least=1)
    batch_size: int = setting(16, "stories of a step, over all processes together", least=1)
    lr: float = setting(1e-4, "learning rate of the story model")
    backbone_lr: float = setting(1e-5, "learning rate of the backbone")
    trainable: str = setting("all", "all of the backbone, or its last stage; batch norm stays as it is",
                             choices=TRAINABLE)
    photos_at_once: int = setting(80, "photos whose activations are held; a step with more of them looks at each "
                                      "twice, with the same result", least=1)
    checkpointing: bool = setting(False, "hold the activations between the backbone's blocks alone, compute the others "
                                         "again")
    augmentation: bool = setting(True, "flip, crop, turn and colour train photos, drawn once per story and epoch")
    weights: str = setting("", "random, imagenet or a file: the weights that the features were made with, where the "
                               "folder does not tell")
    readers: int = setting(0, "threads that decode photos; 0: one a core", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lr", "backbone_lr"):
            if not getattr(self, name) > 0:
                raise UserError(f"setting {name}: expected more than 0, found {getattr(self, name)!r}; change "
                                f"--{name.replace('_', '-')}")

    def lasting(self) -> dict[str, Any]:
        """The settings that decide what comes out and that TrainConfig lacks."""
        known = {field.name for field in fields(TrainConfig)}
        return {name: value for name, value in asdict(self).items() if name not in known and name not in FREE}


@dataclass(frozen=True)
class Command:
    """What one call of `python -m train.finetune` asks for.

    Attributes:
        changes: settings of the run it begins with to change, all among CHANGEABLE.
    """

    config: FinetuneConfig
    changes: dict[str, Any]
    begin_path: Path
    photos_path: Path
    features_path: Path
    run_path: Path
    force: bool = False


def change_config(begun: TrainConfig, command: Command) -> TrainConfig:
    """The settings of the run it begins with, less what has no meaning here, with what the command changes."""
    config = command.config
    return replace(begun, **{"init": "", "views": False, "reader": "mapped",
                             "epochs": config.epochs, "batch_size": config.batch_size, "lr": config.lr,
                             "carry_lr": config.lr, "steps": 0, "patience_steps": 0, **command.changes})
