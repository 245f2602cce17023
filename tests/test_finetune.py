"""Fine-tuning: the backbone learns, what it must not touch stays, and its weights go back into extraction."""
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from data.errors import UserError
from data.folder.folder import Features
from data.pictures.augmentation import augment_picture, draw_augmentation
from data.pictures.pictures import Resize, decode_photo
from extract.backbones.backbone import build_backbone
from extract.backbones.weights import hash_weights
from extract.command import main as extract_main
from tests import tiny_runs
from tests.photo_dataset import write_dataset
from tests.tiny_training import losses_of, weights_of
from train.config import make_config
from train.distributed import join_world
from train.finetune.backbone import PhotoEncoder, open_backbone
from train.finetune.command import read_command
from train.finetune.photos import PhotoDataset, PhotoFeatures
from train.finetune.session import FinetuneTrainer, run_finetuning
from train.run_folder.runs import build_model, load_run, measure_sizes, read_metrics, read_record, read_weights
from train.session import run_training
from train.settings import read_settings
from train.trainer import Trainer

BACKBONE = "tests.tiny_backbone:with_blocks"
TINY = {**tiny_runs.TINY, "epochs": 1, "batch_size": 4, "lr": 3e-3, "precision": "float32", "device": "cpu"}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photos, their features, and a run trained on them."""
    root = tmp_path_factory.mktemp("world")
    write_dataset(root / "data", {"train": 3, "val": 1})
    look(root / "data", root / "features")
    run_training(make_config(TINY), root / "features", root / "run")
    return root


def look(dataset, folder, *flags):
    extract_main(["--data", str(dataset), "--out", str(folder), "--backbone", BACKBONE, "--precision", "float32",
                  "--batch-size", "4", "--shard-rows", "8", "--readers", "1", *(flags or ("--weights", "random"))])
    return Features.open(folder)


def finetune(root, out, *flags, dataset="data", features="features"):
    return run_finetuning(read_command([
        "--run", str(root / "run"), "--data", str(root / dataset), "--features", str(root / features), "--out",
        str(out), "--epochs", "2", "--batch-size", "4", "--readers", "1", "--backbone-lr", "1e-3", *flags]))


def backbone_bytes(run):
    return weights_of(run, "backbone.safetensors")


def make_dataset(root, split="train", augmentation=True, missing="mask", dataset="data"):
    features = PhotoFeatures(root / "features", root / dataset)
    return PhotoDataset(features, split, "default", missing, resize=Resize("squash", 32, 37),
                        augmentation=augmentation, readers=1)


def make_trainer(root, photos_at_once=80, checkpointing=False, trainable="all", **settings):
    features = Features.open(root / "features")
    config = make_config({**TINY, **settings})
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, features.words()))
    model.load_state_dict(load_run(root / "run").model.state_dict())
    backbone, _ = open_backbone(features.manifest, features.root)
    encoder = PhotoEncoder(backbone, torch.device("cpu"), False, photos_at_once, checkpointing, trainable)
    return FinetuneTrainer(config, model, join_world("cpu"), "float32", encoder=encoder, backbone_lr=1e-3)


def test_the_photos_of_a_story_are_augmented_alike_and_otherwise_in_the_next_epoch(world):
    dataset = make_dataset(world)
    features, row = dataset.features, int(dataset.story_rows[2])
    drawn = dataset.draw(2)
    pictures = dataset.__getitems__([2, 0])["pictures"].numpy()
    assert pictures.shape == (10, 32, 32, 3) and pictures.dtype == np.uint8
    for order, photo in enumerate(dataset.arrays.photo.take(np.array([row]))[0]):
        raw = open(features.paths[photo], "rb").read()
        clean = decode_photo(raw, dataset.resize)
        np.testing.assert_array_equal(pictures[order], augment_picture(clean, drawn))
    assert dataset.draw(0) != drawn and drawn == draw_augmentation("story", 42, 1, "train-001-0")
    dataset.prefetch(np.array([2]))
    np.testing.assert_array_equal(dataset.__getitems__([2])["pictures"].numpy(), pictures[:5])
    dataset.begin_epoch(2)
    assert dataset.draw(2) != drawn
    assert make_dataset(world, "val").draw(0) is None, "validation sees photos as they are"


def test_batch_norm_stays_as_it_was_and_the_rest_learns(world, tmp_path):
    run = finetune(world, tmp_path / "all")
    before = build_backbone(BACKBONE, "random").module.state_dict()
    after, metadata = read_weights(run / "backbone.safetensors")
    norms = [name for name in before if name.startswith(("norm.", "blocks.0.norm.", "blocks.1.norm."))]
    assert len(norms) == 15
    for name, value in after.items():
        assert torch.equal(value, before[name]) == (name in norms), name
    last, _ = read_weights(finetune(world, tmp_path / "last", "--trainable", "last") / "backbone.safetensors")
    assert {name for name in last if not torch.equal(last[name], before[name])} == {"head.weight", "head.bias"}


def test_targets_are_the_cached_features_and_inputs_come_from_the_backbone(world):
    trainer, dataset = make_trainer(world), make_dataset(world, augmentation=False)
    cached = Trainer(trainer.config, trainer.model, trainer.world, "float32")
    batch = dataset.__getitems__(np.arange(4))
    with torch.no_grad():
        moved = trainer.move(dict(batch))
    assert torch.equal(moved["image_features"], batch["image_features"])
    torch.testing.assert_close(moved["input_features"], batch["image_features"].float(), rtol=2e-3, atol=2e-3)
    plain = cached.validate(make_dataset(world, "val"))  # its pictures are not looked at
    assert trainer.validate(make_dataset(world, "val")) == pytest.approx(plain, rel=1e-2)
    with torch.no_grad():
        for parameter in trainer.encoder.parameters:
            parameter.zero_()
        moved = trainer.move(dict(batch))
        outputs = trainer.model.eval()(moved, padded=False)
        found = trainer.criterion.image_loss(outputs, moved)
    targets = trainer.model.standardise(batch["image_features"])[:, 1:]
    error = (outputs["predicted_features"] - targets).square().mean(dim=-1).sum()
    assert float(found.sum) == pytest.approx(float(error), rel=1e-5), "a blind backbone does not move the targets"


@pytest.mark.parametrize("settings", [{}, {"contrastive_weight": 1.0}])
def test_accumulated_gradients_equal_those_of_one_large_step(world, settings):
    found = []
    for photos_at_once in (100, 7, 1):
        trainer = make_trainer(world, photos_at_once, dropout=0.3, **settings)
        trainer.step(make_dataset(world), np.arange(4), 1, 0)
        found.append([parameter.grad.clone() for parameter in trainer.parameters if parameter.grad is not None])
        assert all(parameter.grad.abs().sum() > 0 for parameter in trainer.encoder.parameters)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


def test_checkpointing_computes_again_and_changes_nothing(world, monkeypatch):
    from tests.tiny_backbone import Block
    calls = []
    forward = Block.forward
    monkeypatch.setattr(Block, "forward", lambda self, x: calls.append(1) or forward(self, x))
    states = []
    for checkpointing in (False, True):
        calls.clear()
        trainer = make_trainer(world, checkpointing=checkpointing)
        trainer.step(make_dataset(world), np.arange(4), 1, 0)
        weights = trainer.encoder.module.state_dict()
        states.append((len(calls), {name: value.clone() for name, value in weights.items()}))
    (once, plain), (twice, checkpointed) = states
    assert (once, twice) == (2, 4)
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_the_backbone_has_a_learning_rate_of_its_own(world):
    trainer = make_trainer(world)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [3e-3, 1e-2, 1e-3]
    trainer.plateau.step(1.0)
    for _ in range(trainer.config.plateau_patience + 1):
        trainer.plateau.step(2.0)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [1.5e-3, 5e-3, 5e-4]


def test_it_begins_where_the_run_ended(world, tmp_path):
    begun = load_run(world / "run")
    trainer = make_trainer(world)
    assert torch.equal(trainer.model.feature_std, begun.model.feature_std)
    run = finetune(world, tmp_path / "run2", "--lr", "1e-9", "--backbone-lr", "1e-9", "--epochs", "1")
    for name, value in load_run(run).model.state_dict().items():
        torch.testing.assert_close(value, begun.model.state_dict()[name], rtol=1e-4, atol=1e-6)
    record = read_record(run)
    assert record.config == replace(begun.config, lr=1e-9, carry_lr=1e-9, epochs=1, reader="mapped")
    assert record.finetune["backbone_lr"] == 1e-9 and len(record.finetune["from"]) == 64


def test_the_loop_closes(world, tmp_path):
    """Features through the new backbone: another recipe, the tuned features, and the run reads them alone."""
    run = finetune(world, tmp_path / "run2")
    tuned = look(world / "data", tmp_path / "features2", "--weights", str(run / "backbone.safetensors"))
    old = Features.open(world / "features")
    with safe_open(run / "backbone.safetensors", "pt") as file:
        said = file.metadata()["weights"]
    assert tuned.recipe["fields"] == {**old.recipe["fields"], "weights": said}
    assert load_run(run).recipe == tuned.recipe != old.recipe == read_record(run).recipe
    assert np.abs(tuned.feature.all() - old.feature.all()).max() > 1e-2
    backbone = build_backbone(BACKBONE, str(run / "backbone.safetensors"))
    assert hash_weights(backbone.module) == said
    pixels = decode_photo(next((world / "data/images").glob(f"{tuned.photo_id.take(np.array([3]))[0].decode()}.*"))
                          .read_bytes(), Resize("squash", 32, 37))
    with torch.no_grad():
        expected = backbone.module((torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25)[0]
    np.testing.assert_allclose(tuned.feature.take(np.array([3]))[0], expected, rtol=2e-3, atol=1e-3)
    again = run_training(make_config({**TINY, "init": str(run)}), tmp_path / "features2", tmp_path / "run3")
    assert load_run(again).recipe == tuned.recipe
    with pytest.raises(UserError, match="make features WEIGHTS=.*backbone.safetensors"):
        from train.run_folder.runs import require_same_folder
        require_same_folder(load_run(run), run, old.recipe, old.words(), old.root)


def test_stopped_anywhere_and_gone_on_with_equals_undisturbed(world, tmp_path, monkeypatch):
    whole = finetune(world, tmp_path / "whole", "--photos-at-once", "8")
    again = finetune(world, tmp_path / "again", "--photos-at-once", "8")
    assert backbone_bytes(whole) == backbone_bytes(again)
    step = FinetuneTrainer.step
    for stop_after in (1, 3):
        part = tmp_path / f"part{stop_after}"
        done = []

        def stopping(self, *arguments):
            step(self, *arguments)
            done.append(1)
            self.must_stop = len(done) == stop_after
        monkeypatch.setattr(FinetuneTrainer, "step", stopping)
        with pytest.raises(KeyboardInterrupt):
            finetune(world, part, "--photos-at-once", "8")
        monkeypatch.setattr(FinetuneTrainer, "step", step)
        finetune(world, part, "--photos-at-once", "8")
        assert backbone_bytes(part) == backbone_bytes(whole)
        assert weights_of(part) == weights_of(whole)
        assert losses_of(part) == losses_of(whole)


def test_a_complete_one_is_left_alone_and_other_settings_are_refused(world, tmp_path):
    run = finetune(world, tmp_path / "run2", "--epochs", "1")
    before = backbone_bytes(run)
    finetune(world, run, "--epochs", "1")
    assert backbone_bytes(run) == before
    with pytest.raises(UserError, match="finetune backbone_lr: 0.001 there, 0.5 here"):
        finetune(world, run, "--epochs", "1", "--backbone-lr", "0.5")
    with pytest.raises(UserError, match="finetune"):
        run_training(read_record(run).config, world / "features", run)


def test_a_photo_that_is_gone_drops_its_stories_or_is_masked(world, tmp_path):
    shutil.copytree(world / "data", world / "fewer", dirs_exist_ok=True)
    (world / "fewer/images/tr0000.jpg").unlink()
    dropping, masking = (make_dataset(world, missing=missing, dataset="fewer") for missing in ("drop", "mask"))
    assert len(dropping) == 5 and dropping.num_dropped == 1 and len(masking) == 6
    batch = masking.__getitems__([0, 1])
    assert batch["photo_mask"].tolist() == [[False] + [True] * 4, [True] * 5] and len(batch["pictures"]) == 9
    trainer = make_trainer(world)
    moved = trainer.move(dict(batch))["input_features"]
    assert not moved[0, 0].any() and moved[0, 1:].any(dim=1).all() and moved[1].any(dim=1).all()


def test_a_photo_that_changed_is_refused(world, tmp_path):
    shutil.copytree(world / "data", world / "changed", dirs_exist_ok=True)
    shutil.copy(world / "data/images/tr0001.jpg", world / "changed/images/tr0000.jpg")
    with pytest.raises(UserError, match="tr0000.jpg as it was when .* found other content"):
        finetune(world, tmp_path / "run2", dataset="changed")


def test_a_backbone_that_the_folder_was_not_made_with_is_refused(world, tmp_path):
    other = build_backbone(BACKBONE, "random").module
    torch.manual_seed(1)
    nn.init.normal_(other.head.weight)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="weights: .* there, .* here.*--weights"):
        finetune(world, tmp_path / "run2", "--weights", str(tmp_path / "other.pth"))
    assert not (tmp_path / "run2").exists()


def test_the_command_line_and_its_settings(world, capsys):
    with pytest.raises(UserError, match="another folder than --run"):
        finetune(world, world / "run")
    with pytest.raises(UserError, match="expected more than 0"):
        read_command(["--run", "a", "--data", "b", "--features", "c", "--out", "d", "--backbone-lr", "0"])
    with pytest.raises(UserError, match="unknown argument '--hidden-dim'"):
        read_command(["--run", "a", "--data", "b", "--features", "c", "--out", "d", "--hidden-dim", "3"])
    with pytest.raises(UserError, match="did you mean '--backbone-lr'"):
        read_command(["--run", "a", "--data", "b", "--features", "c", "--out", "d", "--backbonelr", "3"])
    with pytest.raises(UserError, match="expected --data DATA, the data folder with the photos, found none"):
        read_command(["--run", "a"])
    command = read_command(["--run", "a", "--data", "b", "--features", "c", "--out", "d", "--clip", "2",
                            "--no-augmentation"])
    assert command.changes == {"clip": 2.0} and command.config.augmentation is False


def test_a_fine_tuning_replays_from_its_own_config_and_keeps_epochs(world, tmp_path):
    run = finetune(world, tmp_path / "run2", "--keep-every", "2", "--trainable", "last", "--clip", "0.5")
    assert {path.name for path in run.glob("*-000?.safetensors")} == {"epoch-0002.safetensors",
                                                                      "backbone-0002.safetensors"}
    config = str(run / "config.json")
    again = run_finetuning(read_command(["--config", config, "--out", str(tmp_path / "again")]))
    assert backbone_bytes(again) == backbone_bytes(run) and losses_of(again) == losses_of(run)
    other = read_command(["--config", config, "--out", str(tmp_path / "other"), "--epochs", "5"])
    assert (other.config.epochs, other.config.trainable, other.changes["clip"]) == (5, "last", 0.5)
    with pytest.raises(UserError, match="python -m train.finetune --config"):
        read_settings(run / "config.json")
    with pytest.raises(UserError, match="python -m train --config"):
        read_command(["--config", str(world / "run" / "config.json"), "--out", "x"])


def test_fine_tuning_takes_its_settings_from_a_file(tmp_path):
    path, places = tmp_path / "gentle.toml", ["--run", "a", "--data", "b", "--features", "c", "--out", "d"]
    path.write_text("backbone_lr = 1e-6\nclip = 2\naugmentation = false\n")
    command = read_command([*places, "--config", str(path), "--clip", "3"])
    assert command.config.backbone_lr == 1e-6 and not command.config.augmentation
    assert command.changes == {"clip": 3.0} and command.features_path == Path("c")
    path.write_text("backbone_l = 1e-6\n")
    with pytest.raises(UserError, match="did you mean 'backbone_lr'"):
        read_command([*places, "--config", str(path)])


@pytest.mark.slow
def test_two_processes_learn_what_one_does(world, tmp_path):
    config = make_config({**TINY, "preset": "paper", "dropout": 0.0, "tag_dropout": 0.0})
    run_training(config, world / "features", tmp_path / "run")
    flags = ["--init", tmp_path / "run", "--data", world / "data", "--features", world / "features", "--epochs", "2",
             "--batch-size", "4", "--readers", "1", "--backbone-lr", "1e-3"]
    for processes in ("1", "2"):
        subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes,
                        "-m", "train.finetune", *map(str, flags), "--out", str(tmp_path / processes)],
                       check=True, cwd=Path(__file__).resolve().parents[1], env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, two = (read_weights(tmp_path / processes / "backbone.safetensors")[0] for processes in ("1", "2"))
    torch.testing.assert_close(two, one, rtol=0, atol=1e-5)
    assert [line["train"]["total"] for line in read_metrics(tmp_path / "2")] == pytest.approx(
        [line["train"]["total"] for line in read_metrics(tmp_path / "1")], abs=1e-5)
