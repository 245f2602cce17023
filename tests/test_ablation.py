"""A grid of trainings: what is read, what is trained again, how seeds and albums are drawn, what is written."""
import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from evaluate.__main__ import main
from evaluate.ablation import runner
from evaluate.ablation.grid import DEFAULT_GRID, plan_trainings, read_grid
from evaluate.ablation.runner import draw_jointly
from evaluate.ablation.step_cost import StepCost, describe_cost
from evaluate.statistics.bootstrap import Estimate, Resamples
from tests.tiny_runs import TINY

TINY_TOML = ", ".join(f"{name} = {value}" for name, value in TINY.items())
GRID = f"""
reference = "whole"
seeds = [1, 2]
base = {{ {TINY_TOML}, epochs = 1, batch_size = 8 }}
[rows]
whole = {{}}
"no text!" = {{ use_text = false }}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run the two commands of a training in this process, and keep what was asked."""
    torch.set_num_threads(1)
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        asked.append(command[2:])
        if command[2] == "evaluate":
            return subprocess.CompletedProcess(command, main(command[3:]))
        from train.session import run_training
        from train.settings import read_command
        told = read_command(command[3:])
        run_training(told.config, told.features_path, told.run_path)
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(runner.subprocess, "run", run)
    return asked


def test_a_grid_is_trained_once_and_goes_on(grid, started, make_features, tmp_path, capsys):
    folder, out = make_features(stories={"train": 8, "val": 44}), tmp_path / "out"
    arguments = ["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(out), "--resamples", "50"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert len(started) == 8 and sorted(path.name for path in out.iterdir() if path.is_dir()) == ["no-text", "whole"]
    assert all(name in printed for name in ("whole", "no text!", "CIDEr-D", "perplexity", "val loss", "±", "22 albums",
                                            "not measured"))
    assert main(arguments) == 0 and len(started) == 8  # all is there
    (out / "no-text" / "seed-2" / "eval-val.json").unlink()
    assert main(arguments) == 0 and len(started) == 10
    assert started[-1][:1] == ["evaluate"] and started[-2][:1] == ["train"]
    rows = list(csv.DictReader((out / "ablation.csv").open()))
    assert {row["row"] for row in rows} == {"whole", "no text!"}
    text = next(row for row in rows if row["row"] == "no text!" and row["metric"] == "perplexity")
    assert float(text["low"]) <= float(text["difference"]) <= float(text["high"]) and float(text["p_holm"]) >= 0
    assert (out / "ablation.md").read_text().count("\n| ") == 4  # heading, rule, two rows
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    grid.write_text(GRID.replace("epochs = 1", "epochs = 2"))
    capsys.readouterr()
    assert main(arguments) == 2
    assert "epochs: 1 there, 2 here" in capsys.readouterr().err and len(started) == 10


def test_a_failed_training_is_told_with_its_last_words(grid, make_features, tmp_path, capsys, monkeypatch):
    def fail(command: list[str], stdout: object, **_: object) -> subprocess.CompletedProcess:
        stdout.write("epoch 1\nerror: the loss is no number\n")
        stdout.flush()
        return subprocess.CompletedProcess(command, 1)
    monkeypatch.setattr(runner.subprocess, "run", fail)
    folder = make_features()
    assert main(["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "row 'whole', seed 1: training ended with code 1 and said: error: the loss is no number" in message


def test_the_grid_that_comes_along_is_valid(tmp_path):
    grid = read_grid(DEFAULT_GRID)
    planned = plan_trainings(grid, tmp_path)
    assert len(planned) == len(grid.rows) * len(grid.seeds) and grid.reference == "full model"
    assert [training.seed for training in planned[:len(grid.rows)]] == [grid.seeds[0]] * len(grid.rows)


@pytest.mark.parametrize("text, said", [
    ("rows = 3", "[rows]"), ("[rows]", "[rows]"), ("[rows]\na = {}\nb = {}", "the same"), ("nonsense", "TOML"),
    ("reference = 'x'\n[rows]\na = {}", "'a'"), ("seeds = []\n[rows]\na = {}", "seeds"),
    ("seeds = [1, 1]\n[rows]\na = {}", "seeds"), ("tag_weight = 1\n[rows]\na = {}", "'tag_weight'"),
    ("[rows]\na = { tag_wieght = 1.0 }", "did you mean 'tag_weight'"), ("[rows]\na = { lr = 'x' }", "row 'a'"),
    ("[rows]\na = { lr = -1.0 }", "row 'a'"), ("[rows]\n'a b' = {}\n'a-b' = { lr = 0.1 }", "rename")])
def test_a_bad_grid_says_where(text, said, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        plan_trainings(read_grid(path), tmp_path / "out")
    assert said in str(error.value)


def test_seeds_and_albums_are_drawn_together():
    random = np.random.default_rng(0)
    albums = [f"a{index}" for index in range(40)]
    resamples = Resamples(albums, 500)
    easy = random.standard_normal(40)
    lucky = np.array([0.0, 3.0, -3.0, 1.0])
    drawn = random.integers(0, 4, (500, 4))
    rows = {gain: draw_jointly([resamples.mean(easy + luck + gain, np.ones(40)) for luck in lucky], drawn)
            for gain in (0.0, 0.2)}
    assert rows[0.0].draws[0] == pytest.approx(easy.mean() + lucky.mean())
    assert rows[0.0].draws[1:].std() > resamples.mean(easy, np.ones(40)).draws[1:].std() * 2  # seeds add to it
    difference = (rows[0.2] - rows[0.0]).summary()  # the same luck for both: nothing of it is left
    assert difference["low"] == pytest.approx(0.2) == difference["high"]


def test_without_albums_enough_there_is_a_mean_and_no_interval():
    found = draw_jointly([Estimate(np.array([1.0]), 3), Estimate(np.array([2.0]), 3)], np.zeros((9, 2), int))
    assert found.summary() == {"value": 1.5, "low": None, "high": None, "n": 3}


def test_cost_by_hand():
    said = describe_cost(StepCost(10.0), 7200, 1, 1800.0)  # 36,000 looks at 10 a second: an hour more
    assert "trained for 0.50 hours" in said and "1.5 hours, 3 times" in said
    assert "not measured: why" in describe_cost(StepCost(None, "why"), 1, 1, 1.0)


@pytest.mark.slow
def test_real_processes_side_by_side(grid: Path, make_features: Callable[..., Path], tmp_path: Path):
    folder = make_features(stories={"train": 8, "val": 44})
    command = [sys.executable, "-m", "evaluate", "ablate", "--features", str(folder), "--grid", str(grid), "--jobs",
               "2", "--no-cost"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    assert ended.returncode == 0, ended.stderr
    assert (folder.parent / "ablations" / "grid" / "ablation.md").exists() and "4 of 4" in ended.stderr
