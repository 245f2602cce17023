"""A model that reads captions' frozen vectors: it learns from them, and other vectors than its own are refused."""
import json

import numpy as np
import pytest

from data.errors import UserError
from data.folder.folder import Features
from evaluate.__main__ import main as evaluate
from evaluate.captions.detokenise import detokenise
from extract.command import main as extract
from tests.photo_dataset import write_dataset
from tests.test_no_leak import rewrite
from tests.tiny_runs import write_run
from tests.tiny_text_encoder import add_text_features
from tests.tiny_training import TINY, interrupted_before, losses_of, tiny, weights_of
from train.config import make_config
from train.run_folder.runs import load_run, read_metrics, read_record, read_weights
from train.session import run_training
from train.start.takeover import take_over

pytestmark = pytest.mark.usefixtures("one_thread")
HOW = ("beside", "instead")


def tell_the_next_photo(folder):
    """Every caption's vector is the feature of the photo that follows, as nothing else tells it."""
    features = Features.open(folder)
    words = features.words()

    def look_up(split, story, order):
        photo = words.split(split).photo.take(np.array([story]))[0]
        return features.feature.take(photo[[min(order + 1, 4)]])[0]
    return add_text_features(folder, look_up, features.width)


@pytest.mark.parametrize("how", HOW)
def test_what_only_the_vectors_tell_is_learned(make_features, tmp_path, how):
    folder = tell_the_next_photo(make_features(stories={"train": 80, "val": 20}, width=6, stories_per_album=1))
    settings = dict(epochs=40, batch_size=8, lr=1e-2, dropout=0.0, tag_dropout=0.0, text_weight=0.0)
    deaf = run_training(tiny(**settings), folder, tmp_path / "deaf")
    run = run_training(tiny(**settings, text_features=how), folder, tmp_path / "run")
    best = [min(line["val"]["image"] for line in read_metrics(path)) for path in (run, deaf)]
    assert best[0] < 0.5 < 0.9 < best[1], best


