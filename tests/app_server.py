"""The page's server for tests: on a tiny run whose features have thumbnails, in a thread, asked over real HTTP."""
import http.client
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from data.files import write_json
from data.folder.folder import Features
from evaluate.app.server import AppServer
from evaluate.app.telling import Telling
from evaluate.own_story.story import Storyteller
from extract.command import main as extract_photos
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run

BACKBONE = "tests.tiny_backbone:factory"


def make_runs(root: Path) -> Path:
    """Write data, features and an untrained run of each task, `next` and `tell`, below a folder."""
    torch.set_num_threads(1)
    write_dataset(root / "data")
    extract_photos(["--data", str(root / "data"), "--out", str(root / "features"), "--backbone", BACKBONE, "--weights",
                    "random", "--batch-size", "4", "--precision", "float32", "--caption-length", "12", "--thumbnails",
                    "64"])
    words = Features.open(root / "features").words()
    for task in ("next", "tell"):
        run = write_run(root / task, root / "features", task=task)
        write_json(run / "vocabulary.json", {"words": words.vocabulary, "tags": words.tag_names})
    return root


def open_telling(run: Path, keep: Path | None = None) -> Telling:
    return Telling(Storyteller.open(run, None, BACKBONE, None, "cpu"), keep)


@contextmanager
def serving(telling: Telling) -> Iterator[AppServer]:
    with AppServer(0) as server:
        server.open_for(telling)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def ask(server: AppServer, path: str, body: Any = b"", method: str = "POST", **headers: str
        ) -> tuple[int, Any, http.client.HTTPResponse]:
    """Ask as the page does; a header given as X_Token is X-Token, one given as "" is left out."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    sent = {"X-Token": server.token, "Host": f"127.0.0.1:{server.server_port}", "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.putrequest(method, path, skip_host=True)
    for name, value in sent.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    try:
        connection.send(body)
    except OSError:
        pass  # refused before it was read; the answer is there
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.getheader("Content-Type") == "application/json"
    return answer.status, json.loads(content) if is_json else content, answer


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
