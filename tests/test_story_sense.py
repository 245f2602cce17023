"""Endings and orders by a model whose surprise is known: what is chosen, what is drawn, what counts as chance."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.folder.folder import Features
from evaluate.__main__ import main
from evaluate.split import EvaluatedSplit
from evaluate.stories import sense
from evaluate.stories.sense import (
    ORDERS,
    STEPS,
    draw_endings,
    rate_order,
    rate_surprises,
    score_cloze,
    score_ordering,
    surprise_of_endings,
    surprise_of_orders,
)
from tests.tiny_runs import write_run
from train.model.ngrams import NgramModel
from train.model.story_model import StoryModel
from train.model.text import Context
from train.run_folder.runs import load_run


@pytest.fixture
def folder(make_features: Callable[..., Path], one_thread: None) -> Path:
    return make_features(stories={"train": 4, "val": 4, "test": 12}, stories_per_album=1, bad_photos=(41,))


@pytest.fixture
def split(folder: Path) -> EvaluatedSplit:
    return EvaluatedSplit(Features.open(folder), "default", "test")


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> StoryModel:
    return load_run(write_run(tmp_path / "run", folder)).model


@pytest.mark.parametrize("settings", [
    {"reads_on": False, "word_copying": False, "ngram_blend": False}, {"reads_on": True, "word_copying": True,
                                                                       "ngram_blend": True}])
def test_a_true_word_told_alone_surprises_as_it_does_among_all(folder, split, tmp_path, settings):
    model = load_run(write_run(tmp_path / "run", folder, **settings)).model
    if model.text_decoder.ngrams is not None:
        V = len(split.words.vocabulary)
        model.text_decoder.ngrams.fill(NgramModel.fit(split.token[:6].reshape(-1, split.token.shape[-1]),
                                                      split.token[:0].reshape(0, split.token.shape[-1]), 3, V))
        model.text_decoder.ngram_share.fill_(0.4)
    batch = split.dataset.__getitems__(np.arange(12))
    with torch.inference_mode():
        outputs = model(batch)
        told = batch["token_ids"][:, 1:].flatten(0, 1)
        context, counts = Context.of(outputs), (batch["token_ids"] != 0).sum(dim=-1)
        found, _ = model.text_decoder.tell_surprise(context.flatten(), torch.arange(len(told)), told,
                                                    counts[:, 1:].flatten())
        in_stories = model.text_decoder.tell_stories(context, batch["token_ids"], counts, [0, 1, 2, 3]).flatten(0, 1)
    wanted = torch.nn.functional.cross_entropy(outputs["caption_logits"].flatten(0, 2), told[:, 1:].flatten(),
                                               ignore_index=0, reduction="none").view(told[:, 1:].shape)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(in_stories, wanted, rtol=1e-5, atol=1e-5)


def unweighted_loss(model: StoryModel, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """The model's own loss at frames 2 to 5, by a plain pass over the batch: (3, B, 4)."""
    with torch.inference_mode():
        outputs = model(batch)
    target = model.standardise(batch["image_features"][:, 1:])
    photo = (outputs["predicted_features"] - target).square().mean(dim=-1) * batch["photo_mask"][:, 1:]
    captions = batch["token_ids"][:, 1:, 1:]
    caption = torch.tensor([[torch.nn.functional.cross_entropy(logits, words, ignore_index=0)
                             for logits, words in zip(*frames)] for frames in zip(outputs["caption_logits"], captions)])
    return torch.stack([photo + caption, photo, caption]).numpy()


def test_surprise_at_an_ending_is_the_unweighted_loss(model, split):
    endings = np.array([[-1, (story + 5) % 12] for story in range(12)])
    found = surprise_of_endings(model, split, endings, 5, "cpu")
    batch = split.dataset.__getitems__(np.arange(12))
    np.testing.assert_allclose(found[..., 0], unweighted_loss(model, batch)[..., 3], rtol=1e-5)
    lent = {name: torch.cat([tensor[:, :4], tensor[endings[:, 1], 4:]], dim=1) if tensor.dim() > 1 else tensor
            for name, tensor in batch.items()}
    np.testing.assert_allclose(found[..., 1], unweighted_loss(model, lent)[..., 3], rtol=1e-5)


def test_surprise_at_an_order_is_that_of_the_reordered_story(model, split):
    batch = split.dataset.__getitems__(np.array([1, 7]))
    found = surprise_of_orders(model, batch, 7, "cpu")
    assert found.shape == (3, 2, 120, 4)
    for place in (0, 1, 57, 119):
        reordered = {name: tensor[:, ORDERS[place]] if tensor.dim() > 1 else tensor for name, tensor in batch.items()}
        np.testing.assert_allclose(found[..., place, :], unweighted_loss(model, reordered), rtol=1e-5)
    assert [len(step.comes) for step in STEPS] == [20, 60, 120, 120]


