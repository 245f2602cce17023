"""One table of metrics, and one place that says what an interval shows."""
import json

import pytest

from evaluate.__main__ import main
from evaluate.metrics import (
    GROUPS,
    METRICS,
    OTHER,
    find_metric,
    format_value,
    list_metrics,
    order_of,
    split_t,
)
from evaluate.statistics.bootstrap import judge, side_of_zero
from tests.tiny_runs import write_run


@pytest.mark.parametrize("metric, sign", [
    ("mse", -1), ("t1.mse_raw", -1), ("t2.r1_album", 1), ("perplexity_word", -1), ("perplexity_known", -1),
    ("tags_next.map", 1), ("tags_seen.undescribed.hamming", -1), ("t3.tags_next.object_f1", 1),
    ("tags_next.precision.dog", 1), ("tags_next.ap.cat", 1), ("length", 0), ("tags_next.num_supported", 0),
    ("original_bleu_1", 1), ("median_rank_album", -1), ("1_of_5", 1), ("caption_1_of_5", 1), ("unknown_share", 0),
    ("agreement.predicted_written", 0), ("distinct_2", 0), ("self_repetition", 0), ("val loss", -1), ("lpips", -1),
    ("cloze.same_album.1_of_4.photo", 1), ("t2.ordering.exact", 1), ("never_seen", 0)])
def test_direction_of_every_kind_of_metric(metric, sign):
    assert find_metric(metric).direction == sign
    assert find_metric(metric).better == {1: "higher", -1: "lower", 0: ""}[sign]


@pytest.mark.parametrize("name, label, group", [
    ("r10_all", "R@10 split", "Next photo"), ("tags_next.map", "mAP of next tags", "Next tags"),
    ("tags_seen.undescribed.micro_f1", "micro F1 of seen tags, undescribed photos",
     "Seen tags, undescribed photos"), ("original_bleu_4", "BLEU-4, original's protocol", "Original's protocol"),
    ("t1.cloze.other_album.1_of_2.caption", "ending 1 of 2, caption alone", "Story sense"),
    ("tags_next.action_recall", "action recall of next tags", "Next tags"), ("never_seen", "never_seen", OTHER)])
def test_a_metric_has_a_label_and_a_group(name, label, group):
    assert (find_metric(name).label, find_metric(name).group) == (label, group)


def test_labels_are_told_apart_and_every_use_is_known():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    assert all(metric.group in GROUPS for metric in METRICS.values())
    known = {"printed", "headline", "story", "tested", "ablated", "listed"}
    assert {use for metric in METRICS.values() for use in metric.uses} == known
    headline = {metric.name for metric in list_metrics("headline")}
    assert {"r1_album", "mrr_all", "r10_all", "perplexity", "perplexity_known"} <= headline
    assert all(metric.direction for metric in list_metrics("tested") + list_metrics("headline"))


def test_metrics_are_ordered_by_the_table_and_ten_follows_two():
    assert split_t("t2.mrr_all") == (2, "mrr_all") and split_t("mrr_all") == (4, "mrr_all")
    assert sorted(["new_10", "t2.r10_all", "cider", "new_2", "r5_all", "r1_album"], key=order_of) == [
        "r1_album", "r5_all", "t2.r10_all", "cider", "new_2", "new_10"]


def test_values_are_written_with_four_figures_at_most():
    assert [format_value(value) for value in (None, 0.12345, -28.004, 123.45, 12345.6)] == [
        "-", "0.123", "-28.00", "123.5", "12,346"]


@pytest.mark.parametrize("low, high, side", [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.2, 0), (0.0, 0.1, 0),
                                             (-0.1, 0.0, 0), (None, None, 0)])
def test_an_interval_shows_a_side_only_where_it_leaves_zero_out(low, high, side):
    assert side_of_zero(low, high) == side
    difference = {"low": low, "high": high}
    assert judge(difference, 1) is {1: True, -1: False, 0: None}[side]
    assert judge(difference, -1) is {1: False, -1: True, 0: None}[side]
    assert judge(difference, 0) is None


def test_a_metric_is_added_as_contributing_says(make_features, tmp_path, monkeypatch, capsys):
    """Computed where its row is scored, named in one line of `evaluate/metrics.py`: then it stands in every place."""
    import numpy as np

    from evaluate import metrics
    from evaluate.captions.caption_scores import CaptionScorer

    class WithDogs(CaptionScorer):
        def score(self, name):
            dogs = np.array([caption.count("dog") for caption in map(list, self.written[name])], float)
            return {**super().score(name), "dogs": self.split.resamples.mean(dogs, self.split.units.weight)}
    monkeypatch.setattr("evaluate.evaluation.scoring.CaptionScorer", WithDogs)  # evaluate/captions
    line = metrics.Metric("dogs", "dogs a caption", "dogs", metrics.CAPTION, 1, ("printed", "headline"))
    monkeypatch.setitem(METRICS, "dogs", line)                                     # evaluate/metrics.py
    run = write_run(tmp_path / "run", make_features(stories={"train": 4, "val": 4, "test": 44}))
    assert main(["--run", str(run), "--no-meteor", "--no-baselines", "--resamples", "50", "--sense", "0"]) == 0
    printed, page = capsys.readouterr().out, (run / "report.html").read_text()
    assert "dogs" in printed and "dogs a caption ↑" in (run / "eval-test.md").read_text() and "Dogs a caption" in page
    numbers = json.loads((run / "eval-test.json").read_text())
    assert numbers["differences"]["model, inputs permuted"]["dogs"]["better"] in (True, False, None)
    assert {"value", "low", "high", "n"} <= numbers["rows"]["model"]["t1.dogs"].keys()
