"""Backbones: a torch module from normalised pictures to features, with what it wants to be shown.

A torchvision classifier by name gives the input of its last Linear. `module:factory` names a callable without
arguments that returns (module, spec): a module from (B, 3, size, size) normalised float to (B, width), and a dict with
`width`, `size`, `resize` ("squash" or "crop"), `interpolation`, `mean`, `std`, and optionally `short_side` (what
"crop" scales the shorter side to) and `licence`. `timm:NAME.TAG` and `open_clip:NAME/TAG` give the same pair.
"""
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.errors import UserError
from data.pictures.pictures import INTERPOLATIONS, RESIZE_RULES, Resize
from extract.backbones.folding import fold
from extract.backbones.named import build_named, is_named
from extract.backbones.weights import IMAGENET, OWN, RANDOM, find_imagenet, fit_weights, hash_weights, read_weights

SEED = 42  # of random weights
CROP_FRACTION = 0.875  # of the shorter side, where nobody says otherwise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spec:
    """What a backbone wants to be shown and gives.

    Attributes:
        width: D of its features. size: side of the square picture, pixels. short_side: what "crop" scales to first.
        mean, std: per channel, of pictures in [0, 1].
        origin: where a net that is known by name comes from: tag, source, revision, licence; part of the recipe.
    """

    width: int
    size: int
    resize: str
    short_side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str = "unknown"
    origin: dict[str, str] = field(default_factory=dict)

    def resize_for(self, exact: bool) -> Resize:
        """How a photo becomes this backbone's input."""
        return Resize(self.resize, self.size, self.short_side, self.interpolation, exact)


@dataclass(frozen=True)
class Backbone:
    """A module in eval mode with its weights, its spec, and how both are named.

    Attributes:
        weights: "random", "imagenet", "own" (of a plug-in) or a file's name. weights_sha256: over its tensors.
        files: whose change may change its features: weights, a plug-in's source.
    """

    name: str
    module: nn.Module
    spec: Spec
    weights: str
    weights_sha256: str
    files: tuple[Path, ...] = ()

    @cached_property
    def folded(self) -> nn.Module:
        """The module as features are computed with it; see `folding.fold`."""
        return fold(self.module, self.spec.size)


def build_backbone(name: str, weights: str, resize: str | None = None) -> Backbone:
    """Build a backbone with its weights.

    Args:
        name: a torchvision classifier, `module:factory`, `timm:NAME.TAG` or `open_clip:NAME/TAG`.
        weights: "random" (seeded; the global generator is left alone), "imagenet", or a path. A plug-in brings its
            own weights unless a path is given; "imagenet" of a library's tag are the tag's.
        resize: "squash" or "crop" overrides the spec's rule.

    Raises:
        UserError: if there is no such backbone, its factory breaks its promise, or the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's notes on how old models are initialised
        torch.manual_seed(SEED)
        if is_named(name):
            module, raw, source = build_named(name, weights)
            spec = _check_spec(name, raw)
        else:
            build = _build_plugin if ":" in name else _build_torchvision
            module, spec, head, source = build(name, weights)
    if source is not None and not is_named(name):
        fit_weights(module, read_weights(source), head, source)
        weights = source.name if weights != IMAGENET else IMAGENET
    elif is_named(name):
        weights = weights if weights == RANDOM or source is None else OWN if weights in (IMAGENET, OWN) else source.name
    elif ":" in name:
        weights = OWN
    files = tuple(path for path in (source, find_source(name) if ":" in name else None) if path is not None)
    module.eval().requires_grad_(False)
    return Backbone(name, module, replace(spec, resize=resize or spec.resize), weights, hash_weights(module), files)


def _build_torchvision(name: str, weights: str) -> tuple[nn.Module, Spec, str, Path | None]:
    from torchvision import models
    if name not in models.list_models(module=models):
        raise UserError(f"expected a torchvision classifier or module:factory as backbone, found {name!r}; "
                        f"choose for example resnet50, or one of torchvision.models.list_models()")
    enum = models.get_model_weights(name)
    entry = getattr(enum, "IMAGENET1K_V1", None)
    if entry is None and weights == IMAGENET:
        raise UserError(f"expected ImageNet weights (IMAGENET1K_V1) for {name}, found that torchvision has "
                        f"{', '.join(member.name for member in enum) or 'none'}; name a file with --weights PATH")
    if weights == IMAGENET:
        assert entry is not None
        source: Path | None = find_imagenet(name, entry.url)
    else:
        source = None if weights == RANDOM else Path(weights)
    module = models.get_model(name, weights=None)
    head, width = _take_head_off(name, module)
    shown = (entry or next(iter(enum))).transforms()
    mean, std = tuple(shown.mean), tuple(shown.std)
    if hasattr(module, "transform_input") and source is not None and entry and source.name == Path(entry.url).name:
        mean = std = (0.5, 0.5, 0.5)  # as these weights were trained; torchvision scales anew inside the net
    spec = Spec(width, shown.crop_size[0], "squash", shown.resize_size[0], shown.interpolation.value,
                mean, std, _name_licence(weights))
    return module, spec, head, source


def _name_licence(weights: str) -> str:
    return {RANDOM: "random numbers from a seed: none",
            IMAGENET: "torchvision's, BSD-3-Clause; trained on ImageNet-1k, whose own terms allow non-commercial "
                      "research and education"}.get(weights, "of the file given with --weights: ask whoever made it")


def _take_head_off(name: str, module: nn.Module) -> tuple[str, int]:
    linear = [(path, part) for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise UserError(f"expected a classifier that ends in a Linear, found none in {name}; choose another backbone, "
                        "or wrap it in a factory and name it as module:factory")
    path, last = linear[-1]
    parent, _, attribute = path.rpartition(".")
    setattr(module.get_submodule(parent), attribute, nn.Identity())
    return path, last.in_features


def call_factory(name: str, flag: str) -> Any:
    """What the factory of a plug-in returns.

    Args:
        name: `module:factory`. flag: it was given with, for the messages.

    Raises:
        UserError: if there is no such module, or nothing in it that can be called.
    """
    module_name, _, attribute = name.partition(":")
    if _find_spec(module_name) is None:
        raise UserError(f"expected an importable module in {flag} {name}, found no module {module_name!r} from "
                        f"{os.getcwd()}; run from its folder or set PYTHONPATH")
    factory = getattr(importlib.import_module(module_name), attribute, None)
    if not callable(factory):
        raise UserError(f"expected a callable {attribute!r} in module {module_name!r}, found "
                        f"{'none' if factory is None else type(factory).__name__}; name a factory without arguments")
    return factory()


def find_source(name: str) -> Path | None:
    """The file of a plug-in's module; None where there is none."""
    origin = getattr(_find_spec(name.partition(":")[0]), "origin", None)
    return Path(origin) if origin else None


