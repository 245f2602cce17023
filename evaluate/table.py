"""The result as text: what beats the model and what it beats, narrow tables for a terminal, full ones to keep."""
from collections.abc import Iterable
from typing import Any

from evaluate.metrics import GROUPS, METRICS, Metric, format_interval, format_value, list_metrics, name_group
from evaluate.rows import BASELINE, MODEL, ROW_ORDER, kind_of
from evaluate.statistics.bootstrap import MIN_ALBUMS
from evaluate.terminal import align

SPREAD = "+/- (95 %)"  # a line under the model's own: half of its interval
LEGEND = ("+ the model is better than this row, - worse, by the paired difference's 95 % interval over albums; "
          "no mark: not told apart")
MARKS = {True: "+", False: "-", None: ""}


def format_tables(evaluation: dict, width: int | None = None) -> str:
    """The tables of an eval-<split>.json that a terminal shows, headline t, at most `width` characters wide.

    `+` marks rows that the model beats, `-` rows that beat it; intervals of all rows stand in `format_markdown`.
    """
    rows, differences = evaluation["rows"], evaluation.get("differences", {})
    task, blocks = evaluation["protocol"].get("task", "next"), []
    for group in GROUPS:
        shown, names = _find_shown([metric for metric in list_metrics("printed") if metric.group == group], rows)
        if not names:
            continue
        cells = [[name_group(group, task), *(metric.short for metric in shown)]]
        for row in names:
            cells.append([row, *(_mark(rows[row].get(metric.name), differences.get(row, {}).get(metric.name))
                                 for metric in shown)])
            if row == MODEL and any(spreads := [_half_width(rows[row].get(metric.name)) for metric in shown]):
                cells.append([SPREAD, *spreads])
        blocks.append(align(cells, width))
    return "\n\n".join(blocks)


def format_markdown(evaluation: dict) -> str:
    """Every metric of every row at the headline t with its interval, as Markdown; single tags stand on the page."""
    rows, differences = evaluation["rows"], evaluation.get("differences", {})
    protocol = evaluation["protocol"]
    task = protocol.get("task", "next")
    parts = [f"# Split {protocol.get('split', '')}: {protocol.get('stories', protocol.get('units', '?'))} stories, "
             f"{protocol['albums']} albums",
             "\n".join(f"- {sentence}" for sentence in describe_result(evaluation)),
             f"[low, high]: 95 % over albums. {LEGEND}."]
    for group in GROUPS:
        shown, names = _find_shown([metric for metric in METRICS.values() if metric.group == group], rows)
        if names:
            lines = [["", *(f"{metric.label} {metric.arrow}".rstrip() for metric in shown)],
                     ["---"] * (len(shown) + 1)]
            lines += [[row, *(_with_mark(rows[row].get(metric.name), differences.get(row, {}).get(metric.name))
                              for metric in shown)] for row in names]
            table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
            parts.append(f"## {name_group(group, task)}\n\n{table}")
    return "\n\n".join([*parts, *(f"Note: {note}." for note in protocol.get("notes", []))]) + "\n"


def sort_rows(rows: Iterable[str]) -> list[str]:
    """Row names as people want to read them: the model, its bounds, then the baselines; unknown ones last."""
    return sorted(rows, key=lambda row: (ROW_ORDER.index(row) if row in ROW_ORDER else len(ROW_ORDER), row))


def describe_result(evaluation: dict) -> list[str]:
    """What can be said about the model against the baselines, in sentences; where it loses comes first."""
    protocol = evaluation["protocol"]
    albums = protocol["albums"]
    if not protocol["intervals"]["drawn"] and albums >= MIN_ALBUMS:
        return ["No intervals were drawn (--resamples 0): no difference in these tables can be told from chance."]
    if not protocol["intervals"]["drawn"]:
        return [f"Nothing is proven here: {albums} albums are too few for intervals (at least {MIN_ALBUMS}), so no "
                "difference in these tables can be told from chance."]
    lost, sentences = [], []
    for metric in list_metrics("headline"):
        verdicts = {row: found[metric.name]["better"] for row, found in evaluation["differences"].items()
                    if metric.name in found and kind_of(row) == BASELINE}
        if not verdicts:
            continue
        beaten, tied, better = ([row for row in sort_rows(verdicts) if verdicts[row] is verdict]
                                for verdict in (True, None, False))
        if better:
            own, *theirs = (format_value(evaluation["rows"][row][metric.name]["value"]) for row in (MODEL, *better))
            lost.append(f"{metric.label} ({', '.join(map(' '.join, zip(better, theirs)))}; model {own})")
        sentences.append(_say(metric, beaten, tied, better))
    if lost:
        return [f"A baseline beats the model at {'; '.join(lost)}.", *sentences]
    return sentences and ["No baseline is shown to beat the model at any of these.", *sentences]


def _say(metric: Metric, beaten: list[str], tied: list[str], better: list[str]) -> str:
    count = len(beaten) + len(tied) + len(better)
    if len(beaten) == count:
        return f"{metric.label}: the model beats {f'all {count} baselines' if count > 1 else 'the one baseline'}."
    others = [f"{said} {', '.join(rows)}" for said, rows in (("worse than", better), ("not told apart from", tied))
              if rows]
    return f"{metric.label}: the model beats {len(beaten)} of {count} baselines; {'; '.join(others)}."


def _find_shown(metrics: Iterable[Metric], rows: dict[str, dict]) -> tuple[list[Metric], list[str]]:
    """The metrics that some row has a value of, and the rows that have some of them."""
    shown = [metric for metric in metrics
             if any(scores.get(metric.name, {}).get("value") is not None for scores in rows.values())]
    return shown, [row for row in sort_rows(rows) if any(rows[row].get(metric.name, {}).get("value") is not None
                                                         for metric in shown)]


def _mark(score: dict[str, Any] | None, difference: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return ""
    return format_value(score["value"]) + MARKS[difference["better"] if difference else None]


def _half_width(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None or score["low"] is None:
        return ""
    return format_value((score["high"] - score["low"]) / 2)


def _with_mark(score: dict[str, Any] | None, difference: dict[str, Any] | None) -> str:
    return f"{format_interval(score)} {MARKS[difference['better'] if difference else None]}".strip()
