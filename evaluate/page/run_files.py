"""The files of an evaluated run, as the page reads them; none of them is trusted to be whole.

eval-<split>.json         {"rows": {row: {metric: {"value", "low", "high", "n"}}}, "differences": the same of the paired
                          difference model - row, "protocol", "recipe", "words", "run": {"path", "epoch", "features"}}
predictions-<split>.jsonl a line per (story, t): story_id, album_id, t, photos, caption, written, tags, tags_seen,
                          tags_next, retrieved, rank_album, rank_all, nll, tokens; of task `tell` a line per story:
                          story_id, album_id, photos, story, sentences, nll, tokens
metrics.jsonl             a line per epoch: epoch, train.{image,text,...}, val.*, lr, seconds
config.json               what the run was trained with
"""
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.annotations.annotation_file import NUM_FRAMES
from data.errors import UserError
from data.files import read_json


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one row; `value` is None where it could not be computed, and `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run said about frame t (0-based; frames 0..t-1 were seen) of a story, or with t = 5 about all of it."""

    story_id: str
    album_id: str
    t: int
    photos: tuple[str, ...]
    written: str
    tags: tuple[str, ...]
    tags_seen: tuple[str, ...]
    tags_next: tuple[str, ...]
    retrieved: tuple[str, ...]
    rank_album: float | None
    rank_all: float | None
    nll: float | None
    tokens: int
    sentences: tuple[str, ...] = ()  # of a whole story

    @property
    def rank(self) -> float | None:
        """The rank of the true photo over the whole split, else over its album; 1 is best."""
        return self.rank_all if self.rank_all is not None else self.rank_album

    @property
    def surprise(self) -> float | None:
        """Negative log likelihood of the true caption per token, in nats."""
        return self.nll / self.tokens if self.nll is not None and self.tokens > 0 else None


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
    config, epochs = run_path / "config.json", run_path / "metrics.jsonl"
    return EvaluatedRun(
        path=run_path, split=split, scores=_score_table(evaluation["rows"]), paired=_paired(evaluation),
        protocol=_object(evaluation.get("protocol")), identities=_identities(evaluation),
        epoch=_object(evaluation.get("run")).get("epoch"),
        predictions=read_predictions(run_path, split),
        epochs=list(_read_lines(epochs, "train the run again")) if epochs.exists() else [],
        config=_object(read_json(config, "the run's settings", "train the run again")) if config.exists() else {})


def read_predictions(run_path: Path, split: str) -> list[Prediction]:
    """Read a run's predictions of a split; `run_path` may also be a predictions file itself.

    Raises:
        UserError: if there are none, or a line is damaged.
    """
    path = run_path if run_path.is_file() else run_path / f"predictions-{split}.jsonl"
    remedy = f"run first: make eval RUN={run_path} SPLIT={split}"
    if not path.is_file():
        raise UserError(f"expected the predictions of split {split!r} at {path}, found no such file; {remedy}")
    return [_prediction(line, path) for line in _read_lines(path, remedy)]


def _score_table(rows: dict[str, Any]) -> dict[str, dict[str, Score]]:
    return {str(row): {str(metric): _score(raw) for metric, raw in _object(metrics).items()}
            for row, metrics in rows.items()}


def _paired(evaluation: dict[str, Any]) -> dict[str, dict[str, Score]]:
    """The paired differences model minus row, by row and metric; empty where the evaluation has none."""
    return _score_table(_object(evaluation.get("differences")))


def _score(raw: Any) -> Score:
    if not isinstance(raw, dict):
        return Score(_number(raw))
    count = _number(raw.get("n"))
    return Score(_number(raw.get("value")), _number(raw.get("low")), _number(raw.get("high")),
                 None if count is None else int(count), str(raw.get("reason") or ""))


def _prediction(raw: dict[str, Any], path: Path) -> Prediction:
    try:
        if "story" in raw:
            return Prediction(
                str(raw["story_id"]), str(raw["album_id"]), NUM_FRAMES, _names(raw["photos"]), str(raw["story"]), (),
                (), (), (), None, None, _number(raw.get("nll")), int(raw.get("tokens") or 0),
                _names(raw["sentences"]))
        return Prediction(
            str(raw["story_id"]), str(raw["album_id"]), int(raw["t"]), _names(raw["photos"]), str(raw["written"]),
            _names(raw.get("tags")), _names(raw.get("tags_seen")), _names(raw.get("tags_next")),
            _names(raw.get("retrieved")), _number(raw.get("rank_album")), _number(raw.get("rank_all")),
            _number(raw.get("nll")), int(raw.get("tokens") or 0))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"expected a prediction on every line of {path}, found one with "
                        f"{type(error).__name__}: {error}; evaluate the run again") from None


def _read_lines(path: Path, remedy: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"expected JSON on line {number} of {path}, found {error}; {remedy}") from None
            if not isinstance(value, dict):
                raise UserError(f"expected an object on line {number} of {path}, found {type(value).__name__}; "
                                f"{remedy}")
            yield value


def _identities(evaluation: dict[str, Any]) -> dict[str, str]:
    found = {}
    for kind in ("recipe", "words"):
        raw = evaluation.get(kind)
        identity = raw.get("id") if isinstance(raw, dict) else raw
        if identity:
            found[kind] = str(identity)
    return found


def _object(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in raw or ())


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw):
        return None
    return float(raw)
