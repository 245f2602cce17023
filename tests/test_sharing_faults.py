"""What a server does wrong, and what a stranger may put into a folder: nothing of it ends in a wrong or half folder."""
import io
import json
import os
import tarfile
import time

import pytest

from data.errors import UserError
from data.folder.folder import Features
from data.folder.part import read_lacks
from extract.sharing.contents import Choice
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.sharing.transport import read_retry_after
from tests.extraction import snapshot
from tests.share_servers import serve_folder
from tests.test_hostile_folder import seal

ALL = Choice()
SHARD = "photos/00000.h5"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("extract.sharing.download.BACKOFF_SECONDS", 0)


@pytest.fixture
def large(make_features):
    """Shards of 2 MB: a broken connection takes along what was not read yet."""
    return make_features(width=25_000, shard_rows=40)


def always(**fault):
    return lambda path, number: {name.replace("_", " "): value for name, value in fault.items()}


def test_a_connection_that_breaks_is_taken_up_where_it_broke(large, tmp_path):
    with serve_folder(large) as server:
        server.fault = lambda path, number: {"break after": 1_000_000} if path == SHARD else None
        pull_folder(server.url, tmp_path / "g", ALL)
    size = (large / SHARD).stat().st_size
    asked = [wanted for path, wanted in server.log if path == SHARD]
    first = int(asked[1].removeprefix("bytes=").partition("-")[0])
    assert asked[0] is None and 0 < first <= 1_000_000 and asked[1].endswith(f"-{size - 1}") and len(asked) < 5
    assert snapshot(tmp_path / "g") == snapshot(large)


def test_a_pull_that_was_given_up_goes_on_in_the_next(large, tmp_path):
    with serve_folder(large) as server:
        server.fault = lambda path, number: {"break after": 1_000_000} if path == SHARD and number < 1 else (
            {"answer": 503} if path == SHARD else None)
        with pytest.raises(UserError, match=rf"{SHARD} from http.*found the answer 503 \(6 times in a row\).*goes on"):
            pull_folder(server.url, tmp_path / "g", ALL)
        with pytest.raises(UserError, match="found one whose pull has not ended; give the command"):
            Features.open(tmp_path / "g")
        assert not (tmp_path / "g" / SHARD).exists()
        server.fault = lambda path, number: None
        server.log.clear()
        pull_folder(server.url, tmp_path / "g", ALL)
    asked = dict(server.log)
    assert int(asked[SHARD][6:].partition("-")[0]) > 0 and "words/default/train-00000.h5" not in asked
    assert snapshot(tmp_path / "g") == snapshot(large)


@pytest.mark.parametrize("answer", [429, 503])
def test_a_server_that_is_busy_is_asked_again_when_it_says(make_features, tmp_path, answer):
    with serve_folder(make_features()) as server:
        server.fault = lambda path, number: {"answer": answer, "headers": {"Retry-After": 1}} if (
            path == SHARD and number == 0) else None
        started = time.monotonic()
        pull_folder(server.url, tmp_path / "g", ALL)
    assert time.monotonic() - started > 1 and len([path for path, _ in server.log if path == SHARD]) == 2


def test_a_server_that_asks_for_hours_is_not_waited_for(make_features, tmp_path):
    with serve_folder(make_features()) as server:
        server.fault = always(answer=429, headers={"Retry-After": 7200})
        with pytest.raises(UserError, match="found the answer 429"):
            pull_folder(server.url, tmp_path / "g", ALL)


def test_wrong_bytes_are_never_published(make_features, tmp_path):
    whole = make_features()
    with serve_folder(whole) as server:
        server.fault = lambda path, number: {"wrong": True} if path == SHARD else None
        with pytest.raises(UserError, match=f"{SHARD} from .*found other bytes: sha256 .*, where the manifest says"):
            pull_folder(server.url, tmp_path / "g", ALL)
        assert not (tmp_path / "g" / SHARD).exists() and not (tmp_path / "g/manifest.json").exists()
        server.fault = lambda path, number: {"wrong": True} if path == SHARD and number % 2 else None
        pull_folder(server.url, tmp_path / "g", ALL)
    assert snapshot(tmp_path / "g") == snapshot(whole)


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_server_that_ignores_ranges(large, tmp_path, kind):
    pack_folder(large, tmp_path / "web/f.tar", ALL)
    with serve_folder(large if kind == "folder" else tmp_path / "web") as server:
        server.fault = lambda path, number: {"ignores ranges": True} | (
            {"break after": 400_000} if path == SHARD and not number else {})
        pull_folder(f"{server.url}/{'f.tar' * (kind == 'tar')}", tmp_path / "g", ALL)
    assert snapshot(tmp_path / "g") == snapshot(large)


