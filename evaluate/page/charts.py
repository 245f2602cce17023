"""Where the marks of the page's charts lie; charts.html draws them as inline SVG.

Every chart is WIDTH units wide and scales with the page. Coordinates are in those units, y downwards.
"""
import math
from collections.abc import Iterable, Sequence
from typing import Any

from evaluate.metrics import Metric
from evaluate.page.run_files import Score
from evaluate.page.verdict import format_value
from evaluate.rows import BASELINE, HUMAN, MODEL, ORACLE, REFERENCE, kind_of

WIDTH = 320
LABEL_WIDTH, VALUE_WIDTH = 118, 46
LABEL_LENGTH = 19  # characters that LABEL_WIDTH holds
ROW_HEIGHT = 21
TOP = 6
CURVE_HEIGHT, CURVE_LEFT, CURVE_RIGHT, CURVE_BOTTOM = 168, 36, 44, 20
LABEL_GAP = 13
LOG_RATIO = 30  # values that span more than this are drawn on a logarithmic scale

_BRIEF = (("from last frame and caption", "on frame+text"), ("from last frame", "on last frame"),
          ("from all inputs", "on all inputs"), ("inputs permuted", "permuted"))


Chart = dict[str, Any]  # what charts.html reads


def brief_row(row: str) -> str:
    """A row's name short enough for a chart's margin."""
    plain = row.replace("_", " ")
    for long, brief in _BRIEF:
        plain = plain.replace(long, brief)
    return plain if len(plain) <= LABEL_LENGTH else plain[:LABEL_LENGTH - 1].rstrip() + "…"


def is_comparable(row: str) -> bool:
    """False for rows scored on other references than the rest: people, and the model scored as they are."""
    return HUMAN not in row


def order_rows(rows: Iterable[str]) -> list[str]:
    """The model first, then baselines, the oracle, references; by name within each."""
    places = {MODEL: 0, BASELINE: 1, ORACLE: 2, REFERENCE: 3}
    return sorted(rows, key=lambda row: (places[kind_of(row)], row))


def draw_dots(metric: Metric, scores: dict[str, Score]) -> Chart | None:
    """Lay out one metric's rows; None where no row has a value."""
    known = {row: scores[row] for row in order_rows(scores)
             if scores[row].value is not None and is_comparable(row)}
    if not known:
        return None
    edges = [edge for score in known.values() for edge in (score.value, score.low, score.high) if edge is not None]
    left, right = LABEL_WIDTH, WIDTH - VALUE_WIDTH
    is_log = min(edges) > 0 and max(edges) / min(edges) > LOG_RATIO and metric.better == "lower"
    scale = _Scale(edges, left + 6, right - 6, is_log)
    dots = []
    for index, (row, score) in enumerate(known.items()):
        assert score.value is not None
        low, high = (None if bound is None else scale(bound) for bound in (score.low, score.high))
        dots.append({"row": row, "kind": kind_of(row), "y": TOP + (index + 0.5) * ROW_HEIGHT, "x": scale(score.value),
                     "low": low, "high": high, "label": format_value(score.value), "spoken": spoken(score)})
    return {"metric": metric, "dots": dots, "ticks": scale.ticks(4), "height": TOP + len(dots) * ROW_HEIGHT,
            "is_log": is_log}


def spoken(score: Score) -> str:
    """A score in words: the value, its interval, how many units it rests on, or why there is none."""
    if score.value is None:
        return f"not computed: {score.reason or 'no reason given'}"
    interval = (f", 95 % interval {format_value(score.low)} to {format_value(score.high)}"
                if score.low is not None and score.high is not None else ", no interval")
    count = f", n = {score.n:,}" if score.n is not None else ""
    return f"{format_value(score.value)}{interval}{count}"


def draw_curves(epochs: Sequence[dict[str, Any]]) -> list[Chart]:
    """Lay out every loss term that metrics.jsonl has, train and val together."""
    flat, best = [_flatten(epoch) for epoch in epochs], best_epoch(epochs)
    terms = dict.fromkeys(name.split(".", 1)[1] for epoch in flat for name in epoch
                          if name.startswith(("train.", "val.")))
    charts = []
    for term in terms:
        series = {split: [(epoch["epoch"], epoch[f"{split}.{term}"]) for epoch in flat
                          if f"{split}.{term}" in epoch and "epoch" in epoch] for split in ("train", "val")}
        if any(series.values()):
            charts.append(_draw_curve(term, series, best))
    return charts