def _build_plugin(name: str, weights: str) -> tuple[nn.Module, Spec, str, Path | None]:
    made = call_factory(name, "--backbone")
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module)
            and isinstance(made[1], Mapping)):
        raise UserError(f"expected {name} to return (torch module, spec), found {type(made).__name__}; return both")
    if weights == IMAGENET:
        log.warning("%s brings its own weights: --weights imagenet names torchvision's and is not used", name)
    source = None if weights in (RANDOM, IMAGENET, OWN) else Path(weights)
    return made[0], _check_spec(name, made[1]), "", source


def _find_spec(module_name: str) -> Any:
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # under torchrun's launcher the script's folder stands there instead
    try:
        return importlib.util.find_spec(module_name)
    except (ImportError, ValueError):
        return None


def _check_spec(name: str, raw: Mapping[str, Any]) -> Spec:
    required = ("width", "size", "resize", "interpolation", "mean", "std")
    unknown = sorted(set(raw) - set(Spec.__dataclass_fields__))
    absent = [field for field in required if field not in raw]
    if absent or unknown:
        raise UserError(f"expected the spec of {name} with {', '.join(required)} (and short_side, licence), found "
                        f"{'no ' + ', '.join(absent) if absent else 'unknown ' + ', '.join(unknown)}; mend the factory")
    try:
        mean, std = (tuple(float(value) for value in raw[field]) for field in ("mean", "std"))
        size = int(raw["size"])
        short_side = int(raw.get("short_side", round(size / CROP_FRACTION)))
        spec = Spec(int(raw["width"]), size, str(raw["resize"]), short_side, str(raw["interpolation"]),
                    mean, std, str(raw.get("licence", "the plug-in's own")),  # type: ignore[arg-type]
                    {str(key): str(value) for key, value in dict(raw.get("origin", {})).items()})
        fits = (spec.width > 0 and len(mean) == len(std) == 3 and min(std) > 0 and spec.resize in RESIZE_RULES
                and spec.interpolation in INTERPOLATIONS and 1 <= size <= spec.short_side)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"expected the spec of {name} with positive width and size, resize "
                        f"{' or '.join(RESIZE_RULES)}, interpolation of {', '.join(INTERPOLATIONS)}, three means and "
                        f"three positive deviations, found {dict(raw)!r:.300}; mend the factory")
    return spec


def spec_fields(spec: Spec) -> dict[str, Any]:
    """The part of a spec that changes features, as plain JSON values."""
    fields = asdict(spec)
    del fields["licence"]
    if not spec.origin:
        del fields["origin"]
    if spec.resize == "squash":
        del fields["short_side"]
    return {**fields, "mean": list(spec.mean), "std": list(spec.std)}
