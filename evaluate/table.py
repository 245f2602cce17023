"""The result as text: three aligned tables with intervals, what was beaten in words, and how far to trust it."""
from collections.abc import Iterable, Sequence

from evaluate.baselines.oracle import ORACLE
from evaluate.rows import MODEL, PERMUTED
from evaluate.statistics.bootstrap import MIN_ALBUMS

TABLES = {
    "next photo": (("r1_album", "R@1 album"), ("1_of_5", "1 of 5"), ("1_of_100", "1 of 100"), ("r10_all", "R@10 split"),
                   ("median_rank_all", "median rank"), ("cosine_centred", "centred cosine"), ("mse", "MSE std.")),
    "caption": (("cider", "CIDEr-D"), ("bleu_1", "BLEU-1"), ("bleu_4", "BLEU-4"), ("rouge_l", "ROUGE-L"),
                ("meteor", "METEOR"), ("perplexity", "perplexity"), ("distinct_2", "distinct-2")),
    "tags": (("tags_next.map", "mAP next"), ("tags_next.micro_f1", "F1 next"), ("tags_next.hamming", "Hamming next"),
             ("tags_seen.map", "mAP seen"), ("tags_seen.micro_f1", "F1 seen")),
    "original's protocol": (("original_bleu_1", "BLEU-1"), ("original_bleu_4", "BLEU-4"),
                            ("original_rouge_l", "ROUGE-L")),
    "story sense": (("cloze.other_album.1_of_2", "ending 1 of 2"), ("cloze.other_album.1_of_4", "ending 1 of 4"),
                    ("cloze.same_album.1_of_2", "same album 1 of 2"), ("cloze.same_album.1_of_4", "same album 1 of 4"),
                    ("ordering.spearman", "order: Spearman"), ("ordering.pairwise", "pairs"),
                    ("ordering.exact", "exact"))}
HEADLINE = (("r1_album", "R@1 over the album"), ("1_of_5", "1 of 5"), ("cider", "CIDEr-D"),
            ("perplexity", "perplexity"), ("tags_next.map", "mAP of next tags"))
ROW_ORDER = (MODEL, ORACLE, "human", "model, scored as human", PERMUTED, "chance", "train mean", "copy last frame",
             "mean of inputs", "ridge from last frame", "ridge from last frame and caption", "constant caption",
             "constant story", "nearest train story", "unigram", "trigram", "text-only LSTM", "tag prior",
             "copy last tags", "linear probe", "no tags")
NOT_BASELINES = (MODEL, "chance", ORACLE, "human", "model, scored as human")


def format_tables(evaluation: dict) -> str:
    """All tables of an eval-<split>.json, headline t; `+` marks rows that the model beats, `-` rows that beat it."""
    rows, differences = evaluation["rows"], evaluation.get("differences", {})
    blocks = []
    for title, columns in TABLES.items():
        names = [row for row in sort_rows(rows) if any(metric in rows[row] for metric, _ in columns)]
        if not names:
            continue
        shown = [(metric, label) for metric, label in columns
                 if any(rows[row].get(metric, {}).get("value") is not None for row in names)]
        cells = [[title, *(label for _, label in shown)]]
        for row in names:
            cells.append([row, *(_cell(rows[row].get(metric), differences.get(row, {}).get(metric))
                                 for metric, _ in shown)])
        blocks.append(align(cells))
    return "\n\n".join(blocks)


def sort_rows(rows: Iterable[str]) -> list[str]:
    """Row names as people want to read them: the model, its bounds, then the baselines; unknown ones last."""
    return sorted(rows, key=lambda row: (ROW_ORDER.index(row) if row in ROW_ORDER else len(ROW_ORDER), row))


def align(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells as columns; the first line is a heading."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def describe_result(evaluation: dict) -> list[str]:
    """What can be said about the model against the baselines, in sentences."""
    protocol, sentences = evaluation["protocol"], []
    albums = protocol["albums"]
    if not protocol["intervals"]["drawn"] and albums >= MIN_ALBUMS:
        return ["No intervals were drawn (--resamples 0): no difference in these tables can be told from chance."]
    if not protocol["intervals"]["drawn"]:
        return [f"Nothing is proven here: {albums} albums are too few for intervals (at least {MIN_ALBUMS}), so no "
                "difference in these tables can be told from chance."]
    for metric, label in HEADLINE:
        verdicts = {row: found[metric]["better"] for row, found in evaluation["differences"].items()
                    if metric in found and row not in NOT_BASELINES and not row.startswith(f"{MODEL},")}
        if not verdicts:
            continue
        beaten = [row for row, better in verdicts.items() if better]
        if len(beaten) == len(verdicts):
            sentences.append(f"{label}: the model beats all {len(verdicts)} baselines.")
        else:
            others = [f"{row} ({'better than the model' if better is False else 'not told apart'})"
                      for row, better in verdicts.items() if not better]
            sentences.append(f"{label}: the model beats {len(beaten)} of {len(verdicts)} baselines; not "
                             f"{', '.join(others)}.")
    return sentences


def format_value(value: float | None) -> str:
    """Four figures that matter, at most three places."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _cell(score: dict | None, difference: dict | None) -> str:
    if score is None or score["value"] is None:
        return ""
    text = format_value(score["value"])
    if score["low"] is not None:
        text += f" [{format_value(score['low'])}, {format_value(score['high'])}]"
    better = difference["better"] if difference else None
    return text + {True: " +", False: " -", None: ""}[better]
