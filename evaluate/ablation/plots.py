"""What a grid found, as pictures: differences to the reference row, and learning curves where rows differ in size."""
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from data.files import replace_file
from evaluate.ablation.runner import Ablation
from evaluate.metrics import LOSS, find_metric, list_metrics
from train.config import TrainConfig

PLOTTED = tuple(metric.name for metric in list_metrics("listed"))
CURVE = "learning-curve.png"


def draw_plots(ablation: Ablation) -> list[Path]:
    """Draw the differences, and the learning curves if there are any.

    Returns:
        The paths of the PNGs.
    """
    curves = find_curves(ablation)
    paths = [_draw_differences(ablation)] if ablation.grid.name != "learning-curve" else []
    return [*paths, *([_draw_curves(ablation, curves)] if curves else [])]


def find_curves(ablation: Ablation) -> dict[str, list[tuple[float, str]]]:
    """Rows that differ in nothing but `fraction`.

    Returns:
        The name of the row with the largest share -> (share of the train albums, row), the smallest first.
    """
    groups: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row, settings in ablation.grid.rows.items():
        rest = {name: value for name, value in settings.items() if name != "fraction"}
        groups[json.dumps(rest, sort_keys=True, default=str)].append(
            (float(settings.get("fraction", TrainConfig.fraction)), row))
    return {max(rows)[1]: sorted(rows) for rows in groups.values() if len(rows) > 1}


def _panels(ablation: Ablation, metrics: list[str], height: float, share_rows: bool) -> tuple[Any, list[Any]]:
    """A figure with a panel a metric; it needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(3.2 * max(1, len(metrics)) + 1.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, max(1, len(metrics)), sharey=share_rows, squeeze=False)[0])
    for panel, metric in zip(panels, metrics):
        known = find_metric(metric)
        panel.set_title(known.label + " (less is better)" * (known.direction < 0), fontsize=9)
        panel.tick_params(axis="both", labelsize=8)
    return figure, panels


def _draw_differences(ablation: Ablation) -> Path:
    """Differences to the reference with their intervals."""
    rows = list(ablation.differences)
    shown = [metric for metric in PLOTTED if rows and metric in ablation.differences[rows[0]]]
    figure, panels = _panels(ablation, shown, 0.35 * len(rows) + 1.4, share_rows=True)
    for panel, metric in zip(panels, shown):
        for place, row in enumerate(reversed(rows)):
            found = ablation.differences[row][metric].summary()
            if found["value"] is not None:
                panel.plot([found["value"]], [place], "o", color="C0", markersize=4)
            if found["low"] is not None:
                panel.plot([found["low"], found["high"]], [place, place], color="C0", linewidth=1.5)
        panel.axvline(0, color="0.4", linewidth=0.8)
        panel.set_yticks(range(len(rows)), list(reversed(rows)), fontsize=8)
    figure.supxlabel(f'difference to "{ablation.grid.reference}", 95 %', fontsize=8)
    return _save(figure, ablation.out / f"{ablation.grid.name}.png")


def _draw_curves(ablation: Ablation, curves: dict[str, list[tuple[float, str]]]) -> Path:
    """Mean over seeds by the share of the train albums, with its interval."""
    shown = [metric for metric in (*PLOTTED, LOSS) if metric in ablation.estimates[ablation.grid.reference]]
    figure, panels = _panels(ablation, shown, 2.9, share_rows=False)
    for panel, metric in zip(panels, shown):
        for colour, (name, rows) in enumerate(curves.items()):
            found = [ablation.estimates[row][metric].summary() for _, row in rows]
            shares = [100 * share for share, _ in rows]
            panel.plot(shares, [one["value"] for one in found], "o-", color=f"C{colour}", markersize=4, label=name)
            for share, one in zip(shares, found):
                if one["low"] is not None and metric != LOSS:  # of the loss no album's part is known
                    panel.plot([share, share], [one["low"], one["high"]], color=f"C{colour}", linewidth=1.2)
        panel.set_xscale("log")
        ticks = sorted({100 * share for rows in curves.values() for share, _ in rows})
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    if len(curves) > 1:
        panels[0].legend(fontsize=7)
    figure.supxlabel("share of the train albums, % (95 % over seeds and albums)", fontsize=8)
    return _save(figure, ablation.out / CURVE)


def _save(figure: Any, path: Path) -> Path:
    with replace_file(path) as partial:
        figure.savefig(partial, format="png", dpi=140)
    return path
