"""Endings and orders by a model whose surprise is known: what is chosen, what is drawn, what counts as chance."""
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.folder import Features
from evaluate import story_sense
from evaluate.__main__ import main
from evaluate.split import EvaluatedSplit
from evaluate.story_sense import ORDERS, draw_endings, measure_surprise, rate_order, score_cloze, score_ordering
from tests.tiny_runs import write_run
from train.runs import load_run


@pytest.fixture
def folder(make_features: Callable[..., Path]) -> Path:
    torch.set_num_threads(1)
    return make_features(stories={"train": 4, "val": 4, "test": 12}, stories_per_album=1, bad_photos=(41,))


@pytest.fixture
def split(folder: Path) -> EvaluatedSplit:
    return EvaluatedSplit(Features.open(folder), "default", "test")


def test_surprise_is_the_unweighted_loss(folder, split, tmp_path):
    model = load_run(write_run(tmp_path / "run", folder)).model
    batch = split.dataset.__getitems__(np.arange(4))
    both, photo, caption = measure_surprise(model, batch, "cpu")
    with torch.inference_mode():
        outputs = model(batch)
    expected = (outputs["predicted_features"][2, 3] - model.standardise(batch["image_features"][2, 4])).square().mean()
    assert photo[2, 3] == pytest.approx(expected.item(), rel=1e-5)
    target = batch["token_ids"][2, 4, 1:]
    loss = torch.nn.functional.cross_entropy(outputs["caption_logits"][2, 3], target, ignore_index=0)
    assert caption[2, 3] == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(both, photo + caption)
    assert photo[0, 0] == 0  # photo 41 is missing: the second frame of the first test story


def pretend(monkeypatch: pytest.MonkeyPatch, surprise: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let surprise be a function of the photos' first features (B, K) -> (B, K - 1), in all parts."""
    def measure(model: object, batch: dict, device: str) -> np.ndarray:
        return np.stack([surprise(batch["image_features"][..., 0].numpy().astype(float))] * 3)
    monkeypatch.setattr(story_sense, "measure_surprise", measure)


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


def test_rating_an_order_by_hand():
    assert rate_order(np.arange(5)) == (1.0, 1.0, 1.0)
    assert rate_order(np.arange(5)[::-1]) == (-1.0, 0.0, 0.0)
    assert rate_order(np.array([1, 0, 2, 3, 4])) == pytest.approx((0.9, 0.9, 0.0))
    assert np.mean([rate_order(order) for order in ORDERS], axis=0) == pytest.approx([0, 0.5, 1 / 120])


def test_the_command_prints_it_beside_chance(folder, tmp_path, capsys):
    run = write_run(tmp_path / "run", folder)
    assert main(["--run", str(run), "--no-meteor", "--no-page", "--no-baselines", "--sense", "2"]) == 0
    printed = capsys.readouterr().out
    chance = next(line for line in printed[printed.index("story sense"):].splitlines() if line.startswith("chance"))
    assert chance.split()[-3:] == ["0.000", "0.500", "0.008"]
