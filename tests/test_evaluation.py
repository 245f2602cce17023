"""The whole of an evaluation through its command, on a small folder and an untrained run."""
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.folder.folder import Features
from data.words.tokens import PAD, UNK
from evaluate.__main__ import main
from evaluate.config import TS
from evaluate.evaluation.predicting import predict_split, score_true_captions
from evaluate.split import EvaluatedSplit
from evaluate.tags.tag_scores import choose_thresholds
from extract.command import main as extract
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run
from train.model.text import Context
from train.run_folder.runs import load_run
from train.writing.captions import write_captions
from train.writing.config import WritingConfig

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make_run(tmp_path: Path, make_features: Callable[..., Path]) -> Callable[..., Path]:
    def make(name: str = "run", settings: dict | None = None, **folder: object) -> Path:
        return write_run(tmp_path / name, make_features(f"{name}-features", **folder), **(settings or {}))
    return make


def read_evaluation(run: Path, split: str = "test") -> tuple[dict, list[dict]]:
    lines = (run / f"predictions-{split}.jsonl").read_text().splitlines()
    return json.loads((run / f"eval-{split}.json").read_text()), [json.loads(line) for line in lines]


def test_a_row_of_one_t_is_the_whole_rows_at_that_t(make_run):
    run = load_run(make_run())
    split = EvaluatedSplit(Features.open(Path(run.features)), "default", "test")
    writing = WritingConfig(method="sample", max_words=8)  # random numbers belong to a story and a t
    whole, alone = (predict_split(run.model, split, 4, "cpu", writing, ts=ts) for ts in (TS, (4,)))
    assert len({str(whole.written[t]) for t in TS}) == 4 and alone.written == {4: whole.written[4]}
    assert list(alone.nll) == [4] and (alone.nll[4] == whole.nll[4]).all() and (whole.nll[1] != whole.nll[4]).any()
    assert (alone.photo[4] == whole.photo[4]).all() and "seen" not in alone.tags
    by_itself = [words for start in range(0, len(split), 3) for words in _write_after(run.model, split, start, writing)]
    assert [whole.written[t][story] for story in range(len(split)) for t in TS] == by_itself


def test_a_run_is_asked_in_the_precision_it_was_trained_in(make_run, monkeypatch):
    run, found = make_run(), {}
    monkeypatch.setattr("evaluate.evaluation.evaluation.pick_precision", lambda device: "bfloat16")
    config = json.loads((run / "config.json").read_text())
    for precision in ("float32", "bfloat16"):
        (run / "config.json").write_text(json.dumps({**config, "resolved": {"precision": precision}}))
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--sense", "2"]) == 0
        evaluation, _ = read_evaluation(run)
        assert evaluation["protocol"]["precision"] == precision
        found[precision] = evaluation["rows"]["model"]
    assert found["bfloat16"]["perplexity"]["value"] != found["float32"]["perplexity"]["value"]
    for metric in ("perplexity", "mse"):
        assert found["bfloat16"][metric]["value"] == pytest.approx(found["float32"][metric]["value"], rel=0.02)
    monkeypatch.undo()
    monkeypatch.setattr("evaluate.evaluation.evaluation.pick_precision", lambda device: "float32")
    assert main(["--run", str(run), "--no-meteor", "--no-page"]) == 0
    assert read_evaluation(run)[0]["protocol"]["precision"] == "float32"  # what this device lacks is not made up


def _write_after(model, split, start, writing):
    """The captions after frames 1..4 of three stories, story by story, written without any row."""
    batch = split.dataset.__getitems__(range(start, min(start + 3, len(split))))
    keys = (batch["story_index"].numpy()[:, None] * len(TS) + np.arange(len(TS))).ravel()
    with torch.inference_mode():
        captions = write_captions(model.text_decoder, Context.of(model.encode(batch)).flatten(), writing, keys)
    return [[split.words.vocabulary[index] for index in caption.token_ids] for caption in captions]


