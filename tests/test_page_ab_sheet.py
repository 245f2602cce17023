"""The blind sheet: nothing on it gives a run away, and answers come back as rates, intervals and agreement."""
import json
import re
import time

import pytest

from data.errors import UserError
from data.folder.folder import Features
from evaluate.__main__ import main
from evaluate.config import AbConfig
from evaluate.page.ab_answers import agreement_kappa, raw_agreement, read_ab_answers, wilson_interval
from evaluate.page.ab_sheet import key_path_of, write_ab_sheet
from tests.chromium import ABSENT, Chromium
from tests.page_runs import add_thumbnails, write_evaluated_run, write_told_run


@pytest.fixture
def sheet(tmp_path, make_features):
    """A sheet over two runs with telling names, with its key."""
    folder = add_thumbnails(make_features(stories={"test": 60}), side=96)
    runs = [write_evaluated_run(tmp_path / name, folder, seed=seed)
            for name, seed in (("zebra-transformer", 1), ("walrus-baseline", 2))]
    path = write_ab_sheet(*runs, Features.open(folder), tmp_path / "sheets" / "sheet.html",
                          AbConfig(num_stories=24, seed=5))
    return path, json.loads(key_path_of(path).read_text())


def write_answers(folder, name, key, choose, sheet=None):
    """A judge who names run "a", "b" or "tie" for every question."""
    sides = {str(index): next((side for side in ("left", "right") if question[side] == choose(index)), "tie")
             for index, question in enumerate(key["questions"])}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"sheet": sheet or key["sheet"], "judge": name, "answers": sides}))
    return path


def test_the_sheet_gives_no_run_away(sheet):
    path, key = sheet
    source = path.read_text("utf-8")
    assert "zebra" not in source and "walrus" not in source and "predictions" not in source
    assert not re.search(r"https?:|test-album|\"story", source)
    assert "default-src &#39;none&#39;" in source
    content = json.loads(re.search(r'id="content">(.*?)</script>', source)[1])
    assert set(content) == {"sheet", "questions"}
    assert all(set(question) == {"photos", "captions", "left", "right"} for question in content["questions"])
    assert len(content["questions"]) == len(key["questions"]) == 24


def test_sides_are_balanced_albums_differ_and_the_key_tells_who_wrote_what(sheet, tmp_path):
    path, key = sheet
    lefts = [question["left"] for question in key["questions"]]
    assert lefts.count("a") == lefts.count("b") == 12
    assert lefts != ["a", "b"] * 12  # drawn, not taken in turns
    assert len({question["album_id"] for question in key["questions"]}) == 24
    content = json.loads(re.search(r'id="content">(.*?)</script>', path.read_text("utf-8"))[1])
    written = {name: {line["story_id"]: line["written"] for line in map(json.loads, (
        tmp_path / run / "predictions-test.jsonl").read_text().splitlines()) if line["t"] == 4}
        for name, run in (("a", "zebra-transformer"), ("b", "walrus-baseline"))}
    for shown, question in zip(content["questions"], key["questions"]):
        for side in ("left", "right"):
            said = written[question[side]][question["story_id"]]
            assert re.sub(r"\W", "", shown[side]).lower() == re.sub(r"\W", "", said).lower()


def test_one_seed_gives_one_sheet_and_another_gives_another(sheet, tmp_path):
    path, key = sheet
    runs = [tmp_path / "zebra-transformer", tmp_path / "walrus-baseline"]
    again, other = (write_ab_sheet(*runs, Features.open(tmp_path / "features"), tmp_path / f"{seed}.html",
                                   AbConfig(num_stories=24, seed=seed)) for seed in (5, 6))
    assert again.read_bytes() == path.read_bytes()
    assert json.loads(key_path_of(other).read_text())["questions"] != key["questions"]


def test_answers_become_rates_with_intervals(sheet, tmp_path):
    path, key = sheet
    judges = [write_answers(tmp_path, "ann", key, lambda index: "a"),
              write_answers(tmp_path, "bob", key, lambda index: "a" if index < 18 else "b" if index < 22 else "tie")]
    result = read_ab_answers(key_path_of(path), judges)
    assert result.votes == {"a": 42, "b": 4, "tie": 2} and result.num_questions == 24
    assert result.win_rate == pytest.approx((42 + 1) / 48)
    assert result.low is not None and 0.75 < result.low < result.win_rate < result.high < 1
    assert result.decided_rate == 1.0 and result.decided_high == pytest.approx(1.0)  # the four draws are undecided
    assert result.agreement == pytest.approx(18 / 24)
    # Cohen: observed 18/24, by chance Ann always says a, Bob in 18 of 24: kappa 0
    assert result.kappa == pytest.approx(0.0) and result.kappa_questions == 24


def test_under_twenty_albums_there_is_no_interval(sheet, tmp_path):
    path, key = sheet
    partial = write_answers(tmp_path, "ann", key, lambda index: "b")
    raw = json.loads(partial.read_text())
    raw["answers"] = {name: side for name, side in raw["answers"].items() if int(name) < 5}
    partial.write_text(json.dumps(raw))
    result = read_ab_answers(key_path_of(path), [partial])
    assert (result.win_rate, result.low, result.kappa, result.agreement) == (0.0, None, None, None)
    assert result.num_questions == 5