def test_the_vectors_are_standardised_by_train_alone(make_features, tmp_path):
    folder = add_text_features(make_features())
    run = run_training(tiny(text_features="beside", epochs=1, limit=8), folder, tmp_path / "run")
    model = load_run(run).model
    vectors = Features.open(folder).words().text_features("train").all()[:8].reshape(-1, 6).astype(np.float64)
    np.testing.assert_allclose(model.text_vectors.mean, vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(model.text_vectors.std, vectors.std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("how", HOW)
def test_stopped_and_gone_on_with_equals_undisturbed(make_features, tmp_path, how):
    folder = add_text_features(make_features())
    config = tiny(text_features=how, save_every=1)
    whole = run_training(config, folder, tmp_path / "whole")
    with interrupted_before(2, 1):
        run_training(config, folder, tmp_path / "run")
    run_training(config, folder, tmp_path / "run")
    assert weights_of(whole) == weights_of(tmp_path / "run") and losses_of(whole) == losses_of(tmp_path / "run")
    assert read_record(whole).text["fields"]["weights"] == "1" * 64


def test_a_run_without_them_is_what_it_was(make_features, tmp_path):
    plain = run_training(tiny(), make_features(), tmp_path / "plain")
    beside = run_training(tiny(), add_text_features(make_features("other")), tmp_path / "run")
    assert weights_of(plain) == weights_of(beside)
    assert "text" not in json.loads((beside / "config.json").read_text())


def test_other_vectors_than_a_runs_own_are_refused(make_features, tmp_path, capsys):
    folder = make_features()
    with pytest.raises(UserError, match='text features of split .train..*found none; make them with: make features '
                                        'FEATURES=.* ARGS="--text-encoder NAME", or leave --text-features out'):
        run_training(tiny(text_features="beside"), folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = run_training(tiny(text_features="beside", epochs=1), add_text_features(folder), tmp_path / "run")
    add_text_features(folder, weights="2" * 64)
    told = f"weights: {'1' * 64} there, {'2' * 64} here"
    with pytest.raises(UserError, match=f"features folder's text, {told}"):
        run_training(tiny(text_features="beside", epochs=1), folder, run)
    assert evaluate(["--run", str(run)]) == 2
    said = capsys.readouterr().err
    assert "expected the text features it was made with" in said and told in said
    assert 'ARGS="--text-encoder tests.tiny_text_encoder:factory", or train on this one with' in said
    bare = make_features("bare")
    assert evaluate(["--run", str(run), "--features", str(bare)]) == 2
    said = capsys.readouterr().err
    assert f"weights: {'1' * 64} there, absent here" in said and "found none (absent) in features folder" in said


@pytest.mark.parametrize("settings, message", [
    ({"task": "tell"}, "text_features: expected captions that are read, found task tell"),
    ({"use_text": False}, "text_features: expected captions that are read, found task next, use_text False"),
    ({"text_features": "instead", "word_attention": True}, "word_attention with text_features instead"),
    ({"text_features": "both"}, "text_features: expected one of off, beside, instead, found 'both'"),
])
def test_settings_that_contradict_them_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        tiny(**{"text_features": "beside", **settings})


@pytest.mark.parametrize("preset", ["paper", "base", "small"])
def test_no_preset_reads_them_unless_it_is_asked(preset):
    assert make_config({"preset": preset}).text_features == "off"


def test_a_run_to_begin_from_says_where_its_captions_went_through_another_encoder(make_features, tmp_path):
    folder = add_text_features(make_features())
    run = run_training(tiny(text_features="beside", epochs=1), folder, tmp_path / "run")
    loaded, words = load_run(run), Features.open(folder).words()
    loaded.model.text_vectors.mean += 5
    kept = loaded.model.text_vectors.mean.clone()
    said = take_over(loaded.model, run, words, loaded.recipe, loaded.text)
    assert "other text features" not in said and loaded.model.text_vectors.mean.equal(kept)
    other = Features.open(add_text_features(folder, weights="2" * 64)).words().text
    assert "other text features or none" in take_over(loaded.model, run, words, loaded.recipe, other)
    plain = run_training(tiny(epochs=1), folder, tmp_path / "plain")
    said = take_over(loaded.model, plain, words, loaded.recipe, loaded.text)
    assert "not taken over (absent there or of another shape): fusion.first.weight" in said


def test_they_are_evaluated_and_permuted_with_their_frames(make_features, tmp_path):
    folder = add_text_features(make_features(stories={"train": 12, "val": 6, "test": 10}))
    run = write_run(tmp_path / "run", folder, preset="paper", text_features="instead")
    assert evaluate(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]) == 0
    rows = json.loads((run / "eval-test.json").read_text())["rows"]
    before = rows["model"]["mse"]["value"]
    assert rows["model, inputs permuted"]["mse"]["value"] != before

    def change(arrays):
        arrays["feature"][:, 0] += 1
    rewrite(folder, "words/default/text-test-00000.h5", "text", change)
    assert evaluate(["--run", str(run), "--no-meteor", "--no-page", "--resamples", "0"]) == 0
    assert json.loads((run / "eval-test.json").read_text())["rows"]["model"]["mse"]["value"] != before


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A data folder, its features with text features, and a run that reads them."""
    root = tmp_path_factory.mktemp("extracted")
    data = write_dataset(root / "data")
    extract(["--data", str(data), "--out", str(root / "features"), "--backbone", "tests.tiny_backbone:factory",
             "--weights", "random", "--batch-size", "4", "--precision", "float32", "--text-encoder",
             "tests.tiny_text_encoder:factory"])
    return data, run_training(make_config({**TINY, "text_features": "beside"}), root / "features", root / "run")


def test_captions_of_ones_own_go_through_the_runs_encoder(extracted, capsys):
    data, run = extracted
    assert evaluate(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    line = next(line for line in map(json.loads, (run / "predictions-test.jsonl").read_text().splitlines())
                if line["t"] == 4)
    features = Features.open(run.parent / "features")
    stories = features.words().split("test")
    place = [name.decode() for name in stories.story_id.all()].index(line["story_id"])
    captions = [flag for order in range(4) for flag in ("--caption", stories.caption(place, order))]
    told = ["story", *(str(data / "images" / f"{photo}.jpg") for photo in line["photos"][:4]), "--run", str(run),
            "--backbone", "tests.tiny_backbone:factory"]
    capsys.readouterr()
    assert evaluate([*told, *captions]) == 2
    assert "add --text-encoder tests.tiny_text_encoder:factory, or leave --caption out" in capsys.readouterr().err
    assert evaluate([*told, *captions, "--text-encoder", "tests.tiny_text_encoder:other"]) == 2
    assert f"weights: {'1' * 64} there, {'2' * 64} here" in capsys.readouterr().err
    assert evaluate([*told, *captions, "--text-encoder", "tests.tiny_text_encoder:factory"]) == 0
    assert f"5  {detokenise(line['written'].split())}" in capsys.readouterr().out
    assert evaluate(told) == 0, "without captions nothing is encoded"


def test_own_captions_are_read_as_the_folder_has_them(extracted):
    from evaluate.own_story.captions import open_own_encoder, read_captions
    run = load_run(extracted[1])
    words = Features.open(run.path.parent / "features").words()
    captions = tuple(words.split("test").caption(0, order) for order in range(3))
    encoder = open_own_encoder(run, "tests.tiny_text_encoder:factory", "cpu")
    read = read_captions(run, (captions[0], " ", *captions[1:]), 5, encoder).numpy()[0]
    assert np.array_equal(read[[0, 2, 3]], words.text_features("test").take(np.array([0]))[0][:3])
    assert not read[[1, 4]].any()


def test_fine_tuning_goes_on_with_them(extracted, tmp_path):
    from train.finetune.command import read_command
    from train.finetune.session import run_finetuning
    data, run = extracted
    tuned = run_finetuning(read_command([
        "--run", str(run), "--data", str(data), "--features", str(run.parent / "features"), "--out",
        str(tmp_path / "tuned"), "--epochs", "1", "--batch-size", "4", "--readers", "1"]))
    assert load_run(tuned).text == load_run(run).text
    before, after = (read_weights(path / "best.safetensors")[0] for path in (run, tuned))
    assert after["text_vectors.mean"].equal(before["text_vectors.mean"])
