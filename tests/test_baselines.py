"""Baselines: worked out by hand or against an independent solver, and never fitted on what they are scored on."""
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from data.errors import UserError
from data.folder.folder import Features
from evaluate.baselines import all_inputs, fitted, linear
from evaluate.baselines.all_inputs import AllInputs, fit_all_inputs
from evaluate.baselines.fitted import Baselines, choose_constant, copy_nearest, open_train
from evaluate.baselines.linear import bag_of_words, fit_linear, solve_ridge
from evaluate.captions.text_scores import score_units
from evaluate.config import TS
from evaluate.photos.retrieval import PhotoSpace
from evaluate.split import EvaluatedSplit
from train.model.ngrams import NgramModel

TOKENS = np.array([[1, 4, 5, 2, 0], [1, 4, 6, 2, 0], [1, 4, 5, 5, 2]])  # a b, a c, a b b


@pytest.fixture
def folder(make_features: Callable[..., Path]) -> tuple[dict[str, EvaluatedSplit], PhotoSpace]:
    features = Features.open(make_features(stories={"train": 40, "val": 12, "test": 14}, bad_photos=(2,)))
    splits = {name: EvaluatedSplit(features, "default", name, "drop" if name == "train" else "mask")
              for name in ("train", "val", "test")}
    return splits, PhotoSpace(features, np.full(16, 3.0), np.full(16, 2.0))


def test_unigram_by_hand():
    model = NgramModel.fit(TOKENS, TOKENS[:0], 1, 7)  # a 3, b 3, c and <UNK> a half, <END> 3 of 10, half of it 1 / 7
    chance = {word: 0.5 * count / 10 + 0.5 / 7 for word, count in ((4, 3), (5, 3), (6, 0.5), (3, 0.5), (2, 3))}
    assert model.nll(TOKENS[1:2])[0] == pytest.approx(-math.log(chance[4] * chance[6] * chance[2]))
    unknown = np.array([[1, 4, 3, 2, 0]])
    assert model.nll(unknown)[0] == pytest.approx(-math.log(chance[4] * chance[3] * chance[2]))
    assert model.nll(unknown, known=True)[0] == pytest.approx(-math.log(chance[4] * chance[2]))


def test_trigram_by_hand():
    model = NgramModel.fit(TOKENS, TOKENS[:0], 3, 7)
    # "c" after "<START> a": of its one time half is <UNK>'s; unigram .5/10, after "a" .5 of 3, after "<START> a" .5 of
    # 3, floor 1/7; weights 1/4 each
    first = (3 / 10 + 1 + 1 + 1 / 7) / 4
    second = (0.5 / 10 + 0.5 / 3 + 0.5 / 3 + 1 / 7) / 4
    third = (3 / 10 + 1 + 1 + 1 / 7) / 4
    assert model.nll(TOKENS[1:2])[0] == pytest.approx(-math.log(first * second * third))
    assert model.nll(np.array([[1, 4, 3, 2, 0]]))[0] == pytest.approx(model.nll(TOKENS[1:2])[0])  # as likely as "c"
    assert model.write(10) == [4, 5]  # a b, then <END> (3/10 + 2/3 + 1/2) before b (3/10 + 1/3 + 1/2)


def test_ngram_chances_sum_to_one_and_val_weighs_the_orders():
    random = np.random.default_rng(0)
    train = np.column_stack([np.ones(200, int), random.integers(4, 9, (200, 4)), np.full(200, 2)])
    val = np.column_stack([np.ones(50, int), random.integers(4, 9, (50, 4)), np.full(50, 2)])
    model = NgramModel.fit(train, val, 3, 9)
    words = np.arange(9)
    grams = np.column_stack([np.full(9, 4), np.full(9, 5), words])
    assert model.mix(grams).sum() == pytest.approx(1.0)
    grams[:, :2] = 8, 1  # a context that never occurred
    assert model.mix(grams).sum() == pytest.approx(1.0)
    even = NgramModel.fit(train, val[:0], 3, 9)
    assert model.nll(val).sum() < even.nll(val).sum()


def test_bag_of_words_leaves_reserved_and_rare_words_out():
    assert bag_of_words(np.array([[1, 4, 4, 6, 3, 9, 2, 0]]), 3).tolist() == [[1, 0, 1]]


def test_ridge_is_that_of_sklearn(folder, monkeypatch):
    splits, space = folder
    monkeypatch.setattr(linear, "PENALTIES", (0.05,))
    maps = fit_linear(splits["train"], splits["val"], space)
    train = splits["train"]
    photos = space.read(train.units.photo.ravel()).reshape(len(train), 5, -1)
    before, after = photos[:, :-1].reshape(-1, 16), photos[:, 1:].reshape(-1, 16)
    bags = maps.bags(train.token[:, :-1].reshape(-1, 30))
    for inputs, weights in ((before, maps.photo), (np.concatenate([before, bags], axis=1), maps.photo_and_words)):
        expected = Ridge(alpha=0.05 * len(before), fit_intercept=False).fit(inputs, after).coef_.T
        np.testing.assert_allclose(weights, expected, atol=1e-4)
    tags = train.tag.reshape(-1, train.tag.shape[-1]) - train.tag.mean(axis=(0, 1))
    flat = photos.reshape(-1, 16)
    expected = Ridge(alpha=0.05 * len(before), fit_intercept=False).fit(flat, tags).coef_.T
    np.testing.assert_allclose(maps.tags, expected, atol=1e-4)


