"""Backbones by name: `timm:NAME.TAG` and `open_clip:NAME/TAG`, as (module, spec) like a plug-in's.

What a photo is shown as comes from the library's own configuration of the tag, the width from a look at the net. Tags
are never guessed: timm's `resnet50` alone is another net than torchvision's. A CLIP keeps its projection, so that its
features lie in the space it shares with text; `build_text_tower` gives the other half.
"""
import logging
import math
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError, suggest
from extract.backbones.pretrained import Pretrained
from extract.backbones.weights import IMAGENET, OWN, RANDOM, fit_weights, read_weights
from extract.extras import require_extra

LIBRARIES = ("timm", "open_clip")
LISTED = 40  # tags in an error; resnet50 of timm has 33


def is_named(name: str) -> bool:
    """Whether a backbone's name is one of a library's."""
    return name.partition(":")[0] in LIBRARIES


def describe_named(name: str) -> Pretrained:
    """What the library says of a name; builds and fetches nothing.

    Raises:
        UserError: if the library is not installed, knows no such net or tag, or would build a net that the tag's
            weights were not trained for.
    """
    return _describe_timm(name) if name.startswith("timm:") else _describe_open_clip(name)


def build_named(name: str, weights: str) -> tuple[nn.Module, dict[str, Any], Path | None]:
    """Build a net with weights.

    Args:
        weights: "random"; "imagenet" or "own" for those of the tag; or a path.

    Returns:
        The module from (B, 3, size, size) to (B, width), its spec, and the file its weights came from.

    Raises:
        UserError: as `describe_named`; if weights are neither here nor to be had, or do not fit; or if photos would
            have to be shown in a way that extraction does not know.
    """
    pretrained = describe_named(name)
    path = _find_weights(pretrained, weights)
    module, spec = (_build_timm if name.startswith("timm:") else _build_open_clip)(name, path)
    if path is None:
        licence = "random numbers from a seed: none"
    elif weights in (IMAGENET, OWN):
        licence = pretrained.describe_licence(path)
    else:
        licence = (f"of the file given with --weights: ask whoever made it (the tag {pretrained.tag} itself: "
                   f"{pretrained.licence})")
    module.eval()
    return module, {**spec, "width": _probe_width(name, module, spec["size"]), "licence": licence,
                    "origin": pretrained.origin}, path


def build_text_tower(name: str, weights: str) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """The text half of `open_clip:NAME/TAG`, which shares its space with the image half's features.

    Args:
        weights: as `build_named` takes them.

    Returns:
        A module from token ids (B, T) to (B, width), and what makes such ids of texts.

    Raises:
        UserError: as `build_named`; if the name is none of open_clip's.
    """
    if not name.startswith("open_clip:"):
        raise UserError(f"expected open_clip:NAME/TAG for a text tower, found {name}; of those both halves are at hand")
    model = _open_clip_model(name, _find_weights(describe_named(name), weights), whole=True)
    library = require_extra("open_clip", "backbones", name)
    return TextTower(model).eval(), library.get_tokenizer(_split_open_clip(name)[0])


