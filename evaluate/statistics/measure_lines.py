"""What can be measured from a predictions file alone: each line carries its truth."""
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from evaluate.captions.text_scores import BLEU_NAMES, corpus_bleu, score_units
from evaluate.captions.variety import measure_variety
from evaluate.statistics.bootstrap import Estimate, Resamples, divide

VARIETY = ("distinct_2", "repetition", "self_repetition")
RECALLS = {"r1_album": ("rank_album", 1), "r1_all": ("rank_all", 1), "r10_all": ("rank_all", 10),
           "1_of_5": ("rank_1_of_5", 1), "1_of_100": ("rank_1_of_100", 1)}


@dataclass(frozen=True, slots=True)
class Line:
    """One prediction; fields that a file lacks are None. See `prediction_file` for their meaning."""

    story_id: str
    album_id: str
    photos: tuple[str, ...]
    caption: str
    reference: str  # the caption's words as they are scored, joined by blanks
    written: str | None
    ranks: dict[str, float | None]
    nll: float | None
    tokens: int
    tags: dict[str, frozenset[str]]  # "tags" (true), "tags_next", "tags_seen"
    described: bool | None = None    # whether the photo of frame t + 1 has descriptions of its own


def read_lines(path: Path) -> dict[tuple[str, int], Line]:
    """Read a predictions file of task `next`, by (story_id, t).

    Raises:
        UserError: if it cannot be read, a line is no prediction, or a key comes twice.
    """
    lines: dict[tuple[str, int], Line] = {}
    try:
        content = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"expected a run folder or a predictions file at {path}, found {type(error).__name__}; name "
                        "one of those") from None
    for number, text in enumerate(content, start=1):
        try:
            raw = json.loads(text)
            key = str(raw["story_id"]), int(raw["t"])
            line = _parse(raw)
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"line {number} of {path}: expected a prediction with story_id, album_id, t, photos and "
                            f"caption, found {type(error).__name__}: {error}; for whole stories add --references"
                            ) from None
        if key in lines:
            raise UserError(f"line {number} of {path}: expected story {key[0]} with t = {key[1]} once, found it again; "
                            "keep one of the two")
        lines[key] = line
    if not lines:
        raise UserError(f"expected predictions in {path}, found an empty file; write it again")
    return lines


def measure_lines(lines: Sequence[Line], num_resamples: int, seed: int, left_out: frozenset[str] = frozenset()
                  ) -> tuple[dict[str, Estimate], int]:
    """Everything that these lines (of one t) allow, without the tags `left_out`; and the number of albums."""
    resamples = Resamples([line.album_id for line in lines], num_resamples, seed)
    stories_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        stories_of[line.photos].append(place)
    weight = np.array([1 / len(stories_of[line.photos]) for line in lines])
    estimates = {}
    for metric, (field, k) in RECALLS.items():
        rank = np.array([math.nan if line.ranks[field] is None else line.ranks[field] for line in lines], float)
        if not np.isnan(rank).all():
            estimates[metric] = resamples.mean(np.where(np.isnan(rank), np.nan, rank <= k), weight)
            if metric == "r1_all":
                estimates["mrr_all"] = resamples.mean(1 / rank, weight)
    if all(line.nll is not None and line.tokens for line in lines):
        nll, tokens = (np.array([getattr(line, name) for line in lines], float) for name in ("nll", "tokens"))
        estimates["perplexity"] = resamples.ratio(nll, tokens, len(lines), np.exp)
    for kind in ("next", "seen"):
        told = np.array([f"tags_{kind}" in line.tags and "tags" in line.tags for line in lines])
        for prefix, counted in zip(("", "undescribed."), _described_apart(lines)):
            if (told & counted).any():
                estimates[f"tags_{kind}.{prefix}micro_f1"] = _micro_f1(
                    lines, f"tags_{kind}", np.where(told & counted, weight, 0.0), resamples, left_out)
    if all(line.written is not None for line in lines):
        estimates |= _captions(lines, list(stories_of.values()), resamples)
        variety = measure_variety([(line.written or "").split() for line in lines])
        estimates |= {name: Estimate(np.array([np.nan if (value := variety[name]) is None else value]), len(lines))
                      for name in VARIETY}  # of the whole set: they have no draws
    return estimates, resamples.num_albums


