"""A run as a user meets it: learns, goes on, refuses, and comes out equal."""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from train import session, trainer
from train.batches import StoryDataset
from train.config import make_config
from train.runs import build_model, load_run, measure_sizes, read_metrics, read_weights
from train.session import run_training
from train.settings import read_command
from train.statistics import measure_features

ROOT = Path(__file__).resolve().parents[1]
TINY = dict(preset="paper", embedding_dim=8, text_dim=8, fusion_dim=16, hidden_dim=16, attention_heads=2,
            tag_head_dim=8, tag_embedding_dim=4, image_decoder_dim=16, decoder_dim=16, epochs=2, batch_size=4,
            lr=3e-3, dropout=0.2, tag_dropout=0.2, precision="float32", device="cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


_plain: list = []


@pytest.fixture
def plain_losses(make_features, tmp_path):
    """What comes out without any switch; trained once."""
    if not _plain:
        _plain.append(losses_of(run_training(tiny(), make_features("plain"), tmp_path / "plain_run")))
    return _plain[0]


def tiny(**settings):
    return make_config({**TINY, **settings})


def weights_of(run_path, name="best.safetensors") -> bytes:
    return (run_path / name).read_bytes()


def losses_of(run_path):
    return [(line["train"], line["val"], line["lr"]) for line in read_metrics(run_path)]


def test_two_runs_with_one_seed_give_equal_weights(make_features, tmp_path):
    features = make_features()
    first = run_training(tiny(), features, tmp_path / "a")
    second = run_training(tiny(), features, tmp_path / "b")
    other = run_training(tiny(seed=1), features, tmp_path / "c")
    assert weights_of(first) == weights_of(second) != weights_of(other)
    assert losses_of(first) == losses_of(second)


def test_a_run_folder_holds_what_is_promised(make_features, tmp_path):
    features = make_features()
    run = run_training(tiny(keep_every=1), features, tmp_path / "run")
    names = {path.name.partition(".out.")[0] for path in run.iterdir()}
    assert names == {"config.json", "vocabulary.json", "metrics.jsonl", "best.safetensors", "last.pt", "curves.png",
                     "epoch-0001.safetensors", "epoch-0002.safetensors", "events"}
    for number, line in enumerate(read_metrics(run), start=1):
        assert line["epoch"] == number and line["lr"] == 3e-3
        assert line["seconds"] > 0 and line["stories_per_second"] > 0
        for part in ("train", "val"):
            terms = line[part]
            assert terms["total"] == pytest.approx(terms["image"] + terms["text"]
                                                   + 0.15 * (terms["tag_seen"] + terms["tag_next"]))
    raw = json.loads((run / "config.json").read_text())
    assert raw["recipe"] == Features.open(features).recipe and raw["settings"]["lr"] == 3e-3
    state = torch.load(run / "last.pt", weights_only=True)
    assert state["progress"]["complete"] is True
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_epoch_is_chosen_by_unweighted_photo_and_caption_loss_on_val(make_features, tmp_path):
    run = run_training(tiny(epochs=6, lr=0.05, tag_weight=5.0), make_features(), tmp_path / "run")
    chosen = [line["val"]["image"] + line["val"]["text"] for line in read_metrics(run)]
    assert load_run(run).epoch == int(np.argmin(chosen)) + 1
    assert int(np.argmin(chosen)) + 1 != 6, "the last epoch is best: the test shows nothing"


def test_validation_after_training_is_what_the_metrics_say(make_features, tmp_path):
    features = make_features()
    run = run_training(tiny(epochs=1), features, tmp_path / "run")
    loaded = load_run(run)
    judge = trainer.Trainer(loaded.config, loaded.model, session.join_world("cpu"), "float32")
    means = judge.summarise(judge.validate(StoryDataset(Features.open(features), "val", missing="mask")))
    assert means == pytest.approx(read_metrics(run)[0]["val"])


def test_it_overfits_four_stories(make_features):
    features = Features.open(make_features(stories={"train": 4, "val": 2}, stories_per_album=1))
    config = tiny(lr=1e-2, dropout=0.0, tag_dropout=0.0, fusion_dim=48, hidden_dim=48, image_decoder_dim=64)
    dataset = StoryDataset(features, "train")
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, dataset.words))
    model.set_statistics(*measure_features(features, dataset.photo_rows(), config.std_floor))
    learner = trainer.Trainer(config, model, session.join_world("cpu"), "float32")
    for step in range(300):
        learner.step(dataset, np.arange(4), 1, step)
    means = learner.validate(dataset)
    assert all(means[name] < 0.05 for name in ("image", "text", "tag_next", "tag_seen")), means


