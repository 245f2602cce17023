"""The benchmarks' own arithmetic, and that every one of them runs; what they measure is no test."""
import math

import pytest

from tests.benchmarks import campaign, timing
from tests.benchmarks.campaign import BENCHMARKS, run_benchmarks
from tests.benchmarks.figures import Figure, format_table
from tests.benchmarks.timing import Seconds, Times, divide, measure_in_turn


@pytest.mark.parametrize("figure, met", [
    (Figure(name="no limit", value=3.0), None),
    (Figure(name="limit on the figure", value=500.0, at_most=500.0), True),
    (Figure(name="limit on the figure", value=500.1, at_most=500.0), False),
    (Figure(name="limit on the ratio", value=1.0, ratio=5.0, at_least=5.0), True),
    (Figure(name="limit on the ratio", value=99.0, ratio=4.9, at_least=5.0), False),
    (Figure(name="no number", value=float("nan"), at_least=1.0), False),
    (Figure(name="broken", failed="OSError: no space"), False)])
def test_a_figure_is_held_against_what_was_wanted_of_its_ratio_if_it_has_one(figure, met):
    assert figure.met is met
    shown = {None: "", True: "yes", False: "NO"}[met]
    assert format_table([figure]).splitlines()[2].split("|")[6].strip() == shown


def test_the_table_names_figure_ratio_peer_and_wish():
    line = format_table([Figure(name="loader", value=254000.4, unit="stories/s", ratio=39.7, peer="webdataset, 6,400",
                                at_least=5)]).splitlines()[2]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["loader", "254,000 stories/s", "39.7",
                                                                "webdataset, 6,400", "at least 5", "yes"]


def test_versions_take_turns_and_the_first_round_does_not_count(monkeypatch):
    called, clock = [], iter(range(100))
    monkeypatch.setattr(timing, "take_time", lambda run: (run(), Seconds(next(clock), 1.0))[1])
    times = measure_in_turn({"a": lambda number: called.append(("a", number)),
                             "b": lambda number: called.append(("b", number))}, repeats=2)
    assert called == [("b", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert [seconds.wall for seconds in times["a"].taken] == [2, 5]
    assert [seconds.wall for seconds in times["b"].taken] == [3, 4]


def test_a_slow_round_slows_both_and_leaves_the_ratio_alone():
    above = Times([Seconds(2.0, 0), Seconds(20.0, 0), Seconds(2.2, 0)])
    below = Times([Seconds(1.0, 0), Seconds(10.0, 0), Seconds(1.0, 0)])
    assert divide(above, below) == 2.0 and above.wall == 2.2


def test_a_benchmark_that_breaks_is_told_and_takes_no_other_with_it(monkeypatch):
    monkeypatch.setitem(campaign.BENCHMARKS, "broken", campaign.Benchmark("no_such_script"))
    first, *rest = run_benchmarks(["broken", "writing"], quick=True)
    assert "ModuleNotFoundError" in first.failed and first.met is False
    assert [figure.name for figure in rest] == ["writing captions, greedy"] and rest[0].value > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_gives_figures(name):
    if name == "training-loader":
        pytest.importorskip("webdataset")
        pytest.importorskip("datasets")
    figures = run_benchmarks([name], quick=True)
    assert figures
    for figure in figures:
        assert not figure.failed, figure.failed
        assert figure.value is not None and math.isfinite(figure.value)