def test_a_frame_without_a_photo_surprises_by_its_caption(model, split):
    batch = split.dataset.__getitems__(np.arange(2))  # photo 41: the second frame of the first test story
    assert not batch["photo_mask"][0, 1] and unweighted_loss(model, batch)[1, 0, 0] == 0
    in_front = int(np.flatnonzero((ORDERS[:, :2] == [1, 0]).all(axis=1))[0])
    reordered = {name: tensor[:, ORDERS[in_front]] if tensor.dim() > 1 else tensor for name, tensor in batch.items()}
    np.testing.assert_allclose(surprise_of_orders(model, batch, 64, "cpu")[1, :, in_front],
                               unweighted_loss(model, reordered)[1], rtol=1e-5)


def pretend(monkeypatch: pytest.MonkeyPatch, surprise: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let surprise be a function of the photos' first features (B, K) -> (B, K - 1), in all parts."""
    def first_features(batch: dict) -> np.ndarray:
        return batch["image_features"][..., 0].numpy().astype(float)

    def of_endings(model: object, split: EvaluatedSplit, endings: np.ndarray, *_: object) -> np.ndarray:
        own = first_features(split.dataset.__getitems__(np.arange(len(split))))
        lent = own[np.where(endings < 0, np.arange(len(own))[:, None], endings), 4]
        found = [surprise(np.column_stack([own[:, :4], column]))[:, -1] for column in lent.T]
        return np.stack([np.stack(found, axis=-1)] * 3)

    def of_orders(model: object, batch: dict, *_: object) -> np.ndarray:
        x = first_features(batch)
        return np.stack([np.stack([surprise(x[:, order]) for order in ORDERS], axis=1)] * 3)
    monkeypatch.setattr(sense, "surprise_of_endings", of_endings)
    monkeypatch.setattr(sense, "surprise_of_orders", of_orders)


def test_a_model_that_knows_the_ending_chooses_it(split, monkeypatch):
    true = {tuple(row[:4]): row[4] for row in split.features.feature.take(
        split.units.photo.ravel()).reshape(12, 5, -1)[..., 0].astype(float)}
    pretend(monkeypatch, lambda x: np.stack([np.array([abs(row[4] - true[tuple(row[:4])]) for row in x])] * 4, axis=1))
    found = score_cloze(None, split, 5, "cpu")
    assert found["cloze.other_album.1_of_4"].draws[0] == found["cloze.other_album.1_of_2.photo"].draws[0] == 1
    assert found["cloze.other_album.1_of_4"].n == 12
    assert found["cloze.same_album.1_of_2"].n == 0  # one story an album here: nothing to lend
    pretend(monkeypatch, lambda x: np.zeros((len(x), 4)))
    found = score_cloze(None, split, 5, "cpu")
    assert found["cloze.other_album.1_of_4"].draws[0] == 0.25 and found["cloze.other_album.1_of_2"].draws[0] == 0.5


def test_lent_endings_come_from_where_they_should(make_features):
    features = Features.open(make_features("shared", stories={"train": 4, "test": 40}, stories_per_album=4))
    split = EvaluatedSplit(features, "default", "test")
    endings = draw_endings(split, "other_album")
    albums = np.array(split.units.album_ids)
    assert (endings >= 0).all() and (albums[endings] != albums[:, None]).all()
    assert all(len(set(split.candidate[row, 4].tolist())) == 3 for row in endings)
    assert (draw_endings(split, "same_album") == -1).all()  # its stories share the very ending


def test_a_model_that_knows_the_order_finds_it(split, monkeypatch):
    order = {tuple(sorted(row)): row.tolist() for row in split.features.feature.take(
        split.units.photo.ravel()).reshape(12, 5, -1)[..., 0].astype(float)}

    def knows(x: np.ndarray) -> np.ndarray:
        place = np.array([[order[tuple(sorted(row))].index(value) for value in row] for row in x])
        return np.abs(np.diff(place, axis=1) - 1)
    pretend(monkeypatch, knows)
    found = score_ordering(None, split, 50, "cpu", num_stories=8)
    assert found["ordering.exact"].draws[0] == found["ordering.spearman"].draws[0] == 1
    assert found["ordering.exact"].n == 8  # and none of them the story with a missing photo
    pretend(monkeypatch, lambda x: -knows(x))
    assert score_ordering(None, split, 50, "cpu", num_stories=8)["ordering.exact"].draws[0] == 0


CHANCE = pytest.approx([0.0, 0.5, 1 / 120], abs=1e-9)
FRAMES, PLACES = ORDERS[:, 1:], np.arange(4)


@pytest.mark.parametrize("surprise", [
    lambda random: np.full((9, 120, 4), 3.7),                                     # knows nothing
    lambda random: random.gamma(2, size=(9, 5))[:, FRAMES],                       # looks at single frames only
    lambda random: np.broadcast_to(random.gamma(2, size=4), (9, 120, 4)),         # knows the place only
    lambda random: random.gamma(2, size=(9, 5))[:, FRAMES] + random.gamma(2, size=4) * PLACES,
    lambda random: 9 + 1e-6 * random.random((9, 120, 4))],                        # rounding is no knowledge
    ids=["constant", "frame", "place", "frame and place", "rounding"])
def test_who_does_not_look_at_what_came_before_scores_chance(surprise):
    for rating in rate_surprises(surprise(np.random.default_rng(3))):
        assert rating.tolist() == CHANCE


def test_noise_scores_chance_on_average():
    ratings = rate_surprises(np.random.default_rng(4).random((4000, 120, 4)))
    assert (np.abs(ratings.mean(axis=0) - [0, 0.5, 1 / 120]) < [0.03, 0.015, 0.006]).all()


def test_who_knows_which_frame_follows_which_finds_the_order_whatever_the_frames_are_like():
    follows = (np.diff(ORDERS, axis=1) != 1).astype(float)  # surprised unless the right one came just before
    own = np.random.default_rng(5).gamma(2, size=(9, 5))    # and some frames surprise more than others
    assert rate_surprises(follows + 5 * own[:, FRAMES]).tolist() == [[1, 1, 1]] * 9


def test_a_model_whose_weights_are_all_zero_scores_chance(split, folder, tmp_path):
    model = load_run(write_run(tmp_path / "run", folder, preset="paper")).model  # base copies words seen all the same
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    found = score_ordering(model, split, 5, "cpu", num_stories=6)
    for part in ("", ".photo", ".caption"):
        assert [found[f"ordering.{name}{part}"].draws[0] for name in ("spearman", "pairwise", "exact")] == CHANCE
    endings = score_cloze(model, split, 5, "cpu")  # every caption surprises it alike; photos are as they are
    assert endings["cloze.other_album.1_of_4.caption"].draws[0] == 0.25
    assert endings["cloze.other_album.1_of_2.caption"].draws[0] == 0.5


def test_rating_an_order_by_hand():
    assert rate_order(np.arange(5)) == (1.0, 1.0, 1.0)
    assert rate_order(np.arange(5)[::-1]) == (-1.0, 0.0, 0.0)
    assert rate_order(np.array([1, 0, 2, 3, 4])) == pytest.approx((0.9, 0.9, 0.0))
    assert np.mean([rate_order(order) for order in ORDERS], axis=0) == pytest.approx([0, 0.5, 1 / 120])


def test_a_twentieth_is_put_in_order_unless_told_otherwise(split, monkeypatch):
    pretend(monkeypatch, lambda x: np.zeros((len(x), 4)))
    assert score_ordering(None, split, 50, "cpu")["ordering.exact"].n == 1  # of twelve, rounded up
    monkeypatch.setattr(sense, "SHARE_ORDERED", 1)
    monkeypatch.setattr(sense, "MOST_ORDERED", 5)
    assert score_ordering(None, split, 50, "cpu")["ordering.exact"].n == 5


def test_photos_that_several_stories_tell_are_put_in_order_once(make_features, monkeypatch):
    features = Features.open(make_features("shared", stories={"train": 4, "test": 40}, stories_per_album=4))
    pretend(monkeypatch, lambda x: np.zeros((len(x), 4)))
    assert score_ordering(None, EvaluatedSplit(features, "default", "test"), 50, "cpu", 40)["ordering.exact"].n == 10


def test_the_command_prints_it_beside_chance(folder, tmp_path, capsys):
    run = write_run(tmp_path / "run", folder)
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines", "--sense", "0"]) == 0
    assert "Story sense" not in capsys.readouterr().out
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines"]) == 0
    printed = capsys.readouterr().out
    chance = next(line for line in printed[printed.index("Story sense"):].splitlines() if line.startswith("chance"))
    assert chance.split()[-3:] == ["0.000", "0.500", "0.008"]