def test_the_command_writes_its_files_and_prints_every_baseline(make_run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    run = make_run(stories={"train": 30, "val": 10, "test": 50}, bad_photos=(3, 40))
    assert main(["--run", str(run), "--no-meteor", "--resamples", "50"]) == 0
    evaluation, lines = read_evaluation(run)
    printed, tables = capsys.readouterr().out, (run / "eval-test.md").read_text()
    for row in ("train mean", "copy last frame", "mean of inputs", "ridge from last frame and caption",
                "recency blend", "ridge from all inputs", "text-only LSTM",
                "constant caption", "nearest train story", "unigram", "trigram", "tag prior", "copy last tags",
                "linear probe", "no tags", "chance", "model, inputs permuted", "human"):
        assert row in evaluation["rows"] and row[:18] in printed and f"| {row} |" in tables, row
    assert not [line for line in printed.splitlines() if len(line) > 100 and str(run) not in line]
    model_line = next(line for line in tables.splitlines() if line.startswith("| model |"))
    assert "[" in model_line and str(run / "eval-test.md") in printed
    assert evaluation["protocol"]["stories"] == 50 and evaluation["protocol"]["albums"] == 25
    assert evaluation["protocol"]["units"] == 25  # two stories tell the same photos in every album of this folder
    model = evaluation["rows"]["model"]
    for metric in ("mse", "t1.mse", "r1_all", "mrr_all", "1_of_5", "bleu_4", "cider", "perplexity", "tags_next.map",
                   "tags_seen.map", "t0.tags_seen.map", "agreement.predicted_retrieved", "caption_1_of_5"):
        score = model[metric]
        assert score["low"] - 1e-12 <= score["value"] <= score["high"] + 1e-12, metric
        assert score["low"] < score["high"] or metric == "r1_all", metric  # nobody untrained finds one of 250 photos
    assert model["ssim"]["value"] is None and "--data" in model["ssim"]["reason"]
    assert model["meteor"]["value"] is None and model["meteor"]["reason"]
    assert len(lines) == 200 and {line["t"] for line in lines} == {1, 2, 3, 4}
    assert {"story_id", "album_id", "photos", "caption", "written", "tags", "tags_seen", "tags_next", "retrieved",
            "rank_album", "rank_all", "nll", "tokens"} <= lines[0].keys()
    nll, tokens = (sum(line[name] for line in lines if line["t"] == 4) for name in ("nll", "tokens"))
    assert model["perplexity"]["value"] == pytest.approx(math.exp(nll / tokens))
    assert model["perplexity_known"]["value"] == pytest.approx(model["perplexity"]["value"])  # no word is <UNK> here


@pytest.mark.parametrize("task, places", [("next", (0, 1, 2, 3)), ("next", (3,)), ("tell", (0, 1, 2, 3, 4))])
def test_likelihood_of_true_captions_and_of_their_known_words(make_run, task, places):
    run = load_run(make_run(settings={"task": task}))
    split = EvaluatedSplit(Features.open(Path(run.features)), "default", "test")
    batch = split.dataset.__getitems__(np.arange(6))
    batch["token_ids"][:, :, 2] = UNK
    with torch.inference_mode():
        outputs = run.model(batch)
        found = score_true_captions(run.model, outputs, batch["token_ids"], places)
    frames, logits = run.model.target_frames(batch["token_ids"])[:, places, 1:], outputs["caption_logits"][:, places]
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 2), frames.flatten(), ignore_index=PAD,
                                             reduction="none").view(frames.shape).double()
    torch.testing.assert_close(found[0], nats.sum(dim=-1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], nats.sum(dim=-1) - nats[:, :, 1], rtol=1e-5, atol=1e-5)


def test_numbers_do_not_depend_on_the_batch(make_run):
    run = make_run(bad_photos=(46,))
    found = []
    for size in ("1", "64"):
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--batch-size", size]) == 0
        found.append(read_evaluation(run)[0]["rows"])
    for row, metrics in found[0].items():
        for metric, score in metrics.items():
            expected = score["value"] if score["value"] is None else pytest.approx(score["value"], rel=1e-4, abs=1e-5)
            assert found[1][row][metric]["value"] == expected, (row, metric)


