"""A grid of trainings: what is read, what is trained again, what is measured and written."""
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import Features
from evaluate.__main__ import main
from evaluate.ablation.grid import DEFAULT_GRID, Training, plan_trainings, read_grid, spread_fractions
from evaluate.ablation.plots import find_curves
from evaluate.ablation.runner import Ablation, list_left_out, measure_ablation
from evaluate.ablation.table import format_text, list_records
from evaluate.processes import Processes, share_cores
from tests.tiny_runs import TINY
from train.order import draw_curriculum
from train.run_folder.runs import read_record

TINY_TOML = ", ".join(f"{name} = {value}" for name, value in TINY.items())
GRID = f"""
reference = "whole"
seeds = [1, 2]
base = {{ {TINY_TOML}, epochs = 1, batch_size = 8 }}
[rows]
whole = {{}}
"no text!" = {{ use_text = false }}
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_a_grid_is_trained_once_and_goes_on(grid, started, make_features, tmp_path, capsys):
    folder, out = make_features(stories={"train": 8, "val": 44}), tmp_path / "out"
    arguments = ["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(out), "--resamples", "50"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert len(started) == 8 and sorted(path.name for path in out.iterdir() if path.is_dir()) == ["no-text", "whole"]
    assert all(name in printed for name in ("whole", "no text!", "CIDEr-D", "perplexity", "val loss", "±", "22 albums"))
    assert main(arguments) == 0 and len(started) == 8  # all is there
    (out / "no-text" / "seed-2" / "eval-val.json").unlink()
    assert main(arguments) == 0 and len(started) == 10
    assert started[-1][:1] == ["evaluate"] and started[-2][:1] == ["train"]
    rows = list(csv.DictReader((out / "ablation.csv").open()))
    assert {row["row"] for row in rows} == {"whole", "no text!"}
    text = next(row for row in rows if row["row"] == "no text!" and row["metric"] == "perplexity")
    assert float(text["low"]) < float(text["difference"]) < float(text["high"]) and 0 < float(text["p_holm"]) <= 1
    assert (out / "ablation.md").read_text().count("\n| ") == 4  # heading, rule, two rows
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    grid.write_text(GRID.replace("epochs = 1", "epochs = 2"))
    capsys.readouterr()
    assert main(arguments) == 2
    assert "epochs: 1 there, 2 here" in capsys.readouterr().err and len(started) == 10


def test_a_grid_of_runs_that_tell_is_held_against_one_row_too(grid, started, make_features, tmp_path, capsys):
    grid.write_text(GRID.replace("[1, 2]", "[1]").replace("epochs = 1", 'epochs = 1, task = "tell"'))
    folder, out = make_features(stories={"train": 8, "val": 44}), tmp_path / "out"
    arguments = ["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(out), "--resamples", "50"]
    assert main(arguments) == 0 and len(started) == 4 and "22 albums" in capsys.readouterr().out
    rows = {(row["row"], row["metric"]): row for row in csv.DictReader((out / "ablation.csv").open())}
    for row, run in (("whole", "whole"), ("no text!", "no-text")):
        folder = out / run / "seed-1"
        table = json.loads((folder / "eval-val.json").read_text())["rows"]["model"]
        for metric in ("cider", "bleu_4", "perplexity", "perplexity_known", "tags_next.micro_f1", "tags_seen.micro_f1"):
            assert float(rows[row, metric]["mean"]) == pytest.approx(table[metric]["value"]), metric
        epoch = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        assert float(rows[row, "val loss"]["mean"]) == pytest.approx(epoch["val"]["text"])
    assert float(rows["no text!", "perplexity"]["low"]) <= float(rows["no text!", "perplexity"]["high"])


def test_a_learning_curve_trains_what_the_grid_has_not(grid, started, make_features, tmp_path, capsys):
    grid.write_text(GRID.partition('"no text!"')[0].replace("[1, 2]", "[1]"))
    folder, out = make_features(stories={"train": 24, "val": 44}), tmp_path / "out"
    arguments = ["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(out), "--resamples", "50"]
    assert main(arguments) == 0 and len(started) == 2 and not (out / "learning-curve.png").exists()
    assert main([*arguments, "--fraction", "1", "0.25", "0.5"]) == 0 and len(started) == 6
    rows = list(csv.DictReader((out / "learning-curve.csv").open()))
    assert list(dict.fromkeys(row["row"] for row in rows)) == [
        "whole, 25 % of the albums", "whole, 50 % of the albums", "whole"]
    assert rows[-1]["difference"] == "" and float(rows[0]["p"]) <= 1
    assert (out / "learning-curve.png").read_bytes().startswith(b"\x89PNG") and (out / "ablation.md").exists()
    assert "shares of the train albums" in capsys.readouterr().out
    quarter = read_record(out / "whole-25-of-the-albums" / "seed-1").stories["train"]
    assert 0 < quarter < read_record(out / "whole" / "seed-1").stories["train"]


def test_rows_that_differ_in_their_share_alone_are_a_curve(grid, tmp_path):
    grid.write_text(GRID + 'half = { fraction = 0.5 }\n"half, no text" = { fraction = 0.5, use_text = false }\n')
    read = read_grid(grid)
    found = find_curves(Ablation(read, tmp_path, {}, {}, {}, {}, 0, []))
    assert found == {"whole": [(0.5, "half"), (1.0, "whole")], "no text!": [(0.5, "half, no text"), (1.0, "no text!")]}
    assert spread_fractions(read, [0.3]).reference == "whole, 30 % of the albums"


def test_a_run_of_another_folder_is_refused(grid, started, make_features, tmp_path, capsys):
    folder, out = make_features(stories={"train": 8, "val": 44}), tmp_path / "out"
    arguments = ["ablate", "--grid", str(grid), "--out", str(out), "--resamples", "50", "--features"]
    assert main([*arguments, str(folder)]) == 0
    other = make_features("other", stories={"train": 8, "val": 44}, seed=1)
    assert main([*arguments, str(other)]) == 2
    assert "folder's words, seed: 0 there, 1 here" in capsys.readouterr().err and len(started) == 8
    lines = (out / "whole" / "seed-2" / "predictions-val.jsonl").read_text().splitlines(keepends=True)
    (out / "whole" / "seed-2" / "predictions-val.jsonl").write_text("".join(lines[8:]))  # evaluated with a limit
    assert main([*arguments, str(folder)]) == 2
    assert "row 'whole', seed 2: expected predictions for the 176" in capsys.readouterr().err


@pytest.mark.parametrize("switch", ["contrastive_weight = 0.1", "curriculum = 0.5", "word_dropout = 0.1",
                                    "synonym_swaps = 0.2", "scheduled_sampling = 0.2", "word_attention = true",
                                    "fraction = 0.5", "missing = 'mask'", "views = true"])
def test_a_row_may_change_any_setting_of_training(switch, grid, tmp_path):
    grid.write_text(GRID + f"switched = {{ {switch} }}\n")
    planned = [training for training in plan_trainings(read_grid(grid), tmp_path) if training.row == "switched"]
    name, value = switch.split(" = ")
    wanted = "True" if value == "true" else value.strip("'")
    assert [str(getattr(training.config, name)) for training in planned] == [wanted, wanted]


def test_processes_side_by_side_share_the_cores(monkeypatch):
    monkeypatch.setattr("evaluate.processes.count_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert share_cores(1)["OMP_NUM_THREADS"] == "5"
    shared = share_cores(3)
    assert (shared["OMP_NUM_THREADS"], shared["OMP_WAIT_POLICY"]) == ("2", "PASSIVE")
    assert share_cores(20)["OMP_NUM_THREADS"] == "1"


def test_what_is_stopped_is_told_and_nothing_else_begins(tmp_path):
    processes, begun = Processes(share_cores(1)), tmp_path / "begun"
    statement = f"open({str(begun)!r}, 'w').close(); __import__('time').sleep(60)"
    with open(tmp_path / "log", "w") as words, ThreadPoolExecutor(1) as worker:
        code = worker.submit(processes.call, ["timeit", "-n", "1", "-r", "1", statement], words)
        while not begun.exists():
            time.sleep(0.01)
        processes.stop()
        assert code.result(timeout=20) == -signal.SIGTERM
        assert processes.call(["this"], words) == -signal.SIGTERM
    assert (tmp_path / "log").read_text() == ""


def test_a_process_that_is_killed_is_told_and_the_next_one_begins(tmp_path):
    processes, begun = Processes(share_cores(1)), tmp_path / "begun"
    statement = f"open({str(begun)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(60)"
    with open(tmp_path / "log", "w") as words, ThreadPoolExecutor(1) as worker:
        code = worker.submit(processes.call, ["timeit", "-n", "1", "-r", "1", statement], words)
        while not begun.exists() or not begun.read_text():
            time.sleep(0.01)
        beside = processes.call(["this"], words)
        os.kill(int(begun.read_text()), signal.SIGKILL)
        assert code.result(timeout=20) == -signal.SIGKILL and beside == 0
        assert processes.call(["timeit", "-n", "1", "1 / 0"], words) == 1
    said = (tmp_path / "log").read_text()
    assert "The Zen of Python" in said and "ZeroDivisionError" in said


def test_a_failed_training_is_told_with_its_last_words(grid, make_features, tmp_path, capsys, monkeypatch):
    def fail(self: Processes, arguments: list[str], words: IO[str]) -> int:
        words.write("epoch 1\nerror: the loss is no number\n")
        words.flush()
        return 1
    monkeypatch.setattr(Processes, "call", fail)
    folder = make_features()
    assert main(["ablate", "--features", str(folder), "--grid", str(grid), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "row 'whole', seed 1: training ended with code 1 and said: error: the loss is no number" in message


def test_the_grid_that_comes_along_is_valid(tmp_path):
    grid = read_grid(DEFAULT_GRID)
    planned = plan_trainings(grid, tmp_path)
    assert len(planned) == len(grid.rows) * len(grid.seeds) and grid.reference == "full model"
    assert [training.seed for training in planned[:len(grid.rows)]] == [grid.seeds[0]] * len(grid.rows)


@pytest.mark.parametrize("text, said", [
    ("rows = 3", "[rows]"), ("[rows]", "[rows]"), ("[rows]\na = {}\nb = {}", "the same"), ("nonsense", "TOML"),
    ("reference = 'x'\n[rows]\na = {}", "'a'"), ("seeds = []\n[rows]\na = {}", "seeds"),
    ("seeds = [1, 1]\n[rows]\na = {}", "seeds"), ("tag_weight = 1\n[rows]\na = {}", "'tag_weight'"),
    ("[rows]\na = { tag_wieght = 1.0 }", "did you mean 'tag_weight'"), ("[rows]\na = { lr = 'x' }", "row 'a'"),
    ("[rows]\na = { lr = -1.0 }", "row 'a'"), ("[rows]\n'a b' = {}\n'a-b' = { lr = 0.1 }", "rename")])
def test_a_bad_grid_says_where(text, said, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        plan_trainings(read_grid(path), tmp_path / "out")
    assert said in str(error.value)


def write_predictions(training: Training, written: str, said: list[str]) -> None:
    """A run's predictions on 30 albums, all of one caption and the same tags, and a val loss."""
    training.run_path.mkdir(parents=True)
    lines = [{"story_id": f"s{album}", "album_id": f"a{album}", "t": 4, "photos": [f"p{album}"],
              "written": f"{written} number {album if training.row == 'varied' else 1} is there now",
              "caption": "a dog runs", "nll": 3.0 + album, "tokens": 4,
              "rank_all": 1 + (album + training.seed) % 5, "tags": ["dog", "run"], "tags_next": said}
             for album in range(30)]
    (training.run_path / "predictions-val.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (training.run_path / "metrics.jsonl").write_text(json.dumps(
        {"epoch": 1, "seconds": 1.0, "val": {"image": 1.0, "text": 2.0}}) + "\n")


