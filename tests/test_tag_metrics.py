"""Tag scores against scikit-learn and torchmetrics, thresholds by hand, absent tags left out."""
import numpy as np
import pytest
import torch
from sklearn import metrics

from evaluate.statistics.bootstrap import Resamples
from evaluate.tags.tag_scores import TagScores, average_precision, tune_thresholds

NAMES = ["<PAD>", "<UNK>", "dog", "cat", "park", "absent"]
CATEGORIES = {"dog": "object", "cat": "object", "park": "location", "absent": "location"}
COUNTED = np.ones(len(NAMES), bool)


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    truth = (random.random((90, 6)) < 0.3).astype(np.uint8)
    truth[:, [0, 5]] = 0
    probs = np.round(np.clip(truth * 0.3 + random.random((90, 6)) * 0.7, 0, 1), 1)  # rounded: many ties
    weight = random.choice([0.25, 0.5, 1.0], 90)
    return probs, truth, weight, Resamples([f"a{index // 3}" for index in range(90)], num_resamples=30)


def test_average_precision_is_that_of_sklearn_in_every_resample(frames):
    probs, truth, weight, resamples = frames
    found = average_precision(probs[:, 2], truth[:, 2].astype(bool), weight, resamples)
    for draw, counts in zip(found, resamples.counts):
        drawn = weight * counts[resamples.album]
        expected = metrics.average_precision_score(truth[:, 2], probs[:, 2], sample_weight=drawn)
        assert draw == pytest.approx(expected)


def test_scores_are_those_of_sklearn(frames):
    probs, truth, weight, resamples = frames
    predicted = probs >= 0.4
    scores = TagScores(NAMES, CATEGORIES, truth, weight, resamples, probs, predicted, COUNTED).estimates(per_tag=True)
    value = {name: estimate.draws[0] for name, estimate in scores.items()}
    counted, decided = truth[:, 2:5], predicted[:, 2:5]
    for average, prefix in (("macro", "macro"), ("micro", "micro")):
        mine = (truth[:, 2:], predicted[:, 2:]) if average == "micro" else (counted, decided)
        expected = metrics.precision_recall_fscore_support(*mine, average=average, sample_weight=weight,
                                                           zero_division=0)[:3]
        assert [value[f"{prefix}_{kind}"] for kind in ("precision", "recall", "f1")] == pytest.approx(expected)
    assert value["map"] == pytest.approx(metrics.average_precision_score(counted, probs[:, 2:5], average="macro",
                                                                         sample_weight=weight))
    assert value["hamming"] == pytest.approx(metrics.hamming_loss(truth[:, 2:], predicted[:, 2:], sample_weight=weight))
    assert value["object_f1"] == pytest.approx(metrics.f1_score(truth[:, 2:4], predicted[:, 2:4], average="micro",
                                                                sample_weight=weight))
    assert value["f1.park"] == pytest.approx(metrics.f1_score(truth[:, 4], predicted[:, 4], sample_weight=weight))
    assert scores["f1.park"].n == round((truth[:, 4] * weight).sum())
    assert value["num_supported"] == 3 and "f1.absent" not in value


def test_scores_are_those_of_torchmetrics(frames):
    from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score
    probs, truth, _, resamples = frames
    scores = TagScores(NAMES, CATEGORIES, truth, np.ones(90), resamples, probs, probs >= 0.4, COUNTED).estimates()
    given = torch.from_numpy(probs[:, 2:5]).float(), torch.from_numpy(truth[:, 2:5]).long()
    assert scores["map"].draws[0] == pytest.approx(multilabel_average_precision(*given, num_labels=3).item(), abs=1e-6)
    assert scores["macro_f1"].draws[0] == pytest.approx(
        multilabel_f1_score(*given, num_labels=3, threshold=0.35).item(), abs=1e-6)


def test_an_absent_tag_changes_no_mean(frames):
    probs, truth, weight, resamples = frames
    few = TagScores(NAMES, CATEGORIES, truth, weight, resamples, probs, probs >= 0.4, COUNTED).estimates()
    without = TagScores(NAMES[:5], CATEGORIES, truth[:, :5], weight, resamples, probs[:, :5],
                        probs[:, :5] >= 0.4, COUNTED[:5]).estimates()
    for name in ("map", "macro_f1", "macro_recall"):
        np.testing.assert_allclose(few[name].draws, without[name].draws)


def test_a_tag_that_does_not_count_is_as_if_it_were_not_there(frames):
    probs, truth, weight, resamples = frames
    counted = np.array([False, False, True, False, True, True])
    rest = [0, 1, 2, 4, 5]
    found = TagScores(NAMES, CATEGORIES, truth, weight, resamples, probs, probs >= 0.4, counted).estimates(True)
    expected = TagScores([NAMES[column] for column in rest], CATEGORIES, truth[:, rest], weight, resamples,
                         probs[:, rest], probs[:, rest] >= 0.4, counted[rest]).estimates(True)
    assert found.keys() == expected.keys() and "f1.cat" not in found and "f1.dog" in found
    for name in found:
        np.testing.assert_array_equal(found[name].draws, expected[name].draws)


def test_threshold_by_hand():
    probs = np.array([[0.9], [0.7], [0.6], [0.2]])
    truth = np.array([[1], [0], [1], [0]])
    assert tune_thresholds(probs, truth, np.ones(4)) == pytest.approx([0.4])  # F1 2/3, 1/2, 4/5, 2/3 going down
    assert tune_thresholds(probs, truth, np.array([1, 9, 1, 1])) == pytest.approx([0.8])


def test_a_rare_tag_takes_the_common_threshold_and_a_frequent_one_its_own():
    probs = np.tile([[0.9, 0.3], [0.5, 0.1]], (4, 1))
    truth = np.tile([[1, 1], [0, 0]], (4, 1))
    assert tune_thresholds(probs, truth, np.ones(8)).tolist() == [0.2, 0.2]  # four true frames each: one for both
    assert tune_thresholds(probs, truth, np.full(8, 2.0)) == pytest.approx([0.7, 0.2])


def test_a_tag_never_seen_takes_the_common_threshold():
    probs = np.array([[0.9, 0.8], [0.2, 0.1]])
    truth = np.array([[1, 0], [0, 0]])
    thresholds = tune_thresholds(probs, truth, np.full(2, 9.0))
    assert thresholds[1] == pytest.approx(0.85) and tune_thresholds(probs, truth * 0, np.ones(2)).tolist() == [0.5, 0.5]


def test_silence_wins_at_hamming_and_nowhere_else(frames):
    _, truth, weight, resamples = frames
    silent = TagScores(NAMES, CATEGORIES, truth, weight, resamples, None, np.zeros((90, 6), bool),
                       COUNTED).estimates()
    noisy = TagScores(NAMES, CATEGORIES, truth, weight, resamples, None, np.ones((90, 6), bool), COUNTED).estimates()
    assert silent["hamming"].draws[0] < noisy["hamming"].draws[0]
    assert silent["micro_f1"].draws[0] == 0 and "map" not in silent