def design(split, space, maps, t):
    """(S, t * (D + W)): photo and scaled words of the frames 1..t."""
    return np.concatenate([part for frame in range(t) for part in (
        space.read(split.units.photo[:, frame]), maps.bags(split.token[:, frame]))], axis=1)


@pytest.mark.parametrize("num_stories, num_primal", [(40, 1), (20, 0), (280, 4)])
def test_ridge_from_all_inputs_is_that_of_sklearn_in_both_forms(make_features, monkeypatch, num_stories, num_primal):
    features = Features.open(make_features(stories={"train": num_stories, "val": 12, "test": 14}, bad_photos=()))
    train, val, test = (EvaluatedSplit(features, "default", name) for name in ("train", "val", "test"))
    space = PhotoSpace(features, np.full(16, 3.0), np.full(16, 2.0))
    monkeypatch.setattr(all_inputs, "MOST_PENALTIES", (0.05,))
    maps = fit_linear(train, val, space)
    fitted = fit_all_inputs(train, val, space, maps)
    assert [len(weights) == num_stories for weights in fitted.weights].count(False) == num_primal
    for t, found in fitted.ridge(test, train, space, maps).items():
        expected = Ridge(alpha=0.05 * num_stories, fit_intercept=False).fit(
            design(train, space, maps, t), space.read(train.units.photo[:, t])).predict(design(test, space, maps, t))
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_blend_is_least_squares_and_leaves_frames_without_a_photo_out(folder):
    splits, space = folder
    train = splits["train"]
    fitted = fit_all_inputs(train, None, space, fit_linear(train, None, space))
    photo = space.read(train.units.photo.ravel()).reshape(len(train), 5, -1)
    columns = photo[:, :3].transpose(0, 2, 1).reshape(-1, 3)
    wanted = photo[:, 3].ravel()
    whole, broken = np.linalg.lstsq(columns, wanted)[0], np.linalg.lstsq(columns[:, [0, 2]], wanted)[0]
    usable = np.ones((len(train), 3), bool)
    usable[1, 1], usable[2] = False, False
    shown = photo[:, :3] * usable[..., None]
    found = fitted.blend(shown, usable)
    np.testing.assert_allclose(found[0], whole @ photo[0, :3], atol=1e-4)
    np.testing.assert_allclose(found[1], broken @ photo[1, [0, 2]], atol=1e-4)
    assert not found[2].any()


def test_blend_finds_the_frame_that_tells():
    frames = np.eye(5)
    frames[3, 4] = frames[4, 3] = 0.5  # frame 5 is half frame 4
    fitted = AllInputs(frames, (), np.zeros(0))
    assert fitted.shares(np.ones(4, bool), 4).tolist() == pytest.approx([0, 0, 0, 0.5])
    assert fitted.shares(np.array([True, True, True, False]), 4).tolist() == [0, 0, 0, 0]


@pytest.mark.filterwarnings("error")
def test_a_penalty_too_small_to_solve_well_is_judged_by_val_and_no_warning():
    inputs = np.ones((6, 4), np.float32) + np.eye(6, 4, dtype=np.float32) * 1e-3
    told = inputs[:, :1] * 2
    weights, penalty = solve_ridge(inputs.T @ inputs, inputs.T @ told, 6, (inputs, told), (1e-9, 1e-3))
    assert penalty in (1e-9, 1e-3) and np.abs(inputs @ weights - told).max() < 0.1


def test_penalty_is_the_one_that_errs_least_on_val(folder):
    splits, space = folder
    assert fit_linear(splits["train"], splits["val"], space).penalties[0] >= 10.0  # noise: shrink hard
    assert fit_linear(splits["train"], None, space).penalties.tolist() == [0.1] * 4


def test_constant_is_the_best_candidate_of_all(folder):
    splits, _ = folder
    chosen = choose_constant(splits["train"], splits["val"], 4, seed=1)
    references = [[splits["val"].caption_words[story][4] for story in stories]
                  for stories in splits["val"].units.stories_of()]

    def cider(caption: list[str]) -> float:
        return score_units([caption] * len(references), np.arange(len(references)), references).scores()["cider"]
    candidates = [words[4] for words in splits["train"].caption_words]
    assert len(candidates) <= fitted.NUM_FREQUENT + fitted.NUM_DRAWN and chosen in candidates
    assert cider(chosen) == pytest.approx(max(map(cider, candidates)))


