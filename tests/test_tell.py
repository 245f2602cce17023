"""Whole stories: written for every story, scored by album, readable by the scorer of published files."""
import json

import numpy as np
import pytest
import torch

from evaluate.__main__ import main
from tests.tiny_runs import write_run


@pytest.fixture
def run(make_features, tmp_path):
    torch.set_num_threads(1)
    return write_run(tmp_path / "run", make_features(stories={"train": 4, "val": 4, "test": 44}), task="tell")


def test_stories_are_written_and_scored_by_album(run, capsys):
    assert main(["--run", str(run), "--no-meteor", "--resamples", "50"]) == 0
    printed = capsys.readouterr().out
    evaluation = json.loads((run / "eval-test.json").read_text())
    lines = [json.loads(line) for line in (run / "predictions-test.jsonl").read_text().splitlines()]
    assert len(lines) == 44 and all(len(line["sentences"]) == len(line["photos"]) == 5 for line in lines)
    assert lines[3]["story"] == " ".join(lines[3]["sentences"]) and lines[3]["nll"] > 0
    assert {"model", "constant story", "human", "model, scored as human"} == set(evaluation["rows"])
    assert all(name in printed for name in ("constant story", "human", "perpl.", "Story   "))
    model = evaluation["rows"]["model"]
    assert model["cider"]["n"] == 22 and model["bleu_1"]["low"] is not None
    assert 1 < model["perplexity_known"]["value"] < np.inf
    assert evaluation["protocol"]["task"] == "tell" and (run / "report.html").exists()
    people = evaluation["differences"]["human"]["bleu_1"]["value"]
    rows = evaluation["rows"]
    assert people == pytest.approx(rows["model, scored as human"]["bleu_1"]["value"] - rows["human"]["bleu_1"]["value"])
    assert "model, scored as human" not in evaluation["differences"]


def test_cautions_are_told_beside_the_numbers(run, make_features, capsys):
    other = make_features("other", stories={"train": 4, "val": 4, "test": 44}, bad_photos=(50,))
    arguments = ["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]
    assert main([*arguments, "--features", str(other), "--limit", "9"]) == 0
    notes = " | ".join(json.loads((run / "eval-test.json").read_text())["protocol"]["notes"])
    assert "not those that run" in notes and "--limit 9" in notes and "too few for intervals" in notes


def test_the_scorer_gives_the_same_numbers(run, tmp_path):
    from data.folder.folder import Features
    assert main(["--run", str(run), "--no-meteor", "--resamples", "0"]) == 0
    words = Features.open(run.parent / "features").words().split("test")
    references: dict[str, list[str]] = {}
    for place, album_id in enumerate(words.album_id.all()):
        references.setdefault(album_id.decode(), []).append(" ".join(words.caption(place, k) for k in range(5)))
    (tmp_path / "references.json").write_text(json.dumps(references))
    assert main(["score", "--predictions", str(run / "predictions-test.jsonl"), "--references",
                 str(tmp_path / "references.json"), "--no-meteor", "--out", str(tmp_path / "score.json")]) == 0
    scored = json.loads((tmp_path / "score.json").read_text())["rows"]["system"]
    evaluated = json.loads((run / "eval-test.json").read_text())["rows"]["model"]
    for metric in ("bleu_1", "bleu_4", "rouge_l", "cider"):
        assert evaluated[metric]["value"] == pytest.approx(scored[metric]["value"]), metric
    assert np.isfinite(evaluated["perplexity"]["value"])
