"""Make the canaries' features anew and compare: do weights, transforms and arithmetic here agree with the folder's?

Compared is the cosine of features standardised by the folder's own statistics. Without that nothing would show: the
features of a random network are nearly parallel (cosine 0.999 between any two photos), and scaling its input only
scales them. Measured on a random ResNet-50, median / worst: float16 for float32 0.9999 / 0.9997, bfloat16 for float32
0.996 / 0.98, bicubic for bilinear 0.990 / 0.95, crop for squash 0.89 / 0.42, another normalisation 0.93 / 0.56 and far
less, batch norm in training mode -0.05 / -0.33.
"""
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import UserError
from data.folder.folder import Features
from data.folder.published import map_published
from data.pictures.photos import find_photos
from extract.folder.canaries import GROUP, decode_unchanged, read_resize
from extract.folder.cosine import centred_cosine, measure_statistics
from extract.verification.findings import Report

if TYPE_CHECKING:
    from extract.backbones.backbone import Backbone

MEDIAN_LIMIT = 0.99
WORST_LIMIT = {"bfloat16": 0.95}  # else MEDIAN_LIMIT
PIXEL_LIMIT = 1.0  # mean difference of 255; decoders differ by less, another resize rule by more
BATCH_ROWS = 32
REMEDY = "the features of this folder and those made here do not mix: find the weights or the versions that it names"


def check_weights(root: Path, weights: str, report: Report, backbone_name: str | None = None,
                  dataset: Path | None = None, device: str = "auto") -> None:
    """Compare the canaries' features with those that weights give here, and their pixels with their photos.

    Args:
        weights: "random", "imagenet" or a path.
        backbone_name: must be named where it is a plug-in: a folder from elsewhere does not choose what runs here.
        dataset: folder with the photos, to decode them anew; None compares the stored pixels' features alone.

    Raises:
        UserError: if the folder has no canaries, or its backbone is not to be had.
    """
    from extract.backbones.backbone import spec_fields
    features = Features.open(root)
    fields = features.recipe["fields"]
    canaries = _read_canaries(features)
    backbone = _build(fields, weights, backbone_name)
    here = {"backbone": backbone.name, "weights": backbone.weights_sha256, **spec_fields(backbone.spec)}
    for name, value in here.items():
        if fields.get(name) != value:
            report.differ(f"recipe: {name}", f"expected {fields.get(name)!s:.80} as the folder was made with, "
                          f"found {value!s:.80} here", REMEDY)
    if backbone.spec.width != features.width:
        return  # told above
    look = _make_looker(backbone, features, device, report)
    rows = np.flatnonzero(features.usable)
    mean, deviation = measure_statistics(features.feature, rows if len(rows) else canaries["photo"])
    ids = features.photo_id.take(canaries["photo"])
    _compare(canaries["feature"], look(canaries["picture"]), mean, deviation, ids, fields, "canaries", report)
    if dataset is not None:
        pictures, indices = _decode_again(ids, canaries, dataset, fields, report)
        if len(indices):
            _compare(canaries["feature"][indices], look(pictures), mean, deviation, ids[indices], fields,
                     "canaries decoded anew", report)


def _read_canaries(features: Features) -> dict[str, np.ndarray]:
    shards = features.manifest.shards.get(GROUP, ())
    if not shards:
        raise UserError(f"expected canaries in {features.root} to compare with, found none; make features adds them "
                        "where the photos are")
    canaries = map_published(features.root, shards[0], GROUP)
    if canaries["feature"].shape[1] != features.width or not len(canaries["photo"]) \
            or not 0 <= canaries["photo"].min() <= canaries["photo"].max() < features.num_photos:
        raise UserError(f"expected canaries of width {features.width} among {features.num_photos} photo rows in "
                        f"{features.root / shards[0].name}, found others; get the folder again")
    return canaries


def _build(fields: dict[str, Any], weights: str, backbone_name: str | None) -> "Backbone":
    name = fields.get("backbone")
    if not isinstance(name, str) or (":" in name and backbone_name is None):
        raise UserError(f"expected --backbone for a folder whose backbone is the plug-in {name!r}, found none; a "
                        f"folder does not choose what runs here: look at that module, then add --backbone {name}")
    from extract.backbones.backbone import build_backbone
    resize = fields.get("resize")
    return build_backbone(backbone_name or name, weights, resize if resize in ("squash", "crop") else None)