def best_epoch(epochs: Sequence[dict[str, Any]]) -> float | None:
    """The epoch with the lowest image + text loss on val, by which training selects; None without a text loss."""
    flat = [_flatten(epoch) for epoch in epochs]
    totals = {epoch["epoch"]: epoch.get("val.image", 0.0) + epoch["val.text"] for epoch in flat
              if "val.text" in epoch and "epoch" in epoch}
    return min(totals, key=lambda epoch: totals[epoch]) if totals else None


def draw_tags(scores: dict[str, Score], tag_names: Sequence[str], categories: dict[str, str]
              ) -> dict[str, list[Chart]]:
    """F1 of every tag with support, ahead (from the frames before) and seen (from its own photo), by category, the most
    frequent first; scores: the model's row."""
    ahead, seen = ({name: scores[f"{kind}.f1.{name}"] for name in tag_names if f"{kind}.f1.{name}" in scores}
                   for kind in ("tags_next", "tags_seen"))
    bars: dict[str, list[Chart]] = {}
    for name, score in sorted(ahead.items(), key=lambda item: -(item[1].n or 0)):
        if score.n:
            column = bars.setdefault(categories.get(name, "tag"), [])
            column.append({"name": name, "support": score.n, "ahead": score, "seen": seen.get(name, Score(None)),
                           "y": TOP + len(column) * ROW_HEIGHT})
    return bars


def _draw_curve(term: str, series: dict[str, list[tuple[float, float]]], best: float | None) -> Chart:
    points = [point for line in series.values() for point in line]
    x_scale = _Scale([x for x, _ in points], CURVE_LEFT, WIDTH - CURVE_RIGHT)
    y_scale = _Scale([y for _, y in points], CURVE_HEIGHT - CURVE_BOTTOM, TOP + 4)
    lines: list[dict[str, Any]] = [{
        "split": split, "points": " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in line),
        "end_x": x_scale(line[-1][0]), "end_y": y_scale(line[-1][1]), "label": format_value(line[-1][1])}
        for split, line in series.items() if line]
    upper, lower = sorted((lines[0], lines[-1]), key=lambda line: line["end_y"])
    if len(lines) == 2 and lower["end_y"] - upper["end_y"] < LABEL_GAP:  # the labels at the ends would overlap
        middle = (upper["end_y"] + lower["end_y"]) / 2
        upper["end_y"], lower["end_y"] = middle - LABEL_GAP / 2, middle + LABEL_GAP / 2
    return {"term": term, "lines": lines, "x_ticks": x_scale.ticks(5, least=1), "y_ticks": y_scale.ticks(4),
            "best_x": None if best is None else x_scale(best)}


def _flatten(epoch: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in epoch.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": number for inner, number in _flatten(value).items()})
        elif isinstance(value, (int, float)) and math.isfinite(value):
            flat[name] = float(value)
    return flat


class _Scale:
    """Maps values to the line from `start` to `stop`."""

    def __init__(self, values: Iterable[float], start: float, stop: float, is_log: bool = False) -> None:
        self._map = math.log10 if is_log else float
        self.is_log = is_log
        mapped = [self._map(value) for value in values]
        self.low, self.high = min(mapped), max(mapped)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        share = (self._map(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, wanted: int, least: float = 0.0) -> list[dict[str, Any]]:
        """Round numbers inside the range, about `wanted` of them and at least `least` apart."""
        if self.is_log:
            powers = range(math.ceil(self.low), math.floor(self.high) + 1)
            return [{"at": self(10.0 ** power), "label": f"{10.0 ** power:,g}"} for power in powers]
        rough = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = max(least, next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        places = [index * step for index in range(first, last + 1)]
        digits = max(0, -math.floor(math.log10(step)))
        return [{"at": self(place), "label": f"{place:,.{digits}f}".replace("-", "−")} for place in places]
