"""How far features drift by reduced decoding, bfloat16 and float16 storage, one by one, after standardising.

    python -m tests.benchmarks.extraction_drift [--data DIR] [--photos 400] [--backbone resnet50] [--weights random]

The reference decodes in full, computes the module as written in float32 and stores float32; what a mapper computes is
stored as float16. Error of a photo: the length of the difference by the length of the standardised reference feature.
Numbers mean something with trained weights only.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from data.pictures.photos import BadPhoto, find_photos, read_photo
from data.pictures.pictures import decode_photo
from extract.backbones.backbone import Backbone, build_backbone
from extract.backbones.mapper import Mapper
from tests.benchmarks.extraction import write_photos
from tests.benchmarks.figures import Figure, report

BATCH = 16
Variant = tuple[bool, str | None]  # decoded in full; precision of the mapper, None: the module as written, float32
AS_WRITTEN: Variant = (True, None)
VARIANTS: dict[str, Variant] = {"reduced decode": (False, None), "float32, folded": (True, "float32"),
                                "bfloat16": (True, "bfloat16"), "all as by default": (False, "bfloat16")}


def compute_features(backbone: Backbone, contents: list[bytes], exact: bool, precision: str | None) -> np.ndarray:
    """(N, D) float32 features as one variant gives them; a mapper's went through float16."""
    resize = backbone.spec.resize_for(exact)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) * 255 for value in (backbone.spec.mean, backbone.spec.std))
    mapper = Mapper(backbone, torch.device("cpu"), precision, BATCH) if precision is not None else None
    found = []
    for start in range(0, len(contents), BATCH):
        shown = np.stack([decode_photo(content, resize) for content in contents[start:start + BATCH]])
        if mapper is not None:
            buffer = mapper.make_buffer()
            buffer[:len(shown)] = shown
            found.append(mapper.submit(buffer).result().features[:len(shown)].astype(np.float32))
            continue
        images = (torch.from_numpy(shown).permute(0, 3, 1, 2).float() - mean) / std
        with torch.inference_mode():
            found.append(backbone.module(images).numpy())
    return np.concatenate(found)


def compare(reference: np.ndarray, features: np.ndarray) -> tuple[float, float, float, float]:
    """Relative error: median, 99 %, worst; and the share of photos whose nearest neighbour (cosine) changed."""
    mean, std = reference.mean(axis=0), np.maximum(reference.std(axis=0), 1e-6)
    left, right = (reference - mean) / std, (features - mean) / std
    error = np.linalg.norm(right - left, axis=1) / np.linalg.norm(left, axis=1)
    changed = (find_nearest(left) != find_nearest(right)).mean()
    return float(np.median(error)), float(np.quantile(error, 0.99)), float(error.max()), float(changed)


def find_nearest(features: np.ndarray) -> np.ndarray:
    """(N,) the row of the most similar other row."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    return similarity.argmax(axis=1)


def main(argv: list[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="a data folder with photos; drawn ones by default")
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="random")
    arguments = parser.parse_args(argv)
    backbone = build_backbone(arguments.backbone, arguments.weights)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.data or Path(name)
        if arguments.data is None:
            write_photos(folder, arguments.photos, megapixels=1.0)
        contents = read_contents(folder, arguments.photos, backbone)
    reference = compute_features(backbone, contents, *AS_WRITTEN)
    rows = {"float16 storage": compare(reference, reference.astype(np.float16).astype(np.float32))}
    rows |= {name: compare(reference, compute_features(backbone, contents, *variant))
             for name, variant in VARIANTS.items()}
    photos = f"{len(contents)} {'photos' if arguments.data else 'drawn photos'}, {backbone.name}, {backbone.weights}"
    return report([Figure(name=f"drift, {name} ({photos})", value=median,
                          unit=f"median; 99 % {most:.4f}, worst {worst:.4f}, {changed:.1%} other neighbours")
                   for name, (median, most, worst, changed) in rows.items()])


def read_contents(folder: Path, num_photos: int, backbone: Backbone) -> list[bytes]:
    """The bytes of the first photos that can be decoded."""
    contents = []
    for _, path in sorted(find_photos(folder).items())[:num_photos]:
        try:
            content = read_photo(path)
            decode_photo(content, backbone.spec.resize_for(exact=True))
        except BadPhoto:
            continue
        contents.append(content)
    return contents


if __name__ == "__main__":
    main()