def test_statistics_come_from_usable_train_photos_alone(make_features, tmp_path):
    path = make_features(bad_photos=(3,))
    run = run_training(tiny(epochs=1, missing="mask"), path, tmp_path / "run")
    features = Features.open(path)
    photos = np.setdiff1d(np.arange(30), [3])  # six albums of five
    rows = features.feature.take(photos).astype(np.float64)
    tensors, _ = read_weights(run / "best.safetensors")
    assert np.allclose(tensors["feature_mean"], rows.mean(axis=0), atol=1e-5)
    assert np.allclose(tensors["feature_std"], rows.std(axis=0), atol=1e-5)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("killed_after", [1, 3, 4, 7])
def test_killed_and_gone_on_with_equals_undisturbed(make_features, tmp_path, monkeypatch, killed_after):
    """Three batches an epoch; a save after every second batch of an epoch and at its end."""
    features, config = make_features(), tiny(epochs=3, save_every=2)
    undisturbed = run_training(config, features, tmp_path / "a")
    steps = 0
    original = trainer.Trainer.step

    def step(self, *arguments):
        nonlocal steps
        if steps == killed_after:
            raise Interrupted
        steps += 1
        original(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "step", step)
        with pytest.raises(Interrupted):
            run_training(config, features, tmp_path / "b")
    resumed = run_training(config, features, tmp_path / "b")
    assert weights_of(resumed) == weights_of(undisturbed)
    assert losses_of(resumed) == losses_of(undisturbed)
    final = [torch.load(run / "last.pt", weights_only=True)["optimizer"]["state"] for run in (undisturbed, resumed)]
    for index, state in final[0].items():
        assert all(torch.equal(value, final[1][index][name]) for name, value in state.items())


def test_a_signal_saves_the_state_and_the_same_command_goes_on(make_features, tmp_path, monkeypatch):
    features, config = make_features(), tiny(save_every=0)
    undisturbed = run_training(config, features, tmp_path / "a")
    original = trainer.Trainer.step

    def step(self, dataset, indices, epoch, number):
        if (epoch, number) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, dataset, indices, epoch, number)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "step", step)
        with pytest.raises(KeyboardInterrupt):
            run_training(config, features, tmp_path / "b")
    assert torch.load(tmp_path / "b" / "last.pt", weights_only=True)["progress"]["step"] == 2
    assert weights_of(run_training(config, features, tmp_path / "b")) == weights_of(undisturbed)


def test_a_complete_run_is_left_alone_and_force_moves_it_beside(make_features, tmp_path, caplog):
    features = make_features()
    run = run_training(tiny(), features, tmp_path / "run")
    before = (run / "last.pt").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        run_training(tiny(), features, run)
    assert "complete" in caplog.text and (run / "last.pt").stat().st_mtime_ns == before
    old = weights_of(run)
    run_training(tiny(seed=7), features, run, force=True)
    assert weights_of(tmp_path / "run.1") == old != weights_of(run)


def test_other_settings_are_refused_naming_what_differs(make_features, tmp_path):
    features = make_features()
    run = run_training(tiny(), features, tmp_path / "run")
    with pytest.raises(UserError, match=r"seed: 42 there, 1 here; lr: 0.003 there, 0.1 here.*--force"):
        run_training(tiny(lr=0.1, seed=1), features, run)
    run_training(tiny(keep_every=1, wandb="other"), features, run)  # settings that change nothing
    with pytest.raises(UserError, match=r"words, seed: 0 there, 3 here"):
        run_training(tiny(), make_features("other", seed=3), run)


def test_a_run_in_use_is_refused_with_who_holds_it(make_features, tmp_path):
    from data.lock import hold
    with hold(tmp_path / ".run.lock", "run (training)"):
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            run_training(tiny(), make_features(), tmp_path / "run")


def test_a_run_whose_lock_was_deleted_writes_nothing_more(make_features, tmp_path, monkeypatch):
    real = trainer.seed_step

    def lose_the_lock(seed, rank, epoch, step):
        if (epoch, step) == (2, 0):
            (tmp_path / ".run.lock").unlink()
        real(seed, rank, epoch, step)
    monkeypatch.setattr(trainer, "seed_step", lose_the_lock)
    with pytest.raises(UserError, match="expected to hold run .*run .training., found its lock .* taken away"):
        run_training(tiny(), make_features(), tmp_path / "run")
    assert len(read_metrics(tmp_path / "run")) == 1
    monkeypatch.undo()
    run_training(tiny(), make_features(), tmp_path / "run")
    assert [line["epoch"] for line in read_metrics(tmp_path / "run")[:2]] == [1, 2]


