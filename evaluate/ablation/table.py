"""What a grid found, as Markdown, CSV and plots."""
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.files import write_text
from evaluate.ablation.plots import draw_plots
from evaluate.ablation.runner import SPLIT, Ablation
from evaluate.comparison.compare import LEVEL
from evaluate.metrics import LOSS, find_metric, format_value
from evaluate.statistics.bootstrap import MIN_ALBUMS, correct, side_of_zero
from evaluate.terminal import align, wrap
from train.monitor import format_time

VERDICTS = {True: {1: "better", -1: "worse", 0: ""}, False: {1: "more", -1: "less", 0: ""}}  # by: has it a direction
MARKS = {"better": "+", "worse": "-", "more": ">", "less": "<", "": ""}
FIELDS = ("row", "metric", "mean", "deviation_over_seeds", "difference", "low", "high", "p", "p_holm", "verdict",
          "training_seconds")


def write_tables(ablation: Ablation) -> list[Path]:
    """Write ablation.md, .csv and .png into the grid's folder, and a plot of learning curves where rows allow it."""
    records = list_records(ablation)
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    name = ablation.grid.name
    return [write_text(ablation.out / f"{name}.md", format_markdown(ablation, records)),
            write_text(ablation.out / f"{name}.csv", text.getvalue()), *draw_plots(ablation)]


def list_records(ablation: Ablation) -> list[dict]:
    """One record per row and metric, see FIELDS; Holm's correction runs over all tests of the grid."""
    records = [_record(ablation, row, metric) for row in ablation.grid.rows for metric in ablation.estimates[row]]
    correct(records)
    for record in records:
        record["verdict"] = _verdict(record)
    return records


def format_text(ablation: Ablation) -> str:
    """The table for a terminal."""
    return align(list(_cells(ablation, list_records(ablation)))) + "\n\n" + wrap(_remarks(ablation))


def format_markdown(ablation: Ablation, records: list[dict]) -> str:
    """The table as Markdown."""
    heading, *lines = _cells(ablation, records)
    rows = [heading, ["---"] * len(heading), *lines]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    return f"# {ablation.grid.path.stem.replace('_', ' ')}\n\n{table}\n\n" + "\n".join(
        f"- {remark}" for remark in _remarks(ablation)) + "\n"


def _cells(ablation: Ablation, records: list[dict]) -> Iterator[list[str]]:
    metrics = list(next(iter(ablation.estimates.values())))
    yield ["row", *(find_metric(metric).label for metric in metrics), "time"]
    of = {(record["row"], record["metric"]): record for record in records}
    for row in ablation.grid.rows:
        cells = []
        for metric in metrics:
            record = of[row, metric]
            spread = "" if np.isnan(record["deviation_over_seeds"]) else f" ± {record['deviation_over_seeds']:.3f}"
            cells.append(f"{format_value(record['mean'])}{spread} {MARKS[record['verdict']]}".rstrip())
        yield [row, *cells, format_time(ablation.seconds[row])]


def _remarks(ablation: Ablation) -> list[str]:
    seeds = ablation.grid.seeds
    remarks = [f"Split {SPLIT}, {ablation.num_albums} albums, seeds {', '.join(map(str, seeds))}: mean ± deviation "
               f"over seeds; + better, - worse than \"{ablation.grid.reference}\", > more and < less where neither is "
               "better (the paired difference's 95 % interval over seeds and albums, by Student's t, excludes zero, "
               f"and p < {LEVEL} after Holm's correction over the whole table).",
               "Distinct-2 and 4-grams are of the whole set: their intervals are over seeds alone."]
    if ablation.num_albums < MIN_ALBUMS:
        remarks.append(f"Nothing is proven: {ablation.num_albums} albums are too few for intervals (at least "
                       f"{MIN_ALBUMS}).")
    if len(seeds) == 1:
        remarks.append("One seed: how much a training differs from the next is not known, so a difference may be "
                       "luck.")
    if ablation.left_out:
        remarks.append(f"F1 without the tags that a row was trained without: {', '.join(ablation.left_out)}.")
    if ablation.grid.name != "ablation":
        remarks.append("Rows are shares of the train albums, seeded and nested: a larger one holds the smaller.")
    remarks.append(f"{LOSS}: image + text, unweighted, at the best epoch; time: training alone.")
    return remarks


def _record(ablation: Ablation, row: str, metric: str) -> dict:
    difference = ablation.differences.get(row, {}).get(metric)
    found = difference.summary() if difference is not None else {"value": None, "low": None, "high": None}
    tested = difference is not None and metric != LOSS
    return {"row": row, "metric": metric, "mean": ablation.estimates[row][metric].value,
            "deviation_over_seeds": ablation.deviations[row][metric], "difference": found["value"],
            "low": found["low"] if tested else None, "high": found["high"] if tested else None,
            "p": difference.p_value() if tested and difference is not None else None, "p_holm": None, "verdict": "",
            "training_seconds": round(ablation.seconds[row], 1)}


def _verdict(record: dict) -> str:
    if record["p_holm"] is None or record["p_holm"] >= LEVEL:
        return ""
    side = side_of_zero(record["low"], record["high"])
    sign = find_metric(record["metric"]).direction
    return VERDICTS[bool(sign)][side * (sign or 1)]
