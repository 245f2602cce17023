"""The page's server: what it writes is what the command writes, and whatever else comes is refused in a sentence."""
import errno
import io
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from data.__main__ import main as data_main
from data.annotations.stories import read_dataset
from data.errors import UserError
from evaluate.__main__ import main
from evaluate.app import server as app
from evaluate.app.telling import MAX_KEPT
from evaluate.app.uploads import read_key_frames
from evaluate.config import StoryConfig
from evaluate.own_story.story import tell_story
from tests.app_server import BACKBONE, ask, make_runs, open_telling, serving

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def tellings(runs):
    return {task: open_telling(runs / task) for task in ("next", "tell")}


@pytest.fixture(scope="module")
def server(tellings):
    with serving(tellings["next"]) as opened:
        yield opened


def photo_paths(runs, count=5):
    return sorted((runs / "data/images").glob("te*.jpg"))[:count]


def jpeg(number, size=(60, 45)):
    """A photo unlike any other."""
    file = io.BytesIO()
    Image.new("RGB", size, (number * 5 % 256, number % 7 * 30, 90)).save(file, "JPEG")
    return file.getvalue()


def give(server, contents):
    answers = [ask(server, "/photo", content) for content in contents]
    assert [status for status, *_ in answers] == [200] * len(contents)
    return [answer["id"] for _, answer, _ in answers]


def asked(ids, sentences, place, **changed):
    return {"photos": ids, "sentences": sentences, "place": place, "method": "greedy", "seed": 1, "off": [], **changed}


def test_it_goes_on_as_the_command_does(runs, server):
    paths = photo_paths(runs, 4)
    captions = ("the dog ran", "we saw a big tree", "everyone was happy then", "they went home")
    told = tell_story(StoryConfig(photos=tuple(paths), run=runs / "next", backbone=BACKBONE, captions=captions, top=3))
    ids = give(server, [path.read_bytes() for path in paths])
    status, answer, _ = ask(server, "/write", asked(ids, [*captions, ""], 4))
    assert status == 200 and answer["sentence"] == told.sentences[0]
    assert answer["tags"] == [list(tag) for tag in told.tags_next]
    assert len(answer["next"]) == 3 and all(photo["picture"] and photo["caption"] for photo in answer["next"])
    assert {photo["id"][:2] for photo in answer["next"]} == {"tr"}, "photos beside come from train"


def test_a_place_reads_what_stands_before_it_and_nothing_behind(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs)])
    first = ask(server, "/write", asked(ids, ["the dog ran", "", "", "", ""], 2))[1]
    assert ask(server, "/write", asked([*ids[:2], ids[4]], ["the dog ran", ""], 2))[1] == first
    written = {ask(server, "/write", asked(ids, [text, text], 2))[1]["sentence"]
               for text in ("", "the dog ran to the park", "we saw a big tree", "they went home", "a cat on the table")}
    assert len(written) > 1


def test_words_it_does_not_know_are_told_of_the_sentence_they_stand_in(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 2)])
    answer = ask(server, "/write", asked(ids, ["The dog skateboards!", "we saw Zanzibar"], 2))[1]
    assert answer["unknown"] == [["skateboards"], ["zanzibar"]]


def test_a_run_that_tells_writes_as_the_command_does_and_reads_what_was_put_in(runs, tellings):
    paths = photo_paths(runs)
    told = tell_story(StoryConfig(photos=tuple(paths), run=runs / "tell", backbone=BACKBONE))
    with serving(tellings["tell"]) as server:
        ids, sentences = give(server, [path.read_bytes() for path in paths]), []
        for place in range(5):
            answer = ask(server, "/write", asked(ids, sentences, place))[1]
            assert answer["next"] == []
            sentences.append(answer["sentence"])
        assert sentences == told.sentences
        assert ask(server, "/write", asked(ids, sentences, 5))[0] == 400
        others = [ask(server, "/write", asked(ids, [text, text], 2))[1]["sentence"]
                  for text in ("the dog ran to the park", "we saw a big tree", "they went home", "a cat on the table")]
        assert {*others} != {sentences[2]}, "what somebody else wrote is read"


def test_a_tag_that_is_switched_off_changes_what_is_written_and_only_then(runs, server, tellings):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 1)])
    before = tellings["next"].teller.run.model.counted_tags.clone()

    def written(off):
        questions = [asked(ids, ["the dog ran"], 1, method="nucleus", seed=seed, off=off) for seed in range(12)]
        return [ask(server, "/write", question)[1]["sentence"] for question in questions]
    usual = written([])
    assert len(set(usual)) > 1, "every seed another way"
    assert written(tellings["next"].teller.tag_names) != usual == written([])
    assert (tellings["next"].teller.run.model.counted_tags == before).all()


def test_a_saved_story_is_read_by_the_pipe(runs, tmp_path, capsys):
    with serving(open_telling(runs / "next", tmp_path / "mine/images")) as server:
        ids = give(server, [path.read_bytes() for path in photo_paths(runs)])
        sentences = ["The dog ran.", "we  saw\na tree", "“Ha!”", "they went home", "the end"]
        status, content, _ = ask(server, "/vist", {"photos": ids, "sentences": sentences})
        assert status == 200
        refused, answer, _ = ask(server, "/vist", {"photos": ids[:4], "sentences": sentences})
        assert refused == 400 and "found 4 photos and 4 sentences" in answer["error"]
    path = tmp_path / "mine/annotations/test.story-in-sequence.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (story,) = read_dataset(tmp_path / "mine").stories["test"]
    assert list(story.photo_ids) == ids
    assert story.captions == ("The dog ran.", "we saw a tree", "“Ha!”", "they went home", "the end")
    assert data_main(["check", str(tmp_path / "mine")]) == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("test"))
    assert row[1:5] == ["1", "1", "5", "0"], "one story, one album, five photos, none missing"


