"""Story-wise scores that were computed elsewhere (RoViST-C, GROOViST), read without trust; and d_HM.

Source: A. Surikuchi, R. Fernandez, S. Pezzelle, Not (yet) the whole story, 2024: d_HM is the mean of how far a
system's stories are from people's in coherence, in the tanh of grounding, and in non-redundancy.
"""
import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from evaluate.predictions import describe_json, parse_json, read_text
from evaluate.statistics.bootstrap import Estimate
from evaluate.stories.scorer import HUMAN, SYSTEM

OUTSIDE = ("coherence", "grounding")
Scores = dict[str, float]  # by story id


def score_outside(paths: dict[str, Sequence[Path]], non_redundancy: Estimate | None
                  ) -> tuple[dict[str, dict[str, Estimate]], list[str]]:
    """Means of the files' scores and distances to people, by row; and sentences a user should read.

    Args:
        paths: by OUTSIDE the system's file and, for distances, people's; empty where there is none.
        non_redundancy: the system's dR, for d_HM.

    Raises:
        UserError: if a file is no map of stories to numbers, or system and people have no story in common.
    """
    read = {name: [{story: math.tanh(value) if name == "grounding" else value
                    for story, value in read_story_scores(path, name).items()} for path in files]
            for name, files in paths.items() if files}
    rows: dict[str, dict[str, Estimate]] = {}
    both = {name: files for name, files in read.items() if len(files) == 2}
    common = sorted(set.intersection(*(set(file) for files in both.values() for file in files))) if both else []
    if both and not common:
        raise UserError(f"expected stories that all of {', '.join(str(path) for name in both for path in paths[name])} "
                        "score, found none; use the same story ids for the system and for people")
    for name, files in read.items():
        for row, file in zip((SYSTEM, HUMAN), files):
            rows.setdefault(row, {})[name] = _point(file.values())
    for name, (own, people) in both.items():
        rows[SYSTEM][f"{name}_distance"] = _point(abs(own[story] - people[story]) for story in common)
    notes = [f"{name}: scores of {len(files[0])} stories as {paths[name][0]} has them, not computed here"
             for name, files in read.items()]
    if len(both) < len(OUTSIDE) or non_redundancy is None:
        return rows, [*notes, "no d_HM: it needs coherence and grounding of the system's stories and of people's, and "
                              "whole stories"] if read else []
    parts = [rows[SYSTEM][f"{name}_distance"].draws[0] for name in OUTSIDE] + [non_redundancy.draws[0]]
    rows[SYSTEM]["d_hm"] = Estimate(np.array([np.mean(parts)]), len(common))
    return rows, [*notes, f"d_HM: mean of dC and dG, over the {len(common)} stories that all four files score, and dR, "
                          f"over {non_redundancy.n} albums"]


def read_story_scores(path: Path, what: str) -> Scores:
    """Scores by story id from a JSON object, or a CSV whose first two columns are id and score; a title row is skipped.

    Raises:
        UserError: if it is neither, a story stands twice, or a score is no finite number; empty ones and NaN are
            left out.
    """
    content = read_text(path, what)
    pairs: list[tuple[Any, Any, str]]
    if content.lstrip().startswith(("{", "[")):
        raw = parse_json(content, f"{what} in {path}")
        if not isinstance(raw, dict):
            raise UserError(f"expected {{story_id: number}} in {path}, found {describe_json(raw)}; check --{what}")
        pairs = [(story, value, f"story {story}") for story, value in raw.items()]
    else:
        pairs = _read_rows(content, path, what)
    scores: Scores = {}
    for story, value, place in pairs:
        if story in scores:
            raise UserError(f"{place} of {path}: expected story {story} once, found it again; keep one of the two")
        is_number = isinstance(value, (int, float, str)) and not isinstance(value, bool) and _is_number(value)
        if value not in (None, "") and not is_number:
            raise UserError(f"{place} of {path}: expected a score as a finite number, found {describe_json(value)}; "
                            f"check --{what}")
        scores[story] = float(value) if is_number else math.nan
    known = {story: value for story, value in scores.items() if not math.isnan(value)}
    if not known:
        raise UserError(f"expected scores of stories in {path}, found none; check --{what}")
    return known


def _read_rows(content: str, path: Path, what: str) -> list[tuple[Any, Any, str]]:
    try:
        rows = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    except csv.Error as error:
        raise UserError(f"expected CSV or JSON in {path}, found {error}; check --{what}") from None
    pairs = []
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise UserError(f"row {number} of {path}: expected a story id and a score, found {row[0][:60]!r}; check "
                            f"--{what}")
        if number > 1 or _is_number(row[1]) or not row[1].strip():
            pairs.append((row[0].strip(), row[1].strip(), f"row {number}"))
    return pairs


def _is_number(value: Any) -> bool:
    try:
        return not math.isinf(float(value))
    except (ValueError, OverflowError):
        return False


def _point(values: Iterable[float]) -> Estimate:
    found = np.fromiter(values, float)
    return Estimate(np.array([found.mean()]), len(found))
