"""Two people, one table: a run's card, cards of others that nobody trusts, and a run that is evaluated elsewhere."""
import getpass
import json
import shutil
import socket
import tarfile

import pytest

from data.files import write_json
from data.folder.identity import identify
from evaluate.__main__ import main
from evaluate.runs.card import without_places
from evaluate.runs.listed import MAX_CARD_BYTES
from extract.command import main as extract
from tests.share_servers import S3Handler, serve, serve_folder
from tests.tiny_runs import write_run

EVALUATE = ["--resamples", "50", "--no-meteor", "--no-page"]

pytestmark = pytest.mark.usefixtures("one_thread")


def log_epoch(run, loss):
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"epoch": 1, "val": {"image": 1.0, "text": loss - 1}}) + "\n")


@pytest.fixture
def run(make_features, tmp_path):
    """A run whose numbers are made up, but for their kind."""
    path = write_run(tmp_path / "mine", make_features(), lr=0.01)
    log_epoch(path, 2.5)
    score = {"value": 0.25, "low": 0.125, "high": 0.5, "n": 6, "reason": f"of {tmp_path}"}
    write_json(path / "eval-test.json", {
        "rows": {"model": {"cider": score, "mse": {"value": None, "reason": "no photo"}}, "chance": {"cider": score}},
        "protocol": {"notes": [f"the photos of vist/features are not those that run {path} was trained on",
                               "p: 1/2, http://host/a, on train/val"]},
        "run": {"path": str(path), "epoch": 1, "features": "vist/features"}, "machine": {"device": "cpu"}})
    return path


def export(run, out):
    assert main(["export", str(run), "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_a_card_says_what_a_run_is_and_nothing_of_where(run, tmp_path):
    card = export(run, tmp_path / "card.json")
    assert card["name"] == "mine" and card["settings"]["lr"] == 0.01 and card["epochs"] == 1 and card["best_val"] == 2.5
    assert card["identities"].keys() == {"recipe", "words", "source"} and card["weights"].keys() == {"best.safetensors"}
    test = card["evaluations"]["test"]
    assert test["rows"]["model"] == {"cider": {"value": 0.25, "low": 0.125, "high": 0.5, "n": 6},
                                     "mse": {"value": None, "low": None, "high": None, "n": None}}
    assert test["protocol"]["notes"] == ["the photos of features are not those that run mine was trained on",
                                         "p: 1/2, http://host/a, on train/val"]
    text = (tmp_path / "card.json").read_text()
    assert str(tmp_path) not in text and socket.gethostname() not in text and f"/{getpass.getuser()}" not in text
    shutil.move(run, tmp_path / "elsewhere" / "mine")
    export(tmp_path / "elsewhere/mine", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


@pytest.mark.parametrize("text, told", [
    ("in /srv/vist/run: 3", "in run: 3"), (r"C:\work\run", "run"), ("train/val 1/2", "train/val 1/2"),
    ("~/runs/a, /b", "a, b"), ("https://host/place s3://bucket/x", "https://host/place s3://bucket/x"),
    ("open_clip:ViT-B-32/laion2b", "open_clip:ViT-B-32/laion2b")])
def test_absolute_paths_are_told_by_their_last_part(text, told):
    assert without_places({"note": [text]}) == {"note": [told]}


def test_folders_cards_and_addresses_stand_in_one_table(run, tmp_path, capsys, monkeypatch):
    other = write_run(tmp_path / "runs/other", tmp_path / "features", lr=0.02)
    write_json(other / "eval-val.json", {"rows": {"model": {"cider": {"value": 0.75}}}})
    (tmp_path / "web").mkdir()
    export(run, tmp_path / "web/card.json")
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    with serve_folder(tmp_path / "web") as web, serve(S3Handler) as s3:
        s3.objects["a/card.json"] = (tmp_path / "web/card.json").read_bytes()
        for name, value in {"AWS_ENDPOINT_URL": s3.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                            "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        assert main(["runs", "runs", "web/card.json", f"{web.url}/card.json?key=secret",
                     "s3://bucket/a/card.json"]) == 0
    title, _, *_, folder, local, from_web, from_s3 = capsys.readouterr().out.splitlines()
    assert title == "Runs below runs" and folder.split() == [
        "other", "0.02", "0", "of", "8", "-", "val", "0.750"]
    for line in (local, from_web, from_s3):
        assert line.startswith("mine (") and line.split()[-7:] == ["0.01", "1", "of", "8", "2.500", "test", "0.250"]
    assert f"({web.url}/card.json)" in from_web and "secret" not in from_web and "s3://bucket" in from_s3


def spoil(card, place, value):
    *way, last = place
    for name in way:
        card = card[name]
    card[last] = value


@pytest.mark.parametrize("place, value, said", [
    (["format"], 2, "format 2"), (["name"], 7, "name is int"), (["settings"], [], "settings is no object"),
    (["settings", "lr"], {"a": 1}, "setting 'lr' is dict"), (["fitted"], {"epochs": -1}, "is no count: -1"),
    (["identities", "words", "id"], "0" * 63, "the id of words is no sha256"), (["identities"], {}, "'recipe'"),
    (["epochs"], True, "epochs is no count"), (["best_val"], "2", "best_val is no finite number"),
    (["evaluations", "test", "rows", "chance", "cider", "low"], "x", "chance.cider.low is no finite number: 'x'"),
    (["evaluations", "test", "rows"], {"model": []}, "model is no object"), (["evaluations", "test"], {}, "'rows'"),
    (["evaluations", "test", "rows", "model", "cider", "value"], float("nan"), "NaN, which is no number"),
    (["evaluations", "test", "rows", "model", "cider", "value"], 10 ** 400, "is no finite number")])
def test_a_card_is_looked_at_field_by_field(run, tmp_path, capsys, place, value, said):
    card = export(run, tmp_path / "card.json")
    spoil(card, place, value)
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert main(["runs", str(tmp_path / "card.json")]) == 2
    told = capsys.readouterr().err
    assert said in told and "expected a run's card of format 1" in told and len(told.splitlines()) == 1


@pytest.mark.parametrize("text", [
    b"", b"[1]", b"\xff{}", b"[" * 100_000, b'{"format": 1, "format": 1}', b'{"format": 1e999}',
    b'{"a": "' + b"x" * MAX_CARD_BYTES + b'"}'], ids=["empty", "list", "latin", "deep", "twice", "endless", "large"])
def test_what_is_no_card_is_one_sentence(tmp_path, capsys, text):
    (tmp_path / "card.json").write_bytes(text)
    assert main(["runs", str(tmp_path / "card.json")]) == 2
    assert "expected a run's card of format 1" in capsys.readouterr().err


def test_nothing_in_a_card_moves_the_terminal(run, tmp_path, capsys):
    card = export(run, tmp_path / "card.json")
    card["name"] = "\x1b[2J\u202eevil" + "x" * 1000
    card["settings"]["seed\x1b[31m"] = "\x07\x9b1m"
    (tmp_path / "card.json").write_text(json.dumps(card))
    capsys.readouterr()
    assert main(["runs", str(tmp_path / "card.json"), str(run)]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable() and "\\x1b[2J\\u202eevil" in out and len(out) < 5000


def test_what_is_not_there_is_told(tmp_path, capsys, caplog, run):
    (tmp_path / "broken.json").write_text("{}")
    assert main(["runs", str(tmp_path / "broken.json"), str(run)]) == 0 and "left out: expected a run's" in caplog.text
    with serve_folder(tmp_path) as web:
        assert main(["runs", f"{web.url}/nowhere.json"]) == 2
        assert "found no such file" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "nowhere.json")]) == 2 and "nowhere.json" in capsys.readouterr().err
    assert main(["runs", "gopher://host/card.json"]) == 2 and "https://" in capsys.readouterr().err
    (run / "eval-test.json").unlink()
    assert main(["export", str(run), "--out", str(tmp_path / "card.json")]) == 2
    assert "evaluate it first: make eval RUN=" in capsys.readouterr().err and not (tmp_path / "card.json").exists()


