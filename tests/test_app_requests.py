"""Who and what the page's server refuses, each in a sentence, and how many it serves at a time."""
import errno
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluate.__main__ import main
from evaluate.app import server as app
from tests.app_server import (  # noqa: F401
    BACKBONE,
    ask,
    asked,
    give,
    jpeg,
    make_video,
    open_telling,
    photo_paths,
    runs,
    server,
    serving,
    tellings,
)

ROOT = Path(__file__).resolve().parents[1]


def bomb():
    """A PNG of a few kilobytes that becomes a gigabyte of pixels."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)


@pytest.mark.parametrize("content, said", [
    (b"just a text, no photo", "not an image"), (b"", "not an image"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"),
    (b"<!doctype html><p>no photo</p>", "a web page"), (jpeg(3)[:400], "truncated"), (bomb(), "12000 x 12000 pixels"),
    (b"%PDF-1.7", "not an image"), (jpeg(3)[:30] + b"\xff" * 90, "image")])
def test_what_is_no_photo_is_refused_and_the_next_one_is_looked_at(server, content, said):
    status, answer, _ = ask(server, "/photo", content)
    assert status == 400 and said in answer["error"] and answer["error"].startswith("this is no photo")
    give(server, [jpeg(1)])


def test_a_hundred_megabytes_are_refused_before_they_are_read(server, monkeypatch):
    monkeypatch.setattr(app.Handler, "_read_body", lambda self, length: pytest.fail("it was read"))
    started = time.monotonic()
    status, answer, _ = ask(server, "/photo", bytes(100_000_000))
    assert status == 413 and "found 100 MB" in answer["error"] and time.monotonic() - started < 5
    assert ask(server, "/write", bytes(70_000))[0] == 413


def test_twenty_clients_are_served_one_at_a_time_or_told_to_wait(server, tellings, monkeypatch):
    monkeypatch.setenv("TINY_SECONDS", "0.02")
    at_work, most, lock = 0, 0, threading.Lock()
    look = tellings["next"].add_photo

    def counting(content):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        found = look(content)
        with lock:
            at_work -= 1
        return found
    monkeypatch.setattr(tellings["next"], "add_photo", counting)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: ask(server, "/photo", jpeg(number)), range(20)))
    statuses = [status for status, *_ in answers]
    assert set(statuses) == {200, 503} and statuses.count(200) >= app.MAX_WAITING and most == 1
    assert all(answer.getheader("Retry-After") for status, _, answer in answers if status == 503)
    give(server, [jpeg(77)])


def test_more_connections_than_there_is_room_for_are_turned_away(server):
    idle = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(app.MAX_CONNECTIONS)]
    try:
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as late:
            assert late.recv(100).startswith(b"HTTP/1.0 503")
    finally:
        for connection in idle:
            connection.close()
    deadline = time.monotonic() + 10
    while ask_quietly(server) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask_quietly(server):
    try:
        return ask(server, "/", method="GET")[0]
    except OSError:
        return 0


def test_who_sends_too_slowly_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(app, "BODY_SECONDS", 0.3)
    head = f"POST /photo HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as slow:
        slow.sendall(f"{head}Content-Length: 5000\r\n\r\n".encode())
        for _ in range(5):
            slow.sendall(b"x")
            time.sleep(0.1)
        assert slow.recv(20).startswith(b"HTTP/1.0 408")
    monkeypatch.setattr(app.Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as silent:
        silent.sendall(head.encode())
        assert silent.recv(100) == b"", "no word for whoever never finishes his sentence"
    give(server, [jpeg(5)])


def test_who_breaks_off_is_no_defect(server, caplog):
    head = f"POST /photo HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\nX-Token: {server.token}\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        client.sendall(f"{head}Content-Length: 5000\r\n\r\nx".encode())
        time.sleep(0.1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell
    give(server, [jpeg(number) for number in range(app.MAX_WAITING + 1)])
    assert caplog.text == "", "and its place in the queue is free again"


@pytest.mark.parametrize("path, method, headers, status", [
    ("/", "GET", {"Host": "evil.example"}, 403), ("/", "GET", {"Host": ""}, 403),
    ("/", "GET", {"Origin": "http://evil.example"}, 403), ("/", "GET", {"Origin": "null"}, 403),
    ("/photo", "POST", {"Host": "evil.example:80"}, 403), ("/photo", "POST", {"Origin": "http://evil.example"}, 403),
    ("/photo", "POST", {"X_Token": ""}, 403), ("/photo", "POST", {"X_Token": "guess"}, 403),
    ("/photo", "POST", {"X_Token": "gu\xe9ss"}, 403),
    ("/../setup.cfg", "GET", {}, 404), ("/photo", "GET", {}, 404), ("/nothing", "POST", {}, 404),
    ("/photo", "POST", {"Content_Length": ""}, 411), ("/photo", "POST", {"Content_Length": "-1"}, 411),
    ("/photo", "POST", {"Transfer_Encoding": "chunked"}, 411), ("/photo", "POST", {"Content_Length": "9" * 30}, 413),
    ("/photo", "POST", {"Content_Length": "0" * 20 + "9" * 9}, 413),
    ("/photo", "PUT", {}, 501)])
def test_who_does_not_mean_this_page_is_refused(server, path, method, headers, status):
    found, answer, raw = ask(server, path, jpeg(1), method, **headers)
    assert found == status
    assert status == 501 or answer["error"]
    assert "Access-Control-Allow-Origin" not in raw.headers and "Set-Cookie" not in raw.headers


@pytest.mark.parametrize("body", [
    b"", b"no json", b"[]", b"[" * 60_000, b"\xff\xfe", {"photos": "abc"}, asked(["x"] * 41, [], 0),
    asked([1], [], 1), asked(["x"], [], True), asked(["x"], [], 1.5), asked(["own-x"], ["a"], 1),
    b'{"photos": ["\\ud800"], "sentences": [], "place": 1, "method": "greedy", "seed": 1, "off": []}'])
def test_what_is_no_question_is_refused(server, body):
    status, answer, _ = ask(server, "/write", body)
    assert status == 400 and answer["error"].startswith("expected")


@pytest.mark.parametrize("changed, said", [
    ({"place": 0}, "from 2 to 2"), ({"place": 3}, "from 2 to 2"), ({"place": -1}, "from 2 to 2"),
    ({"place": 10 ** 30}, "from 2 to 2"), ({"sentences": []}, "0 sentences"), ({"method": "magic"}, "greedy, nucleus")])
def test_a_place_that_cannot_be_written_is_named(server, changed, said):
    status, answer, _ = ask(server, "/write", {**asked(give(server, [jpeg(1)]), ["a"], 1), **changed})
    assert status == 400 and said in answer["error"]


def test_a_defect_is_said_to_be_one_and_the_server_stays(server, tellings, monkeypatch, caplog):
    monkeypatch.setattr(tellings["next"], "add_photo", lambda content: 1 // 0)
    status, answer, _ = ask(server, "/photo", jpeg(1))
    assert status == 500 and "defect" in answer["error"] and "division" not in answer["error"]
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    give(server, [jpeg(1)])


def test_a_photo_that_cannot_be_kept_is_told(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    flags = ["app", "--run", str(runs / "next"), "--backbone", BACKBONE, "--port", "0", "--keep"]
    assert main([*flags, str(tmp_path / "file")]) == 2 and "is no folder" in capsys.readouterr().err

    def fail(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("evaluate.app.telling.replace_file", fail)
    with serving(open_telling(runs / "next", tmp_path)) as server:
        status, answer, _ = ask(server, "/photo", jpeg(1))
    assert status == 507 and "No space left" in answer["error"]


def test_the_page_reaches_nothing_but_its_server_and_says_what_the_run_cannot_do(server):
    status, page, answer = ask(server, "/", method="GET")
    text, policy = page.decode(), answer.getheader("Content-Security-Policy")
    assert status == 200 and server.token not in text
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and answer.getheader("Cache-Control") == "no-store"
    assert "continues stories" in text and "about 24 photos" in text and "never trained" not in text


def test_the_command_says_where_the_page_is_and_ends_on_ctrl_c(runs):
    command = [sys.executable, "-m", "evaluate", "app", "--run", str(runs / "next"), "--backbone", BACKBONE, "--port"]
    process = subprocess.Popen([*command, "0"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a job may ignore it
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    assert url.startswith("http://127.0.0.1:") and len(url.partition("#")[2]) >= 20
    port = url.split(":")[2].partition("/")[0]
    taken = subprocess.run([*command, port], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert taken.returncode == 2 and f"expected a free port {port}" in taken.stderr and taken.stderr.count("\n") == 1
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and out.endswith("ended\n") and "Traceback" not in err


@pytest.mark.parametrize("flags, said", [
    ([], "add --backbone"), (["--backbone", BACKBONE, "--weights", "nowhere.pth"], "nowhere.pth"),
    (["--backbone", BACKBONE, "--features", "nowhere"], "nowhere"), (["--port", "70000"], "--port")])
def test_what_cannot_be_opened_is_said_before_anything_is_served(runs, flags, said, capsys):
    assert main(["app", "--run", str(runs / "next"), "--port", "0", *flags]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and "http" not in printed.out
