"""What the numbers allow to be said, in words; metrics and values as the page shows them."""
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from evaluate import metrics
from evaluate.metrics import METRICS, SENSE, Metric, find_metric, list_metrics
from evaluate.page.run_files import EvaluatedRun, Score
from evaluate.rows import BASELINE, CHANCE, HUMAN, MODEL, PERMUTED, kind_of
from evaluate.statistics.bootstrap import MIN_ALBUMS, judge, side_of_zero


def find_model_row(run: EvaluatedRun) -> str:
    """The row of the evaluated run: "model", else the first."""
    return next((row for row in run.scores if kind_of(row) == MODEL), next(iter(run.scores), MODEL))


def state_result(run: EvaluatedRun, metric: Metric) -> str:
    """One sentence on a metric: which baselines the model beats, by paired differences where there are some.

    A claim needs an interval: without one nothing is claimed, and nothing is said.
    """
    model = find_model_row(run)
    baselines = [row for row in run.scores if row != model and kind_of(row) == BASELINE
                 and metric.name in run.scores[row] and run.scores[row][metric.name].value is not None]
    own = run.scores.get(model, {}).get(metric.name, Score(None))
    if own.value is None or not metric.better or not baselines:
        return ""
    outcomes = {row: _compare(run, metric, row) for row in baselines}
    if None in outcomes.values():
        return ""
    return ", ".join(f"{said} {_listed(rows, baselines)}" for outcome, said in (
        ("beats", "beats"), ("tied", "cannot be told from"), ("loses", "is beaten by"))
        if (rows := [row for row, found in outcomes.items() if found == outcome]))


def group_statements(statements: Sequence[tuple[Metric, str]]) -> list[tuple[str, str]]:
    """Join metrics of which the same is said: ("R@1, album and CIDEr-D", "beats all 3 baselines")."""
    labels: dict[str, list[str]] = {}
    for metric, said in statements:
        labels.setdefault(said, []).append(metric.label)
    return [(_joined(names), said) for said, names in labels.items()]


def state_order(run: EvaluatedRun, metrics: Sequence[Metric]) -> str:
    """On which metrics the model gets worse when the order of its inputs is broken; "" where that was not measured."""
    outcomes = _compare_all(run, metrics, PERMUTED)
    if not outcomes:
        return ""
    worse = [label for label, outcome in outcomes.items() if outcome == "beats"]
    said = f"worse on {_joined(worse)}" if worse else "not measurably worse on any of these"
    return f"With the order of its input frames broken the model is {said}."


def state_people(run: EvaluatedRun, metrics: Sequence[Metric]) -> str:
    """How the model stands to the people who told the same, both scored on the same references; "" if not known."""
    outcomes = _compare_all(run, metrics, HUMAN)
    parts = [f"{said} on {_joined(labels)}" for outcome, said in (
        ("beats", "ahead of them"), ("tied", "not told apart from them"), ("loses", "behind them"))
        if (labels := [label for label, found in outcomes.items() if found == outcome])]
    return f"Scored on the same references as the people who told these photos, the model is {', '.join(parts)}." \
        if parts else ""


def list_notices(run: EvaluatedRun) -> list[str]:
    """What a reader must know before believing a number."""
    notices, num_albums = [], run.num_albums
    if num_albums < MIN_ALBUMS:
        notices.append(f"Nothing is proven here: the split has {num_albums} album{'s' * (num_albums != 1)}. Under "
                       f"{MIN_ALBUMS} albums no intervals are given, and no difference counts as a finding.")
    if run.split == "val":
        notices.append("These are validation numbers: the checkpoint and the thresholds were chosen on this split. "
                       "Publish numbers of the test split.")
    return notices + [note for note in run.protocol.get("notes", []) if "nothing is proven" not in str(note)]


def list_missing(run: EvaluatedRun) -> list[tuple[str, list[str]]]:
    """Why numbers are absent from the model's row: (reason, metrics), each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, score in run.scores.get(find_model_row(run), {}).items():
        if score.value is None and score.reason:
            by_reason.setdefault(score.reason, []).append(name)
    return list(by_reason.items())


def _compare(run: EvaluatedRun, metric: Metric, row: str) -> str | None:
    """"beats", "loses", "tied" by the paired difference, or None where there is no interval to tell."""
    paired = run.paired.get(row, {}).get(metric.name)
    if paired is None or paired.low is None or paired.high is None:
        return None
    better = judge({"low": paired.low, "high": paired.high}, metric.direction)
    return {True: "beats", False: "loses", None: "tied"}[better]


def _compare_all(run: EvaluatedRun, metrics: Sequence[Metric], row: str) -> dict[str, str]:
    """The same by the labels of the metrics that have an interval."""
    return {metric.label: outcome for metric in metrics if (outcome := _compare(run, metric, row)) is not None}


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _listed(rows: list[str], all_rows: list[str]) -> str:
    if len(rows) == len(all_rows):
        return "every baseline" if len(rows) > 1 else f"the one baseline, {rows[0].replace('_', ' ')}"
    return _joined([row.replace("_", " ") for row in rows])


def list_sense(run: EvaluatedRun) -> list[dict[str, Any]]:
    """A row for every task of story sense that was measured; none where it was switched off.

    Returns:
        {"label", "scores" (by photo and caption together, by the photo, by the caption), "chance" (by guessing),
        "verdict" (against guessing, both halves together; "" where nothing can be claimed)} of each.
    """
    model, chance, absent = run.scores.get(find_model_row(run), {}), run.scores.get(CHANCE, {}), Score(None)
    rows = []
    for name in (metric.name for metric in METRICS.values() if metric.group == SENSE):
        if name in model and model[name].value is not None:
            difference = run.paired.get(CHANCE, {}).get(name, absent)
            claim = "" if difference.low is None else {1: "above", -1: "below", 0: "not told apart"}[
                side_of_zero(difference.low, difference.high)]
            rows.append({"label": describe(name).label, "chance": chance.get(name, absent), "verdict": claim,
                         "scores": [model[name], *(model.get(name + half, absent) for half in (".photo", ".caption"))]})
    return rows


def describe(name: str) -> Metric:
    """A metric by its name, labelled for the page."""
    metric = find_metric(name)
    return replace(metric, label=_capital(metric.label), short=_capital(metric.short))


def format_value(value: float | None) -> str:
    """Three significant digits or so, with a true minus sign; a dash where there is no value."""
    return "–" if value is None else metrics.format_value(value).replace("-", "−")


def choose_headline(names: Iterable[str], of_stories: bool = False) -> list[Metric]:
    """The metrics of the charts at the top, of those that were measured; the first few where none is known."""
    known = list(names)
    chosen = [metric.name for metric in list_metrics("story" if of_stories else "headline") if metric.name in known]
    return [describe(name) for name in chosen or known[:6]]


def _capital(label: str) -> str:
    plain = label.replace("_", " ")
    return plain if plain[1:2].isupper() else plain[:1].upper() + plain[1:]                # mAP stays
