"""The recipe of a run, and the backbone opened for it: on its device, at its batch shape."""
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from data.folder.manifest import Manifest
from extract.config import ExtractConfig
from extract.folder.ledger import read_ledger
from extract.folder.occupancy import is_held_by, own_token, take_turns
from extract.folder.recipe import describe_recipe, flags_of, recall_recipe, remember_recipe, request_key, require_recipe

if TYPE_CHECKING:
    import torch

    from extract.backbones.backbone import Backbone
    from extract.backbones.mapper import Mapper

CPU_BATCH, CUDA_BATCH = 8, 128  # of 2 to 32 on a processor, 4 and 8 are fastest: what a layer gives stays in its cache
MAX_BATCH = 4096

log = logging.getLogger(__name__)


@dataclass
class Opened:
    """A backbone ready to look at batches."""

    backbone: "Backbone"
    mapper: "Mapper"


@dataclass(frozen=True)
class Resolved:
    """The recipe of the folder and what belongs to it; `opened` only where torch was needed to know."""

    recipe: dict[str, Any]
    width: int
    weights: str
    licence: str
    files: tuple[str, ...]
    opened: Opened | None


def resolve_recipe(config: ExtractConfig, manifest: Manifest | None) -> Resolved:
    """The recipe this run works by: known from an earlier run where nothing it depends on changed, else built.

    Raises:
        UserError: if the folder was made by another recipe, naming what differs.
    """
    remembered = recall_recipe(config.out)
    expected = manifest.recipe if manifest is not None else remembered["recipe"] if remembered is not None else None
    if remembered is not None and expected == remembered["recipe"] \
            and request_key(config, remembered["files"]) == remembered["key"]:
        return Resolved(remembered["recipe"], remembered["width"], remembered["weights"], remembered["licence"],
                        tuple(remembered["files"]), None)
    return open_backbone(config, None if manifest is None else manifest.recipe)


def open_backbone(config: ExtractConfig, expected: dict[str, Any] | None) -> Resolved:
    """Load the backbone; what the flags leave open (precision, batch size) is as the folder has it.

    Args:
        expected: the recipe of the folder's manifest, or None. Before there is one, processes that share the work
            agree by what the first of them noted in `.local`; the note of a process that has ended binds nobody
            before a shard is published.

    Raises:
        UserError: if the folder was made by another recipe, naming what differs.
    """
    log.info("loading %s with weights %s", config.backbone, config.weights)
    from extract.backbones.backbone import build_backbone
    from extract.backbones.mapper import Mapper, choose_device
    backbone = build_backbone(config.backbone, config.weights, config.resize)
    device = choose_device(config.device, config.local_rank)
    with take_turns(config.out):
        remembered = recall_recipe(config.out)
        made_with = remembered["made_with"] if remembered is not None else ""
        if expected is None and remembered is not None and (
                read_ledger(config.out) or is_held_by(config.out, remembered["holder"])):
            expected = remembered["recipe"]
        recipe, precision, size = settle_recipe(config, backbone, device, expected)
        if expected is not None:
            require_recipe(config.out, expected, recipe, made_with)
        files = tuple(sorted(str(path.absolute()) for path in backbone.files))
        remember_recipe(config.out, {
            "recipe": recipe, "made_with": flags_of(config), "width": backbone.spec.width, "weights": backbone.weights,
            "licence": backbone.spec.licence, "files": list(files), "key": request_key(config, files),
            "holder": own_token(config.out, config.rank)})
    mapper = Mapper(backbone, device, precision, size, config.compiled, config.grid)
    return Resolved(recipe, backbone.spec.width, backbone.weights, backbone.spec.licence, files,
                    Opened(backbone, mapper))


def settle_recipe(config: ExtractConfig, backbone: "Backbone", device: "torch.device",
                  expected: dict[str, Any] | None) -> tuple[dict[str, Any], str, int]:
    """The recipe with what the flags leave open, its precision and its batch size; writes nothing."""
    from extract.backbones.mapper import fit_batch_size, resolve_precision
    fields = expected["fields"] if expected is not None else {}
    if expected is not None:
        _require_usable(config, fields)
    precision = fields.get("precision", "auto") if config.precision == "auto" else config.precision
    precision = resolve_precision(precision, device)
    size = config.batch_size or (fields["batch_shape"][0] if fields else None)
    if size is None:
        size = CPU_BATCH if device.type == "cpu" else fit_batch_size(backbone, device, precision, CUDA_BATCH,
                                                                     config.grid)
    return describe_recipe(backbone, precision, size, config), precision, size


def _require_usable(config: ExtractConfig, fields: dict[str, Any]) -> None:
    """Refuse a recipe, which may be anybody's, that says nothing of the precision or the batch to work with."""
    from extract.backbones.mapper import PRECISIONS
    batch = fields.get("batch_shape")
    size = batch[0] if isinstance(batch, list) and batch else None
    if fields.get("precision") not in tuple(PRECISIONS) or type(size) is not int or not 1 <= size <= MAX_BATCH:
        raise UserError(f"expected a precision of {', '.join(PRECISIONS)} and a batch shape in the recipe of "
                        f"{config.out}, found {fields.get('precision')!r:.40} and {batch!r:.40}; get the folder again, "
                        "or name another with --out")
