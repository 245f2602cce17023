"""What can be measured from a predictions file alone: each line carries its truth."""
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from evaluate.captions.caption_scores import estimate_units, estimate_whole
from evaluate.captions.ngrams import TextTable, measure_rows
from evaluate.captions.text_scores import score_units
from evaluate.photos.retrieval import TiedRanks
from evaluate.predictions import Prediction, read_predictions
from evaluate.statistics.bootstrap import Estimate, Resamples

VARIETY = ("distinct_2", "repetition", "self_repetition")
RECALLS = {"r1_album": ("album", 1), "r1_all": ("all", 1), "r10_all": ("all", 10), "1_of_5": ("1_of_5", 1),
           "1_of_100": ("1_of_100", 1)}


def lines_by_frame(path: Path) -> dict[tuple[str, int], Prediction]:
    """The predictions of a file of task `next`, by (story_id, t).

    Raises:
        UserError: if it cannot be read, a line is no prediction, or it holds whole stories.
    """
    lines = read_predictions(path)
    if any(line.is_story for line in lines):
        raise UserError(f"expected captions of task next in {path}, found whole stories; add --references")
    return {(line.story_id, line.t): line for line in lines}


def measure_lines(lines: Sequence[Prediction], num_resamples: int, seed: int, left_out: frozenset[str] = frozenset()
                  ) -> tuple[dict[str, Estimate], int]:
    """Everything that these lines (of one t) allow, without the tags `left_out`; and the number of albums."""
    resamples = Resamples([line.album_id for line in lines], num_resamples, seed)
    stories_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        stories_of[line.photos].append(place)
    weight = np.array([1 / len(stories_of[line.photos]) for line in lines])
    estimates = {}
    for metric, (pool, k) in RECALLS.items():
        mean = np.array([math.nan if line.ranks[pool] is None else line.ranks[pool] for line in lines], float)
        tied = np.array([line.tied[pool] for line in lines])
        tied = np.where((tied == 0) & (mean % 1 > 0), 1, tied)  # a half place, where a file does not say more
        places = TiedRanks(np.maximum(mean - tied / 2, 1), tied)
        if not np.isnan(mean).all():
            estimates[metric] = resamples.mean(places.recall(k), weight)
            if metric == "r1_all":
                estimates["mrr_all"] = resamples.mean(places.reciprocal(), weight)
    for known in ("", "_known"):
        nll, tokens = ([getattr(line, name + known) for line in lines] for name in ("nll", "tokens"))
        if None not in nll and (known or all(tokens)) and any(tokens):
            estimates[f"perplexity{known}"] = resamples.ratio(np.array(nll), np.array(tokens), len(lines), np.exp)
    for kind in ("next", "seen"):
        told = np.array([kind in line.guessed and line.tags is not None for line in lines])
        for prefix, counted in zip(("", "undescribed."), _described_apart(lines)):
            if (told & counted).any():
                weighed = np.where(told & counted, weight, 0.0)
                tags = [(set(line.tags or ()) - left_out, set(line.guessed.get(kind, ())) - left_out) for line in lines]
                both = np.array([len(true & said) for true, said in tags]) * weighed
                total = np.array([len(true) + len(said) for true, said in tags]) * weighed
                estimates[f"tags_{kind}.{prefix}micro_f1"] = resamples.ratio(2 * both, total, round(weighed.sum()))
    if all(line.written is not None for line in lines):
        written, units = [(line.written or "").split() for line in lines], list(stories_of.values())
        unit = np.empty(len(lines), np.int64)
        for place, stories in enumerate(units):
            unit[stories] = place
        references = [[(lines[story].reference or "").split() for story in stories] for stories in units]
        variety = measure_rows(TextTable(written), np.arange(len(written)))
        scores = score_units(written, unit, references)
        estimates |= estimate_units(resamples, scores, np.array([own[0] for own in units]))
        estimates |= estimate_whole({name: variety[name] for name in VARIETY}, len(lines))
    return estimates, resamples.num_albums


def level_lines(systems: Sequence[dict[tuple[str, int], Prediction]], keys: Sequence[tuple[str, int]]
                ) -> list[list[Prediction]]:
    """The lines of several systems, without what one of them does not say there: all are measured on the same.

    Args:
        systems: lines by (story_id, t); what one of them never says the others may. keys: those to take.
    """
    says = [set().union(*(_said(system[key]) for key in keys)) for system in systems]
    levelled: list[list[Prediction]] = [[] for _ in systems]
    for key in keys:
        lines = [system[key] for system in systems]
        silent = set().union(*(of_system - _said(line) for of_system, line in zip(says, lines)))
        for place, line in enumerate(lines):
            levelled[place].append(replace(
                line, ranks={pool: None if pool in silent else rank for pool, rank in line.ranks.items()},
                guessed={kind: names for kind, names in line.guessed.items() if kind not in silent},
                tags=None if "tags" in silent else line.tags,
                described=lines[0].described))
    return levelled


def _said(line: Prediction) -> set[str]:
    return ({pool for pool, rank in line.ranks.items() if rank is not None} | set(line.guessed)
            | ({"tags"} if line.tags is not None else set()))


def _described_apart(lines: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    """Lines that make the headline, and lines that stand apart: as `tag_scores.counted_frames` has it."""
    described = np.array([bool(line.described) for line in lines])
    both = all(line.described is not None for line in lines) and described.any() and not described.all()
    return (described, ~described) if both else (np.ones(len(lines), bool), np.zeros(len(lines), bool))