def test_nearest_train_story_lends_its_next_caption(folder):
    splits, space = folder
    train = splits["train"]
    assert copy_nearest(train, train, space, 2)[5] in [train.caption_words[story][2] for story in (4, 5)]
    photos, queries = space.read(train.units.photo[:, 3]), space.read(splits["test"].units.photo[:, 3])
    cosine = (queries @ photos.T) / np.linalg.norm(photos, axis=1)
    best = cosine.max(axis=1, keepdims=True) - 1e-5 <= cosine
    for story, written in enumerate(copy_nearest(train, splits["test"], space, 4)):
        assert written in [train.caption_words[other][4] for other in np.flatnonzero(best[story])]


def test_frozen_rows_on_a_tiny_folder(folder):
    splits, space = folder
    test = splits["test"]
    rows = {row.name: row for row in Baselines.fit(splits["train"], splits["val"], splits["val"], space, 1).rows(test)}
    photo = space.read(test.units.photo.ravel()).reshape(len(test), 5, -1)
    for t in TS:
        assert not rows["train mean"].photo[t].any()
        np.testing.assert_allclose(rows["copy last frame"].photo[t], photo[:, t - 1])
        np.testing.assert_allclose(rows["mean of inputs"].photo[t], photo[:, :t].mean(axis=1), atol=1e-5)
        assert (rows["copy last tags"].tags["next"][t].probs == test.tag[:, t - 1]).all()
        np.testing.assert_allclose(rows["tag prior"].tags["next"][t].probs[3], splits["train"].tag[:, t].mean(axis=0))
        assert not rows["no tags"].tags["seen"][t].predicted.any()
        assert len({tuple(words) for words in rows["trigram"].written[t]}) == 1
        for name in ("unigram", "trigram", "text-only LSTM"):
            assert (rows[name].nll_known[t] <= rows[name].nll[t]).all()
        for name in ("recency blend", "ridge from all inputs"):
            assert rows[name].photo[t].shape == (14, 16) and np.isfinite(rows[name].photo[t]).all()
    assert set(rows["linear probe"].tags["seen"]) == {0, *TS} and "next" not in rows["linear probe"].tags


def test_mean_of_inputs_leaves_unusable_photos_out(make_features):
    features = Features.open(make_features(bad_photos=(45,)))
    space = PhotoSpace(features, np.full(16, 3.0), np.full(16, 2.0))
    train, test = (EvaluatedSplit(features, "default", name) for name in ("train", "test"))
    rows = {row.name: row for row in Baselines.fit(train, None, train, space, 1).rows(test)}
    photo = space.read(test.units.photo[0])
    np.testing.assert_allclose(rows["mean of inputs"].photo[3][0], photo[1:3].mean(axis=0), atol=1e-5)
    assert not rows["mean of inputs"].photo[1][0].any()


def test_the_slow_parts_are_kept_and_another_folder_does_not_take_them(folder, make_features, tmp_path, monkeypatch):
    splits, space = folder
    first = Baselines.fit(splits["train"], splits["val"], splits["val"], space, 1, tmp_path / "kept")
    for name in ("fit_linear", "fit_all_inputs", "train_text_lstm"):
        monkeypatch.setattr(f"evaluate.baselines.fitted.{name}", lambda *_: pytest.fail("fitted again"))
    again = Baselines.fit(splits["train"], splits["val"], splits["val"], space, 1, tmp_path / "kept")
    np.testing.assert_array_equal(first.linear.photo_and_words, again.linear.photo_and_words)
    np.testing.assert_array_equal(first.all_inputs.weights[3], again.all_inputs.weights[3])
    for other in (PhotoSpace(space.features, space.mean + 1, space.std),
                  PhotoSpace(space.features, space.mean, space.std * 2)):
        with pytest.raises(pytest.fail.Exception):
            Baselines.fit(splits["train"], splits["val"], splits["val"], other, 1, tmp_path / "kept")


def test_without_whole_train_photos_text_and_tags_stand(make_features):
    features = Features.open(make_features(bad_photos=tuple(range(0, 30, 5))))  # the first of every train album
    space = PhotoSpace(features, np.full(16, 3.0), np.full(16, 2.0))
    train, test = open_train(features, "default"), EvaluatedSplit(features, "default", "test")
    assert len(train) == 12
    baselines = Baselines.fit(train, None, train, space, 1)
    names = [row.name for row in baselines.rows(test)]
    assert {"copy last frame", "mean of inputs", "text-only LSTM", "trigram", "tag prior"} <= set(names)
    assert not {"recency blend", "nearest train story", "linear probe", "ridge from all inputs"} & set(names)
    assert "no train story has five usable photos" in baselines.list_absent(test)[0]


def test_a_kept_baseline_that_is_damaged_is_told(folder, tmp_path):
    splits, space = folder
    fitted.fit_kept(splits["train"], splits["val"], space, tmp_path / "kept")
    kept = sorted((tmp_path / "kept").iterdir())
    assert [path.suffix for path in kept] == [".safetensors"] * 3
    kept[1].write_bytes(b"not tensors")
    with pytest.raises(UserError, match="expected a fitted baseline in .*; delete that file"):
        fitted.fit_kept(splits["train"], splits["val"], space, tmp_path / "kept")
