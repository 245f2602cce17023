"""What a table of runs shows of one, and a card that somebody sent, read as that: nothing in a card is trusted."""
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError, printable
from data.files import take_each_key_once
from evaluate.metrics import list_metrics
from evaluate.predictions import plain_number

FORMAT = 1
MAX_CARD_BYTES = 1 << 24  # one of two splits has 2 MB: every tag's numbers are in it
MAX_TEXT, MAX_ENTRIES = 200, 10_000
SPLITS = ("test", "val")  # of these the first that was evaluated is shown
IDENTITIES = ("recipe", "words", "source")
LISTED = list_metrics("listed")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ListedRun:
    """A run: settings, identities' ids, epochs done and planned, best val loss (unweighted image + text), scores.

    Attributes:
        path: of its folder; None for a card. features: where its features folder lay; empty for a card.
    """

    name: str
    path: Path | None
    settings: dict[str, Any]
    identities: dict[str, str]
    features: str
    epochs: int
    planned: int
    best_val: float | None
    split: str
    scores: dict[str, float | None]


def read_card(url: str) -> ListedRun:
    """Read a card from a path, or an http(s), s3 or hf address.

    Raises:
        UserError: if there is none, or it is larger than any, or not what a card is, field by field.
    """
    from extract.sharing.download import Download, Source
    from extract.sharing.transport import parse_address
    address = parse_address(url)
    text = Download(Source(address), Path()).read("", 0, MAX_CARD_BYTES + 1)
    if text is None:
        raise UserError(f"expected a run's card at {address.shown}, found no such file; make one with: python -m "
                        "evaluate export RUN --out card.json")
    where = printable(address.shown)
    try:
        if len(text) > MAX_CARD_BYTES:
            raise ValueError(f"more than {MAX_CARD_BYTES} bytes")
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=take_each_key_once, parse_constant=_refuse_constant)
        return _read(raw, where)
    except (ValueError, RecursionError, KeyError, TypeError) as error:  # no UTF-8, no JSON, or another thing
        raise UserError(f"expected a run's card of format {FORMAT} in {where}, found {type(error).__name__}: "
                        f"{printable(error):.200}; get it again, or ask for one made by: python -m evaluate export"
                        ) from None


def _read(raw: Any, where: str) -> ListedRun:
    card = _object(raw, "a card")
    if card["format"] != FORMAT:
        raise ValueError(f"format {card['format']!r:.40}")
    evaluations = {split: _check_evaluation(evaluation, split) for split, evaluation in
                   _object(card["evaluations"], "evaluations").items() if split in SPLITS}
    split = next((split for split in SPLITS if split in evaluations), "")
    fitted = {**_settings(card["settings"]), **_settings(card["fitted"])}
    name = f"{_text(card['name'], 'name')} ({where})"
    return ListedRun(name, None, _settings(card["settings"]), _identities(card["identities"]), "",
                     _count(card["epochs"], "epochs"), _count(fitted["epochs"], "settings.epochs"),
                     _number(card["best_val"], "best_val"), split, evaluations.get(split, {}))


def _check_evaluation(raw: Any, split: str) -> dict[str, float | None]:
    """The listed scores of a card's evaluation of which every number was looked at."""
    rows = _object(_object(raw, split)["rows"], f"rows of {split}")
    scores = {row: {metric: {part: _number(value, f"{row}.{metric}.{part}") for part, value in
                             _object(score, f"{row}.{metric}").items()}
                    for metric, score in _object(metrics, row).items()} for row, metrics in rows.items()}
    model = scores.get("model", {})
    return {metric.name: model.get(metric.name, {}).get("value") for metric in LISTED}


def _settings(raw: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in _object(raw, "settings").items():
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if not isinstance(value, str | int | float | bool | None):
            raise TypeError(f"setting {name!r:.40} is {type(value).__name__}")
        plain[printable(name)[:MAX_TEXT]] = printable(value)[:MAX_TEXT] if isinstance(value, str) else value
    return plain


def _identities(raw: Any) -> dict[str, str]:
    found = {name: _object(raw, "identities")[name]["id"] for name in IDENTITIES}
    for name, digest in found.items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ValueError(f"the id of {name} is no sha256")
    return found


def _object(raw: Any, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or len(raw) > MAX_ENTRIES:
        raise TypeError(f"{what:.60} is no object of at most {MAX_ENTRIES} entries")
    return raw


def _text(raw: Any, what: str) -> str:
    if not isinstance(raw, str):
        raise TypeError(f"{what} is {type(raw).__name__}")
    return printable(raw)[:MAX_TEXT]


def _number(raw: Any, what: str) -> float | None:
    if raw is not None and plain_number(raw) is None:
        raise ValueError(f"{what:.80} is no finite number: {raw!r:.40}")
    return plain_number(raw)


def _count(raw: Any, what: str) -> int:
    if type(raw) is not int or not 0 <= raw < 1 << 53:
        raise ValueError(f"{what} is no count: {raw!r:.40}")
    return raw


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")
