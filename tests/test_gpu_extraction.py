"""Extraction on a GPU: what it must give there, held against a processor and against itself. `make test-gpu`."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from extract.command import main
from extract.folder.cosine import centred_cosine, measure_statistics
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import write_dataset

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
ROOT = Path(__file__).resolve().parents[1]
RESNET = "tests.random_resnet:factory"
LIMITS = {"float32": (0.9999, 0.999), "float16": (0.999, 0.99), "bfloat16": (0.99, 0.95)}  # median, worst cosine


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("gpu") / "data", {"train": 8, "val": 2, "test": 2})


def command(dataset, folder, *flags, backbone=RESNET, device=DEVICE):
    return ["--data", str(dataset), "--out", str(folder), "--backbone", backbone, "--weights", "random", "--device",
            device, "--shard-rows", "16", *flags]


def extract(dataset, folder, *flags, **settings):
    main(command(dataset, folder, *flags, **settings))
    return Features.open(folder)


def start(*command):
    return subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """The bytes of a run that nothing happened to, in batches that fill some shards more than once."""
    folder = tmp_path_factory.mktemp("undisturbed") / "f"
    extract(dataset, folder, "--batch-size", "8")
    return snapshot(folder)


@pytest.mark.parametrize("precision", LIMITS)
def test_features_are_a_processors_but_for_rounding(dataset, tmp_path, precision):
    expected = extract(dataset, tmp_path / "f", "--precision", "float32", device="cpu").feature.all()
    features = extract(dataset, tmp_path / "g", "--precision", precision)
    assert {made["device"] for made in features.manifest.made_by} == {DEVICE}
    rows = np.arange(features.num_photos)
    cosine = centred_cosine(expected, features.feature.all(), *measure_statistics(features.feature, rows))
    print(f"{precision}: centred cosine median {np.median(cosine):.6f}, worst {cosine.min():.6f}")
    assert np.median(cosine) >= LIMITS[precision][0] and cosine.min() >= LIMITS[precision][1]


@pytest.mark.parametrize("flags", [("--readers", "1"), ("--readers", "4", "--reader-kind", "processes")])
def test_two_runs_are_equal_whoever_reads(dataset, tmp_path, undisturbed, flags):
    extract(dataset, tmp_path / "f", "--batch-size", "8", *flags)
    assert snapshot(tmp_path / "f") == undisturbed


def test_killed_and_resumed_is_undisturbed(dataset, tmp_path, undisturbed):
    folder = tmp_path / "f"
    process = start("extract", *command(dataset, folder, "--batch-size", "8"))
    while process.poll() is None and not list(folder.glob("photos/0*.h5")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    extract(dataset, folder, "--batch-size", "8")
    assert snapshot(folder) == undisturbed


def test_two_processes_share_one_card(dataset, tmp_path, undisturbed):
    folder = tmp_path / "f"
    process = start("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "extract",
                    *command(dataset, folder, "--batch-size", "8"))
    assert process.wait(timeout=250) == 0
    assert snapshot(folder) == undisturbed


def test_a_full_card_halves_the_batch_once_and_for_all(dataset, tmp_path):
    """On a part of the card that has no room for 128; the folder goes on with what it was made with."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(300e6 / total)
    try:
        made_by, = extract(dataset, tmp_path / "f", backbone="resnet50").manifest.made_by
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= made_by["batch_shape"][0] < 128
    os.utime(sorted((dataset / "images").iterdir())[0], (1, 1))
    again = extract(dataset, tmp_path / "f", backbone="resnet50").manifest
    assert again.made_by == (made_by,)
    assert extract(dataset, tmp_path / "g", backbone="resnet50").recipe == again.recipe


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_processor_began_goes_on_here_in_float32_alone(dataset, tmp_path, precision):
    flags = ["--precision", precision]
    extract(dataset, tmp_path / "f", "--limit", "2", *flags, device="cpu")
    if precision != "float32":
        with pytest.raises(UserError, match=f"device: cpu there, {DEVICE} here"):
            extract(dataset, tmp_path / "f", *flags)
        flags.append("--mixed")
    made_by = extract(dataset, tmp_path / "f", *flags).manifest.made_by
    assert [made["device"] for made in made_by] == ["cpu", DEVICE]