def test_tags_left_out_of_training_are_scored_in_no_row(make_run):
    notes, scores = {}, {}
    for name, settings in (("all", {}), ("fewer", {"leave_out_tags": "action"})):
        run = make_run(name, settings)
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0", "--sense", "0"]) == 0
        evaluation, _ = read_evaluation(run)
        notes[name] = [note for note in evaluation["protocol"]["notes"] if "take no part in training" in note]
        scores[name] = {metric for row in evaluation["rows"].values() for metric in row}
    assert not notes["all"] and len(notes["fewer"]) == 1
    assert "tags_next.action_f1" in scores["all"] and "tags_next.object_f1" in scores["fewer"]
    assert not any("action" in metric for metric in scores["fewer"])


def test_few_albums_are_said_to_prove_nothing(make_run, capsys):
    run = make_run()
    assert main(["--run", str(run), "--no-meteor", "--no-page"]) == 0
    evaluation, _ = read_evaluation(run)
    assert "Nothing is proven here: 3 albums" in capsys.readouterr().out
    assert evaluation["rows"]["model"]["mse"]["low"] is None
    assert not any(score["better"] for row in evaluation["differences"].values() for score in row.values())


def test_another_recipe_or_words_is_refused_with_the_fields(make_run, make_features, capsys):
    run, other = make_run(), make_features("other", seed=5)
    assert main(["--run", str(run), "--features", str(other)]) == 2
    message = capsys.readouterr().err
    assert "words" in message and "seed" in message and "--words-from" in message and message.count("\n") == 1
    assert not (run / "eval-test.json").exists()


def test_other_photos_are_a_warning_and_strict_refuses_them(make_run, make_features, caplog, capsys):
    run, other = make_run(), make_features("other", bad_photos=(50,))
    arguments = ["--run", str(run), "--features", str(other), "--no-meteor", "--no-page"]
    assert main(arguments) == 0 and "not those that run" in caplog.text
    note = next(note for note in read_evaluation(run)[0]["protocol"]["notes"] if "not those that run" in note)
    assert "are fitted on this folder's train and val" in note
    assert main([*arguments, "--strict"]) == 2 and "leave out --strict" in capsys.readouterr().err


def test_missing_photos_are_masked_or_left_out(make_run):
    run = make_run(bad_photos=(45, 49))  # photos 1 and 5 of the first test album
    counts = {}
    for missing in ("mask", "drop"):
        assert main(["--run", str(run), "--no-meteor", "--no-page", "--missing", missing]) == 0
        evaluation, lines = read_evaluation(run)
        counts[missing] = evaluation["protocol"]["stories"], len(lines), evaluation["rows"]["model"]["r1_all"]["n"]
    assert counts["mask"][:2] == (6, 24) and counts["drop"][:2] == (4, 16)
    assert counts["mask"][2] == counts["drop"][2] == 2


def check_text_alone(run: Path, stories: int) -> None:
    evaluation, lines = read_evaluation(run)
    rows, model = evaluation["rows"], evaluation["rows"]["model"]
    assert evaluation["protocol"]["stories"] == stories and len(lines) == 4 * stories
    for metric in ("mse", "r1_album", "mrr_all", "t1.r10_all", "1_of_5", "tags_seen.map"):
        assert model[metric]["value"] is None and "no usable photo" in model[metric]["reason"], metric
    assert model["ssim"]["value"] is None and model["ssim"]["reason"]
    for row in ("model", "unigram", "trigram", "text-only LSTM"):
        assert rows[row]["perplexity"]["value"] > 1 and rows[row]["perplexity_known"]["value"] > 1
    assert rows["constant caption"]["bleu_1"]["value"] is not None
    assert rows["tag prior"]["tags_next.map"]["value"] is not None and model["tags_next.map"]["value"] is not None
    assert model["agreement.predicted_written"]["n"] and "agreement.predicted_retrieved" not in model
    assert not {"copy last frame", "train mean", "recency blend", "nearest train story", "linear probe"} & set(rows)
    assert any("no baselines that look at photos" in note for note in evaluation["protocol"]["notes"])
    assert {line["rank_all"] for line in lines} == {None} and not any(line["retrieved"] for line in lines)


