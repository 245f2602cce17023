"""Pixels of retrieved photos: SSIM and PSNR of known pairs, and null with a reason where something is missing."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from data.folder.mapped import MappedRows
from data.folder.shards import fixed_bytes
from evaluate.photos import pixels
from evaluate.photos.pixels import measure_pixels, score_pixels
from evaluate.statistics.bootstrap import Resamples
from tests.photo_dataset import draw_photo

NAMES = ["a", "b", "c", "broken", "absent"]


@pytest.fixture
def photos(tmp_path):
    """A folder of photos: b is a, a little brighter, c another picture; one file is no picture, one is absent."""
    random = np.random.default_rng(0)
    first, other = draw_photo(random, (300, 200)), draw_photo(random, (200, 300))
    brighter = Image.fromarray(np.minimum(np.asarray(first).astype(int) + 20, 255).astype(np.uint8))
    for name, picture in (("a", first), ("b", brighter), ("c", other)):
        picture.save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no picture")
    return SimpleNamespace(root=tmp_path, photo_id=MappedRows([fixed_bytes(NAMES)]))


def read(photos, name):
    picture = Image.open(photos.root / f"{name}.png").resize((224, 224), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


def test_scores_of_pairs_are_those_of_torchmetrics(photos):
    values, reasons = measure_pixels(photos, photos.root, np.array([0, 0, 0, 3, 4, -1]), np.array([1, 2, 0, 0, 0, 0]))
    for place, name in ((0, "b"), (1, "c")):
        pair = read(photos, "a"), read(photos, name)
        assert values["ssim"][place] == pytest.approx(
            structural_similarity_index_measure(*pair, data_range=1.0).item(), abs=1e-5)
        assert -10 * np.log10(values["squared_error"][place]) == pytest.approx(
            peak_signal_noise_ratio(*pair, data_range=1.0).item(), abs=1e-3)
    assert values["ssim"][2] == pytest.approx(1) and values["squared_error"][2] == 0
    assert np.isnan(values["ssim"][3:]).all()  # no picture, no file, nothing retrieved
    assert "alexnet" in reasons["lpips"] and "lpips" not in values


def test_one_right_retrieval_does_not_make_psnr_infinite(photos):
    split = SimpleNamespace(features=photos, units=SimpleNamespace(weight=np.ones(2)), resamples=Resamples(["x", "y"]))
    shown = {"model": np.array([0, 0]), "chance": np.array([2, -1])}
    scores, _ = score_pixels(split, photos.root, shown, np.array([0, 2]))
    found = scores["model"]
    error = measure_pixels(photos, photos.root, np.array([0]), np.array([2]))[0]["squared_error"][0]
    assert found["psnr"].draws[0] == pytest.approx(-10 * np.log10(error / 2)) and found["ssim"].n == 2
    assert set(found) == {"ssim", "psnr"}
    assert scores["chance"]["psnr"].draws[0] == pytest.approx(-10 * np.log10(error)) and scores["chance"]["ssim"].n == 1


def test_without_photos_there_is_a_reason_and_no_number(photos, tmp_path):
    for root, said in ((None, "--data"), (tmp_path / "empty", "none of the photos")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        values, reasons = measure_pixels(photos, root, np.array([0]), np.array([1]))
        assert not values and set(reasons) == {"ssim", "psnr", "lpips"} and all(said in why for why in reasons.values())


def test_lpips_runs_where_its_weights_are(photos, monkeypatch):
    import lpips
    network = lpips.LPIPS(pnet_rand=True, verbose=False).eval().requires_grad_(False)  # plumbing only
    monkeypatch.setattr(pixels, "load_lpips", lambda: (network, ""))
    values, reasons = measure_pixels(photos, photos.root, np.array([0, 0]), np.array([0, 2]))
    assert values["lpips"][0] == pytest.approx(0, abs=1e-6) and values["lpips"][1] > 1e-6 and not reasons
