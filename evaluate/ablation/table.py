"""What a grid found, as Markdown, CSV and a plot."""
import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.files import replace_file, write_text
from evaluate.ablation.runner import LOSS, SPLIT, Ablation
from evaluate.scoring import direction
from evaluate.statistics.bootstrap import MIN_ALBUMS, Estimate, holm
from evaluate.statistics.compare import LABELS, LEVEL
from evaluate.table import align, format_value
from train.monitor import format_time

FIELDS = ("row", "metric", "mean", "deviation_over_seeds", "difference", "low", "high", "p", "p_holm", "verdict",
          "training_seconds")
PLOTTED = ("r1_album", "1_of_5", "cider", "perplexity")


def write_tables(ablation: Ablation) -> list[Path]:
    """Write ablation.md, ablation.csv and ablation.png into the grid's folder."""
    records = list_records(ablation)
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return [write_text(ablation.out / "ablation.md", format_markdown(ablation, records)),
            write_text(ablation.out / "ablation.csv", text.getvalue()), _draw(ablation)]


def list_records(ablation: Ablation) -> list[dict]:
    """One record per row and metric, see FIELDS; Holm's correction runs over all tests of the grid."""
    records = [_record(ablation, row, metric) for row in ablation.grid.rows for metric in ablation.estimates[row]]
    tested = [record for record in records if record["p"] is not None]
    for record, corrected in zip(tested, holm([record["p"] for record in tested])):
        record["p_holm"] = corrected
    for record in records:
        record["verdict"] = _verdict(record)
    return records


def format_text(ablation: Ablation) -> str:
    """The table for a terminal."""
    return align(list(_cells(ablation, list_records(ablation)))) + "\n\n" + "\n".join(_remarks(ablation))


def format_markdown(ablation: Ablation, records: list[dict]) -> str:
    """The table as Markdown."""
    heading, *lines = _cells(ablation, records)
    rows = [heading, ["---"] * len(heading), *lines]
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    return f"# {ablation.grid.path.stem.replace('_', ' ')}\n\n{table}\n\n" + "\n".join(
        f"- {remark}" for remark in _remarks(ablation)) + "\n"


def _cells(ablation: Ablation, records: list[dict]) -> Iterator[list[str]]:
    metrics = list(next(iter(ablation.estimates.values())))
    yield ["row", *(LABELS.get(metric, metric) for metric in metrics), "time"]
    of = {(record["row"], record["metric"]): record for record in records}
    for row in ablation.grid.rows:
        cells = []
        for metric in metrics:
            record = of[row, metric]
            spread = "" if np.isnan(record["deviation_over_seeds"]) else f" ± {record['deviation_over_seeds']:.3f}"
            cells.append(format_value(record["mean"]) + spread + {"better": " +", "worse": " -"}.get(
                record["verdict"], ""))
        yield [row, *cells, format_time(ablation.seconds[row])]


def _remarks(ablation: Ablation) -> list[str]:
    seeds = ablation.grid.seeds
    remarks = [f"Split {SPLIT}, {ablation.num_albums} albums, seeds {', '.join(map(str, seeds))}: mean ± deviation "
               f"over seeds; + better, - worse than \"{ablation.grid.reference}\" (95 % over seeds and albums drawn "
               f"together excludes zero, and p < {LEVEL} after Holm's correction over the whole table)."]
    if ablation.num_albums < MIN_ALBUMS:
        remarks.append(f"Nothing is proven: {ablation.num_albums} albums are too few for intervals (at least "
                       f"{MIN_ALBUMS}).")
    if len(seeds) == 1:
        remarks.append("One seed: how much a training differs from the next is not known, so a difference may be "
                       "luck.")
    remarks.append(f"{LOSS}: image + text, unweighted, at the best epoch; time: training alone.")
    return remarks


def _record(ablation: Ablation, row: str, metric: str) -> dict:
    difference = ablation.differences.get(row, {}).get(metric)
    found = difference.summary() if difference is not None else {"value": None, "low": None, "high": None}
    tested = difference is not None and metric != LOSS
    return {"row": row, "metric": metric, "mean": float(ablation.estimates[row][metric].draws[0]),
            "deviation_over_seeds": ablation.deviations[row][metric], "difference": found["value"],
            "low": found["low"] if tested else None, "high": found["high"] if tested else None,
            "p": difference.p_value() if tested and difference is not None else None, "p_holm": None, "verdict": "",
            "training_seconds": round(ablation.seconds[row], 1)}


def _verdict(record: dict) -> str:
    if record["p_holm"] is None or record["p_holm"] >= LEVEL or record["low"] <= 0 <= record["high"]:
        return ""
    return "better" if (record["difference"] > 0) == (direction(record["metric"]) > 0) else "worse"


def _draw(ablation: Ablation) -> Path:
    """Differences to the reference with their intervals, a panel a metric."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    rows = list(ablation.differences)
    shown = [metric for metric in PLOTTED if rows and metric in ablation.differences[rows[0]]]
    figure = Figure(figsize=(3.2 * max(1, len(shown)) + 1.5, 0.35 * len(rows) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(1, len(shown)), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, shown):
        for place, row in enumerate(reversed(rows)):
            _draw_difference(panel, place, ablation.differences[row][metric])
        panel.axvline(0, color="0.4", linewidth=0.8)
        panel.set_title(LABELS[metric] + (" (less is better)" if direction(metric) < 0 else ""), fontsize=9)
        panel.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=8)
        panel.tick_params(axis="x", labelsize=8)
    figure.supxlabel(f'difference to "{ablation.grid.reference}", 95 %', fontsize=8)
    path = ablation.out / "ablation.png"
    with replace_file(path) as partial:
        figure.savefig(partial, format="png", dpi=140)
    return path


def _draw_difference(panel, place: int, difference: Estimate) -> None:  # type: ignore[no-untyped-def]
    found = difference.summary()
    if found["value"] is None:
        return
    panel.plot([found["value"]], [place], "o", color="C0", markersize=4)
    if found["low"] is not None:
        panel.plot([found["low"], found["high"]], [place, place], color="C0", linewidth=1.5)