def test_a_folder_that_is_no_run_is_not_written_into(make_features, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no run|empty or a run"):
        run_training(tiny(), make_features(), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_a_broken_loss_stops_the_run_names_the_term_and_keeps_the_last_good_state(make_features, tmp_path,
                                                                                  monkeypatch):
    features, config = make_features(), tiny(epochs=3, save_every=0)
    undisturbed = run_training(config, features, tmp_path / "a")
    original = trainer.StoryCriterion.text_loss
    calls = 0

    def text_loss(self, outputs):
        nonlocal calls
        calls += 1
        term = original(self, outputs)
        return replace(term, sum=term.sum * float("nan")) if calls == 6 else term  # 3 train, 1 val, then the second

    with monkeypatch.context() as patched:
        patched.setattr(trainer.StoryCriterion, "text_loss", text_loss)
        with pytest.raises(trainer.TrainingDiverged, match=r"epoch 2, batch 2.*text not finite \(image \d"):
            run_training(config, features, tmp_path / "b")
    state = torch.load(tmp_path / "b" / "last.pt", weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (2, 1)
    assert all(value.isfinite().all() for value in state["model"].values())
    assert weights_of(run_training(config, features, tmp_path / "b")) == weights_of(undisturbed)


def test_without_val_the_last_epoch_counts(make_features, tmp_path, caplog):
    features = make_features(stories={"train": 8})
    with caplog.at_level("WARNING"):
        run = run_training(tiny(), features, tmp_path / "run")
    assert "no val split" in caplog.text
    assert [line["val"] for line in read_metrics(run)] == [None, None] and load_run(run).epoch == 2


def test_with_no_photo_at_all_the_photo_loss_is_off_and_said_so(make_features, tmp_path, caplog):
    features = make_features(bad_photos=tuple(range(60)))
    with caplog.at_level("WARNING"):
        run = run_training(tiny(), features, tmp_path / "run")
    assert "photo loss is off" in caplog.text
    assert all(line["train"]["image"] is None and line["val"]["text"] > 0 for line in read_metrics(run))


def test_when_every_story_lacks_a_photo_the_way_out_is_named(make_features, tmp_path):
    features = make_features(stories={"train": 2, "val": 2}, bad_photos=(1,))
    with pytest.raises(UserError, match="--missing mask"):
        run_training(tiny(), features, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_early_stopping_ends_a_run_that_stands_still(make_features, tmp_path):
    run = run_training(tiny(epochs=40, early_stopping=2, lr=0.05, plateau_patience=1), make_features(),
                       tmp_path / "run")
    metrics = read_metrics(run)
    assert len(metrics) < 40 and load_run(run).epoch == len(metrics) - 2
    assert metrics[-1]["lr"] <= metrics[0]["lr"]


SWITCHES = [
    dict(use_text=False), dict(use_photos=False), dict(use_attention=False), dict(use_tag_embedding=False),
    dict(word_attention=True), dict(leave_out_tags="location"), dict(task="tell"), dict(contrastive_weight=0.5),
    dict(word_dropout=0.3), dict(synonym_swaps=0.5), dict(scheduled_sampling=0.5), dict(curriculum=0.8),
    dict(preset="base", steps=0, patience_steps=0), dict(photo_carry=True), dict(tag_carry=True),
    dict(tag_probe=True), dict(word_copying=True), dict(rare_as_unknown=0.9),
    dict(unigram_start=True), dict(steps=9), dict(reader="streamed", block=2, window=2), dict(precision="bfloat16"),
    dict(fraction=0.5), dict(limit=7)]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: "-".join(map(str, switch.items())))
def test_every_switch_trains_changes_the_result_is_recorded_and_goes_on_where_it_was_killed(
        make_features, tmp_path, plain_losses, monkeypatch, switch):
    """Killed one batch after the first save of the second epoch."""
    features, config = make_features(), tiny(save_every=1, **switch)
    run = run_training(config, features, tmp_path / "run")
    assert losses_of(run) != plain_losses
    assert load_run(run).config == config == read_command(["--config", str(run / "config.json")]).config
    original = trainer.Trainer.step

    def step(self, dataset, indices, epoch, number):
        if (epoch, number) == (2, 1):
            raise Interrupted
        original(self, dataset, indices, epoch, number)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "step", step)
        with pytest.raises(Interrupted):
            run_training(config, features, tmp_path / "killed")
    assert torch.load(tmp_path / "killed" / "last.pt", weights_only=True)["progress"]["step"] == 1
    killed = run_training(config, features, tmp_path / "killed")
    assert weights_of(killed) == weights_of(run) and losses_of(killed) == losses_of(run)


def test_initial_weights_come_from_another_run_word_by_word(make_features, tmp_path, caplog):
    features = make_features()
    first = run_training(tiny(), features, tmp_path / "first")
    with caplog.at_level("INFO"):
        second = run_training(tiny(init=str(first), epochs=1, lr=1e-9), make_features("other", seed=5),
                              tmp_path / "second")
    assert "20 of 20 words and 51 of 51 tags" in caplog.text
    old, new = (read_weights(run / "best.safetensors")[0] for run in (first, second))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old if not name.startswith("feature_"))
    assert not torch.allclose(old["feature_mean"], new["feature_mean"])
    with caplog.at_level("INFO"):
        run_training(tiny(init=str(first), fusion_dim=24), features, tmp_path / "third")
    assert "not taken over" in caplog.text and "fusion.first.weight" in caplog.text
    (first / "best.safetensors").unlink()
    with pytest.raises(UserError, match="best.safetensors, found no such file"):
        run_training(tiny(init=str(first)), features, second, force=True)
    assert len(read_metrics(second)) == 1 and not (tmp_path / "second.1").exists(), "the run that was there stays"


def test_biases_of_known_words_and_tags_come_from_the_other_run(make_features, tmp_path):
    """Where a fresh model would begin on the shares of train, a taken-over one keeps what it had learned."""
    features = make_features()
    first = run_training(tiny(unigram_start=True), features, tmp_path / "first")
    second = run_training(tiny(init=str(first), unigram_start=True, epochs=1, lr=1e-9), features, tmp_path / "second")
    old, new = (read_weights(run / "best.safetensors")[0] for run in (first, second))
    for name in ("text_decoder.vocabulary.bias", "seen_head.3.bias", "next_head.3.bias"):
        torch.testing.assert_close(old[name], new[name], atol=1e-6, rtol=0)


def command(*arguments, **environment):
    return subprocess.run([sys.executable, "-m", "train", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})


def flags_of(settings) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_a_run_replays_from_its_own_config(make_features, tmp_path):
    features = make_features()
    result = command("--features", features, "--out", tmp_path / "a", *flags_of(TINY))
    assert result.returncode == 0, result.stderr
    assert "best epoch" in result.stdout and f"make eval RUN={tmp_path / 'a'}" in result.stdout
    assert "epoch 1/2: train image" in result.stderr
    replayed = read_command(["--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b")])
    run_training(replayed.config, replayed.features_path, replayed.run_path)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


