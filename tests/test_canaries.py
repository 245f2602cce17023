"""Canaries: which photos they are, and that other weights, transforms or modes are caught, with random weights too."""
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torch import nn

from data.errors import UserError
from data.folder.folder import Features
from data.folder.manifest import load_manifest
from data.folder.published import map_published
from data.pictures.pictures import Resize
from extract.backbones import backbone as backbones
from extract.command import main
from extract.folder import canaries
from extract.verification import check_weights
from extract.verification.findings import Report
from tests.photo_dataset import draw_photo, write_dataset

TINY, RESNET = "tests.tiny_backbone:factory", "tests.random_resnet:factory"


def run(dataset, folder, *flags):
    main(["--data", str(dataset), "--out", str(folder), "--batch-size", "12", "--readers", "2", "--weights", "random",
          *flags])
    return folder


def read(folder):
    features = Features.open(folder)
    shard, = features.manifest.shards["canaries"]
    return features, map_published(folder, shard, "canaries")


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """A folder of a real network with random weights, and its photos: textures, wide and high."""
    root = tmp_path_factory.mktemp("canaries")
    dataset = write_dataset(root / "data", {"train": 1, "val": 1}, photos_per_album=6)
    random = np.random.default_rng(5)
    for path in sorted((dataset / "images").iterdir()):
        width, height = random.integers(150, 300, 2).tolist()
        fine = draw_photo(random, (width, height))
        grain = random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        Image.blend(fine, Image.fromarray(grain).resize(fine.size), 0.3).save(path, quality=90)
    return run(dataset, root / "f", "--backbone", RESNET, "--precision", "float32"), dataset


def check(folder, dataset=None, weights="random"):
    report = Report(folder)
    check_weights.check_weights(folder, weights, report, RESNET, dataset, "cpu")
    return report


def test_the_same_weights_and_transforms_agree_to_the_bit(looked_at):
    folder, dataset = looked_at
    report = check(folder, dataset)
    assert not report.findings
    assert "12 of 12 equal to the bit" in report.facts["canaries"]
    assert report.facts["pixels"].startswith("12 of 12 equal")


@pytest.mark.parametrize("mean, std", [
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((0.406, 0.456, 0.485), (0.225, 0.224, 0.229))])  # none, another habit, channels in the other order
def test_a_wrong_normalisation_is_caught(looked_at, monkeypatch, mean, std):
    build = backbones.build_backbone

    def build_wrongly(*arguments):
        backbone = build(*arguments)
        return replace(backbone, spec=replace(backbone.spec, mean=mean, std=std))
    monkeypatch.setattr(backbones, "build_backbone", build_wrongly)
    report = check(looked_at[0])
    assert {finding.where for finding in report.damaged} == {"recipe: mean", "recipe: std", "canaries"}


def test_batch_norm_in_training_mode_is_caught(looked_at, monkeypatch):
    build = backbones.build_backbone

    def build_wrongly(*arguments):
        backbone = build(*arguments)
        backbone.module.train()
        return backbone
    monkeypatch.setattr(backbones, "build_backbone", build_wrongly)
    assert [finding.where for finding in check(looked_at[0]).damaged] == ["canaries"]


@pytest.mark.parametrize("change", [{"rule": "crop"}, {"interpolation": "nearest"}, {"interpolation": "bicubic"}])
def test_a_wrong_resize_is_caught(looked_at, monkeypatch, change):
    right = canaries.read_resize
    monkeypatch.setattr(check_weights, "read_resize",
                        lambda fields: replace(right({**fields, "short_side": 73}), **change))
    report = check(*looked_at)
    assert {"pixels", "canaries decoded anew"} == {finding.where for finding in report.damaged}
    assert "canaries" not in {finding.where for finding in report.damaged}


def test_features_made_with_another_resize_than_the_pixels_are_caught(looked_at, tmp_path, monkeypatch):
    """What a writer with a broken transform would leave behind."""
    _, dataset = looked_at
    monkeypatch.setattr(backbones.Spec, "resize_for", lambda spec, exact: Resize("crop", spec.size, spec.short_side))
    folder = run(dataset, tmp_path / "f", "--backbone", RESNET, "--precision", "float32", "--limit", "3")
    monkeypatch.undo()
    assert [finding.where for finding in check(folder).damaged] == ["canaries"]


