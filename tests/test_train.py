"""What a training learns: equal runs, statistics, the best epoch, every switch, what it begins from."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.folder.folder import Features
from tests.tiny_training import interrupted_before, losses_of, tiny, weights_of
from train import session, trainer
from train.batches import StoryDataset
from train.run_folder.runs import build_model, load_run, measure_sizes, read_metrics, read_weights
from train.session import run_training
from train.settings import read_command
from train.start.statistics import measure_features

pytestmark = pytest.mark.usefixtures("one_thread")

_plain: list = []


@pytest.fixture
def plain_losses(make_features, tmp_path):
    """What comes out without any switch; trained once."""
    if not _plain:
        _plain.append(losses_of(run_training(tiny(), make_features("plain"), tmp_path / "plain_run")))
    return _plain[0]


def test_two_runs_with_one_seed_give_equal_weights(make_features, tmp_path):
    features = make_features()
    first = run_training(tiny(), features, tmp_path / "a")
    second = run_training(tiny(), features, tmp_path / "b")
    other = run_training(tiny(seed=1), features, tmp_path / "c")
    assert weights_of(first) == weights_of(second) != weights_of(other)
    assert losses_of(first) == losses_of(second)


def test_the_best_epoch_is_chosen_by_unweighted_photo_and_caption_loss_on_val(make_features, tmp_path):
    run = run_training(tiny(epochs=6, lr=0.05, tag_weight=5.0), make_features(), tmp_path / "run")
    chosen = [line["val"]["image"] + line["val"]["text"] for line in read_metrics(run)]
    assert load_run(run).epoch == int(np.argmin(chosen)) + 1
    assert int(np.argmin(chosen)) + 1 != 6, "the last epoch is best: the test shows nothing"


def test_validation_after_training_is_what_the_metrics_say(make_features, tmp_path):
    features = make_features()
    run = run_training(tiny(epochs=1), features, tmp_path / "run")
    loaded = load_run(run)
    judge = trainer.Trainer(loaded.config, loaded.model, session.join_world("cpu"), "float32")
    means = judge.summarise(judge.validate(StoryDataset(Features.open(features), "val", missing="mask")))
    assert means == pytest.approx(read_metrics(run)[0]["val"])


def test_it_overfits_four_stories(make_features):
    features = Features.open(make_features(stories={"train": 4, "val": 2}, stories_per_album=1))
    config = tiny(lr=1e-2, dropout=0.0, tag_dropout=0.0, fusion_dim=48, hidden_dim=48, image_decoder_dim=64)
    dataset = StoryDataset(features, "train")
    torch.manual_seed(0)
    model = build_model(config, measure_sizes(config, features.width, dataset.words))
    model.set_statistics(*measure_features(features, dataset.photo_rows(), config.std_floor))
    learner = trainer.Trainer(config, model, session.join_world("cpu"), "float32")
    for step in range(300):
        learner.step(dataset, np.arange(4), 1, step)
    means = learner.validate(dataset)
    assert all(means[name] < 0.05 for name in ("image", "text", "tag_next", "tag_seen")), means


def test_statistics_come_from_usable_train_photos_alone(make_features, tmp_path):
    path = make_features(bad_photos=(3,))
    run = run_training(tiny(epochs=1, missing="mask"), path, tmp_path / "run")
    features = Features.open(path)
    photos = np.setdiff1d(np.arange(30), [3])  # six albums of five
    rows = features.feature.take(photos).astype(np.float64)
    tensors, _ = read_weights(run / "best.safetensors")
    assert np.allclose(tensors["feature_mean"], rows.mean(axis=0), atol=1e-5)
    assert np.allclose(tensors["feature_std"], rows.std(axis=0), atol=1e-5)


def test_a_broken_loss_stops_the_run_names_the_term_and_keeps_the_last_good_state(make_features, tmp_path,
                                                                                  monkeypatch):
    features, config = make_features(), tiny(epochs=3, save_every=0)
    undisturbed = run_training(config, features, tmp_path / "a")
    original = trainer.StoryCriterion.text_loss
    calls = 0

    def text_loss(self, outputs):
        nonlocal calls
        calls += 1
        term = original(self, outputs)
        return replace(term, sum=term.sum * float("nan")) if calls == 6 else term  # 3 train, 1 val, then the second

    with monkeypatch.context() as patched:
        patched.setattr(trainer.StoryCriterion, "text_loss", text_loss)
        with pytest.raises(trainer.TrainingDiverged, match=r"epoch 2, batch 2.*text not finite \(image \d"):
            run_training(config, features, tmp_path / "b")
    state = torch.load(tmp_path / "b" / "last.pt", weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (2, 1)
    assert all(value.isfinite().all() for value in state["model"].values())
    assert weights_of(run_training(config, features, tmp_path / "b")) == weights_of(undisturbed)


def test_without_val_the_last_epoch_counts(make_features, tmp_path, caplog):
    features = make_features(stories={"train": 8})
    with caplog.at_level("WARNING"):
        run = run_training(tiny(), features, tmp_path / "run")
    assert "no val split" in caplog.text
    assert [line["val"] for line in read_metrics(run)] == [None, None] and load_run(run).epoch == 2


def test_with_no_photo_at_all_the_photo_loss_is_off_and_said_so(make_features, tmp_path, caplog):
    features = make_features(bad_photos=tuple(range(60)))
    with caplog.at_level("WARNING"):
        run = run_training(tiny(), features, tmp_path / "run")
    assert "photo loss is off" in caplog.text
    assert all(line["train"]["image"] is None and line["val"]["text"] > 0 for line in read_metrics(run))


def test_when_every_story_lacks_a_photo_the_way_out_is_named(make_features, tmp_path):
    features = make_features(stories={"train": 2, "val": 2}, bad_photos=(1,))
    with pytest.raises(UserError, match="--missing mask"):
        run_training(tiny(), features, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_early_stopping_ends_a_run_that_stands_still(make_features, tmp_path):
    run = run_training(tiny(epochs=40, early_stopping=2, lr=0.05, plateau_patience=1), make_features(),
                       tmp_path / "run")
    metrics = read_metrics(run)
    assert len(metrics) < 40 and load_run(run).epoch == len(metrics) - 2
    assert metrics[-1]["lr"] <= metrics[0]["lr"]


SWITCHES = [
    dict(use_text=False), dict(use_photos=False), dict(use_attention=False), dict(use_tag_embedding=False),
    dict(word_attention=True), dict(leave_out_tags="location"), dict(task="tell"), dict(contrastive_weight=0.5),
    dict(word_dropout=0.3), dict(synonym_swaps=0.5), dict(scheduled_sampling=0.5), dict(curriculum=0.8),
    dict(preset="base", steps=0, patience_steps=0), dict(photo_carry=True), dict(tag_carry=True),
    dict(tag_probe=True), dict(word_copying=True), dict(rare_as_unknown=0.9),
    dict(tag_start=True), dict(steps=9), dict(reader="streamed", block=2, window=2), dict(precision="bfloat16"),
    dict(fraction=0.5), dict(limit=7)]


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: "-".join(map(str, switch.items())))
def test_every_switch_trains_changes_the_result_is_recorded_and_goes_on_where_it_was_killed(
        make_features, tmp_path, plain_losses, switch):
    """Killed one batch after the first save of the second epoch."""
    features, config = make_features(), tiny(save_every=1, **switch)
    run = run_training(config, features, tmp_path / "run")
    assert losses_of(run) != plain_losses
    assert load_run(run).config == config == read_command(["--config", str(run / "config.json")]).config
    with interrupted_before(2, 1):
        run_training(config, features, tmp_path / "killed")
    assert torch.load(tmp_path / "killed" / "last.pt", weights_only=True)["progress"]["step"] == 1
    killed = run_training(config, features, tmp_path / "killed")
    assert weights_of(killed) == weights_of(run) and losses_of(killed) == losses_of(run)


def test_initial_weights_come_from_another_run_word_by_word(make_features, tmp_path, caplog):
    features = make_features()
    first = run_training(tiny(), features, tmp_path / "first")
    with caplog.at_level("INFO"):
        second = run_training(tiny(init=str(first), epochs=1, lr=1e-9), make_features("other", seed=5),
                              tmp_path / "second")
    assert "20 of 20 words and 51 of 51 tags" in caplog.text
    old, new = (read_weights(run / "best.safetensors")[0] for run in (first, second))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old if not name.startswith("feature_"))
    assert not torch.allclose(old["feature_mean"], new["feature_mean"])
    with caplog.at_level("INFO"):
        run_training(tiny(init=str(first), fusion_dim=24), features, tmp_path / "third")
    assert "not taken over" in caplog.text and "fusion.first.weight" in caplog.text
    (first / "best.safetensors").unlink()
    with pytest.raises(UserError, match="best.safetensors, found no such file"):
        run_training(tiny(init=str(first)), features, second, force=True)
    assert len(read_metrics(second)) == 1 and not (tmp_path / "second.1").exists(), "the run that was there stays"


def test_biases_of_known_words_and_tags_come_from_the_other_run(make_features, tmp_path):
    """Where a fresh model would begin on the shares of train, a taken-over one keeps what it had learned."""
    features = make_features()
    first = run_training(tiny(tag_start=True), features, tmp_path / "first")
    second = run_training(tiny(init=str(first), tag_start=True, epochs=1, lr=1e-9), features, tmp_path / "second")
    old, new = (read_weights(run / "best.safetensors")[0] for run in (first, second))
    for name in ("text_decoder.vocabulary.bias", "seen_head.3.bias", "next_head.3.bias"):
        torch.testing.assert_close(old[name], new[name], atol=1e-6, rtol=0)