@pytest.fixture
def measured(tmp_path) -> Ablation:
    path = tmp_path / "grid.toml"
    path.write_text("seeds = [1, 2, 3]\n[rows]\nplain = {}\nvaried = { scheduled_sampling = 0.2 }\n"
                    "\"no tags of actions\" = { leave_out_tags = 'action' }\n")
    grid = read_grid(path)
    planned = plan_trainings(grid, tmp_path / "out")
    for training in planned:
        write_predictions(training, f"dog {training.seed}", ["dog"] if "actions" in training.row else ["dog", "run"])
    return measure_ablation(grid, planned, tmp_path / "out", 200, 1, ["run"])


def test_free_writing_is_judged_and_more_is_neither_better_nor_worse(measured):
    records = {(record["row"], record["metric"]): record for record in list_records(measured)}
    assert records["varied", "distinct_2"]["verdict"] == "more"
    assert records["varied", "self_repetition"]["verdict"] == "less"
    assert records["varied", "distinct_2"]["low"] > 0 and records["varied", "perplexity"]["verdict"] == ""
    assert {"cider", "repetition", "mrr_all"} <= {metric for _, metric in records}
    assert " >" in format_text(measured) and " <" in format_text(measured)


def test_a_row_is_not_held_to_tags_it_was_trained_without(measured):
    differences = measured.differences["no tags of actions"]["tags_next.micro_f1"]
    assert measured.estimates["plain"]["tags_next.micro_f1"].value == 1 and differences.value == 0
    assert "F1 without the tags that a row was trained without: run." in format_text(measured)
    whole = measure_ablation(measured.grid, measured.trainings, measured.out, 200, 1)
    assert whole.differences["no tags of actions"]["tags_next.micro_f1"].value < 0


