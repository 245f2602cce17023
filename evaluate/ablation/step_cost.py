"""What a training would cost with the backbone in the loop: a step is measured here, on this machine."""
from dataclasses import dataclass

import torch

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.folder.folder import Features
from extract.backbones.backbone import build_backbone
from extract.backbones.mapper import Mapper, time_model

PHOTOS = 8  # looked at in a batch


@dataclass(frozen=True)
class StepCost:
    """Photos a second through the backbone, decoding not counted; or why that was not measured."""

    photos_per_second: float | None
    reason: str = ""


def measure_backbone(features: Features, device: str, batches: int = 2) -> StepCost:
    """Time the backbone of a features folder on random pictures, in its own precision where the device can.

    Its weights do not matter for the time, so they are random and nothing is downloaded.
    """
    fields = features.recipe["fields"]
    name = str(fields.get("backbone"))
    if ":" in name:
        return StepCost(None, f"the backbone is the plug-in {name}, which a folder does not get to run")
    try:
        backbone = build_backbone(name, "random", fields.get("resize"))
    except UserError as error:
        return StepCost(None, str(error))
    precision = str(fields.get("precision", "float32"))
    if precision == "float16" and device == "cpu":
        precision = "float32"
    mapper = Mapper(backbone, torch.device(device), precision, PHOTOS)
    return StepCost(time_model(mapper, batches))


def describe_cost(cost: StepCost, num_stories: int, epochs: int, seconds: float) -> str:
    """One sentence: the grid's time as it was, and as it would be with every photo looked at in every epoch.

    Args:
        num_stories: of one epoch. epochs: of all trainings together. seconds: all trainings together.
    """
    if cost.photos_per_second is None:
        return f"The cost end to end was not measured: {cost.reason}."
    looking = num_stories * NUM_FRAMES * epochs / cost.photos_per_second
    return (f"This grid trained for {seconds / 3600:.2f} hours on stored features; with the backbone in the loop "
            f"({cost.photos_per_second:.1f} photos/s measured on this machine, {NUM_FRAMES} a story in every epoch, "
            f"forward only) it would take {(seconds + looking) / 3600:.1f} hours, "
            f"{(seconds + looking) / max(seconds, 1e-9):.0f} times as long.")
