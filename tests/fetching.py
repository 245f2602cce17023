"""What tests of fetching share: a data folder without photos, a server that has them, a run, its report."""
import csv
import io
import json

import numpy as np
import pytest

from data.__main__ import main
from data.fetch import fetch
from tests.misbehaving_server import Server, answer
from tests.photo_dataset import draw_photo, photo_id, write_stories

RANDOM = np.random.default_rng(3)
IDS = [photo_id(split, album, number) for split, albums in (("train", 4), ("val", 1), ("test", 1))
       for album in range(albums) for number in range(6)]


def jpeg(size=(64, 48), kind="JPEG"):
    file = io.BytesIO()
    draw_photo(RANDOM, size).save(file, kind)
    return file.getvalue()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fetch, "BACK_OFF", 0.01)


@pytest.fixture
def root(tmp_path):
    """Stories of six albums, six photos each, none of them there."""
    for split, albums in (("train", 4), ("val", 1), ("test", 1)):
        write_stories(tmp_path / "d", split, albums)
    return tmp_path / "d"


def name_urls(root, urls):
    """Give images their addresses: id -> url_o, or (url_o, url_m)."""
    for path in (root / "annotations").glob("*.json"):
        raw = json.loads(path.read_text())
        for image in raw["images"]:
            given = urls.get(image["id"], ())
            image.update(zip(("url_o", "url_m"), (given,) if isinstance(given, str) else given))
        path.write_text(json.dumps(raw))


def serve(root, server, **special):
    """Every photo at /<id>, as a small JPEG of its own unless a function is given for its id."""
    for name in IDS:
        server.routes[f"/{name}"] = special.get(name) or answer(jpeg())
    name_urls(root, {name: f"{server.url}/{name}" for name in IDS})


def run(root, *flags):
    return main(["fetch", str(root), "--allow-private", "--silence", "0.4", "--patience", "0.8", "--tries", "3",
                 *flags])


def report(root):
    with open(root / "fetch-report.csv", newline="") as file:
        return {row["photo_id"]: (row["result"], row["cause"]) for row in csv.DictReader(file)}
