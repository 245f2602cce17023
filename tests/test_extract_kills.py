"""Extraction killed, interrupted, out of disk, or done by several processes: the folder ends with the same bytes."""
import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.errors import INTERRUPTED, UserError
from data.lock import hold
from data.words.tags import TagTable
from extract.command import main
from tests.photo_dataset import draw_photo, photo_id, write_dataset

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["--backbone", "tests.tiny_backbone:factory", "--weights", "random", "--batch-size", "4", "--shard-rows", "4",
         "--readers", "2", "--thumbnails", "24"]


@pytest.fixture(scope="module", autouse=True)
def one_matcher():
    """Build the shipped tag table's matcher once, not in every run: it is half of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagTable, "load", functools.cache(TagTable.load))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Photos with a duplicate in another shard, a missing and a broken one."""
    root = write_dataset(tmp_path_factory.mktemp("data"), {"train": 4, "val": 1, "test": 1})
    images = root / "images"
    shutil.copy(images / f"{photo_id('train', 0, 0)}.jpg", images / f"{photo_id('val', 0, 1)}.jpg")
    (images / f"{photo_id('train', 1, 1)}.jpg").unlink()
    (images / f"{photo_id('train', 2, 1)}.jpg").write_bytes(b"<html>")
    return root


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """The bytes of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "f"
    main(command(dataset, folder))
    return snapshot(folder)


def command(dataset, folder, *flags):
    return ["--data", str(dataset), "--out", str(folder), "--max-bad", "1", *FLAGS, *flags]


def start(dataset, folder, *flags, seconds=0.0, **settings):
    environment = {**os.environ, "TINY_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "extract", *command(dataset, folder, *flags)], cwd=ROOT,
                            env=environment, stderr=subprocess.PIPE, text=True,
                            **{"preexec_fn": _heed_interrupts, **settings})


def _heed_interrupts():
    """A suite started in a shell's background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def snapshot(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".local" not in path.relative_to(folder).parts}