def test_statistics_agree_with_published_examples():
    # Fleiss 1971's worked example as tabulated on Wikipedia: 10 subjects, 14 raters, 5 categories, kappa 0.210
    table = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
             [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    rows = [[category for category, count in enumerate(row) for _ in range(count)] for row in table]
    assert agreement_kappa(rows) == pytest.approx(0.210, abs=5e-4)
    assert raw_agreement(rows) == pytest.approx(0.378, abs=5e-4)
    # Cohen: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: kappa 0.4
    assert agreement_kappa([[0, 0]] * 20 + [[0, 1]] * 5 + [[1, 0]] * 10 + [[1, 1]] * 15) == pytest.approx(0.4)
    assert agreement_kappa([[1, 1]] * 4) is None and agreement_kappa([]) is None
    # Wilson's interval for 8 of 10 (Newcombe 1998 tabulates such): 0.4902 to 0.9433
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) == (None, None)


@pytest.mark.parametrize("spoil, message", [
    (lambda raw: raw.update(sheet="0" * 64), "answers to another"),
    (lambda raw: raw["answers"].update({"99": "left"}), "questions 0 to 23"),
    (lambda raw: raw["answers"].update({"0": "both"}), "found 'both'"),
    (lambda raw: raw.update(answers=[]), "expected a judge's answers"),
    (lambda raw: raw.update(answers={}), "found none in 1 files")])
def test_answers_that_do_not_fit_are_refused(sheet, tmp_path, spoil, message):
    path, key = sheet
    answers = write_answers(tmp_path, "ann", key, lambda index: "a")
    raw = json.loads(answers.read_text())
    spoil(raw)
    answers.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=message):
        read_ab_answers(key_path_of(path), [answers])


def test_a_judge_counts_once_and_runs_must_differ(sheet, tmp_path):
    path, key = sheet
    answers = write_answers(tmp_path, "ann", key, lambda index: "a")
    with pytest.raises(UserError, match="a second of 'ann'"):
        read_ab_answers(key_path_of(path), [answers, answers])
    run = tmp_path / "zebra-transformer"
    with pytest.raises(UserError, match="wrote different sentences"):
        write_ab_sheet(run, run, Features.open(tmp_path / "features"), tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_whole_stories_are_refused(tmp_path, make_features, capsys):
    folder = make_features(stories={"test": 6})
    runs = [str(write_told_run(tmp_path / name, folder)) for name in ("a", "b")]
    assert main(["ab-sheet", *runs, "--features", str(folder), "--out", str(tmp_path / "sheet.html")]) == 2
    assert "of the task 'next', found whole stories" in capsys.readouterr().err
    assert not (tmp_path / "sheet.html").exists()


def test_the_command_writes_and_reads(sheet, tmp_path, capsys):
    _, key = sheet
    runs = [str(tmp_path / "zebra-transformer"), str(tmp_path / "walrus-baseline")]
    assert main(["ab-sheet", *runs, "--out", str(tmp_path / "cli.html"), "--stories", "24", "--seed", "5"]) == 0
    answers = write_answers(tmp_path, "ann", key, lambda index: "a")
    assert main(["ab-sheet", "--key", str(tmp_path / "cli.key.json"), "--answers", str(answers)]) == 0
    said = capsys.readouterr().out
    assert "Win rate of A 1.000" in said and "Judges prefer A" in said
    assert main(["ab-sheet", runs[0]]) == 2
    assert "expected two runs" in capsys.readouterr().err


@pytest.mark.skipif(bool(ABSENT), reason=ABSENT)
def test_a_judge_answers_by_keyboard_and_saves(sheet, tmp_path):
    path, key = sheet
    browser = Chromium()
    try:
        browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        browser.open(path, width=390, height=844)
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        browser.run("document.getElementById('judge').focus()")
        browser.press(*"Ann B")
        browser.run("document.activeElement.blur()")
        for place, arrow in enumerate(("ArrowLeft", "ArrowRight", "ArrowDown")):
            browser.wait(f"document.getElementById('place').textContent.startsWith('Question {place + 1} ')")
            browser.press(arrow)
        browser.wait("document.getElementById('place').textContent.startsWith('Question 4 of 24, 3 answered')")
        browser.open(path)  # opened again: nothing is lost
        assert browser.run("return document.getElementById('judge').value") == "Ann B"
        browser.run("document.getElementById('save').click()")
        saved, end = tmp_path / "saved" / "answers-Ann-B.json", time.monotonic() + 10
        while not saved.exists():
            assert time.monotonic() < end, "nothing was saved"
            time.sleep(0.05)
        assert browser.messages() == []
    finally:
        browser.close()
    raw = json.loads(saved.read_text())
    assert raw == {"sheet": key["sheet"], "judge": "Ann B", "answers": {"0": "left", "1": "right", "2": "tie"}}
    assert read_ab_answers(key_path_of(path), [saved]).num_questions == 3