def test_the_tags_that_any_row_leaves_out_are_found(grid, make_features, tmp_path):
    features = Features.open(make_features())
    assert list_left_out(plan_trainings(read_grid(grid), tmp_path / "a"), features) == []
    grid.write_text(GRID + "fewer = { leave_out_tags = 'action' }\n")
    found = list_left_out(plan_trainings(read_grid(grid), tmp_path / "b"), features)
    categories = features.words().tag_categories
    assert found and {categories[name] for name in found} == {"action"}
    assert len(found) == sum(category == "action" for category in categories.values())


def test_the_table_fits(measured, monkeypatch):
    for width in (80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        assert max(map(len, format_text(measured).splitlines())) <= width


def test_the_curriculum_of_the_study_makes_as_many_updates_as_its_reference():
    grid = read_grid(DEFAULT_GRID.with_name("study_grid.toml"))
    row, whole = grid.rows["curriculum"], grid.rows[grid.reference]["epochs"]
    seen = sum(len(draw_curriculum(np.arange(1000), epoch, row["epochs"], row["curriculum"]))
               for epoch in range(1, row["epochs"] + 1)) / 1000
    assert seen == pytest.approx(whole, rel=0.02)


@pytest.mark.slow
def test_real_processes_side_by_side(grid: Path, make_features: Callable[..., Path], tmp_path: Path):
    folder = make_features(stories={"train": 8, "val": 44})
    command = [sys.executable, "-m", "evaluate", "ablate", "--features", str(folder), "--grid", str(grid), "--jobs",
               "2"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])
    assert ended.returncode == 0, ended.stderr
    assert (folder.parent / "ablations" / "grid" / "ablation.md").exists() and "4 of 4" in ended.stderr


