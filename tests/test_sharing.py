"""Features travel: packed, pulled, pushed, whole or in part, and what arrives is what was sent."""
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from data.folder.manifest import load_manifest
from data.folder.part import read_lacks
from data.folder.published import map_published
from extract.command import main
from extract.sharing.contents import Choice, check_contents
from extract.sharing.pack import pack_folder
from extract.sharing.pull import pull_folder
from extract.sharing.push import INCOMING, push_folder
from extract.verification.verify import verify_folder
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.photo_dataset import write_dataset
from tests.share_servers import HubHandler, S3Handler, serve, serve_folder
from tests.tiny_runs import TINY
from train.config import make_config
from train.distributed import World
from train.prepare import open_splits, resolve

ROOT = Path(__file__).resolve().parents[1]
ALL = Choice()
MINE = ("machine-of-mine", "somebody-of-mine")


@pytest.fixture
def s3(monkeypatch):
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with serve(S3Handler) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A folder that the extraction made, from photos some of which are broken, with thumbnails and views."""
    root = tmp_path_factory.mktemp("extracted")
    data = write_dataset(root / "data")
    (data / "images/tr0000.jpg").write_bytes(b"no photo")
    (data / "images/tr0011.jpg").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: MINE[0])
        for name in ("USER", "LOGNAME"):
            patch.setenv(name, MINE[1])
        extract(data, root / "features")
    return root / "features"


def extract(data, out, *flags):
    main(["--data", str(data), "--out", str(out), "--backbone", "tests.tiny_backbone:factory",
          "--weights", "random", "--thumbnails", "32", "--views", "2", "--shard-rows", "4", "--max-bad", "1",
          "--precision", "float32", "--max-missing", "1", *flags])


def sent(folder):
    """Bytes of every file of a folder but those for the way."""
    return {name: content for name, content in snapshot(folder).items()
            if name not in ("croissant.json", "SHA256SUMS", INCOMING)}


def test_equal_folders_give_equal_tars_with_nothing_of_this_machine(extracted, tmp_path):
    moved = tmp_path / "elsewhere" / "f"
    shutil.copytree(extracted, moved)  # other times
    shutil.rmtree(moved / ".local")
    for stranger in ("photos/me.jpg", "secret.txt", "words/default/notes.pkl", "photos/old.h5"):
        (moved / stranger).write_bytes(b"mine")
    tar = pack_folder(extracted, tmp_path / "a.tar", ALL)
    assert tar.read_bytes() == pack_folder(moved, tmp_path / "b.tar", ALL).read_bytes()
    with tarfile.open(tar, "r:") as opened:
        members = {member.name: opened.extractfile(member).read() for member in opened}
        assert all((member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode) ==
                   (0, 0, 0, "", "", 0o644) for member in opened)
    assert list(members)[0] == "manifest.json" and set(members) == {*snapshot(extracted), "croissant.json",
                                                                    "SHA256SUMS"}
    sums = dict(reversed(line.split("  ")) for line in members["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in members.items()
                    if name != "SHA256SUMS"}
    everything = tar.read_bytes()
    for word in (*MINE, str(tmp_path), str(extracted), "/tmp/", "/home/", sys.prefix):
        assert word.encode() not in everything, word
    for name, content in members.items():  # and no pickle
        assert content.startswith(b"\x89HDF\r\n") if name.endswith(".h5") else (
            content.decode().replace("\n", "").isprintable())


def test_croissant_is_valid_and_names_every_file(extracted, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    with tarfile.open(pack_folder(extracted, tmp_path / "a.tar", ALL), "r:") as tar:
        tar.extractall(tmp_path / "x", filter="data")
    dataset = mlcroissant.Dataset(tmp_path / "x/croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    described = {file.id: file.sha256 for file in dataset.metadata.distribution}
    own = ("manifest.json", "croissant.json", "SHA256SUMS")
    assert described == {name: hashlib.sha256(content).hexdigest() for name, content in snapshot(tmp_path / "x").items()
                         if name not in own}


@pytest.mark.parametrize("kind", ["folder", "tar", "http", "http tar", "s3", "s3 tar"])
def test_what_is_pulled_is_what_was_there(extracted, tmp_path, kind, request, capsys):
    pack_folder(extracted, tmp_path / "f.tar", ALL)
    where = {"folder": str(extracted), "tar": str(tmp_path / "f.tar")}
    if kind.startswith("s3"):
        server = request.getfixturevalue("s3")
        server.objects["up/f.tar"] = (tmp_path / "f.tar").read_bytes()
        push_folder(extracted, "s3://bucket/up/f", ALL)
        url = "s3://bucket/up/f" + ".tar" * kind.endswith("tar")
        main(["pull", url, str(tmp_path / "g")])
    elif kind.startswith("http"):
        with serve_folder(tmp_path if kind.endswith("tar") else extracted) as server:
            main(["pull", server.url + ("/f.tar?key=secret" if kind.endswith("tar") else "/?key=secret"),
                  str(tmp_path / "g")])
    else:
        main(["pull", where[kind], str(tmp_path / "g")])
    assert snapshot(tmp_path / "g") == sent(extracted) and not list((tmp_path / "g/.local").iterdir())
    assert not verify_folder(tmp_path / "g", full=True).damaged
    said = capsys.readouterr().out
    assert f"python -m extract verify {tmp_path / 'g'} --weights own" in said and "secret" not in said


@pytest.mark.parametrize("kind", ["tar", "folder", "s3"])
def test_a_part_is_trained_on_and_says_what_it_lacks(make_features, tmp_path, kind, request, caplog, capsys):
    whole = make_features(stories={"train": 8, "val": 4, "test": 4})
    choice = Choice(splits=("train", "val"))
    if kind == "tar":
        url = str(pack_folder(whole, tmp_path / "f.tar", choice))
    elif kind == "s3":
        request.getfixturevalue("s3")
        url = "s3://bucket/f"
        push_folder(whole, url, choice)
    else:
        url = str(whole)
    part = tmp_path / "part"
    pull_folder(url, part, choice)
    features, complete = Features.open(part), Features.open(whole)
    assert "is a part: it lacks" in caplog.text and "words/default/test" in caplog.text
    assert features.words().splits == ["train", "val"] and features.num_photos == complete.num_photos
    config, train, val = open_splits(make_config(TINY), features)
    resolve(config, features, len(train), World(0, 1, torch.device("cpu")))
    assert (len(train), len(val)) == (8, 4)
    for mine, theirs in zip((train, val), open_splits(make_config(TINY), complete)[1:]):
        for name, value in mine.__getitems__(np.arange(4)).items():
            assert torch.equal(value, theirs.__getitems__(np.arange(4))[name]), name
    with pytest.raises(UserError, match="stories of split 'test' .*found train, val; .*get the rest with: python -m"):
        features.words().split("test")
    assert not (part / "words/default/test-00000.h5").exists() and len(list(part.glob("photos/*"))) < len(
        list(whole.glob("photos/*")))
    report = verify_folder(part, full=True)
    assert not report.damaged and "it lacks 2 of" in "".join(finding.found for finding in report.findings)
    main(["inspect", str(part), "--no-pictures"])
    assert re.search(r"state +a part: it lacks 2 of.*\n(.*\n)*.*photos +\d+ rows", capsys.readouterr().out)
    again = pack_folder(part, tmp_path / "again.tar", ALL)
    with tarfile.open(again) as tar:
        assert json.load(tar.extractfile("part.json"))["lacks"][-1] == "words/default/test-00000.h5"
    if kind != "folder":
        with pytest.raises(UserError, match="a split 'test' in .*found train, val"):
            pull_folder(url, tmp_path / "none", Choice(splits=("test",)))
    pull_folder(str(whole), part, ALL)
    assert snapshot(part) == snapshot(whole)


def test_canaries_whose_photos_a_part_lacks_are_left_alone(extracted, tmp_path):
    part = tmp_path / "part"
    pull_folder(str(extracted), part, Choice(splits=("test",)))
    manifest, lacks = load_manifest(part), read_lacks(part)
    rows = map_published(part, manifest.shards["canaries"][0], "canaries")["photo"]
    assert any(shard.offset <= row < shard.offset + shard.rows for shard in manifest.shards["photos"]
               if shard.name in lacks for row in rows), "the test shows nothing"
    assert not verify_folder(part, full=True).damaged


def test_a_damaged_part_is_damaged(make_features, tmp_path):
    part = tmp_path / "part"
    pull_folder(str(make_features()), part, Choice(splits=("train",)))
    (part / "photos/00000.h5").unlink()
    assert verify_folder(part).damaged_files == ["photos/00000.h5"]
    with pytest.raises(UserError, match="found no such file"):
        Features.open(part)


def test_word_sets_and_what_lies_beside_are_chosen(extracted, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(extracted, both)
    extract(extracted.parent / "data", both, "--words", "short", "--caption-length", "9")
    part = tmp_path / "part"
    pull_folder(str(both), part, Choice(words=("short",), leave_out=("thumbs", "views")))
    features = Features.open(part)
    assert features.word_sets == ["short"] and features.views is None and features.thumbnail(1) is None
    assert not (part / "words/default").exists() and not (part / "thumbs").exists()
    with pytest.raises(UserError, match="word set 'default'.*found short.*get the rest"):
        features.words("default")
    pull_folder(str(both), part, Choice(splits=("val",)))
    views, complete = Features.open(part), Features.open(both)
    rows = np.unique(views.words("short").split("val").photo.all())
    assert (views.views.take(rows) == complete.views.take(rows)).all()
    assert views.thumbnail(int(rows[-1])) == complete.thumbnail(int(rows[-1])) and views.thumbnail(0) is None
    with pytest.raises(UserError, match="word set 'mine' in .*found default, short"):
        pull_folder(str(both), tmp_path / "none", Choice(words=("mine",)))


def test_what_is_there_is_not_sent_again_and_the_manifest_comes_last(make_features, s3, tmp_path):
    whole = make_features()
    push_folder(whole, "s3://bucket/f", Choice(splits=("val",)))
    assert s3.log[0] == f"f/{INCOMING}" and s3.log[-1] == "f/manifest.json" and f"f/{INCOMING}" not in s3.objects
    s3.log.clear()
    push_folder(whole, "s3://bucket/f", ALL)
    assert not any("val-00000" in name for name in s3.log) and "f/part.json" not in s3.objects
    assert {name[2:]: body for name, body in s3.objects.items()
            if name[2:] not in ("croissant.json", "SHA256SUMS")} == snapshot(whole)
    assert push_folder(whole, "s3://bucket/f", ALL) == (0, 0)


def test_a_push_that_broke_off_is_no_folder_and_goes_on(make_features, s3, tmp_path):
    whole = make_features()
    s3.objects["f/photos/00000.h5"] = bytes((whole / "photos/00000.h5").stat().st_size)  # another's, of equal size
    s3.refuses = lambda key: "train-0" in key or key.endswith("photos/00000.h5")
    with pytest.raises(UserError, match=r"able to write to s3://bucket/f, found Perm.*goes on where"):
        push_folder(whole, "s3://bucket/f", ALL)
    with pytest.raises(UserError, match="found no manifest.json there.*wait for the push"):
        pull_folder("s3://bucket/f", tmp_path / "g", ALL)
    assert not (tmp_path / "g").exists()
    s3.refuses = None
    s3.log.clear()
    push_folder(whole, "s3://bucket/f", ALL)
    assert "f/photos/00001.h5" not in s3.log and "f/words/default/train-00000.h5" in s3.log
    pull_folder("s3://bucket/f", tmp_path / "g", ALL)
    assert snapshot(tmp_path / "g") == snapshot(whole)


def test_another_folder_is_not_mixed_in(make_features, extracted, tmp_path):
    first, second = make_features("a"), make_features("b", seed=1)
    push_folder(first, str(tmp_path / "p"), ALL)
    with pytest.raises(UserError, match="found another folder with a .*h5 of its own"):
        push_folder(second, str(tmp_path / "p"), ALL)
    with pytest.raises(UserError, match="expected the recipe it was made with"):
        push_folder(extracted, str(tmp_path / "p"), ALL)
    with pytest.raises(UserError, match="expected the recipe .*pull into another folder"):
        pull_folder(str(extracted), first, ALL)
    with pytest.raises(UserError, match="was made here from photos"):
        pull_folder(str(first), extracted, ALL)
    pull_folder(str(tmp_path / "p"), tmp_path / "g", ALL)
    pull_folder(str(second), tmp_path / "g", ALL)  # a later state of it
    assert snapshot(tmp_path / "g") == snapshot(second)


def test_a_damaged_folder_is_not_handed_on(make_features, tmp_path):
    whole = make_features()
    path = whole / "photos/00001.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for hand_on in (lambda: pack_folder(whole, tmp_path / "f.tar", ALL),
                    lambda: push_folder(whole, str(tmp_path / "p"), ALL)):
        with pytest.raises(UserError, match="sha256 .*00001.h5 as the manifest says, found .*run verify"):
            hand_on()
    assert not (tmp_path / "f.tar").exists() and not (tmp_path / "p/manifest.json").exists()


def test_a_file_that_is_cut_short_while_it_is_packed_is_named(make_features, tmp_path, monkeypatch):
    whole = make_features()

    def cut_after_the_check(parcel):
        for file in check_contents(parcel):
            if file.name == "photos/00001.h5":
                path = parcel.root / file.name
                path.write_bytes(path.read_bytes()[:-7])
            yield file
    monkeypatch.setattr("extract.sharing.pack.check_contents", cut_after_the_check)
    with pytest.raises(UserError, match="expected 7 more bytes in .*photos/00001.h5, found its end; run verify"):
        pack_folder(whole, tmp_path / "f.tar", ALL)
    assert not (tmp_path / "f.tar").exists()


def test_a_folder_that_may_only_be_read(make_features, tmp_path, monkeypatch):
    whole = make_features()
    touched = []

    def watch(event, arguments):
        is_read = event == "open" and not (arguments[2] or 0) & 3
        if event in ("open", "os.mkdir", "os.rename", "os.remove") and not is_read and (
                str(arguments[0]).startswith(str(whole))):
            touched.append((event, arguments))
    sys.addaudithook(watch)
    pack_folder(whole, tmp_path / "f.tar", ALL)
    push_folder(whole, str(tmp_path / "p"), ALL)
    pull_folder(str(whole), tmp_path / "g", ALL)
    open_splits(make_config(TINY), Features.open(whole))
    assert not touched
    (whole / "x").touch()
    assert touched


def test_a_mount_without_locks(make_features, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "no locks")
    monkeypatch.setattr("fcntl.flock", refuse)
    whole = make_features()
    pull_folder(str(whole), tmp_path / "g", Choice(splits=("train",)))
    assert len(open_splits(make_config(TINY), Features.open(tmp_path / "g"))[1]) == 12
    (tmp_path / "g").rename(tmp_path / "moved")
    assert not verify_folder(tmp_path / "moved", full=True).damaged


@pytest.mark.parametrize("url, message", [
    ("ftp://host/f", "begins with file:// or http"), ("s3://", "begins with file://"),
    ("http://user:pass@127.0.0.1:1/f?sig=abc", r"manifest.json from http://127.0.0.1:1/f, found"),
    ("nowhere", "at nowhere, found no manifest.json there"), ("nowhere.tar", "a tar at nowhere.tar, found no such")])
def test_addresses_that_are_none(tmp_path, url, message, monkeypatch):
    monkeypatch.setattr("extract.sharing.download.BACKOFF_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        pull_folder(url, tmp_path / "g", ALL)
    assert not re.search("pass|abc", str(refused.value)) and not (tmp_path / "g").exists()


def test_nothing_can_be_pushed_to_the_web(make_features, tmp_path):
    with pytest.raises(UserError, match="an s3:// or an hf:// address to push to"):
        push_folder(make_features(), "https://host/f", ALL)


def test_the_hub(make_features, tmp_path):
    whole, url = make_features(), "hf://datasets/owner/name/f"

    def call(*words):  # the hub's address is read when the library is imported
        environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        subprocess.run([sys.executable, "-m", "extract", *words], check=True, cwd=ROOT, env=environment, timeout=120)

    with serve(HubHandler) as server:
        call("push", str(whole), url, "--splits", "train")
        first = len(server.log)
        call("push", str(whole), url)
        call("pull", url, str(tmp_path / "g"))
    assert server.log[first - 2] == server.log[-3] == ["f/manifest.json"] and server.log[-1] == [f"f/{INCOMING}"]
    assert not any("train-0" in name for names in server.log[first:] for name in names)
    assert snapshot(tmp_path / "g") == snapshot(whole)