def test_a_run_is_evaluated_elsewhere_to_the_last_digit(make_features, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    features, run = make_features("here/features"), write_run(here / "run", here / "features")
    log_epoch(run, 2.5)
    assert main(["--run", str(run), "--split", "val", *EVALUATE]) == 0
    export(run, here / "card.json")
    for name in ("run.tar", "twin.tar"):
        assert main(["export", str(run), "--out", str(here / name)]) == 0
    assert (here / "run.tar").read_bytes() == (here / "twin.tar").read_bytes()
    assert str(tmp_path).encode() not in (here / "run.tar").read_bytes()
    extract(["pack", str(features), "--out", str(here / "features.tar")])
    extract(["pull", str(here / "features.tar"), str(there / "pulled")])
    with tarfile.open(here / "run.tar") as tar:
        assert {member.uname + member.gname for member in tar} == {""}
        tar.extractall(there, filter="data")
    here.rename(tmp_path / "gone")
    assert main(["--run", str(there / "run"), "--features", str(there / "pulled"), "--split", "val", *EVALUATE]) == 0
    export(there / "run", there / "card.json")
    assert (there / "card.json").read_bytes() == (tmp_path / "gone/card.json").read_bytes()
    assert (there / "run/card.json").read_bytes() == (there / "card.json").read_bytes()
    numbers = [json.loads((place / "run/eval-val.json").read_text()) for place in (tmp_path / "gone", there)]
    assert numbers[0]["rows"] == numbers[1]["rows"] and numbers[0]["machine"]["versions"]["torch"]


def test_no_name_in_a_card_moves_the_terminal(run, tmp_path, caplog):
    card = export(run, tmp_path / "card.json")
    card["evaluations"]["test"]["rows"]["\x1b[2Jevil"] = []
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert main(["runs", str(tmp_path / "card.json"), str(run)]) == 0
    assert "left out" in caplog.text and "\x1b" not in caplog.text


@pytest.mark.parametrize("address", ["file://{}", "http://", "http://[bad/card.json"])
def test_what_is_no_address_of_a_card_is_left_out_in_a_sentence(run, tmp_path, caplog, address):
    assert main(["runs", address.format(tmp_path), str(run)]) == 0
    assert "left out" in caplog.text


def test_folders_named_from_here_and_from_the_root_stand_in_one_table(run, tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "runs/other", tmp_path / "features", lr=0.02)
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "runs", str(run)]) == 0
    assert "other" in capsys.readouterr().out


def test_runs_of_other_words_are_told_apart(run, tmp_path, capsys):
    card = export(run, tmp_path / "card.json")
    assert main(["runs", str(run), str(tmp_path / "card.json")]) == 0
    assert "word set" not in capsys.readouterr().out
    card["identities"]["words"] = identify({"version": 1, "other": True})
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert main(["runs", str(run), str(tmp_path / "card.json")]) == 0
    assert "word set" in capsys.readouterr().out
