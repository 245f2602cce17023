"""Several processes learn what one does, and go on where they were when one of them is killed."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.tiny_training import TINY, flags_of, losses_of, tiny, weights_of
from train.distributed import World
from train.run_folder.checkpoint import Progress, load_checkpoint, save_checkpoint
from train.run_folder.runs import read_metrics
from train.session import run_training

ROOT = Path(__file__).resolve().parents[1]


def start(features, run, **settings) -> subprocess.Popen:
    """Two processes that train."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "train",
         "--features", str(features), "--out", str(run), *flags_of({**TINY, **settings})], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(process) -> str:
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return out


def test_two_processes_learn_what_one_does(make_features, tmp_path):
    """Dropout off, equal global batches; 13 stories leave one for the last batch, so one process has none."""
    features = make_features(stories={"train": 13, "val": 5}, stories_per_album=1)
    settings = dict(dropout=0.0, tag_dropout=0.0)
    run_training(tiny(**settings), features, tmp_path / "one")
    out = finish(start(features, tmp_path / "two", **settings))
    assert out.count("best epoch") == 1, "only one process speaks"
    for one, two in zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True):
        for part in ("train", "val"):
            assert one[part] == pytest.approx(two[part], abs=1e-5)
    assert json.loads((tmp_path / "two" / "config.json").read_text())["resolved"]["processes"] == 2


def test_every_process_goes_on_with_its_own_sums(tmp_path):
    """And one process alone, or three, with all of them together."""
    sums = [torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[10.0, 20.0]]).double()]
    save_checkpoint(tmp_path / "last.pt", Progress(epoch=3, step=2), sums, {})
    for size, expected in ((2, sums), (1, [sums[0] + sums[1]]), (3, [sums[0] + sums[1], 0 * sums[0], 0 * sums[0]])):
        for rank in range(size):
            found = torch.ones(1, 2).double()
            progress = load_checkpoint(tmp_path / "last.pt", found, {}, World(rank, size, torch.device("cpu")))
            assert (progress.epoch, progress.step) == (3, 2)
            assert torch.equal(found, expected[rank])


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_whichever_process_is_killed_the_epoch_comes_out_as_undisturbed(make_features, tmp_path, rank):
    features = make_features(stories={"train": 200, "val": 6}, stories_per_album=1)
    finish(start(features, tmp_path / "whole", save_every=5))
    process, last = start(features, tmp_path / "killed", save_every=5), tmp_path / "killed" / "last.pt"
    while process.poll() is None and not last.exists():
        time.sleep(0.01)
    os.kill(find_rank(process.pid, rank), signal.SIGKILL)
    process.communicate(timeout=200)
    progress = torch.load(last, weights_only=True)["progress"]
    assert process.returncode and not progress["complete"] and progress["step"], "not killed within an epoch"
    finish(start(features, tmp_path / "killed", save_every=5))
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")
    assert weights_of(tmp_path / "killed") == weights_of(tmp_path / "whole")


def find_rank(launcher: int, rank: str) -> int:
    """The process id of a rank among a launcher's children."""
    for child in map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()):
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return child
    raise AssertionError(f"no process of rank {rank}")