@pytest.mark.slow
def test_kill_9_within_an_epoch_and_going_on_equals_undisturbed(make_features, tmp_path):
    """Killed each time a new last.pt has appeared, wherever the run stands by then."""
    features = make_features(stories={"train": 160, "val": 6})
    flags = flags_of({**TINY, "epochs": 5, "save_every": 4})
    assert command("--features", features, "--out", tmp_path / "a", *flags).returncode == 0
    arguments = [sys.executable, "-m", "train", "--features", features, "--out", tmp_path / "b", *flags]
    last, stood = tmp_path / "b" / "last.pt", []
    for _ in range(5):
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = subprocess.Popen(list(map(str, arguments)), cwd=ROOT, stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
            time.sleep(0.002)
        time.sleep(0.05 * len(stood))
        process.kill()
        process.wait()
        progress = torch.load(last, weights_only=True)["progress"]
        stood.append((progress["epoch"], progress["step"]))
    assert any(step for _, step in stood), f"never killed within an epoch: {stood}"
    assert not progress["complete"], "ran to its end before it was killed: the test shows nothing"
    assert command("--features", features, "--out", tmp_path / "b", *flags).returncode == 0
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b")


def test_numbers_are_mirrored_to_wandb_and_its_absence_is_said(make_features, tmp_path, monkeypatch):
    features, logged = make_features(), []

    class Mirror:
        def log(self, values, step):
            logged.append((step, values))

        def finish(self):
            logged.append("finished")

    def init(**settings):
        assert settings["project"] == "stories" and settings["config"]["lr"] == 3e-3
        assert settings["mode"] == "offline", "no key, no network"
        return Mirror()

    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    run = run_training(tiny(wandb="stories"), features, tmp_path / "run")
    assert [step for step, _ in logged[:-1]] == [1, 2] and logged[-1] == "finished"
    assert logged[1][1]["val/text"] == read_metrics(run)[1]["val"]["text"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        run_training(tiny(wandb="stories"), features, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_tensorboard_has_losses_and_sample_captions(make_features, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run = run_training(tiny(), make_features(), tmp_path / "run")
    events = EventAccumulator(str(run)).Reload()
    assert {"train/image", "val/text", "lr", "gradient_norm"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val/text")] == [1, 2]
    assert b"**written**" in events.Tensors("captions/text_summary")[0].tensor_proto.string_val[0]