def test_a_saved_page_shows_what_was_written_and_runs_nothing(runs, server):
    ids = give(server, [path.read_bytes() for path in photo_paths(runs, 2)])
    text = "</figcaption><script>alert(1)</script> {{7*7}} & more"
    status, content, _ = ask(server, "/page", {"photos": ids, "sentences": [text, "two", "what comes next"]})
    page = content.decode()
    assert status == 200 and page.count("<img ") == 2 and page.count("<li>") == 3
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "{{7*7}}" in page
    assert "default-src &#39;none&#39;" in page


def test_nothing_of_a_photo_is_kept_but_a_small_picture_without_metadata(server, tellings):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", (3000, 2000), "teal").save(file, "JPEG", exif=exif)
    assert b"taken at home" in file.getvalue()
    (photo_id,) = give(server, [file.getvalue()])
    kept = tellings["next"].take(photo_id)
    assert max(Image.open(io.BytesIO(kept.picture)).size) <= 480 and b"taken at home" not in kept.picture
    assert set(vars(kept)) == {"feature", "picture", "content"} and len(kept.content) == 32


def test_a_photo_unlike_all_that_was_learned_is_called_so(runs, server):
    assert ask(server, "/photo", sorted((runs / "data/images").glob("tr*.jpg"))[0].read_bytes())[1]["unlike"] is None
    stripes = Image.new("RGB", (32, 32), "white")
    stripes.paste("black", (0, 0, 32, 16))
    file = io.BytesIO()
    stripes.save(file, "PNG")
    distance, usual = ask(server, "/photo", file.getvalue())[1]["unlike"]
    assert distance > usual > 0


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


def test_of_fifty_photos_the_oldest_are_let_go(server, tellings):
    ids = give(server, [jpeg(number) for number in range(50)])
    assert len(tellings["next"]._photos) == MAX_KEPT < 50
    status, answer, _ = ask(server, "/write", asked([ids[0]], ["a"], 1))
    assert status == 400 and "not kept any more" in answer["error"]
    assert ask(server, "/write", asked([ids[-1]], ["a"], 1))[0] == 200
    status, answer, _ = ask(server, "/write", asked(ids[-6:], ["a"], 1))
    assert status == 400 and "at most 5 photos" in answer["error"]


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


def test_random_weights_are_called_so(tellings, monkeypatch):
    telling = tellings["tell"]
    backbone = replace(telling.teller.backbone, weights="random")
    monkeypatch.setattr(telling, "teller", replace(telling.teller, backbone=backbone))
    with serving(telling) as server:
        page = ask(server, "/", method="GET")[1].decode()
    assert "tells stories" in page and "was never trained" in page


def make_video(frames=24, container="mp4", size=(64, 48)):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as video:
        stream = video.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.gop_size = *size, 3
        for number in range(frames):
            picture = Image.new("RGB", size, (number * 10, 255 - number * 10, 60))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_key_frames_are_spread_over_a_video(container):
    frames = read_key_frames(make_video(24, container), 5)
    reds = [Image.open(io.BytesIO(frame)).getpixel((30, 20))[0] for frame in frames]
    assert len(reds) == 5 and reds == sorted(reds) and reds[0] < 60 and reds[-1] > 160
    assert len(read_key_frames(make_video(1, container), 5)) == 1, "no more than there are"


def test_a_video_is_as_good_as_its_key_frames(server):
    status, answer, _ = ask(server, "/video", make_video())
    assert status == 200 and len(answer["photos"]) == 5
    assert ask(server, "/write", asked([photo["id"] for photo in answer["photos"]], ["a", "b"], 2))[0] == 200


@pytest.mark.parametrize("content, said", [
    (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "found something else"),
    (b"ffconcat version 1.0\nfile x", "something else"), (b"", "something else"),
    (b"\0\0\0\x18ftypmp42" + b"\0" * 50, "broken")])
def test_what_is_no_video_is_refused(server, content, said):
    pytest.importorskip("av")
    status, answer, _ = ask(server, "/video", content)
    assert status == 400 and said in answer["error"]


def test_a_cut_video_gives_what_is_whole_or_is_refused(server):
    for container in ("mp4", "matroska", "avi"):
        whole = make_video(24, container)
        for share in (0.3, 0.6, 0.9):
            assert ask(server, "/video", whole[:int(len(whole) * share)])[0] in (200, 400)


def test_without_pyav_videos_are_refused_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install -c constraints.txt '.\[video\]'"):
        read_key_frames(b"\0\0\0\x18ftypmp42", 5)


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


def test_a_folder_without_train_or_val_still_tells(runs, tmp_path):
    words = open_telling(runs / "next")
    words._train, words._rows, words._usual = None, words._rows[:0], None
    photo = words.add_photo(jpeg(1))
    assert photo["near"] == [] and photo["unlike"] is None and words.facts()["samples"] == []
    assert words.write([photo["id"]], ["a"], 1, "greedy", 1, [])["next"] == []
    json.dumps(words.facts())
