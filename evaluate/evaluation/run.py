"""Evaluate a run on a split: eval-<split>.json and predictions-<split>.jsonl, written into the run folder.

eval-<split>.json
    rows         row -> metric -> {"value", "low", "high", "n"}: 95 % interval over albums (null: too few), n units.
                 Headline metrics (t = 4, the fifth frame from the first four) have plain names, others t1., t2., t3.
                 (and t0. for the tags seen on the first frame). Value null: "reason" says why.
    differences  row -> metric -> the same of the paired difference model - row, and "better": true, false or null
    protocol     what was counted how; recipe, words, run: what it was evaluated with; machine: see `evaluate.machine`
predictions-<split>.jsonl
    see `evaluate.predictions`
"""
from collections.abc import Callable
from pathlib import Path

from data.files import write_json
from evaluate.config import EvalConfig
from evaluate.evaluation.evaluation import Evaluation
from evaluate.evaluation.frames import evaluate_frames
from evaluate.evaluation.scoring import Result, compare_rows, summarise
from evaluate.evaluation.stories import evaluate_stories
from evaluate.machine import describe_machine
from train.task import NEXT, TELL, Task

EVALUATORS: dict[Task, Callable[[Evaluation], Result]] = {NEXT: evaluate_frames, TELL: evaluate_stories}


def evaluate_run(config: EvalConfig) -> Path:
    """Evaluate a run by its task; see the head of this file for what is written.

    Returns:
        The path of eval-<split>.json, in the run folder.

    Raises:
        UserError: if the run, the folder or the split is missing or they do not fit each other.
    """
    evaluation = Evaluation.open(config)
    result = EVALUATORS[evaluation.run.config.asked](evaluation)
    return write_json(config.run / f"eval-{config.split}.json", {
        "rows": summarise(result.scores, result.reasons), "differences": compare_rows(result.scores),
        "protocol": result.protocol | {"precision": evaluation.precision}, "recipe": evaluation.features.recipe,
        "words": evaluation.split.words.identity,
        "run": {"path": str(config.run), "epoch": evaluation.run.epoch, "features": str(evaluation.features.root)},
        "machine": describe_machine(evaluation.device)})
