"""Who may write into a folder, and who is gone."""
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from data import lock
from data.errors import UserError


def test_a_second_holder_is_refused_with_who_holds_it(tmp_path):
    path = tmp_path / "run" / ".lock"
    with lock.hold(path, "run a (training)"):
        with pytest.raises(UserError, match=rf"process {os.getpid()} on .*run a \(training\)"):
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


@pytest.mark.parametrize("pid, started", [(os.getpid(), "1"), (1 << 40, ""), (-1, ""), (0, "")])
def test_a_process_id_that_somebody_else_has_by_now_or_nobody_can_have(tmp_path, pid, started):
    holder = {"token": "t", "host": socket.gethostname(), "pid": pid, "started": started,
              "namespace": lock._namespace()}
    (tmp_path / "lock").write_text(json.dumps(holder))
    os.utime(tmp_path / "lock", (1, 1))
    with lock.hold(tmp_path / "lock", "x"):
        pass


@pytest.mark.parametrize("age, is_free", [(lock.STALE_SECONDS / 3, False), (lock.STALE_SECONDS * 2, True)])
def test_a_holder_elsewhere_is_gone_when_its_heartbeat_stopped(tmp_path, age, is_free):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"token": "t", "host": "far", "pid": os.getpid(), "started": "1", "namespace": "n"}))
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))
    if is_free:
        with lock.hold(path, "x"):
            pass
    else:
        with pytest.raises(UserError, match="on far"):
            with lock.hold(path, "x"):
                pass


def test_the_heartbeat_renews_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "lock"
    with lock.hold(path, "x"):
        os.utime(path, (1, 1))
        for _ in range(100):
            threading.Event().wait(0.02)
            if path.stat().st_mtime > 1:
                break
        assert path.stat().st_mtime > 1


def test_of_many_who_find_a_dead_lock_one_alone_gets_it(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"token": "dead", "host": "far"}))
    os.utime(path, (1, 1))
    inside, refused, most = [], [], []
    ready, leave = threading.Barrier(8), threading.Event()

    def take() -> None:
        ready.wait()
        try:
            with lock.hold(path, "x"):
                inside.append(1)
                most.append(len(inside))
                leave.wait(5)
        except UserError:
            refused.append(1)
        if len(refused) == 7:
            leave.set()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 7)


def test_a_lock_that_changed_hands_since_it_was_read_stays(tmp_path):
    path, mine = tmp_path / "lock", tmp_path / "mine"
    mine.write_text("{}")
    path.write_text(json.dumps({"token": "living"}))
    lock._remove(path, {"token": "dead"}, mine)
    assert json.loads(path.read_text()) == {"token": "living"}
    lock._remove(path, {"token": "living"}, mine)
    assert not path.exists() and [file.name for file in tmp_path.iterdir()] == ["mine"]
