"""Where the marks of the page's charts lie; charts.html draws them as inline SVG.

Every chart is WIDTH units wide and scales with the page. Coordinates are in those units, y downwards.
"""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
LOG_RATIO = 30  # values that span more than this are drawn on a logarithmic scale

_BRIEF = (("from last frame and caption", "on frame+text"), ("from last frame", "on last frame"),
          ("from all inputs", "on all inputs"), ("inputs permuted", "permuted"))


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot chart: its value and, where there is one, its interval."""

    row: str
    kind: str  # see kind_of
    y: float
    x: float
    low: float | None
    high: float | None
    label: str
    spoken: str


@dataclass(frozen=True, slots=True)
class DotChart:
    """A metric's rows on one scale."""

    metric: Metric
    dots: list[Dot]
    ticks: list[Tick]
    height: float
    is_log: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of one split; `points` is SVG's own notation."""

    split: str
    points: str
    end_x: float
    end_y: float
    label: str


@dataclass(frozen=True, slots=True)
class CurveChart:
    """A loss term over the epochs."""

    term: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    best_x: float | None


@dataclass(frozen=True, slots=True)
class TagBar:
    """One tag's F1 ahead (from the frames before) and seen (from its own photo), in [0, 1]."""

    name: str
    support: int
    ahead: Score
    seen: Score
    y: float


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


def draw_dots(metric: Metric, scores: dict[str, Score]) -> DotChart | None:
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
        dots.append(Dot(row, kind_of(row), TOP + (index + 0.5) * ROW_HEIGHT, scale(score.value), low, high,
                        format_value(score.value), spoken(score)))
    return DotChart(metric, dots, scale.ticks(4), TOP + len(dots) * ROW_HEIGHT, is_log)


def spoken(score: Score) -> str:
    """A score in words: the value, its interval, how many units it rests on, or why there is none."""
    if score.value is None:
        return f"not computed: {score.reason or 'no reason given'}"
    interval = (f", 95 % interval {format_value(score.low)} to {format_value(score.high)}"
                if score.low is not None and score.high is not None else ", no interval")
    count = f", n = {score.n:,}" if score.n is not None else ""
    return f"{format_value(score.value)}{interval}{count}"


def draw_curves(epochs: Sequence[dict[str, Any]]) -> list[CurveChart]:
    """Lay out every loss term that metrics.jsonl has, train and val together."""
    flat = [_flatten(epoch) for epoch in epochs]
    terms = dict.fromkeys(name.split(".", 1)[1] for epoch in flat for name in epoch
                          if name.startswith(("train.", "val.")))
    best = best_epoch(epochs)
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
              ) -> dict[str, list[TagBar]]:
    """F1 of every tag with support, by category, the most frequent first; scores: the model's row."""
    ahead, seen = ({name: scores[f"{kind}.f1.{name}"] for name in tag_names if f"{kind}.f1.{name}" in scores}
                   for kind in ("tags_next", "tags_seen"))
    bars: dict[str, list[TagBar]] = {}
    for name, score in sorted(ahead.items(), key=lambda item: -(item[1].n or 0)):
        if score.n:
            column = bars.setdefault(categories.get(name, "tag"), [])
            column.append(TagBar(name, score.n, score, seen.get(name, Score(None)), TOP + len(column) * ROW_HEIGHT))
    return bars


def _draw_curve(term: str, series: dict[str, list[tuple[float, float]]], best: float | None) -> CurveChart:
    points = [point for line in series.values() for point in line]
    x_scale = _Scale([x for x, _ in points], CURVE_LEFT, WIDTH - CURVE_RIGHT)
    y_scale = _Scale([y for _, y in points], CURVE_HEIGHT - CURVE_BOTTOM, TOP + 4)
    lines = []
    for split, line in series.items():
        if line:
            end_x, end_y = x_scale(line[-1][0]), y_scale(line[-1][1])
            lines.append(Line(split, " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in line), end_x, end_y,
                              format_value(line[-1][1])))
    return CurveChart(term, _part_labels(lines), x_scale.ticks(5, least=1), y_scale.ticks(4),
                      None if best is None else x_scale(best))


def _part_labels(lines: list[Line], gap: float = 13) -> list[Line]:
    """Move the labels at the ends of two curves apart where they would overlap; `end_y` is the label's place."""
    if len(lines) == 2 and abs(lines[0].end_y - lines[1].end_y) < gap:
        upper, lower = sorted(lines, key=lambda line: line.end_y)
        middle = (upper.end_y + lower.end_y) / 2
        placed = {upper.split: middle - gap / 2, lower.split: middle + gap / 2}
        return [Line(line.split, line.points, line.end_x, placed[line.split], line.label) for line in lines]
    return lines


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

    def ticks(self, wanted: int, least: float = 0.0) -> list[Tick]:
        """Round numbers inside the range, about `wanted` of them and at least `least` apart."""
        if self.is_log:
            powers = range(math.ceil(self.low), math.floor(self.high) + 1)
            return [Tick(self(10.0 ** power), f"{10.0 ** power:,g}") for power in powers]
        step = max(least, _round_step((self.high - self.low) / wanted))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        places = [index * step for index in range(first, last + 1)]
        digits = max(0, -math.floor(math.log10(step)))
        return [Tick(self(place), f"{place:,.{digits}f}".replace("-", "−")) for place in places]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
