"""Metrics and values as the page shows them: capitals, a true minus sign; what they are stands in `metrics`."""
from collections.abc import Iterable
from dataclasses import replace

from evaluate import metrics
from evaluate.metrics import Metric, find_metric, list_metrics


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
    return plain[:1].upper() + plain[1:]
