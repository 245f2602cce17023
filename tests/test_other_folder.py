"""A run refuses a features folder of another recipe or other words, with commands to type."""
import pytest

from data.errors import UserError
from data.folder import Features
from data.identity import identify
from tests.tiny_runs import write_run
from train.runs import load_run, require_same_folder


@pytest.mark.parametrize("kind, remedy", [("recipe", "FEATURES={own}, or "), ("words", "--words-from {own}, or ")])
def test_the_refusal_names_what_differs_and_the_commands(make_features, tmp_path, kind, remedy):
    own, other = make_features(), tmp_path / "other"
    run = load_run(write_run(tmp_path / "run", own))
    features = Features.open(own)
    found = {"recipe": features.recipe, "words": features.words().identity}
    require_same_folder(run, tmp_path / "run", *found.values(), other)
    found[kind] = identify({**found[kind]["fields"], "size": 299})
    with pytest.raises(UserError) as caught:
        require_same_folder(run, tmp_path / "run", *found.values(), other)
    message = str(caught.value)
    assert "size: " in message and "299 here" in message and remedy.format(own=own) in message
    assert message.endswith(f"train on this one with: make train FEATURES={other} RUN=ANOTHER")
