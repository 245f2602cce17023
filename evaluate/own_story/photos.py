"""Photos of your own through the backbone that a run's features came from; another one is refused, field by field."""
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import RECIPE_VERSION, identify, modern_recipe, require_same
from data.pictures.photos import BadPhoto, read_photo
from data.pictures.pictures import Resize, decode_photo
from extract.backbones.backbone import Backbone, build_backbone, spec_fields
from extract.backbones.folding import describe_arithmetic
from extract.backbones.mapper import Mapper
from extract.backbones.weights import IMAGENET, OWN, RANDOM
from extract.folder.recipe import package_versions, recall_recipe
from train.run_folder.runs import LoadedRun

BATCH = 5  # photos of a whole story
REMEDY = "name the backbone and the weights that the run's features came from with --backbone and --weights"


def read_contents(paths: tuple[Path, ...]) -> list[bytes]:
    """The files' bytes.

    Raises:
        UserError: if one is absent, empty or may not be read.
    """
    contents = []
    for path in paths:
        try:
            contents.append(read_photo(path))
        except BadPhoto as error:
            raise UserError(f"expected a photo at {path}, found: {error.cause}; name another file") from None
    return contents


def open_backbone(run: LoadedRun, features: Features, name: str | None, weights: str | None) -> Backbone:
    """The backbone of a run's features.

    Args:
        features: the folder, for what this machine remembers of making it.
        name: must be given where it is a plug-in: a folder does not choose what runs. None: the run's.
        weights: random, imagenet or a file. None: as this machine made the folder.

    Raises:
        UserError: if it cannot be built, or would give other features: naming each field, before anything is
            downloaded where that can be known.
    """
    fields = run.recipe["fields"]
    own = str(fields.get("backbone"))
    if ":" in own and name is None:
        raise UserError(f"expected --backbone for features of the plug-in {own!r}, found none; a folder does not "
                        f"choose what runs here: look at that module, then add --backbone {own}")
    weights, resize, name = _choose_weights(features, weights), fields.get("resize"), name or own
    if weights == IMAGENET and ":" not in name:
        _require_known(run, build_backbone(name, RANDOM, resize))
    backbone = build_backbone(name, weights, resize)
    _require(run, settled_fields(backbone))
    return backbone


def make_mapper(backbone: Backbone, fields: dict[str, Any], device: str) -> Mapper:
    """What looks at photos as a recipe's `fields` have it."""
    precision = fields.get("precision", "float32")
    if precision == "float16" and device == "cpu":
        precision = "float32"  # drifts less than half precision does
    return Mapper(backbone, torch.device(device), precision, BATCH)


def look_at(paths: tuple[Path, ...], contents: list[bytes], mapper: Mapper, resize: Resize) -> np.ndarray:
    """(n, D) float16 features of photos.

    Raises:
        UserError: if a photo cannot be decoded.
    """
    pictures = []
    for path, content in zip(paths, contents):
        try:
            pictures.append(decode_photo(content, resize))
        except BadPhoto as error:
            raise UserError(f"expected a photo in {path}, found: {error.cause}; name another file") from None
    return mapper.look_at(np.stack(pictures))


def settled_fields(backbone: Backbone) -> dict[str, Any]:
    """The recipe's fields that looking at a photo here settles."""
    return {"version": RECIPE_VERSION, "backbone": backbone.name, "weights": backbone.weights_sha256,
            **spec_fields(backbone.spec), "arithmetic": describe_arithmetic(backbone.folded),
            "decoder_major": int(package_versions()["pillow"].split(".")[0])}


def _choose_weights(features: Features, weights: str | None) -> str:
    if weights is not None:
        return weights
    remembered = recall_recipe(features.root)
    found = str(remembered["weights"]) if remembered is not None else None
    if found not in (RANDOM, IMAGENET, OWN):
        raise UserError(f"expected --weights for the backbone of {features.root}, found none; name random, imagenet or "
                        "the file its features were made with")
    return found


def _require_known(run: LoadedRun, untrained: Backbone) -> None:
    """Refuse ImageNet's weights where the same backbone without them shows already that features would differ."""
    wanted = run.recipe["fields"].get("weights")
    fields = settled_fields(untrained)
    fields["weights"] = "imagenet (these are random)" if wanted == untrained.weights_sha256 else wanted
    _require(run, fields)


def _require(run: LoadedRun, fields: dict[str, Any]) -> None:
    recipe = modern_recipe(run.recipe)
    require_same("recipe", recipe, identify({**recipe["fields"], **fields}), f"run {run.path}",
                 "the backbone of this command", REMEDY)
