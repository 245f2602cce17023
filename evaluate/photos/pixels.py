"""SSIM, PSNR and LPIPS between the photo that was retrieved and the true one, both squashed to 224 x 224.

Thumbnails do not count: the photos themselves must be at hand. LPIPS needs AlexNet's weights where torchvision looks
for them; nothing is downloaded here. What cannot be computed is null with its reason, never 0.
"""
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.folder.folder import Features
from data.pictures.photos import BadPhoto, FoundPhoto, read_photo, scan_photos
from data.pictures.pictures import Resize, decode_photo
from evaluate.split import EvaluatedSplit
from evaluate.statistics.bootstrap import Estimate

logger = logging.getLogger(__name__)

SIDE = 224
METRICS = ("ssim", "psnr", "lpips")
BATCH = 32
ALEXNET = "alexnet-owt-7be5be79.pth"


def measure_pixels(features: Features, dataset_root: Path | None, first: np.ndarray, second: np.ndarray
                   ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Compare photos in pairs.

    Args:
        features: names the photos of the rows. dataset_root: where the photos lie; None where they are not at hand.
        first, second: (n,) photo rows, -1 where there is none.

    Returns:
        "ssim", "squared_error" and "lpips" -> (n,) float64, NaN where a photo of the pair cannot be read; and the
        reason for every metric that is left out.
    """
    if dataset_root is None:
        reason = "no photos at hand: name their folder with --data (thumbnails do not count)"
        return {}, dict.fromkeys(METRICS, reason)
    found, _ = scan_photos(dataset_root)
    ids = [photo_id.decode() for photo_id in features.photo_id.all()]
    pairs = [(place, ids[one], ids[other]) for place, (one, other) in enumerate(zip(first, second))
             if one >= 0 and other >= 0 and ids[one] in found and ids[other] in found]
    if not pairs:
        return {}, dict.fromkeys(METRICS, f"none of the photos was found below {dataset_root}")
    lpips, reason = load_lpips()
    names = ["ssim", "squared_error", *(["lpips"] if lpips is not None else [])]
    values = {name: np.full(len(first), np.nan) for name in names}
    for start in range(0, len(pairs), BATCH):
        places, one, other = _read_pairs(pairs[start:start + BATCH], found)
        for name, numbers in _compare(one, other, lpips).items() if places else ():
            values[name][places] = numbers
    return values, {"lpips": reason} if lpips is None else {}


def score_pixels(split: EvaluatedSplit, dataset_root: Path | None, shown: Mapping[str, np.ndarray], true: np.ndarray
                 ) -> tuple[dict[str, dict[str, Estimate]], dict[str, str]]:
    """SSIM, PSNR and LPIPS of the photos that rows show, (S,) each, against the (S,) true ones.

    PSNR is that of the mean squared error over all pairs: a right retrieval alone would make a mean of PSNRs infinite.

    Returns:
        Estimates by row; and why a metric is left out of all.
    """
    values, reasons = measure_pixels(split.features, dataset_root, np.concatenate(list(shown.values())),
                                     np.tile(true, len(shown)))
    scores: dict[str, dict[str, Estimate]] = {}
    for place, row in enumerate(shown if values else ()):
        here = slice(place * len(true), (place + 1) * len(true))
        scores[row] = {name: split.resamples.mean(value[here], split.units.weight) for name, value in values.items()}
        if (error := scores[row].pop("squared_error", None)) is not None:
            with np.errstate(divide="ignore"):
                scores[row]["psnr"] = Estimate(-10 * np.log10(error.draws), error.n)
    return scores, reasons


def _read(path: str) -> np.ndarray:
    return decode_photo(read_photo(path), Resize("squash", SIDE, SIDE))


def _read_pairs(pairs: list[tuple[int, str, str]], found: dict[str, FoundPhoto]) -> tuple[list[int], Tensor, Tensor]:
    places, photos = [], []
    for place, *ids in pairs:
        try:
            photos.append([_read(found[photo_id].path) for photo_id in ids])
        except BadPhoto as error:
            logger.warning("photo of %s cannot be compared: %s", " and ".join(ids), error.cause)
            continue
        places.append(place)
    stacked = torch.from_numpy(np.array(photos, np.uint8)).permute(1, 0, 4, 2, 3) if photos else torch.zeros(2, 0)
    return places, stacked[0].float() / 255, stacked[1].float() / 255


def _compare(one: Tensor, other: Tensor, lpips: Callable[..., Tensor] | None) -> dict[str, np.ndarray]:
    """(n, 3, H, W) in [0, 1] -> (n,) per metric."""
    from torchmetrics.functional.image import structural_similarity_index_measure
    values = {"ssim": structural_similarity_index_measure(one, other, data_range=1.0, reduction="none"),
              "squared_error": (one - other).square().flatten(1).mean(dim=1)}
    if lpips is not None:
        values["lpips"] = lpips(one, other, normalize=True).flatten()
    return {name: value.double().numpy() for name, value in values.items()}


def load_lpips() -> tuple[Callable[..., Tensor] | None, str]:
    """The LPIPS network, or why it is left out."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not path.exists():
        return None, f"AlexNet's weights are not at hand: put torchvision's {ALEXNET} at {path}"
    import lpips
    return lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False), ""