def test_a_folder_without_any_photo_is_scored_on_its_text(make_run, capsys):
    run = make_run(bad_photos=tuple(range(60)))
    assert main(["--run", str(run), "--no-meteor"]) == 0
    check_text_alone(run, 6)
    assert "text-only LSTM" in capsys.readouterr().out and (run / "report.html").exists()


def test_real_stories_without_photos_are_scored_on_their_text(realdata, tmp_path):
    raw = json.loads((realdata / "vist" / "test.subset.story-in-sequence.json").read_text())
    albums = sorted({record[0]["album_id"] for record in raw["annotations"]})[:40]
    raw["annotations"] = [record for record in raw["annotations"] if record[0]["album_id"] in albums]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.story-in-sequence.json").write_text(json.dumps(raw))  # dealt into three by albums
    extract(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "features"), "--backbone",
             "tests.tiny_backbone:factory", "--weights", "random", "--max-missing", "1"])
    run = write_run(tmp_path / "run", tmp_path / "features")
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]) == 0
    check_text_alone(run, read_evaluation(run)[0]["protocol"]["stories"])
    rows = read_evaluation(run)[0]["rows"]
    assert rows["text-only LSTM"]["perplexity"]["value"] < rows["unigram"]["perplexity"]["value"]
    assert rows["unigram"]["unknown_share"]["value"] > 0.03 and rows["model"]["r1_album"]["n"] == 0


def test_pixels_of_copying_and_of_chance_stand_beside_those_of_the_model(tmp_path):
    data = write_dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 4})
    extract(["--data", str(data), "--out", str(tmp_path / "features"), "--backbone", "tests.tiny_backbone:factory",
             "--weights", "random"])
    run = write_run(tmp_path / "run", tmp_path / "features")
    assert main(["--run", str(run), "--data", str(data), "--no-meteor", "--no-page"]) == 0
    rows = read_evaluation(run)[0]["rows"]
    for row in ("model", "copy last frame", "chance"):
        assert 0 < rows[row]["ssim"]["value"] < 1 and 0 < rows[row]["psnr"]["value"] < 60, row


def test_val_is_evaluated_without_a_word_of_test(make_run, monkeypatch):
    run, found = make_run(), []

    def choose(*arguments: object, **settings: object) -> np.ndarray | None:
        found.append(choose_thresholds(*arguments, **settings))
        return found[-1]
    monkeypatch.setattr("evaluate.evaluation.scoring.choose_thresholds", choose)
    assert main(["--run", str(run), "--split", "val", "--no-meteor", "--no-page"]) == 0
    assert "from the other half" in read_evaluation(run, "val")[0]["protocol"]["thresholds"]
    assert not (run / "eval-test.json").exists()
    assert {thresholds.ndim for thresholds in found if thresholds is not None} == {2}  # each story its own half's


def test_a_folder_without_train_or_val_still_evaluates(make_run):
    run = make_run(stories={"test": 6})
    assert main(["--run", str(run), "--no-meteor", "--no-page"]) == 0
    evaluation, _ = read_evaluation(run)
    assert "ridge from last frame" not in evaluation["rows"] and evaluation["protocol"]["thresholds"].startswith("0.5")


@pytest.mark.parametrize("arguments, said", [
    ([], "--run"), (["--run", "nowhere"], "make train"), (["--run", "nowhere", "--top-p", "0"], "top_p"),
    (["--run", "nowhere", "--split", "moon"], "--split"), (["--run", "nowhere", "--seed", "-1"], "seed")])
def test_bad_input_is_one_sentence(arguments, said, capsys):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