def _heed_interrupts():
    """A suite started in a shell's background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_grid_ends_its_trainings_and_goes_on(number, grid, make_features, tmp_path):
    """The interrupt reaches the trainings; the same command then ends with the runs of an undisturbed one."""
    folder = make_features(stories={"train": 200, "val": 44})
    grid.write_text(GRID.replace("epochs = 1", "epochs = 6").replace("[1, 2]", "[1]"))
    command = [sys.executable, "-m", "evaluate", "ablate", "--features", str(folder), "--grid", str(grid), "--jobs",
               "2", "--out"]
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen([*command, str(tmp_path / "disturbed")], cwd=root, stderr=subprocess.PIPE, text=True,
                               preexec_fn=_heed_interrupts)
    with process:
        metrics = tmp_path / "disturbed/whole/seed-1/metrics.jsonl"
        while not metrics.exists() or not metrics.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == 130 and "goes on" in process.stderr.read()
    assert "interrupted" in (tmp_path / "disturbed/whole/seed-1.log").read_text()
    for name in ("disturbed", "undisturbed"):
        ended = subprocess.run([*command, str(tmp_path / name)], capture_output=True, text=True, cwd=root)
        assert ended.returncode == 0, ended.stderr
    for path in ("whole/seed-1", "no-text/seed-1"):
        first, second = (tmp_path / name / path / "best.safetensors" for name in ("disturbed", "undisturbed"))
        assert first.read_bytes() == second.read_bytes(), path