def _captions(lines: Sequence[Line], stories_of: Sequence[Sequence[int]], resamples: Resamples
              ) -> dict[str, Estimate]:
    unit = np.empty(len(lines), np.int64)
    for place, stories in enumerate(stories_of):
        unit[stories] = place
    references = [[lines[story].reference.split() for story in stories] for stories in stories_of]
    scores = score_units([(line.written or "").split() for line in lines], unit, references)
    columns = np.zeros((len(lines), scores.bleu_counts.shape[1] + 3))
    first = [stories[0] for stories in stories_of]
    columns[first] = np.column_stack([scores.bleu_counts, scores.rouge_l, scores.cider, np.ones(len(scores))])
    sums = resamples.sums(columns)
    bleu, means = corpus_bleu(sums[:, :-3]), sums[:, -3:-1] / sums[:, -1:]
    return {**{name: Estimate(bleu[:, column], len(scores)) for column, name in enumerate(BLEU_NAMES)},
            "rouge_l": Estimate(means[:, 0], len(scores)), "cider": Estimate(means[:, 1], len(scores))}


def level_lines(systems: Sequence[dict[tuple[str, int], Line]], keys: Sequence[tuple[str, int]]) -> list[list[Line]]:
    """The lines of several systems, without what one of them does not say there: all are measured on the same.

    Args:
        systems: lines by (story_id, t); what one of them never says the others may. keys: those to take.
    """
    says = [set().union(*(_said(system[key]) for key in keys)) for system in systems]
    levelled: list[list[Line]] = [[] for _ in systems]
    for key in keys:
        lines = [system[key] for system in systems]
        silent = set().union(*(of_system - _said(line) for of_system, line in zip(says, lines)))
        for place, line in enumerate(lines):
            levelled[place].append(replace(
                line, ranks={field: None if field in silent else rank for field, rank in line.ranks.items()},
                tags={name: names for name, names in line.tags.items() if name not in silent},
                described=lines[0].described))
    return levelled


def _said(line: Line) -> set[str]:
    return {field for field, rank in line.ranks.items() if rank is not None} | set(line.tags)


def _described_apart(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray]:
    """Lines that make the headline, and lines that stand apart: as `tag_scores.counted_frames` has it."""
    described = np.array([bool(line.described) for line in lines])
    both = all(line.described is not None for line in lines) and described.any() and not described.all()
    return (described, ~described) if both else (np.ones(len(lines), bool), np.zeros(len(lines), bool))


def _micro_f1(lines: Sequence[Line], field: str, weight: np.ndarray, resamples: Resamples, left_out: frozenset[str]
              ) -> Estimate:
    true, said = ([line.tags.get(name, frozenset()) - left_out for line in lines] for name in ("tags", field))
    both = np.array([len(one & other) for one, other in zip(true, said)]) * weight
    total = np.array([len(one) + len(other) for one, other in zip(true, said)]) * weight
    above, below = resamples.sums(np.column_stack([both, total])).T
    return Estimate(divide(2 * above, below), round(weight.sum()))


def _parse(raw: dict[str, Any]) -> Line:
    ranks = {field: None if raw.get(field) is None else float(raw[field]) for field, _ in RECALLS.values()}
    caption = str(raw["caption"])
    return Line(str(raw["story_id"]), str(raw["album_id"]), tuple(map(str, raw["photos"])), caption,
                str(raw.get("reference", caption.lower())),
                None if raw.get("written") is None else str(raw["written"]), ranks,
                None if raw.get("nll") is None else float(raw["nll"]), int(raw.get("tokens") or 0),
                {name: frozenset(map(str, raw[name])) for name in ("tags", "tags_next", "tags_seen")
                 if raw.get(name) is not None},
                None if raw.get("described") is None else bool(raw["described"]))
