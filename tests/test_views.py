"""Augmented views: beside the clean features, an album's alike, and training that sees them."""
import shutil

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from data.pictures.augmentation import augment_picture, draw_augmentation
from data.pictures.pictures import Resize, decode_photo
from extract.backbones.backbone import build_backbone
from extract.command import main
from tests import tiny_runs
from tests.extraction import interrupted_after, snapshot
from tests.photo_dataset import photo_id, write_dataset
from tests.tiny_training import losses_of, weights_of
from train.batches import StoryDataset
from train.config import make_config
from train.distributed import join_world
from train.run_folder.runs import load_run, read_metrics
from train.session import run_training
from train.trainer import Trainer

BACKBONE = "tests.tiny_backbone:factory"
TINY = {**tiny_runs.TINY, "epochs": 2, "batch_size": 2, "lr": 3e-3, "precision": "float32", "device": "cpu"}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photos of which one has a twin in another album, with features and two views of each."""
    root = tmp_path_factory.mktemp("views")
    write_dataset(root / "data", {"train": 3, "val": 1})
    twin = root / f"data/images/{photo_id('train', 1, 2)}.jpg"
    shutil.copy(root / f"data/images/{photo_id('train', 0, 1)}.jpg", twin)
    look(root, "features", "--views", "2")
    return root


def look(root, name, *flags):
    main(["--data", str(root / "data"), "--out", str(root / name), "--backbone", BACKBONE, "--weights", "random",
          "--precision", "float32", "--batch-size", "4", "--shard-rows", "8", "--readers", "2", *flags])
    return Features.open(root / name)


def test_a_view_is_what_the_backbone_says_of_the_photo_changed_as_its_album_drew(world):
    features, module = Features.open(world / "features"), build_backbone(BACKBONE, "random").module
    assert features.views.row_shape == (2, 8) and len(features.views) == features.num_photos
    twins = [("train-000", photo_id("train", 0, 1)), ("train-001", photo_id("train", 1, 2))]
    for album, name in [*twins, ("train-000", photo_id("train", 0, 3)), ("val-000", photo_id("val", 0, 0))]:
        clean = decode_photo((world / f"data/images/{name}.jpg").read_bytes(), Resize("squash", 32, 37))
        pictures = np.stack([augment_picture(clean, draw_augmentation("album", album, view)) for view in (0, 1)])
        with torch.no_grad():
            expected = module((torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
        found = features.views.take(np.array([features.row_of[name]]))[0]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    rows = [features.row_of[name] for _, name in twins]
    first, second = features.feature.take(np.array(rows))
    assert (first == second).all(), "equal contents have one clean feature"


def test_views_are_an_addition_that_changes_nothing_else(world):
    plain, viewed = look(world, "plain"), Features.open(world / "features")
    assert plain.recipe == viewed.recipe and plain.source == viewed.source and plain.views is None
    assert viewed.manifest.counts["views"] == {"number": 2, "augmentation": 1} and "views" not in plain.manifest.counts
    same = ("photos/", "words/")
    first, second = snapshot(world / "plain"), snapshot(world / "features")
    assert {name: raw for name, raw in first.items() if name.startswith(same)} == {
        name: raw for name, raw in second.items() if name.startswith(same)}
    assert {name.partition("/")[0] for name in second.keys() - first.keys()} == {"views"}
    main(["verify", str(world / "features"), "--full"])
    later = look(world, "plain", "--views", "2")
    assert snapshot(world / "plain") == second and later.recipe == plain.recipe
    look(world, "plain")
    assert snapshot(world / "plain") == second, "a folder keeps the views that it has"
    with pytest.raises(UserError, match="expected 2 views .* found --views 3"):
        look(world, "plain", "--views", "3")


def test_stopped_and_shared_extraction_gives_the_same_bytes(world):
    whole = snapshot(world / "features")
    with interrupted_after(2):
        look(world, "stopped", "--views", "2")
    assert list((world / "stopped/views").glob("0*.h5")), "stopped too early to test going on"
    look(world, "stopped", "--views", "2")
    assert snapshot(world / "stopped") == whole
    for rank in ("1", "0"):
        main(["--data", str(world / "data"), "--out", str(world / "shared"), "--backbone", BACKBONE, "--weights",
              "random", "--precision", "float32", "--batch-size", "4", "--shard-rows", "8", "--readers", "1",
              "--views", "2", "--rank", rank, "--world", "2"])
    assert snapshot(world / "shared") == whole


def test_views_of_another_number_left_by_a_stopped_run_are_made_anew(world, monkeypatch):
    from extract.folder import publication
    with monkeypatch.context() as patch:
        patch.setattr(publication, "write_canaries", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            look(world, "other", "--views", "1")
    assert look(world, "other", "--views", "2").views.row_shape == (2, 8)
    np.testing.assert_array_equal(Features.open(world / "other").views.all(),
                                  Features.open(world / "features").views.all())


def test_a_missing_photo_has_views_of_zeros(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    name = photo_id("train", 0, 1)
    (tmp_path / f"data/images/{name}.jpg").unlink()
    features = look(tmp_path, "features", "--views", "2")
    assert not features.views.take(np.array([features.row_of[name]])).any()


def test_each_story_shows_one_view_or_is_clean_and_another_in_the_next_epoch(world):
    features = Features.open(world / "features")
    dataset = StoryDataset(features, "train", views=True, seed=3)
    photos, seen = dataset.arrays.photo.all(), set()
    for epoch in range(1, 9):
        dataset.begin_epoch(epoch)
        batch = dataset.__getitems__(np.arange(len(dataset)))
        for story, (shown, clean) in enumerate(zip(batch["input_features"].numpy(), batch["image_features"].numpy())):
            rows = photos[dataset.story_rows[story]]
            np.testing.assert_array_equal(clean, features.feature.take(rows))
            choices = [clean, *features.views.take(rows).transpose(1, 0, 2)]
            matching = [number for number, choice in enumerate(choices) if (choice == shown).all()]
            assert len(matching) == 1
            seen.add((story, matching[0]))
    assert len({number for _, number in seen}) == 3 and len(seen) > 2 * len(dataset)
    again = StoryDataset(features, "train", views=True, seed=3)
    again.begin_epoch(8)
    assert torch.equal(again.__getitems__(np.arange(6))["input_features"], batch["input_features"])


def test_a_masked_photo_stays_masked(world, tmp_path):
    shutil.copytree(world / "features", tmp_path / "f")
    features = Features.open(tmp_path / "f")
    features.__dict__["usable"] = features.usable & (np.arange(features.num_photos) != 0)
    dataset = StoryDataset(features, "train", missing="mask", views=True)
    num_augmented = 0
    for epoch in range(1, 9):
        dataset.begin_epoch(epoch)
        batch = dataset.__getitems__([0])
        shown, clean = batch["input_features"][0], batch["image_features"][0]
        assert not shown[0].any() and shown[1:].any(dim=1).all()
        num_augmented += not torch.equal(shown, clean)
    assert 0 < num_augmented < 8


def test_training_with_views_differs_and_goes_on_to_the_bit(world, tmp_path, monkeypatch):
    features = world / "features"
    plain = run_training(make_config(TINY), features, tmp_path / "plain")
    whole = run_training(make_config({**TINY, "views": True}), features, tmp_path / "whole")
    assert weights_of(whole) != weights_of(plain)
    statistics = [load_run(run).model.feature_std for run in (plain, whole)]
    assert torch.equal(*statistics), "statistics come from the photos as they are"
    step, left = Trainer.step, [5]

    def stopping(self, *arguments):
        step(self, *arguments)
        left[0] -= 1
        self.must_stop = not left[0]
    monkeypatch.setattr(Trainer, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_training(make_config({**TINY, "views": True}), features, tmp_path / "part")
    monkeypatch.setattr(Trainer, "step", step)
    run_training(make_config({**TINY, "views": True}), features, tmp_path / "part")
    assert weights_of(tmp_path / "part") == weights_of(whole)
    assert losses_of(tmp_path / "part") == losses_of(whole)
    run = load_run(whole)
    judge = Trainer(run.config, run.model, join_world("cpu"), "float32")
    means = judge.summarise(judge.validate(StoryDataset(Features.open(features), "val", missing="mask")))
    assert means == pytest.approx(read_metrics(whole)[run.epoch - 1]["val"]), "validation sees clean photos"


def test_a_folder_without_views_is_refused(make_features, tmp_path):
    with pytest.raises(UserError, match="expected augmented views in .* make features .*VIEWS=4"):
        run_training(make_config({**TINY, "views": True}), make_features(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
