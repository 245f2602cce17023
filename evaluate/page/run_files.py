"""The files of an evaluated run, as the page reads them; none of them is trusted to be whole.

eval-<split>.json         {"rows": {row: {metric: {"value", "low", "high", "n"}}}, "differences": the same of the paired
                          difference model - row, "protocol", "recipe", "words", "run": {"path", "epoch", "features"}}
predictions-<split>.jsonl see `evaluate.predictions`
metrics.jsonl             a line per epoch: epoch, train.{image,text,...}, val.*, lr, seconds
config.json               what the run was trained with
"""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json
from evaluate.predictions import Prediction, find_predictions, plain_number, read_predictions
from train.run_folder.runs import CONFIG, read_metrics


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one row; `value` is None where it could not be computed, and `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class EvaluatedRun:
    """Everything the page shows of a run, apart from its stories' photos and captions."""

    path: Path
    split: str
    scores: dict[str, dict[str, Score]]
    protocol: dict[str, Any]
    paired: dict[str, dict[str, Score]]
    identities: dict[str, str]

    epoch: int | None
    predictions: list[Prediction]
    epochs: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run folder's name with that of the folder around it, which says what it was trained on."""
        return "/".join(self.path.resolve().parts[-2:]).lstrip("/")

    @property
    def task(self) -> str:
        """The task it was trained for: next, or tell."""
        return str(self.protocol.get("task", "next"))

    @property
    def num_albums(self) -> int:
        """How many albums the predictions are about."""
        return len({prediction.album_id for prediction in self.predictions})

    @property
    def last_t(self) -> int:
        """The most frames seen before a prediction, 4 for the task `next`."""
        return max((prediction.t for prediction in self.predictions), default=4)


def read_evaluated_run(run_path: Path, split: str) -> EvaluatedRun:
    """Read what training and evaluation left in a run folder.

    Args:
        run_path: the run folder. split: the evaluated split.

    Raises:
        UserError: if the split was not evaluated, or a file is damaged.
    """
    remedy = f"run first: make eval RUN={run_path} SPLIT={split}"
    path = run_path / f"eval-{split}.json"
    evaluation = read_json(path, f"the numbers of split {split!r}", remedy)
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("rows"), dict):
        raise UserError(f"expected an object with 'rows' in {path}, found {type(evaluation).__name__}; {remedy}")
    config = run_path / CONFIG
    return EvaluatedRun(
        path=run_path, split=split, scores=_score_table(evaluation["rows"]),
        paired=_score_table(_object(evaluation.get("differences"))),
        protocol=_object(evaluation.get("protocol")),
        identities={kind: str(raw["id"]) for kind in ("recipe", "words")
                    if (raw := _object(evaluation.get(kind))).get("id")},

        epoch=_object(evaluation.get("run")).get("epoch"),
        predictions=read_run_predictions(run_path, split),
        epochs=[line for line in read_metrics(run_path) if isinstance(line, dict)],
        config=_object(read_json(config, "the run's settings", "train the run again")) if config.exists() else {})


def read_run_predictions(run_path: Path, split: str) -> list[Prediction]:
    """Read a run's predictions of a split; `run_path` may also be a predictions file itself.

    Raises:
        UserError: if there are none, or a line is damaged or says not what was written.
    """
    path = find_predictions(run_path, split)
    predictions = read_predictions(path)
    if any(line.written is None or not line.photos or line.is_story and not line.sentences for line in predictions):
        raise UserError(f"expected photos and what was written on every line of {path}, found one without; evaluate "
                        "the run again")
    return predictions


def _score_table(rows: dict[str, Any]) -> dict[str, dict[str, Score]]:
    return {str(row): {str(metric): _score(raw) for metric, raw in _object(metrics).items()}
            for row, metrics in rows.items()}


def _score(raw: Any) -> Score:
    if not isinstance(raw, dict):
        return Score(plain_number(raw))
    count = plain_number(raw.get("n"))
    return Score(plain_number(raw.get("value")), plain_number(raw.get("low")), plain_number(raw.get("high")),
                 None if count is None else int(count), str(raw.get("reason") or ""))


def _object(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}
