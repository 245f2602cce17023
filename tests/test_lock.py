"""Who may write into a folder, and who is gone."""
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data import lock
from data.errors import UserError


def test_a_second_holder_is_refused_with_who_holds_it(tmp_path):
    path = tmp_path / "run" / ".lock"
    with lock.hold(path, "run a (training)"):
        with pytest.raises(UserError, match=rf"process {os.getpid()} on .* since 2.*run a \(training\)"):
            with lock.hold(path, "run a (training)"):
                pass
        assert path.exists()
    assert os.listdir(path.parent) == []
    with lock.hold(path, "run a (training)"):
        pass


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    code = ("import os, sys\nfrom pathlib import Path\nfrom data.lock import hold\n"
            "with hold(Path(sys.argv[1]), 'x'):\n    os.kill(os.getpid(), 9)")
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")])
    assert result.returncode == -9 and (tmp_path / "lock").exists()
    with lock.hold(tmp_path / "lock", "x"):
        pass


def test_a_dead_process_that_nobody_asked_about_holds_nothing(tmp_path):
    code = ("import os, sys\nfrom pathlib import Path\nfrom data.lock import hold\n"
            "with hold(Path(sys.argv[1]), 'x'):\n    print('held', flush=True)\n    os.kill(os.getpid(), 9)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and left as it is
    try:
        assert process.stdout.read() == "held\n" and (tmp_path / "lock").exists()
        with lock.hold(tmp_path / "lock", "x"):
            pass
    finally:
        process.communicate()


ROOT = Path(__file__).parents[1]
CONTENDER = """
import fcntl, os, random, sys, time
from pathlib import Path
from data import lock
path, log, until = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND), time.time() + float(sys.argv[3])
slowed = random.Random(os.getpid())
def slow(module, name):
    real = getattr(module, name)
    def call(*arguments, **settings):
        time.sleep(slowed.random() / 1000)
        result = real(*arguments, **settings)
        time.sleep(slowed.random() / 1000)
        return result
    setattr(module, name, call)
for module, name in ((os, "open"), (os, "unlink"), (os, "link"), (os, "close"), (fcntl, "flock")):
    slow(module, name)
lock.PATIENCE_SECONDS = 0.0
say = lambda word: os.write(log, f"{word} {os.getpid()}\\n".encode())
while time.time() < until:
    try:
        with lock.hold(path, "x"):
            say("in")
            time.sleep(slowed.random() / 500)
            if slowed.random() < 0.02:
                say("killed")
                os.kill(os.getpid(), 9)
            say("out")
    except lock.HeldError:
        pass
"""


def contend(tmp_path: Path, seconds: float) -> int:
    """Let twelve processes contend for one lock, now and then one is killed; say how often one of them was inside."""
    log = tmp_path / "log"
    log.touch()
    start = [sys.executable, "-c", CONTENDER, str(tmp_path / "lock"), str(log), str(seconds)]
    processes = [subprocess.Popen(start, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(12)]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
    inside = None
    rounds = [line.split() for line in log.read_text().splitlines()]
    for word, pid in rounds:
        assert inside == (None if word == "in" else pid), f"{word} {pid} while {inside} was inside"
        inside = pid if word == "in" else None
    return sum(word == "in" for word, _ in rounds)


def test_never_two_inside(tmp_path):
    assert contend(tmp_path, seconds=3) >= 20


@pytest.mark.slow
def test_never_two_inside_in_many_rounds(tmp_path):
    rounds, number = 0, 0
    while rounds < 200:
        (tmp_path / str(number)).mkdir()
        rounds += contend(tmp_path / str(number), seconds=5)
        number += 1


@pytest.mark.parametrize("content", ["", "{}", "[]", "{\"token\": ", "{\"boot\": 7, \"pid\": \"x\"}"])
def test_what_the_file_says_does_not_make_its_holder_dead(tmp_path, content):
    path = tmp_path / "lock"
    with lock.hold(path, "x"):
        path.write_text(content)
        with pytest.raises(lock.HeldError, match="held by process"):
            with lock.hold(path, "x"):
                pass
        with pytest.raises(lock.HeldError):
            lock.refuse_strangers([path], "x", "mine")
        assert not lock.is_gone(path)


def test_whoever_lost_the_lock_is_told_and_takes_nobody_elses_away(tmp_path):
    path = tmp_path / "lock"
    with lock.hold(path, "run a") as still_held:
        still_held()
        path.unlink()
        with pytest.raises(UserError, match=f"expected to hold run a, found its lock {path} taken away"):
            still_held()
        with lock.hold(path, "b") as second:
            with pytest.raises(UserError, match="taken away"):
                still_held()
            second()
            kept = path.read_bytes()
        path.write_bytes(kept)
    assert path.read_bytes() == kept


def test_something_else_in_the_locks_place_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(UserError, match=f"expected a lock file at .*{name}, found something else"):
            with lock.hold(tmp_path / name, "x"):
                pass
    assert (tmp_path / "precious").read_text() == "years of work"


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, 524])
def mount_without_locks(request, monkeypatch):
    def refuse(*arguments):
        raise OSError(request.param, os.strerror(request.param))
    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.usefixtures("mount_without_locks")
def test_a_mount_without_locks(tmp_path):
    path = tmp_path / "lock"
    with lock.hold(path, "x") as still_held:
        still_held()
        assert not lock.is_gone(path)
        with pytest.raises(lock.HeldError, match=rf"process {os.getpid()} on .*\(x\).*lock.lease; .*delete both"):
            with lock.hold(path, "x"):
                pass
    assert os.listdir(tmp_path) == [] and lock.is_gone(path)


@pytest.mark.usefixtures("mount_without_locks")
def test_a_killed_process_leaves_no_lock_behind_on_a_mount_without_locks(tmp_path):
    code = ("import errno, fcntl, os, sys\nfrom pathlib import Path\nfrom data.lock import hold\n"
            "def refuse(*arguments):\n    raise OSError(errno.ENOLCK, 'no locks')\nfcntl.flock = refuse\n"
            "with hold(Path(sys.argv[1]), 'x'):\n    os.kill(os.getpid(), 9)")
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], cwd=ROOT)
    assert result.returncode == -9 and (tmp_path / ".lock.lease").exists()
    for _ in range(2):
        with lock.hold(tmp_path / "lock", "x"):
            pass
