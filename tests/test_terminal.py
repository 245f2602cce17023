"""Tables that fit where they are printed, and nothing lost on the way."""
import pytest

from evaluate.metrics import METRICS
from evaluate.rows import ROW_ORDER
from evaluate.table import SPREAD, describe_result, format_tables
from evaluate.terminal import align, terminal_width, wrap


def make_evaluation() -> dict:
    """Every metric of every row, with the longest numbers there are; half of the rows win, half lose."""
    values = [0.1234, -0.1234, 123.456, 1234567.0]
    rows = {row: {metric: {"value": values[(place + index) % 4], "low": -1234.5, "high": 1234.5, "n": 9}
                  for index, metric in enumerate(METRICS)} for place, row in enumerate(ROW_ORDER)}
    differences = {row: {metric: {"better": bool(place % 2)} for metric in METRICS}
                   for place, row in enumerate(ROW_ORDER) if row != "model"}
    return {"rows": rows, "differences": differences,
            "protocol": {"albums": 99, "intervals": {"drawn": True}, "notes": []}}


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_full_evaluation_fits(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    evaluation = make_evaluation()
    printed = f"{wrap(describe_result(evaluation))}\n{format_tables(evaluation)}"
    assert max(map(len, printed.splitlines())) <= width
    assert SPREAD in printed
    words = printed.split()
    for metric in METRICS.values():
        if "printed" in metric.uses:
            assert all(part in " ".join(words) for part in metric.short.replace("-", "- ").split()), metric.name


def test_without_a_terminal_the_text_is_a_hundred_wide(monkeypatch):
    def refuse(number):
        raise OSError("no terminal")
    monkeypatch.setattr("os.get_terminal_size", refuse)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() == 100
    monkeypatch.setenv("COLUMNS", "5")
    assert terminal_width() == 40


def test_columns_that_do_not_fit_go_below_with_their_names():
    cells = [["row", "first column", "second", "third"], ["a", "0.123+", "-1.50", "x"],
             ["b b b b b b", "9.000", "", "y"]]
    assert align(cells, 80, 6).splitlines() == [
        "row     first column  second  third", "------  ------------  ------  -----",
        "a       0.123+        -1.50   x", "b b b   9.000                 y", "  b b", "  b"]
    assert align(cells, 24, 6).splitlines() == [
        "row     first   second", "        column", "------  ------  ------",
        "a       0.123+  -1.50", "b b b   9.000", "  b b", "  b", "",
        "row     third", "------  -----", "a       x", "b b b   y", "  b b", "  b"]
    gaps = [["row", "first", "second"], ["a", "1", ""], ["b", "", "2"]]
    assert align(gaps, 10, 3).count("\na") == align(gaps, 10, 3).count("\nb") == 1  # named where it has something


def test_sentences_wrap_and_paths_stay_whole():
    path = "/a/very/long/path/that-is/longer-than-the-terminal"
    assert wrap(["one two three four", f"see {path} there"], 12).splitlines() == [
        "one two", "  three four", "see", f"  {path}", "  there"]
