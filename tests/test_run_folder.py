"""A run's folder as a user meets it: what it holds, gone on with, left alone, refused, replayed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from data.lock import hold
from tests.tiny_training import TINY, flags_of, interrupted_before, losses_of, tiny, weights_of
from train import trainer
from train.run_folder.runs import read_metrics
from train.session import run_training
from train.settings import read_command

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_tensorboard_has_losses_and_sample_captions(make_features, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run = run_training(tiny(), make_features(), tmp_path / "run")
    events = EventAccumulator(str(run)).Reload()
    assert {"train/image", "val/text", "lr", "gradient_norm"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val/text")] == [1, 2]
    assert b"**written**" in events.Tensors("captions/text_summary")[0].tensor_proto.string_val[0]


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


def command(*arguments, **environment):
    return subprocess.run([sys.executable, "-m", "train", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment})


def test_a_run_replays_from_its_own_config(make_features, tmp_path):
    features = make_features()
    result = command("--features", features, "--out", tmp_path / "a", *flags_of(TINY))
    assert result.returncode == 0, result.stderr
    assert "best epoch" in result.stdout and f"make eval RUN={tmp_path / 'a'}" in result.stdout
    assert "epoch 1/2: train image" in result.stderr
    replayed = read_command(["--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b")])
    run_training(replayed.config, replayed.features_path, replayed.run_path)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")


@pytest.mark.parametrize("killed_after", [1, 3, 4, 7])
def test_killed_and_gone_on_with_equals_undisturbed(make_features, tmp_path, killed_after):
    """Three batches an epoch; a save after every second batch of an epoch and at its end."""
    features, config = make_features(), tiny(epochs=3, save_every=2)
    undisturbed = run_training(config, features, tmp_path / "a")
    with interrupted_before(1 + killed_after // 3, killed_after % 3):
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