def test_of_a_tar_far_away_only_what_is_wanted_is_read(large, tmp_path):
    tar = pack_folder(large, tmp_path / "web/f.tar", ALL)
    with serve_folder(tmp_path / "web") as server:
        server.fault = lambda path, number: {"break after": 200_000} if number % 3 == 1 else None
        pull_folder(f"{server.url}/f.tar", tmp_path / "g", Choice(splits=("val",)))
    wanted = sum(int(stop) + 1 - int(start) for start, stop in (
        asked.removeprefix("bytes=").split("-") for _, asked in server.log if asked))
    assert wanted < 0.6 * tar.stat().st_size and read_lacks(tmp_path / "g")


@pytest.mark.parametrize("answer", [401, 403])
def test_what_is_not_allowed_is_said_at_once(make_features, tmp_path, answer):
    with serve_folder(make_features()) as server:
        server.fault = always(answer=answer)
        with pytest.raises(UserError, match=f"allowed to read, found the answer {answer}"):
            pull_folder(server.url, tmp_path / "g", ALL)
    assert len(server.log) == 1


@pytest.mark.parametrize("names", [("../../outside.h5",), ("/etc/outside.h5",), ("photos/../../outside.h5",)])
def test_names_of_a_stranger_are_no_paths(make_features, tmp_path, names):
    whole = make_features()
    raw = json.loads((whole / "manifest.json").read_text())
    for field in ("shards", "words"):
        manifest = json.loads(json.dumps(raw))
        if field == "shards":
            manifest["shards"]["photos"][0]["name"] = names[0]
        else:
            manifest["words"]["default"]["files"] = {names[0]: "0" * 64}
        seal(whole, json.dumps(manifest))
        with pytest.raises(UserError, match="expected a whole manifest in .*plain name"):
            pull_folder(str(whole), tmp_path / "g", ALL)
    seal(whole, json.dumps(raw))
    (whole / "part.json").write_text(json.dumps({"format": 1, "lacks": [names[0], "photos/00001.h5"]}))
    pull_folder(str(whole), tmp_path / "g", ALL)
    assert read_lacks(tmp_path / "g") == {"photos/00001.h5"} and not list(tmp_path.glob("outside*"))


@pytest.mark.parametrize("part", ["[]", "{", '{"format": 1, "lacks": [1]}', '{"format": 2, "lacks": []}'])
def test_a_part_that_is_none_is_refused(make_features, tmp_path, part):
    whole = make_features()
    (whole / "part.json").write_text(part)
    for read in (Features.open, lambda path: pull_folder(str(path), tmp_path / "g", ALL)):
        with pytest.raises(UserError, match="what a part of a features folder lacks|a list of files of format 1"):
            read(whole)


def test_rows_without_end_that_lack_are_refused(make_features):
    whole = make_features()
    raw = json.loads((whole / "manifest.json").read_text())
    raw["shards"]["photos"][-1]["rows"] = 1 << 55
    seal(whole, json.dumps(raw))
    (whole / "part.json").write_text(json.dumps({"format": 1, "lacks": [raw["shards"]["photos"][-1]["name"]]}))
    (whole / raw["shards"]["photos"][-1]["name"]).unlink()
    with pytest.raises(UserError, match="expected a shard as they are made, found"):
        Features.open(whole)


def test_links_and_pipes_of_a_tar_are_no_files(make_features, tmp_path):
    whole = make_features()
    packed = pack_folder(whole, tmp_path / "f.tar", ALL)
    with tarfile.open(packed) as old, tarfile.open(tmp_path / "g.tar", "w") as new:
        for member in old:
            if member.name == SHARD:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        outside = tarfile.TarInfo("../outside")
        outside.size = 1
        new.addfile(outside, io.BytesIO(b"x"))
    with pytest.raises(UserError, match=f"expected {SHARD} at .*g.tar .*found no such file"):
        pull_folder(str(tmp_path / "g.tar"), tmp_path / "g", ALL)
    assert not (tmp_path / "outside").exists()
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(UserError, match="an uncompressed tar at .*f.tar|from .*f.tar"):
        pull_folder(str(packed), tmp_path / "h", ALL)


@pytest.mark.parametrize("place", ["photos", ".local/pull", "words/default"])
def test_links_in_the_way_are_refused(make_features, tmp_path, place):
    whole, outside = make_features(), tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "g" / place).parent.mkdir(parents=True)
    os.symlink(outside, tmp_path / "g" / place)
    with pytest.raises(UserError, match="symbolic link"):
        pull_folder(str(whole), tmp_path / "g", ALL)
    assert not list(outside.iterdir())


def test_retry_after_in_seconds_or_as_a_date():
    assert read_retry_after("17") == 17 and read_retry_after("soon") is None and read_retry_after("") is None
    assert read_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 3e9 < read_retry_after("Fri, 01 Jan 2200 00:00:00 GMT") < 6e9
