"""The recipe of a run, and the backbone opened for it: on its device, at its batch shape."""
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.folder.identity import modern_recipe, require_same
from data.folder.manifest import Manifest
from extract.config import ExtractConfig
from extract.folder.ledger import read_ledger
from extract.folder.occupancy import is_held_by, own_token, take_turns
from extract.folder.recipe import (
    describe_recipe,
    flags_of,
    list_made_by,
    recall_recipe,
    remember_recipe,
    request_key,
    require_made_alike,
)

if TYPE_CHECKING:
    import torch

    from extract.backbones.backbone import Backbone
    from extract.backbones.mapper import Mapper

CPU_BATCH, CUDA_BATCH = 8, 128  # of 2 to 32 on a processor, 4 and 8 are fastest: what a layer gives stays in its cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolved:
    """The recipe of the folder and what belongs to it; `backbone` only where torch was needed to know."""

    recipe: dict[str, Any]
    width: int
    weights: str
    licence: str
    files: tuple[str, ...]
    backbone: "Backbone | None" = None


def resolve_recipe(config: ExtractConfig, manifest: Manifest | None) -> Resolved:
    """The recipe this run works by: known from an earlier run where nothing it depends on changed, else built.

    Before there is a manifest, processes that share the work agree by what the first of them noted in `.local`; the
    note of a process that has ended binds nobody before a shard is published.

    Raises:
        UserError: if the folder was made by another recipe, naming what differs.
    """
    noted = recall_recipe(config.out)
    expected = manifest.recipe if manifest is not None else noted["recipe"] if noted is not None else None
    if noted is not None and expected == noted["recipe"] and request_key(config, noted["files"]) == noted["key"]:
        return Resolved(noted["recipe"], noted["width"], noted["weights"], noted["licence"], tuple(noted["files"]))
    from extract.backbones.mapper import choose_device
    backbone, device = build_backbone(config), choose_device(config.device, config.local_rank)
    files = tuple(sorted(str(path.absolute()) for path in backbone.files))
    with take_turns(config.out):
        noted, is_bound = recall_recipe(config.out), is_note_bound(config)
        expected = manifest.recipe if manifest is not None else noted["recipe"] if noted and is_bound else None
        recipe = settle_recipe(config, backbone, device, expected, noted["made_with"] if noted else "")
        remember_recipe(config.out, {
            "recipe": recipe, "made_by": list_made_by(config.out, manifest, is_bound), "made_with": flags_of(config),
            "width": backbone.spec.width, "weights": backbone.weights, "licence": backbone.spec.licence,
            "files": list(files), "key": request_key(config, files), "holder": own_token(config.out, config.rank)})
    return Resolved(recipe, backbone.spec.width, backbone.weights, backbone.spec.licence, files, backbone)


def open_mapper(config: ExtractConfig, resolved: Resolved, manifest: Manifest | None,
                tokens: int) -> "Mapper":
    """The backbone on its device, ready to append to the folder; what that is made by is noted.

    Args:
        tokens: P of every photo, see `Mapper`.

    Raises:
        UserError: if the folder's features were made otherwise; see `require_made_alike`.
    """
    from extract.backbones.mapper import Mapper, choose_device
    backbone, device = resolved.backbone or build_backbone(config), choose_device(config.device, config.local_rank)
    with take_turns(config.out):
        made_by = list_made_by(config.out, manifest, is_note_bound(config))
        precision = resolved.recipe["fields"]["precision"]
        size = settle_batch(config, backbone, device, precision, made_by, tokens)
        here = {"batch_shape": [size, 3, backbone.spec.size, backbone.spec.size], "compiled": config.compiled,
                "device": device.type}
        made_by = require_made_alike(config.out, precision, made_by, here, config.mixed)
        noted = recall_recipe(config.out)
        assert noted is not None, "the recipe was noted when it was resolved"
        remember_recipe(config.out, {**noted, "made_by": made_by, "holder": own_token(config.out, config.rank)})
    return Mapper(backbone, device, precision, size, config.compiled, tokens)


def build_backbone(config: ExtractConfig) -> "Backbone":
    """The backbone that the flags name, with its weights."""
    log.info("loading %s with weights %s", config.backbone, config.weights)
    from extract.backbones import backbone
    return backbone.build_backbone(config.backbone, config.weights, config.resize)


def is_note_bound(config: ExtractConfig) -> bool:
    """Whether the noted recipe counts: a shard was published by it, or the process that noted it lives."""
    noted = recall_recipe(config.out)
    return noted is not None and (bool(read_ledger(config.out)) or is_held_by(config.out, noted["holder"]))


def settle_recipe(config: ExtractConfig, backbone: "Backbone", device: "torch.device",
                  expected: dict[str, Any] | None, made_with: str = "") -> dict[str, Any]:
    """The recipe with the precision that the flags leave open; that of the folder where it says the same.

    Args:
        expected: the folder's recipe, or None. made_with: the flags it was made with, for messages.

    Raises:
        UserError: if the folder was made by another recipe, naming what differs, or by one of no use.
    """
    from extract.backbones.mapper import PRECISIONS, resolve_precision
    if expected is None:
        return describe_recipe(backbone, resolve_precision(config.precision, device), config)
    kept = expected["fields"].get("precision")
    if kept not in tuple(PRECISIONS):
        raise UserError(f"expected a precision of {', '.join(PRECISIONS)} in the recipe of {config.out}, found "
                        f"{kept!r:.40}; get the folder again, or name another with --out")
    recipe = describe_recipe(backbone, kept if config.precision == "auto" else config.precision, config)
    flags = f" ({made_with})" if made_with else ""
    require_same("recipe", modern_recipe(expected), modern_recipe(recipe), f"features folder {config.out}",
                 "this command's flags and weights",
                 f"repeat the flags it was made with{flags}, or name another folder with --out")
    return expected


def settle_batch(config: ExtractConfig, backbone: "Backbone", device: "torch.device", precision: str,
                 made_by: list[dict[str, Any]], tokens: int) -> int:
    """The batch's size: asked for, or as the folder was made on such a device, or what is best and has room."""
    from extract.backbones.mapper import fit_batch_size
    alike = [made["batch_shape"][0] for made in made_by if made["device"] in (device.type, "unknown")]
    if config.batch_size or alike:
        return config.batch_size or alike[-1]
    return CPU_BATCH if device.type == "cpu" else fit_batch_size(backbone, device, precision, CUDA_BATCH, tokens)
