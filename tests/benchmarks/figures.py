"""What a benchmark found, and how it is shown: a figure, the ratio to a named peer or limit, what was wanted."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEADINGS = ("", "figure", "ratio", "to", "wanted", "met")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        name: what was measured. value, unit: the figure itself.
        ratio: the figure by the peer's, or the other way round, so that more is better; None where there is no peer.
        peer: what the ratio is taken to: a named system, version or limit, with its own figure.
        at_least, at_most: what is wanted of the ratio, or of the figure where there is no ratio.
        failed: the error of a benchmark that gave no figure.
    """

    name: str
    value: float | None = None
    unit: str = ""
    ratio: float | None = None
    peer: str = ""
    at_least: float | None = None
    at_most: float | None = None
    failed: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is what was wanted; None where nothing was."""
        if self.failed:
            return False
        if self.at_least is None and self.at_most is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        if measured is None:
            return False
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most)


def format_table(figures: Iterable[Figure]) -> str:
    """Figures as a Markdown table that can be read as it is."""
    rows = [HEADINGS, *(_format_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def report(figures: Sequence[Figure]) -> list[Figure]:
    """Print the table of one benchmark and hand its figures on."""
    print(format_table(figures), flush=True)
    return list(figures)


def _format_row(figure: Figure) -> tuple[str, ...]:
    wanted = [f"{word} {_spell(limit)}" for word, limit in (("at least", figure.at_least), ("at most", figure.at_most))
              if limit is not None]
    return (figure.name, figure.failed or f"{_spell(figure.value)} {figure.unit}".strip(), _spell(figure.ratio),
            figure.peer, ", ".join(wanted), {None: "", True: "yes", False: "NO"}[figure.met])


def _spell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