class TextTower(nn.Module):
    """(B, T) token ids -> (B, width), not normalised."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "visual"):
            model.visual = nn.Identity()  # half of the memory

    def forward(self, token_ids: Tensor) -> Tensor:
        """Encode texts."""
        return self.model.encode_text(token_ids)


def _find_weights(pretrained: Pretrained, weights: str) -> Path | None:
    return None if weights == RANDOM else pretrained.fetch() if weights in (IMAGENET, OWN) else Path(weights)


def _describe_timm(name: str) -> Pretrained:
    timm = require_extra("timm", "backbones", f"--backbone {name}")
    full = name.partition(":")[2]
    architecture, _, tag = full.partition(".")
    if not timm.is_model(architecture):
        raise UserError(f"expected timm:NAME.TAG with a net that timm {timm.__version__} knows, found {name}"
                        f"{suggest(architecture, timm.list_models())}; see timm.list_pretrained()")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag not in tags:
        raise _no_tag(name, "timm:NAME.TAG", tags)
    config = timm.get_pretrained_cfg(full)
    if any("quickgelu" in str(note).lower() for note in config.notes or ()) and "quickgelu" not in architecture:
        raise _wrong_gelu(name, f"timm:{full.replace('_clip_', '_clip_quickgelu_')}")
    repository, _, revision = (config.hf_hub_id or "").partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    return Pretrained(name, tag, repository, (revision or "main") if repository else "", files, config.url or "",
                      config.license or "unknown")


def _describe_open_clip(name: str) -> Pretrained:
    library = require_extra("open_clip", "backbones", f"--backbone {name}")
    architecture, tag = _split_open_clip(name)
    model = library.get_model_config(architecture)
    if model is None:
        raise UserError(f"expected open_clip:NAME/TAG with a net that open_clip {library.__version__} knows, found "
                        f"{name}{suggest(architecture, library.list_models())}; see open_clip.list_pretrained()")
    config = library.get_pretrained_cfg(architecture, tag)
    if not config:
        raise _no_tag(name, "open_clip:NAME/TAG", library.list_pretrained_tags_by_model(architecture))
    if bool(config.get("quick_gelu")) != bool(model.get("quick_gelu")):
        other = architecture.removesuffix("-quickgelu") if model.get("quick_gelu") else f"{architecture}-quickgelu"
        raise _wrong_gelu(name, f"open_clip:{other}/{tag}")
    repository, _, file = config.get("hf_hub", "").rpartition("/")
    files = (file,) if file else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return Pretrained(name, tag, repository, "main" if repository else "", files, config.get("url", ""),
                      f"not told by open_clip: see {repository or config.get('url')}")


def _no_tag(name: str, form: str, tags: list[str]) -> UserError:
    listed = ", ".join(tags[:LISTED]) + (", ..." if len(tags) > LISTED else "")
    return UserError(f"expected {form} with a whole tag, which says what a net was trained on and is shown, found "
                     f"{name}; " + (f"choose one of {listed}" if tags else "there are no weights of that net"))


def _wrong_gelu(name: str, other: str) -> UserError:
    return UserError(f"expected a net with the activation that its weights were trained with, found {name}, where one "
                     f"has QuickGELU and the other GELU: its features would be others; name {other}")


def _build_timm(name: str, path: Path | None) -> tuple[nn.Module, dict[str, Any]]:
    timm = require_extra("timm", "backbones", name)
    full = name.partition(":")[2]
    # what was fitted to classes after CLIP's training ends in a classifier, pure CLIP in the space shared with text
    is_clip = "clip" in full and not re.search(r"_(ft_)?in\d+k", full)
    head: dict[str, Any] = {} if is_clip else {"num_classes": 0}
    if path is None:
        module = timm.create_model(full, pretrained=False, **head)
    else:
        module = _load_timm(timm, full, head, path)
    config = timm.data.resolve_model_data_config(module)
    crop, (_, height, width) = config["crop_pct"], config["input_size"]
    if height != width or config["crop_mode"] == "border" or (config["crop_mode"] == "squash" and crop < 1):
        raise _no_transform(name, f"{height} x {width} pixels by {config['crop_mode']} of {crop}")
    return module, {"size": height, "resize": "crop" if config["crop_mode"] == "center" else "squash",
                    "short_side": math.floor(height / crop), "interpolation": config["interpolation"],
                    "mean": config["mean"], "std": config["std"]}


def _load_timm(timm: Any, full: str, head: dict[str, Any], path: Path) -> nn.Module:
    """A whole checkpoint of the tag, which timm may have to rewrite, or a state of the net without its head."""
    state = read_weights(path)
    try:
        module = timm.create_model(full, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)})
    except (RuntimeError, KeyError, ValueError):
        module = timm.create_model(full, pretrained=False, **head)
        fit_weights(module, state, "", path)
        return module
    if head:
        module.reset_classifier(0)
    return module


def _build_open_clip(name: str, path: Path | None) -> tuple[nn.Module, dict[str, Any]]:
    library = require_extra("open_clip", "backbones", name)
    config: Mapping[str, Any] = library.get_pretrained_cfg(*_split_open_clip(name))
    module = _open_clip_model(name, path).visual
    size = module.image_size
    height, width = (size, size) if isinstance(size, int) else size
    rule = {"shortest": "crop", "squash": "squash"}.get(config["resize_mode"])
    if height != width or rule is None:
        raise _no_transform(name, f"{height} x {width} pixels by {config['resize_mode']}")
    return module, {"size": height, "resize": rule, "short_side": height, "interpolation": config["interpolation"],
                    "mean": config["mean"], "std": config["std"]}


def _open_clip_model(name: str, path: Path | None, whole: bool = False) -> Any:
    library = require_extra("open_clip", "backbones", name)
    level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # it warns that a net without weights has none
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = library.create_model(_split_open_clip(name)[0], pretrained=None, pretrained_text=False)
    finally:
        logging.getLogger().setLevel(level)
    if path is None:
        return model
    state = read_weights(path)
    if not whole and not any(key.removeprefix("module.").startswith("visual.") for key in state):
        fit_weights(model.visual, state, "", path)  # of the image half alone, as fine-tuning writes it
        return model
    try:
        library.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"expected weights that fit {name} in {path}, found {str(error).strip()[:300]}; name the "
                        "backbone they belong to with --backbone") from None
    return model


def _split_open_clip(name: str) -> tuple[str, str]:
    architecture, _, tag = name.partition(":")[2].partition("/")
    return architecture, tag


def _no_transform(name: str, found: str) -> UserError:
    return UserError(f"expected a square picture, squashed whole or cropped from the centre, as what {name} is shown, "
                     f"found {found}; write a factory that does this and name it as module:factory")


def _probe_width(name: str, module: nn.Module, size: int) -> int:
    with torch.inference_mode():
        features = module(torch.zeros(1, 3, size, size))
    if not isinstance(features, Tensor) or features.dim() != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"expected one vector a photo from {name}, found {found}; write a factory that pools it and "
                        "name it as module:factory")
    return features.shape[1]