def wait_for(condition, process, seconds=120.0):
    """Poll until something is so or the process is gone."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def published(folder):
    return len(list(folder.glob("photos/*.h5")))


def test_killed_after_some_shards_it_goes_on_and_ends_with_the_same_bytes(dataset, undisturbed, tmp_path):
    process = start(dataset, tmp_path / "f", seconds=0.3)
    wait_for(lambda: published(tmp_path / "f") >= 3, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "f/manifest.json").exists()
    ledger = (tmp_path / "f/.local/ledger/0.jsonl").read_text().split("photos/0")
    shards = {name: content for name, content in snapshot(tmp_path / "f").items() if ".part" not in name}
    main(command(dataset, tmp_path / "f"))
    assert snapshot(tmp_path / "f") == undisturbed
    assert len(ledger) >= 3 and all(undisturbed[name] == content for name, content in shards.items())


def test_a_shard_without_a_ledger_line_does_not_exist(dataset, undisturbed, tmp_path):
    main(command(dataset, tmp_path / "f"))
    folder = tmp_path / "f"
    for name in ("manifest.json", ".local/state.json"):
        (folder / name).unlink()
    path = folder / ".local/ledger/0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:len(lines[5]) // 2])  # killed while it wrote a line
    (folder / "photos/00004.h5").write_bytes(b"half a shard")
    (folder / "photos/.00004.h5.1-aa.part").write_bytes(b"left behind")
    main(command(dataset, folder))
    assert snapshot(folder) == undisturbed


@pytest.mark.slow
def test_killed_at_random_points_again_and_again(dataset, undisturbed, tmp_path):
    random = np.random.default_rng(1)
    for campaign in range(4):
        folder = tmp_path / f"f{campaign}"
        for _ in range(6):
            process = start(dataset, folder, seconds=0.02)
            wait_for(lambda: (folder / ".local").exists(), process)
            time.sleep(random.uniform(0, 4))
            process.kill()
            process.wait()
        main(command(dataset, folder))
        assert snapshot(folder) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_killed_at_every_write(dataset, undisturbed, tmp_path, call):
    """A process that dies at the n-th rename or sync, for every n."""
    code = (f"import os, sys\nreal, left = os.{call}, [int(sys.argv[1])]\n"
            "def dying(*arguments, **settings):\n    left[0] -= 1\n"
            "    if left[0] < 0:\n        os._exit(9)\n    return real(*arguments, **settings)\n"
            f"os.{call} = dying\nfrom extract.command import main\nmain(sys.argv[2:])\n")
    folder, deaths = tmp_path / "f", 0
    step = {"replace": 3, "fsync": 7}[call]
    while deaths < 40:  # each run gets a little further than the one before
        done = subprocess.run([sys.executable, "-c", code, str(2 + step * deaths), *command(dataset, folder)], cwd=ROOT,
                              env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        deaths += 1
    assert deaths >= 2 and snapshot(folder) == undisturbed


@pytest.mark.slow
def test_killed_while_it_replaces_a_changed_photo(dataset, tmp_path):
    mine = shutil.copytree(dataset, tmp_path / "data")
    for folder in ("f", "g"):
        main(command(mine, tmp_path / folder))
    for number, name in enumerate((photo_id("train", 0, 1), photo_id("train", 3, 1), photo_id("test", 0, 1))):
        draw_photo(np.random.default_rng(50 + number)).save(mine / "images" / f"{name}.jpg")
    main(command(mine, tmp_path / "g"))
    process = start(mine, tmp_path / "f", seconds=0.5)
    wait_for(lambda: any((tmp_path / "f/photos").glob("*-1.h5")), process)
    process.kill()
    process.wait()
    main(command(mine, tmp_path / "f"))
    assert snapshot(tmp_path / "f") == snapshot(tmp_path / "g")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(dataset, undisturbed, tmp_path, number):
    process = start(dataset, tmp_path / "f", seconds=0.3)
    wait_for(lambda: published(tmp_path / "f") >= 1, process)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == INTERRUPTED and "the same command goes on" in said and "Traceback" not in said
    assert not list((tmp_path / "f/.local").glob("lock-*"))
    main(command(dataset, tmp_path / "f"))
    assert snapshot(tmp_path / "f") == undisturbed


@pytest.mark.slow
def test_a_write_that_fails_is_said_and_the_next_run_goes_on(dataset, undisturbed, tmp_path):
    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))  # words and small shards fit, no larger file does
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    process = start(dataset, tmp_path / "f", preexec_fn=limit_files)
    _, said = process.communicate()
    assert process.returncode == 2 and "Traceback" not in said and "give the same command again" in said
    main(command(dataset, tmp_path / "f"))
    assert snapshot(tmp_path / "f") == undisturbed


def test_a_full_disk_is_said_and_the_next_run_goes_on(dataset, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        process = start(dataset, disk / "f")
        _, said = process.communicate()
        assert process.returncode == 2 and "Traceback" not in said and "give the same command again" in said
        assert "No space left" in said
        before = published(disk / "f")
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        main(command(dataset, disk / "f"))
        assert snapshot(disk / "f") == undisturbed and before > 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_gives_the_same_bytes(dataset, undisturbed, tmp_path, world):
    for rank in range(world):  # one after another, as a Slurm array may run them; nobody waits for anybody
        assert not (tmp_path / "f/manifest.json").exists()
        main(command(dataset, tmp_path / "f", "--rank", str(rank), "--world", str(world)))
    assert snapshot(tmp_path / "f") == undisturbed


def test_processes_at_the_same_time_and_one_that_dies(dataset, undisturbed, tmp_path):
    folder = tmp_path / "f"
    processes = [start(dataset, folder, "--rank", str(rank), "--world", "3", seconds=0.3 if rank == 1 else 0.01)
                 for rank in range(3)]
    wait_for(lambda: (folder / ".local/ledger/1.jsonl").exists(), processes[1])
    processes[1].kill()
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, -signal.SIGKILL, 0], said
    assert not (folder / "manifest.json").exists() and "others have shards left" in said[0] + said[2]
    kept = published(folder)
    main(command(dataset, folder))  # one process does what is left
    assert snapshot(folder) == undisturbed and kept >= 6


def test_torchruns_variables_give_rank_and_world(dataset, undisturbed, tmp_path, monkeypatch):
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        main(command(dataset, tmp_path / "f"))
    assert snapshot(tmp_path / "f") == undisturbed
    assert {path.name for path in (tmp_path / "f/.local/ledger").iterdir()} == {"0.jsonl", "1.jsonl"}


def test_a_second_extraction_is_refused_with_who_holds_the_folder(dataset, tmp_path):
    with hold(tmp_path / "f/.local/lock-0", "features folder f (extraction, process 1 of 1)", "world 1"):
        for flags in ((), ("--rank", "1", "--world", "2")):
            with pytest.raises(UserError, match=rf"held by process {os.getpid()} on .*extraction, process 1 of 1"):
                main(command(dataset, tmp_path / "f", *flags))
    assert snapshot(tmp_path / "f") == {}


@pytest.mark.parametrize("is_alive", [True, False])
def test_half_written_files_of_a_living_process_are_left_alone(dataset, tmp_path, is_alive):
    main(command(dataset, tmp_path / "f"))
    folder = tmp_path / "f"
    (folder / "photos/.00004-1.h5.1-aa.part").write_bytes(b"being written")
    (folder / "photos/.00005-1.h5.1-bb.part").write_bytes(b"left behind")
    os.utime(folder / "photos/.00005-1.h5.1-bb.part", (1, 1))
    with hold(folder / f".local/{'lock-1' if is_alive else 'other'}", "f", "world 2"):
        main(command(dataset, folder, "--world", "2", "--rank", "0", "--rehash"))
    assert len(list(folder.glob("photos/.*"))) == is_alive and not (folder / "photos/.00005-1.h5.1-bb.part").exists()


def test_a_process_that_lost_its_lock_publishes_nothing_more(dataset, tmp_path, monkeypatch):
    from extract.pipeline import pipeline as looking
    folder = tmp_path / "f"
    real = looking.append_entry

    def lose(*arguments):
        real(*arguments)
        (folder / ".local/lock-0").write_text('{"token": "somebody else"}')
    monkeypatch.setattr(looking, "append_entry", lose)
    with pytest.raises(UserError, match="taken away"):
        main(command(dataset, folder))
    assert published(folder) == 1 and not (folder / "manifest.json").exists()
