"""Cross-validation: photos looked at once, folds trained once, numbers pooled over the stories of all folds."""
import contextlib
import io
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.annotations.stories import read_dataset
from data.folder.folder import Features
from evaluate.__main__ import main
from evaluate.captions.text_scores import score_units
from evaluate.crossval.pooling import KeepingResamples, place_within, pool_scores
from evaluate.processes import Processes
from evaluate.statistics.bootstrap import Estimate, Resamples
from extract.command import main as extract
from extract.pipeline import reader
from tests import tiny_text_encoder
from tests.books import edit_records, write_books
from tests.conftest import call_here
from tests.extraction import one_matcher, snapshot  # noqa: F401
from tests.tiny_runs import TINY
from train.run_folder.runs import load_run

BACKBONE = ["--backbone", "tests.tiny_backbone:factory"]
SETTINGS = [f"--{name.replace('_', '-')}={value}" for name, value in {**TINY, "epochs": 1, "batch_size": 8}.items()]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_books(tmp_path_factory.mktemp("books") / "books", albums=24)


def command(books: Path, out: Path, *more: str) -> list[str]:
    return ["crossval", str(books), "--out", str(out), "--folds", "3", "--resamples", "60", *BACKBONE, *SETTINGS,
            *more]


@pytest.fixture(scope="module")
def finished(books: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed cross-validation."""
    out, printed = tmp_path_factory.mktemp("crossval") / "books", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(Processes, "call", call_here([]))
        assert main(command(books, out)) == 0
    (out / "stdout.txt").write_text(printed.getvalue())
    return out


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def read_predictions(out: Path, t: int = 4) -> list[dict]:
    lines = [json.loads(line) for fold in range(3)
             for line in (out / f"fold-{fold}/predictions-test.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("t", 5) == t]


def test_the_pooled_numbers_are_those_of_all_folds(finished):
    pooled, lines = read(finished / "crossval.json"), read_predictions(finished)
    assert len(lines) == 24 and {line["album_id"] for line in lines} == {f"a{number}" for number in range(24)}
    model = pooled["rows"]["model"]
    ranks = {name: [line[name] for line in lines] for name in ("rank_all", "rank_1_of_5", "rank_album")}
    assert model["mrr_all"]["value"] == pytest.approx(np.mean([1 / rank for rank in ranks["rank_all"]]))
    assert model["r10_all"]["value"] == pytest.approx(np.mean([rank <= 10 for rank in ranks["rank_all"]]))
    assert model["1_of_5"]["value"] == pytest.approx(np.mean([rank <= 1 for rank in ranks["rank_1_of_5"]]))
    assert model["median_rank_all"]["value"] == pytest.approx(np.median(ranks["rank_all"]))
    nats, tokens = (sum(line[name] for line in lines) for name in ("nll", "tokens"))
    assert model["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens))
    single = [read(finished / f"fold-{fold}/eval-test.json")["rows"] for fold in range(3)]
    for row in ("model", "copy last frame", "mean of inputs", "ridge from last frame"):
        values = [(rows[row]["mse"]["value"], rows[row]["mse"]["n"]) for rows in single]
        assert pooled["rows"][row]["mse"]["value"] == pytest.approx(sum(v * n for v, n in values) / 24)
        assert pooled["rows"][row]["mse"]["n"] == 24
    for row in single[0]:  # whatever a fold's tables print, the pooled ones do
        wanted = {metric for metric in single[0][row] if not metric.startswith(("agreement", "caption_1", "ssim",
                  "psnr", "lpips", "meteor")) and all(metric in rows[row] for rows in single)}
        assert wanted <= pooled["rows"][row].keys()


def test_the_pool_has_intervals_that_no_fold_has(finished):
    pooled = read(finished / "crossval.json")
    assert pooled["protocol"]["albums"] == 24 and pooled["protocol"]["intervals"]["drawn"]
    for metric in ("mrr_all", "mse", "perplexity", "cider", "tags_seen.map", "tags_seen.micro_f1"):
        found = pooled["rows"]["model"][metric]
        assert found["low"] < found["value"] < found["high"], metric
    difference = pooled["differences"]["copy last frame"]["mse"]
    assert difference["low"] < difference["value"] < difference["high"] and "better" in difference
    assert not read(finished / "fold-0/eval-test.json")["protocol"]["intervals"]["drawn"]
    assert not any("too few" in note for note in pooled["protocol"]["notes"])


def test_captions_and_tags_are_scored_over_all_folds_together(finished):
    rows, lines = read(finished / "crossval.json")["rows"], read_predictions(finished)
    scores = score_units([line["written"].split() for line in lines], range(24),
                         [[line["reference"].split()] for line in lines]).scores()
    for metric in ("cider", "bleu_1", "rouge_l"):
        assert rows["model"][metric]["value"] == pytest.approx(scores[metric])
    said, true = (sum(len(set(line[name])) for line in lines) for name in ("tags_next", "tags"))
    both = sum(len(set(line["tags_next"]) & set(line["tags"])) for line in lines)
    assert rows["model"]["tags_next.micro_f1"]["value"] == pytest.approx(2 * both / (said + true))
    tags = {tag for line in lines for tag in line["tags"]}
    shares = [sum(tag in line["tags"] for line in lines) / 24 for tag in tags]
    assert len(shares) > 3  # who says the same of every frame ranks none above another: its precision is the share
    assert rows["tag prior"]["tags_next.map"]["value"] == pytest.approx(np.mean(shares))


def test_what_is_printed(finished):
    out, page = (finished / "stdout.txt").read_text(), (finished / "crossval.md").read_text()
    assert "over the albums of all folds" in out and str(finished / "crossval.json") in out
    for text in (out, page):
        assert all(name in text for name in ("Next photo", "copy last frame", "trigram", "the model beats"))


def test_each_fold_has_words_of_its_own_train_alone(finished):
    features = Features.open(finished / "features")
    assert features.num_photos == 120 and len(features.word_sets) == 3
    for fold in range(3):
        words = features.words(f"fold-{fold}-of-3-seed-42")
        told = {word for story in read_dataset(finished / f"folds/fold-{fold}").stories["train"]
                for caption in story.captions for word in caption.split()}
        assert set(words.vocabulary[4:]) == told
        run = load_run(finished / f"fold-{fold}")  # words of later folds do not orphan it
        assert (run.words, run.recipe, run.source) == (words.identity, features.recipe, features.source)


def test_what_is_there_is_not_done_again(finished, books, started, capsys, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and (
        path.name.startswith(("eval", "crossval", "best", "last")) or path.suffix == ".h5")}
    monkeypatch.setattr(reader, "read_photo", lambda path: pytest.fail("a photo was opened"))
    pages = snapshot(finished / "features")
    assert main(command(books, finished)[:-len(SETTINGS) - 2] + SETTINGS) == 0  # the backbone is known by now
    assert not started and "copy last frame" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before and snapshot(finished / "features") == pages
    assert main([*command(books, finished), "--lr", "0.5"]) == 2
    assert "fold 0: expected the run" in (said := capsys.readouterr().err) and "lr: 0.0005 there, 0.5 here" in said
    assert main([*command(books, finished), "--folds", "4"]) == 2
    assert "to be of 4 folds as asked for, found 3" in capsys.readouterr().err and not started


def test_features_made_before_get_words_and_no_photo_is_opened(books, tmp_path, started, monkeypatch):
    features = tmp_path / "features"
    extract(["--data", str(books), "--out", str(features), *BACKBONE])
    photos = snapshot(features / "photos")
    monkeypatch.setattr(reader, "read_photo", lambda path: pytest.fail("a photo was opened"))
    assert main([*command(books, tmp_path / "out"), "--features", str(features)]) == 0
    assert snapshot(features / "photos") == photos and len(started) == 6
    assert main([*command(books, tmp_path / "two"), "--features", str(features), "--folds", "2"]) == 0
    assert len(Features.open(features).word_sets) == 6 and len(started) == 10
    started.clear()
    assert main([*command(books, tmp_path / "out"), "--features", str(features)]) == 0 and not started


def test_a_fold_that_fails_is_told_and_the_next_call_goes_on(books, finished, tmp_path, started, monkeypatch, capsys):
    whole, calls = Processes.call, iter(range(99))

    def fail_once(self, arguments, words):
        if next(calls) == 3:
            words.write("error: the disk is full\n")
            words.flush()
            return 2
        return whole(self, arguments, words)
    monkeypatch.setattr(Processes, "call", fail_once)
    out = tmp_path / "out"
    assert main(command(books, out)) == 2
    assert "fold 1: evaluating ended with code 2 and said: error: the disk is full" in capsys.readouterr().err
    assert not (out / "crossval.json").exists() and (out / "fold-0/eval-test.json").exists()
    done = len(started)
    assert main(command(books, out)) == 0
    words = [arguments[arguments.index("--words") + 1][:6] for arguments in started if arguments[0] == "train"]
    assert done == 3 - 1 + 1 and words == ["fold-0", "fold-1", "fold-1", "fold-2"]
    assert _differences(read(out / "crossval.json")["rows"], read(finished / "crossval.json")["rows"]) < 1e-3


def _differences(first: dict, second: dict) -> float:
    assert first.keys() == second.keys()
    return max((abs(first[row][metric]["value"] - second[row][metric]["value"]) for row in first
                for metric in first[row] if first[row][metric]["value"] is not None), default=0.0)


@pytest.mark.parametrize("more, said", [
    (["--task", "tell", "--word-attention"], "word_attention"), (["--folds", "1"], "at least 2"),
    (["--epochs", "0"], "epochs"),
    (["--features-args=--views=99"], "--views"), (["--no-such"], "--no-such"), (["--words", "x"], "--words"),
    (["--folds", "25"], "share photos or sentences")])
def test_bad_settings_are_refused_before_anything_is_made(more, said, books, tmp_path, capsys):
    assert main([*command(books, tmp_path / "out"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("f*"))


def test_a_large_group_is_never_tested_and_that_is_said(books, tmp_path, started):
    root = write_books(tmp_path / "books", albums=24)
    for split in ("train", "val", "test"):  # ten of 24: more than a third
        edit_records(root, split, lambda records: [record.update(text="once upon a time there was a dog")
                                                   for record in records if int(record["story_id"][1:]) < 10])
    assert main(command(root, tmp_path / "out")) == 0
    protocol = read(tmp_path / "out/crossval.json")["protocol"]
    assert protocol["stories"] == 14 and not protocol["intervals"]["drawn"]
    assert any(note.startswith("10 stories hang together in 1 group(s)") for note in protocol["notes"])
    assert any("14 albums are too few" in note for note in protocol["notes"])
    for fold in range(3):
        assert {f"s{number}" for number in range(10)} <= {
            story.story_id for story in read_dataset(tmp_path / f"out/folds/fold-{fold}").stories["train"]}


def test_kept_numbers_pool_to_what_all_stories_give():
    random = np.random.default_rng(0)
    albums = [[f"{fold}-{number // 2}" for number in range(20 + fold)] for fold in range(3)]
    values = [random.standard_normal(len(names)) for names in albums]
    values[1][3] = np.nan
    weight = [random.choice([.5, 1.0], len(names)) for names in albums]
    parts = []
    for names, value, its_weight in zip(albums, values, weight):
        kept = KeepingResamples(names)
        parts.append({"row": {"mean": kept.mean(value, its_weight), "median": kept.median(value, its_weight),
                              "exp": kept.ratio(its_weight, its_weight * 2, 7, np.exp),
                              "constant": Estimate(np.full(1, .25), 5), "other": Estimate(value[:1], 1)}})
    resamples = Resamples(sum(albums, []), 50)
    pooled = pool_scores(parts, resamples)["row"]
    together = np.concatenate(values), np.concatenate(weight)
    for name in ("mean", "median"):
        expected = getattr(resamples, name)(*together)
        np.testing.assert_allclose(pooled[name].draws, expected.draws)
        assert pooled[name].n == pytest.approx(expected.n, abs=1)
    assert pooled["exp"].summary() == pytest.approx({"value": math.exp(.5), "low": math.exp(.5), "high": math.exp(.5),
                                                     "n": 21})
    assert pooled["constant"].draws.tolist() == [.25] * 51 and "other" not in pooled


def test_places_within_a_fold_by_hand():
    assert place_within(np.array([[.9, 1], [.1, 1], [.5, 1], [.5, 1]])).tolist() == [
        [.875, .5], [.125, .5], [.5, .5], [.5, .5]]


def test_whole_stories_are_pooled_over_the_folds(books, tmp_path, started, capsys):
    arguments = [*command(books, tmp_path / "out"), "--task", "tell"]
    assert main(arguments) == 0
    pooled, lines = read(tmp_path / "out/crossval.json"), read_predictions(tmp_path / "out", 5)
    rows, protocol = pooled["rows"], pooled["protocol"]
    assert len(lines) == protocol["stories"] == protocol["albums"] == 24 and protocol["intervals"]["drawn"]
    nats, tokens = (sum(line[name] for line in lines) for name in ("nll", "tokens"))
    assert rows["model"]["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens))
    scores = score_units([line["story"].split() for line in lines], range(24),
                         [[line["reference"].split()] for line in lines]).scores()
    said, true = (sum(len(tags) for line in lines for tags in line[name]) for name in ("tags_next", "tags"))
    both = sum(len(set(told) & set(there)) for line in lines for told, there in zip(line["tags_next"], line["tags"]))
    assert rows["model"]["tags_next.micro_f1"]["value"] == pytest.approx(2 * both / (said + true))
    for metric in ("cider", "bleu_1", "rouge_l"):
        assert rows["model"][metric]["value"] == pytest.approx(scores[metric])
    for row, metric in (("text-only LSTM", "perplexity"), ("nearest train story", "cider"), ("constant story", "cider"),
                        ("tag prior", "tags_next.map"), ("linear probe", "tags_seen.map")):
        assert pooled["differences"][row][metric]["low"] <= pooled["differences"][row][metric]["high"], (row, metric)
    page = (tmp_path / "out/crossval.md").read_text()
    assert all(said in page for said in ("## Story", "all photos seen", "album by album", "no human row"))
    assert "all folds' references" in str(protocol["captions"]) and "Story" in capsys.readouterr().out
    assert len(started) == 6
    (tmp_path / "out/fold-1/eval-test.json").unlink()
    assert main(arguments) == 0 and [arguments[0] for arguments in started[6:]] == ["train", "evaluate"]
    assert read(tmp_path / "out/crossval.json")["rows"] == rows


@pytest.mark.slow
def test_real_processes_side_by_side(books, finished, tmp_path):
    out = tmp_path / "out"
    ended = subprocess.run([sys.executable, "-m", "evaluate", *command(books, out, "--jobs", "2")], text=True,
                           capture_output=True, cwd=Path(__file__).resolve().parents[1])
    assert ended.returncode == 0, ended.stderr
    assert "3 of 3" in ended.stderr and "24 stories, 24 albums, 24 groups" in ended.stderr
    assert "epoch" in (out / "fold-1.log").read_text() and "numbers" in ended.stdout
    assert _differences(read(out / "crossval.json")["rows"], read(finished / "crossval.json")["rows"]) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_and_resumed_equals_undisturbed(number, books, tmp_path):
    root = Path(__file__).resolve().parents[1]
    commands = {name: [sys.executable, "-m", "evaluate", *command(books, tmp_path / name)] for name in ("out", "whole")}
    process = subprocess.Popen(commands["out"], cwd=root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / "out/fold-1/config.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(60)
    time.sleep(10)  # a training whose parent was killed outright lets go of its run when it ends
    for arguments in commands.values():
        ended = subprocess.run(arguments, capture_output=True, text=True, cwd=root)
        assert ended.returncode == 0, ended.stderr
    for fold in range(3):
        first, second = (tmp_path / name / f"fold-{fold}/best.safetensors" for name in commands)
        assert first.read_bytes() == second.read_bytes()
    first, second = (read(tmp_path / name / "crossval.json") for name in commands)
    assert first["rows"] == second["rows"] and first["differences"] == second["differences"]


def test_folds_read_text_features_of_captions_that_are_encoded_once(books, tmp_path, started, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(tiny_text_encoder, "ASKED", asked)
    assert main(command(books, tmp_path / "cv", "--text-encoder", "tests.tiny_text_encoder:factory",
                        "--text-features", "beside")) == 0
    captions = {caption for story in read_dataset(books).stories["train"] for caption in story.captions}
    assert len(asked) == len(set(asked)) and captions <= set(asked)
    for fold in range(3):
        run = load_run(tmp_path / f"cv/fold-{fold}")
        assert run.config.text_features == "beside" and run.text["fields"]["weights"] == "1" * 64
    assert main(command(books, tmp_path / "cv", "--text-features", "off")) == 2
