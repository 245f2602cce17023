"""Listing runs: what differs is shown, what is shared is not, broken ones are told."""
import json

from data.files import write_json
from evaluate.__main__ import main
from tests.tiny_runs import write_run


def test_runs_are_listed_with_what_differs_and_their_numbers(make_features, tmp_path, capsys, caplog):
    folder, root = make_features(), tmp_path / "runs"
    for name, weight in (("a", 0.3), ("b", 1.0)):
        run = write_run(root / name, folder, tag_weight=weight, lr=0.01)
        for epoch, loss in ((1, 3.0), (2, 2.0 + weight)):
            with open(run / "metrics.jsonl", "a") as file:
                file.write(json.dumps({"epoch": epoch, "val": {"image": 1.0, "text": loss - 1, "total": 9.0}}) + "\n")
    write_json(root / "a" / "eval-val.json", {"rows": {"model": {"cider": {"value": 0.25}}}})
    write_json(root / "b" / "eval-val.json", {"rows": {"model": {"cider": {"value": 9.0}}}})
    write_json(root / "b" / "eval-test.json", {"rows": {"model": {"cider": {"value": 0.5}}}})
    broken = root / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    assert main(["runs", str(root)]) == 0
    where, _, *heading, _, first, second = capsys.readouterr().out.splitlines()
    assert where == f"Runs below {root}" and all(len(line) <= 100 for line in (*heading, first, second))
    assert heading[-1].split() == ["run", "tag_weight", "epochs", "best", "val", "scored", "on", "CIDEr-D"]
    assert first.split() == ["a", "0.3", "2", "of", "8", "2.300", "val", "0.250"]
    assert second.split() == ["b", "1.0", "2", "of", "8", "3.000", "test", "0.500"]
    assert "broken" in caplog.text


def test_nothing_to_list_is_one_sentence(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 2 and "make train" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "nowhere")]) == 2 and "nowhere" in capsys.readouterr().err
