"""Judges' answers to a blind sheet: win rate with intervals, and how far the judges agree."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nltk.metrics.agreement import AnnotationTask
from scipy.stats import binomtest

from data.errors import UserError
from data.files import read_json
from evaluate.page.ab_sheet import KEY_VERSION, RUN_A, RUN_B
from evaluate.statistics.bootstrap import LEVEL, MIN_ALBUMS, Resamples, side_of_zero

RESAMPLES, SEED = 1000, 42  # of the bootstrap over albums
TIE = "tie"
SIDES = ("left", "right", TIE)
CHOICES = (RUN_A, RUN_B, TIE)
CREDIT = {RUN_A: 1.0, RUN_B: 0.0, TIE: 0.5}


@dataclass(frozen=True)
class AbResult:
    """What human judges preferred; rates are those of run A.

    Attributes:
        run_a, run_b: as the key names them. judges: their names. num_questions: answered by anyone.
        votes: answers by choice "a", "b", "tie".
        win_rate: share of answers for A, ties counted half, questions weighted equally.
        low, high: its 95 % bootstrap interval over albums; None under 20 albums.
        decided_rate, decided_low, decided_high: share of questions whose majority is A, of those with a majority for
            either, and its 95 % Wilson interval; None where no question is decided.
        agreement: share of pairs of answers to one question that are equal; None with a single judge.
        kappa: that agreement corrected for chance, Cohen's for two judges, Fleiss' for more; None where undefined.
        kappa_questions: questions that every judge answered, which kappa rests on.
    """

    run_a: str
    run_b: str
    judges: list[str]
    num_questions: int
    votes: dict[str, int]
    win_rate: float
    low: float | None
    high: float | None
    decided_rate: float | None
    decided_low: float | None
    decided_high: float | None
    agreement: float | None
    kappa: float | None
    kappa_questions: int


def read_ab_answers(key_path: Path, answer_paths: Sequence[Path]) -> AbResult:
    """Score the answers of several judges.

    Args:
        key_path: the key that was written beside the sheet.
        answer_paths: one file a judge, as the sheet saves it; unanswered questions are left out.


    Raises:
        UserError: if a file is damaged, belongs to another sheet, two judges share a name, or nothing was answered.
    """
    key = _read_key(key_path)
    by_judge: dict[str, dict[int, str]] = {}
    for path in answer_paths:
        judge, choices = _read_answers(path, key, key_path)
        if judge in by_judge:
            raise UserError(f"expected one file a judge, found a second of {judge!r} in {path}; name each file once")
        by_judge[judge] = choices
    answered = sorted({index for choices in by_judge.values() for index in choices})
    if not answered:
        raise UserError(f"expected answers to {key_path}, found none in {len(answer_paths)} files; ask the judges")
    votes = {index: [choices[index] for choices in by_judge.values() if index in choices] for index in answered}
    counts = Counter(choice for found in votes.values() for choice in found)
    drawn = Resamples([key["questions"][index]["album_id"] for index in answered], RESAMPLES, SEED)
    rates = np.array([np.mean([CREDIT[choice] for choice in votes[index]]) for index in answered])
    summary = drawn.mean(rates, np.ones(len(rates))).summary()
    leads = [Counter(found)[RUN_A] - Counter(found)[RUN_B] for found in votes.values()]
    decided = sum(lead != 0 for lead in leads)
    wilson = wilson_interval(sum(lead > 0 for lead in leads), decided)
    whole = [[CHOICES.index(choices[index]) for choices in by_judge.values()] for index in answered
             if len(votes[index]) == len(by_judge)]
    return AbResult(
        key["runs"][RUN_A], key["runs"][RUN_B], list(by_judge), len(answered),
        {choice: counts[choice] for choice in CHOICES}, float(rates.mean()), summary["low"], summary["high"],
        sum(lead > 0 for lead in leads) / decided if decided else None, *wilson,
        raw_agreement([[CHOICES.index(choice) for choice in found] for found in votes.values()]),
        agreement_kappa(whole), len(whole) if len(by_judge) > 1 else 0)


def describe_answers(result: AbResult) -> list[str]:
    """The result in sentences; a preference is claimed only where the interval leaves out one half."""
    votes, lines = result.votes, []
    judges = f"{len(result.judges)} judge{'s' * (len(result.judges) != 1)}"
    lines.append(f"{result.num_questions} questions, {judges}: {votes[RUN_A]} answers for A ({result.run_a}), "
                 f"{votes[RUN_B]} for B ({result.run_b}), {votes[TIE]} ties.")
    interval = (f"95 % interval {result.low:.3f} to {result.high:.3f} over albums" if result.low is not None
                else f"no interval: under {MIN_ALBUMS} albums")
    lines.append(f"Win rate of A {result.win_rate:.3f}, ties half ({interval}).")
    if result.decided_rate is not None:
        lines.append(f"Of the questions with a majority A wins {result.decided_rate:.3f} "
                     f"(95 % Wilson interval {result.decided_low:.3f} to {result.decided_high:.3f}).")
    if result.agreement is not None:
        corrected = (f"kappa {result.kappa:.2f} over {result.kappa_questions} questions" if result.kappa is not None
                     else "kappa undefined: no question was answered by all, or all said the same")
        lines.append(f"Judges agree on {result.agreement:.0%} of pairs ({corrected}).")
    else:
        lines.append("One judge: agreement cannot be measured.")
    claim = "Nothing is proven: too few albums for an interval."
    if result.low is not None and result.high is not None:
        claim = {1: "Judges prefer A: the interval lies above one half.",
                 -1: "Judges prefer B: the interval lies below one half.",
                 0: "No preference can be claimed: the interval holds one half."}[
                     side_of_zero(result.low - 0.5, result.high - 0.5)]
    return [*lines, claim]


def wilson_interval(wins: int, total: int) -> tuple[float | None, float | None]:
    """95 % interval of a share."""
    if not total:
        return None, None
    found = binomtest(wins, total).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def raw_agreement(answers: Sequence[Sequence[int]]) -> float | None:
    """Share of equal pairs of answers to one question, over all questions; None where no question has two."""
    pairs = sum(len(found) * (len(found) - 1) for found in answers)
    equal = sum(count * (count - 1) for found in answers for count in Counter(found).values())
    return equal / pairs if pairs else None


def agreement_kappa(answers: Sequence[Sequence[int]]) -> float | None:
    """Agreement beyond chance: Cohen's kappa for two judges, Fleiss' for more.

    Args:
        answers: (questions, judges) categories as small integers; every judge answered every question.

    Returns:
        At most 1; 0 is chance. None with fewer than two judges or where chance agreement is 1.
    """
    judges = range(len(answers[0]) if len(answers) else 0)
    task = AnnotationTask([(judge, question, row[judge]) for question, row in enumerate(answers) for judge in judges])
    if len(judges) < 2 or len(task.K) < 2:
        return None
    return float(task.kappa() if len(judges) == 2 else task.pi())


def _read_key(path: Path) -> dict[str, Any]:
    key = read_json(path, "a sheet's key", "name the .key.json file that was written beside the sheet")
    try:
        if key["version"] != KEY_VERSION:
            raise ValueError(f"version {key['version']!r}")
        sides = [{question["left"], question["right"]} for question in key["questions"]]
        [str(question["album_id"]) for question in key["questions"]]
        if any(found != {RUN_A, RUN_B} for found in sides) or not {RUN_A, RUN_B} <= set(key["runs"]):
            raise ValueError("a question without both runs")
        str(key["sheet"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"expected a sheet's key in {path}, found {type(error).__name__}: {error}; name the .key.json "
                        "file that was written beside the sheet") from None
    return key


def _read_answers(path: Path, key: dict[str, Any], key_path: Path) -> tuple[str, dict[int, str]]:
    remedy = "ask the judge to save the answers again"
    raw = read_json(path, "a judge's answers", remedy)
    if not isinstance(raw, dict) or not isinstance(raw.get("answers"), dict):
        raise UserError(f"expected a judge's answers in {path}, found {type(raw).__name__}; {remedy}")
    if raw.get("sheet") != key["sheet"]:
        raise UserError(f"expected answers to the sheet of {key_path} ({key['sheet'][:12]}), found answers to another "
                        f"({str(raw.get('sheet'))[:12]}) in {path}; name the key of that sheet")
    choices = {}
    for name, side in raw["answers"].items():
        index = int(name) if name.isdecimal() else -1
        if not 0 <= index < len(key["questions"]) or side not in SIDES:
            raise UserError(f"expected {', '.join(SIDES)} for questions 0 to {len(key['questions']) - 1} in {path}, "
                            f"found {side!r} for {name!r}; {remedy}")
        choices[index] = TIE if side == TIE else key["questions"][index][side]
    return str(raw.get("judge") or path.stem), choices