def test_other_weights_are_caught(looked_at, tmp_path):
    import torch
    folder, _ = looked_at
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = backbones.build_backbone(RESNET, "random").module
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out")
    torch.save(module.state_dict(), tmp_path / "other.pth")
    report = check(folder, weights=str(tmp_path / "other.pth"))
    assert {finding.where for finding in report.damaged} == {"recipe: weights", "canaries"}


def test_the_plain_cosine_would_not_have_seen_it(looked_at):
    """Why features are standardised first: those of a random network are nearly parallel."""
    _, arrays = read(looked_at[0])
    unit = arrays["feature"].astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert (unit @ unit.T).min() > 0.9


def test_canaries_are_distinct_good_photos_chosen_by_content(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 6, "val": 1})
    images = sorted((dataset / "images").iterdir())
    for path in images[1:3]:
        path.write_bytes(images[0].read_bytes())
    images[4].write_bytes(b"<html>")
    folder = run(dataset, tmp_path / "f", "--backbone", TINY, "--max-bad", "1")
    features, arrays = read(folder)
    assert len(arrays["photo"]) == canaries.NUM_CANARIES
    contents = {row.tobytes() for row in features.content.all()[features.usable]}
    assert [row.tobytes() for row in arrays["content"]] == sorted(contents)[:canaries.NUM_CANARIES]
    assert (features.feature.take(arrays["photo"]) == arrays["feature"]).all()
    assert features.manifest.canaries["photos"] == [name.decode() for name in features.photo_id.take(arrays["photo"])]


def test_canaries_stay_while_their_photos_do(tmp_path, monkeypatch):
    dataset = write_dataset(tmp_path / "data")
    folder = run(dataset, tmp_path / "f", "--backbone", TINY)
    before, arrays = load_manifest(folder).shards["canaries"], read(folder)[1]
    reads = []
    monkeypatch.setattr(canaries, "read_photo", lambda path: reads.append(path))
    run(dataset, folder, "--backbone", TINY, "--words", "second")
    assert load_manifest(folder).shards["canaries"] == before and not reads
    monkeypatch.undo()
    gone = Features.open(folder).photo_id.take(arrays["photo"][:1])[0].decode()
    (dataset / "images" / f"{gone}.jpg").unlink()
    run(dataset, folder, "--backbone", TINY)
    assert gone not in load_manifest(folder).canaries["photos"]
    assert set(load_manifest(folder).canaries["photos"]) >= set(
        name.decode() for name in Features.open(folder).photo_id.take(arrays["photo"][1:]))


def test_a_folder_without_a_good_photo_has_none_and_says_so(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 1})
    for path in (dataset / "images").iterdir():
        path.unlink()
    folder = run(dataset, tmp_path / "f", "--backbone", TINY)
    assert load_manifest(folder).shards["canaries"] == ()
    with pytest.raises(UserError, match="expected canaries"):
        check(folder)


def test_a_folder_does_not_choose_what_is_imported(tmp_path):
    folder = run(write_dataset(tmp_path / "data", {"train": 1}), tmp_path / "f", "--backbone", TINY)
    with pytest.raises(UserError, match="--backbone tests.tiny_backbone:factory"):
        main(["verify", str(folder), "--weights", "random"])
    main(["verify", str(folder), "--weights", "random", "--backbone", TINY])


@pytest.mark.parametrize("fields", [{"size": 10**9}, {"size": "224"}, {"resize": "../x"}, {"interpolation": ["x"]}])
def test_a_recipe_from_elsewhere_is_not_believed(fields):
    recipe = {"size": 32, "resize": "squash", "interpolation": "bilinear", "reduced_decoding": "none", **fields}
    with pytest.raises(UserError, match="how photos are resized"):
        canaries.read_resize(recipe)
