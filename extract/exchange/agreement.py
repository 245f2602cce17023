"""How far imported features agree with features made here of the same photos, shown by either resize rule.

Both are standardised by themselves, so that another scale plays no part; it is told apart.
"""
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from data.errors import UserError
from data.folder.folder import Features
from data.pictures.photos import BadPhoto, FoundPhoto, read_photo, scan_photos
from data.pictures.pictures import RESIZE_RULES, decode_photo
from extract.config import ExtractConfig
from extract.folder.cosine import centred_cosine

SAMPLE = 64
BATCH = 8
SAME, RELATED = 0.99, 0.8  # medians; crop for squash is .89 on a random ResNet-50, .4 on a trained net


def describe_agreement(config: ExtractConfig, backbone_name: str, weights: str) -> list[str]:
    """Look at a sample of the photos with a backbone here, and compare.

    Args:
        config: `dataset` has the photos, `out` the imported features.

    Raises:
        UserError: if none of the photos is there, or the backbone is not to be had or of another width.
    """
    from extract.backbones.backbone import build_backbone
    features, photos = Features.open(config.out), scan_photos(config.dataset)[0]
    backbone = build_backbone(backbone_name, weights)
    if backbone.spec.width != features.width:
        raise UserError(f"expected {backbone_name} to give {features.width} numbers a photo as {config.out} holds, "
                        f"found {backbone.spec.width}; it is another net: name one with --check-backbone")
    lines = []
    for rule in RESIZE_RULES:
        shown = replace(backbone, spec=replace(backbone.spec, resize=rule))
        rows, made = _look(features, photos, shown, config)
        given = features.feature.take(rows).astype(np.float32)
        cosine = centred_cosine(_standardise(given), _standardise(made), np.zeros(1), np.ones(1))
        scale = np.median(np.linalg.norm(given, axis=1) / np.maximum(np.linalg.norm(made, axis=1), 1e-12))
        median = float(np.median(cosine))
        verdict = "the same" if median >= SAME else "related: the same net shown otherwise, or a near one" \
            if median >= RELATED else "others: do not mix them"
        lines.append(f"{len(rows)} photos by {rule} through {backbone_name} ({weights}): centred cosine median "
                     f"{median:.4f}, worst {cosine.min():.4f}, {scale:.3g} times as long: {verdict}")
    return lines


def _standardise(features: np.ndarray) -> np.ndarray:
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.maximum(deviation, 0.01 * deviation.mean() + 1e-6)


def _look(features: Features, photos: dict[str, FoundPhoto], backbone: Any,
          config: ExtractConfig) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a sample, and (n, D) float32 made of their photos."""
    from extract.backbones.mapper import Mapper, choose_device
    here = [name for name, row in features.row_of.items() if features.usable[row] and name in photos]
    rows, pictures = [], []
    for name in here[::max(1, len(here) // SAMPLE)][:SAMPLE]:
        with suppress(BadPhoto):
            pictures.append(decode_photo(read_photo(photos[name].path), backbone.spec.resize_for(config.exact)))
            rows.append(features.row_of[name])
    if len(rows) < 2:
        raise UserError(f"expected photos below {config.dataset} to compare with, found {len(rows)} of the imported "
                        "ones; name the folder that holds them with --data")
    mapper = Mapper(backbone, choose_device(config.device, 0), "float32", BATCH)
    return np.array(rows), mapper.look_at(np.stack(pictures)).astype(np.float32)
