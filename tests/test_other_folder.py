"""A run on another folder than its own: refused for another recipe or other words, evaluated where both agree."""
import json

import pytest

from data.errors import UserError
from data.folder.folder import Features
from data.folder.identity import identify
from evaluate.__main__ import main as evaluate
from extract.command import main as main_of_extract
from tests.photo_dataset import write_dataset
from tests.tiny_runs import write_run
from train.run_folder.runs import load_run, open_features, require_same_folder


def test_of_a_folder_that_was_moved_the_flag_is_said_that_names_it(make_features, tmp_path, capsys):
    own = make_features()
    run = write_run(tmp_path / "run", own)
    moved = own.rename(tmp_path / "moved")
    assert evaluate(["--run", str(run)]) == 2
    assert f"trained on at {own}, found none there: it was moved or removed; say where it lies now with --features " \
        in capsys.readouterr().err
    loaded = load_run(run)
    assert open_features(loaded, moved).root == moved
    with pytest.raises(UserError, match=f"expected a features folder at {own}, found none; make it with"):
        open_features(loaded, own)


@pytest.mark.parametrize("kind, remedy", [("recipe", "FEATURES={own}, or "), ("words", "--words-from {own}, or ")])
def test_the_refusal_names_what_differs_and_the_commands(make_features, tmp_path, kind, remedy):
    own, other = make_features(), tmp_path / "other"
    run = load_run(write_run(tmp_path / "run", own))
    features = Features.open(own)
    found = {"recipe": features.recipe, "words": features.words()}
    require_same_folder(run, tmp_path / "run", *found.values(), other)
    if kind == "recipe":
        found[kind] = identify({**found[kind]["fields"], "size": 299})
    else:
        found[kind].identity = identify({**found[kind].identity["fields"], "size": 299})
    with pytest.raises(UserError) as caught:
        require_same_folder(run, tmp_path / "run", *found.values(), other)
    message = str(caught.value)
    assert "size: " in message and "299 here" in message and remedy.format(own=own) in message
    assert message.endswith(f"train on this one with: make train FEATURES={other} RUN=ANOTHER")


def test_a_run_is_evaluated_on_a_folder_with_its_words(tmp_path):
    def extract(data, out, *flags):
        main_of_extract(["--data", str(data), "--out", str(out), "--backbone", "tests.tiny_backbone:factory",
                         "--weights", "random", *flags])
        return out
    own = extract(write_dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 2}), tmp_path / "own")
    run = write_run(tmp_path / "run", own)
    data = write_dataset(tmp_path / "other_data", {"test": 4}, seed=5)
    other = extract(data, tmp_path / "other", "--words-from", str(own))
    assert evaluate(["--run", str(run), "--features", str(other), "--no-meteor", "--no-page", "--resamples", "0"]) == 0
    evaluation = json.loads((run / "eval-test.json").read_text())
    assert evaluation["protocol"]["albums"] == 4
    assert evaluation["rows"]["model"]["perplexity"]["value"] > 1
    notes = " | ".join(evaluation["protocol"]["notes"])
    assert "not those that run" in notes and "no baselines that learn" in notes
