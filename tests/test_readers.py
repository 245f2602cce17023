"""Readers: processes give what threads give, end when they must, and are chosen by what the machine can do."""
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.cores import count_cores
from data.errors import UserError
from data.pictures.pictures import Resize
from extract.command import main
from extract.pipeline.reader import Reader, Task
from extract.pipeline.reader_processes import CHUNK, ProcessReader, choose_readers
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import write_dataset

SQUASH = Resize("squash", 32, 36)


@pytest.fixture
def tasks(tmp_path):
    """Photos of an album, one of them missing, one broken, one of a content that is known."""
    images = sorted((write_dataset(tmp_path / "data") / "images").iterdir())
    images[1].write_bytes(b"no photo")
    return [Task(row // 9, row % 9, None if row == 2 else images[row], row == 3, f"album {row % 4}")
            for row in range(len(images))]


def collect(reader, tasks):
    """All that a reader gives, pictures copied as they come."""
    return [(photo.shard, photo.row, photo.status, photo.content, photo.thumbnail, photo.cause, photo.bytes_read,
             None if photo.picture is None else photo.picture.tobytes(), [view.tobytes() for view in photo.views])
            for photo in reader.read(tasks)]


@pytest.mark.parametrize("views", [0, 2])
def test_processes_give_what_threads_give(tasks, views):
    known = {Reader(SQUASH, 0, 1, 1, {}).read_one(tasks[place]).content: (0, 0) for place in (3, 4)}
    threads, processes = (kind(SQUASH, 16, 2, 4, known, views) for kind in (Reader, ProcessReader))
    expected = collect(threads, tasks)
    assert len(tasks) > 4 * CHUNK  # so that the ring is gone round
    assert collect(processes, tasks) == expected
    assert processes.bytes_read == threads.bytes_read and processes.busy_seconds > 0
    assert [row[7] is None for row in expected[:6]] == [False, True, True, True, True, False]


def test_a_folder_is_the_same_whoever_reads(tmp_path):
    dataset = write_dataset(tmp_path / "data", {"train": 2, "val": 1, "test": 1})
    shutil.copy(dataset / "images/tr0000.jpg", dataset / "images/va0001.jpg")
    for name, flags in (("f", ()), ("g", ("--readers", "1", "--reader-kind", "processes"))):
        main(["--data", str(dataset), "--out", str(tmp_path / name), "--backbone", "tests.tiny_backbone:factory",
              "--weights", "random", "--thumbnails", "24", *flags])
    assert snapshot(tmp_path / "f") == snapshot(tmp_path / "g")


def test_a_reader_that_is_ended_is_told_in_a_sentence(tasks):
    reading = ProcessReader(SQUASH, 0, 1, 8, {}).read(tasks)
    next(reading)
    child, = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGSTOP)  # until it is ended it gives nothing more
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="expected 1 reading processes to last.*fewer --readers"):
        list(reading)


def test_readers_end_with_a_parent_that_is_killed(tasks):
    code = ("import multiprocessing, sys, time\nfrom pathlib import Path\n"
            "from tests.test_readers import SQUASH, ProcessReader, Task\n"
            "if __name__ == '__main__':\n"
            "    tasks = [Task(0, row, Path(sys.argv[1]), False) for row in range(99)]\n"
            "    reading = ProcessReader(SQUASH, 0, 1, 8, {}).read(tasks)\n"
            "    next(reading)\n    print(multiprocessing.active_children()[0].pid, flush=True)\n    time.sleep(99)\n")
    script = tasks[0].path.parent / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script), str(tasks[0].path)], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not is_running(pid):
            return
        time.sleep(0.1)
    pytest.fail("the reader outlived its parent by ten seconds")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("cores, on_device, looked_at, read_seconds, asked, expected", [
    (2, False, 40, 0.02, None, ("threads", 2)),       # a processor looks: all cores, and threads that wait for it
    (16, False, 300, 0.02, None, ("threads", 16)),
    (16, True, 100, 0.008, None, ("threads", 1)),     # a slow device is fed by one thread
    (16, True, 1000, 0.008, None, ("processes", 10)),
    (16, True, 10_000, 0.008, None, ("processes", 15)),
    (2, True, 10_000, 0.008, None, ("threads", 1)),
    (16, True, 10_000, 0.008, 30, ("processes", 30))])
def test_readers_are_chosen_by_cores_photos_and_device(cores, on_device, looked_at, read_seconds, asked, expected):
    choice = choose_readers(cores, on_device, looked_at, read_seconds, asked)
    assert (choice.kind, choice.workers) == expected
    assert bool(choice.warning) == (on_device and looked_at == 10_000)
    if choice.warning:
        assert "looks at 10000 and will wait: 100 readers would" in choice.warning
    assert choose_readers(cores, on_device, looked_at, read_seconds, asked, "processes").kind == "processes"


def test_cores_are_shared_among_the_processes_of_a_machine(monkeypatch):
    from extract.backbones.mapper import count_own_cores
    monkeypatch.setattr("extract.backbones.mapper.count_cores", lambda: 16)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert count_own_cores() == 2


def test_cores_are_counted_where_a_process_may_be_bound_to_some_and_where_not(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    assert count_cores() == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    for told, counted in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda told=told: told)
        assert count_cores() == counted


def test_a_fast_device_is_timed_long_enough():
    from extract.backbones.mapper import TIMED_SECONDS, time_model

    class Device:
        threads, batch_size, slept = 1, 10, 0.0

        def make_buffer(self):
            return np.zeros(1)

        def submit(self, buffer):
            return self

        def result(self):
            time.sleep(0.001)
            self.slept += 0.001
    device = Device()
    assert 1000 < time_model(device) <= 10_000 and device.slept > TIMED_SECONDS / 4
