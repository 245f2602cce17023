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


def state_findings(run: EvaluatedRun, headline: Sequence[Metric]) -> dict[str, Any]:
    """What may be said of the headline's metrics: nothing where there is no interval to say it by.

    Returns:
        {"statements": which baselines the model beats, as (metrics of which the same is said, what is said),
        "order": on which it gets worse when the order of its inputs is broken, "people": how it stands to the people
        who told the same, both scored on the same references; the last two "" where that was not measured}.
    """
    said_of: dict[str, list[str]] = {}
    for metric in headline:
        if said := _state_result(run, metric):
            said_of.setdefault(said, []).append(metric.label)
    broken, people = ({metric.label: outcome for metric in headline if (outcome := _compare(run, metric, row))}
                      for row in (PERMUTED, HUMAN))
    worse = [label for label, outcome in broken.items() if outcome == "beats"]
    parts = [f"{said} on {_joined(labels)}" for outcome, said in (
        ("beats", "ahead of them"), ("tied", "not told apart from them"), ("loses", "behind them"))
        if (labels := [label for label, found in people.items() if found == outcome])]
    return {"statements": [(_joined(names), said) for said, names in said_of.items()],
            "order": "With the order of its input frames broken the model is " + (
                f"worse on {_joined(worse)}." if worse else "not measurably worse on any of these.") if broken else "",
            "people": "Scored on the same references as the people who told these photos, the model is "
                      f"{', '.join(parts)}." if parts else ""}


def _state_result(run: EvaluatedRun, metric: Metric) -> str:
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


def list_cautions(run: EvaluatedRun) -> dict[str, Any]:
    """What a reader must know before believing a number.

    Returns:
        {"notices": sentences, "missing": why numbers are absent from the model's row, as (reason, metrics)}.
    """
    notices, num_albums = [], run.num_albums
    if num_albums < MIN_ALBUMS:
        notices.append(f"Nothing is proven here: the split has {num_albums} album{'s' * (num_albums != 1)}. Under "
                       f"{MIN_ALBUMS} albums no intervals are given, and no difference counts as a finding.")
    if run.split == "val":
        notices.append("These are validation numbers: the checkpoint and the thresholds were chosen on this split. "
                       "Publish numbers of the test split.")
    notices += [note for note in run.protocol.get("notes", []) if "nothing is proven" not in str(note)]
    missing: dict[str, list[str]] = {}
    for name, score in run.scores.get(find_model_row(run), {}).items():
        if score.value is None and score.reason:
            missing.setdefault(score.reason, []).append(name)
    return {"notices": notices, "missing": list(missing.items())}


def _compare(run: EvaluatedRun, metric: Metric, row: str) -> str | None:
    """"beats", "loses", "tied" by the paired difference, or None where there is no interval to tell."""
    paired = run.paired.get(row, {}).get(metric.name)
    if paired is None or paired.low is None or paired.high is None:
        return None
    better = judge({"low": paired.low, "high": paired.high}, metric.direction)
    return {True: "beats", False: "loses", None: "tied"}[better]


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