def _make_looker(backbone: "Backbone", features: Features, device_name: str, report: Report) -> Any:
    import torch

    from extract.backbones.mapper import PRECISIONS, Mapper, choose_device
    device = choose_device(device_name, 0)
    precision = features.recipe["fields"].get("precision", "float32")
    if precision not in PRECISIONS or (precision == "float16" and device.type == "cpu"):
        report.note("precision", f"the folder was made with {precision!s:.20}; compared with float32 here")
        precision = "float32"
    sizes = [made["batch_shape"][0] for made in features.manifest.made_by]  # the same shape gives the same bits
    mapper = Mapper(backbone, device, precision, min(sizes[0], BATCH_ROWS) if sizes else BATCH_ROWS)
    report.facts["compared on"] = f"{device}, {precision}, torch {torch.__version__}"

    def look(pictures: np.ndarray) -> np.ndarray:
        size = backbone.spec.size
        if pictures.shape[1:] != (size, size, 3):
            raise UserError(f"expected canaries of {size} x {size} pixels, found {pictures.shape[1:3]}; {REMEDY}")
        return mapper.look_at(pictures)
    return look


def _compare(stored: np.ndarray, made: np.ndarray, mean: np.ndarray, deviation: np.ndarray, ids: np.ndarray,
             fields: dict[str, Any], what: str, report: Report) -> None:
    cosine = centred_cosine(stored, made, mean, deviation)
    cosine[(stored == made).all(axis=1)] = 1.0
    cosine[~np.isfinite(cosine)] = -1.0  # no numbers agree with nothing
    worst = int(cosine.argmin())
    limit = WORST_LIMIT.get(str(fields.get("precision")), MEDIAN_LIMIT)
    same = int((stored == made).all(axis=1).sum())
    found = (f"median {np.median(cosine):.4f}, worst {cosine[worst]:.4f} (photo "
             f"{ids[worst].decode('ascii', 'replace')}), {same} of {len(stored)} equal to the bit")
    report.facts[what] = f"centred cosine {found}"
    if np.median(cosine) < MEDIAN_LIMIT or cosine[worst] < limit:
        report.differ(what, f"expected a centred cosine of at least {MEDIAN_LIMIT} in the median and {limit} at "
                      f"worst between the folder's features and those made here, found {found}", REMEDY)


def _decode_again(ids: np.ndarray, canaries: dict[str, np.ndarray], dataset: Path, fields: dict[str, Any],
                  report: Report) -> tuple[np.ndarray, np.ndarray]:
    """Decode the canaries' photos; (n, size, size, 3) uint8 and the n canaries whose files are there unchanged."""
    found, resize = find_photos(dataset), read_resize(fields)
    pictures, indices = [], []
    for index, name in enumerate(ids.tolist()):
        path, content = found.get(name.decode("ascii", "replace")), canaries["content"][index].tobytes()
        if (picture := decode_unchanged(path, content, resize)) is not None:
            pictures.append(picture)
            indices.append(index)
    if not pictures:
        report.warn("canaries decoded anew", f"none of the {len(ids)} photos is in {dataset} as it was")
        return np.zeros((0, resize.size, resize.size, 3), np.uint8), np.zeros(0, np.int64)
    decoded, places = np.stack(pictures), np.array(indices)
    difference = np.abs(decoded.astype(np.int16) - canaries["picture"][places]).mean(axis=(1, 2, 3))
    report.facts["pixels"] = (f"{int((difference == 0).sum())} of {len(places)} equal, mean difference at most "
                              f"{difference.max():.2f} of 255")
    if difference.max() > PIXEL_LIMIT:
        report.differ("pixels", f"expected photos decoded here to differ by at most {PIXEL_LIMIT} of 255 in the "
                      f"mean, found {difference.max():.2f}", "resize rule or decoder are others here: " + REMEDY)
    return decoded, places
