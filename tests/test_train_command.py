"""`python -m train` before anything is learned: what it answers at once, and how its threads wait."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.threads import WAITING, let_threads_sleep

ROOT = Path(__file__).resolve().parents[1]
# runs a command in this process's place and tells on the last line what it set and whether it loaded torch
WATCHED = """
import os, sys
from data.errors import run_command
from {module} import main
code = run_command(main)
print(code, os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


def watch(module, *flags, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in WAITING}
    return subprocess.run([sys.executable, "-c", WATCHED.format(module=module), *map(str, flags)], cwd=ROOT,
                          capture_output=True, text=True, env={**kept, **environment})


@pytest.mark.parametrize("module, flags", [
    ("train.__main__", []), ("train.finetune.__main__", ["--run", "none", "--data", "none"])])
def test_a_features_folder_that_is_not_there_is_said_in_one_sentence_before_torch_is_loaded(tmp_path, module, flags):
    missing, empty = tmp_path / "none", tmp_path / "empty"
    empty.mkdir()
    for folder, message in ((missing, "make it with: make features"), (empty, "manifest.json, found no such file")):
        done = watch(module, *flags, "--features", folder, "--out", tmp_path / "run")
        assert done.stdout.split() == ["2", "2000", "False"], done.stderr
        assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_evaluation_sets_how_its_threads_wait_before_torch_is_loaded():
    done = watch("evaluate.__main__", "--split", "moon")
    assert done.stdout.split()[-2:] == ["2000", "False"], done.stderr


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "1"}])
def test_threads_sleep_where_they_wait_unless_the_environment_says_otherwise(monkeypatch, own):
    environment = {"HOME": "/", **own}
    monkeypatch.setattr(os, "environ", environment)
    let_threads_sleep()
    assert environment == {"HOME": "/", **(own or {"GOMP_SPINCOUNT": "2000"})}
