"""A run for others: `python -m evaluate export RUN --out card.json`, or --out run.tar to evaluate it elsewhere.

{"format": 1, "name": the run folder's, "settings": {setting: value}, "fitted": those that follow from the stories,
 "sizes": {}, "stories": {}, "finetune": {}, "identities": {"recipe": {"id", "fields"}, "words", "source", ...},
 "epochs": n, "best_val": unweighted image + text loss, "weights": {file: sha256},
 "evaluations": {split: {"rows": {row: {metric: {"value", "low", "high", "n"}}}, "protocol": {}, "epoch": n,
                         "machine": {"device", "threads", "versions"}}}}

Equal runs evaluated alike give equal bytes: no time, no path, neither host nor user is in it. The tar has the card, the
weights, the log and the settings, which name files by their last part alone; features are handed on by pack.
"""
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import UserError, shell_word
from data.files import format_json, read_json, replace_file, sha256_file, write_text
from evaluate.predictions import plain_number
from evaluate.runs.listed import FORMAT, MAX_CARD_BYTES, SPLITS
from evaluate.runs.run_list import read_progress
from train.run_folder.runs import BACKBONE, BEST, CONFIG, METRICS, VOCABULARY, read_record

CARD = "card.json"
PARTS = ("value", "low", "high", "n")
_PATH = re.compile(r"(?<![\w.:/\\])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,()'\"]+)+[/\\]?")


def export_run(run_path: Path, out: Path) -> Path:
    """Write a run's card, or for a name that ends in .tar the run with its card; equal runs give equal bytes.

    Raises:
        UserError: if there is no run, or none of its splits was evaluated.
    """
    card = format_json(describe_run(run_path))
    if len(card.encode()) > MAX_CARD_BYTES:
        raise UserError(f"expected a card of at most {MAX_CARD_BYTES} bytes of {run_path}, found {len(card.encode())}; "
                        "evaluate the run with fewer tags")
    if out.suffix != ".tar":
        return write_text(out, card)
    settings = format_json(_read_config(run_path))
    with replace_file(out) as partial, tarfile.TarFile(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in ((CARD, card), (CONFIG, settings)):
            _add(tar, run_path, name, io.BytesIO(text.encode()), len(text.encode()))
        for name in (METRICS, BEST, BACKBONE, VOCABULARY):
            if (run_path / name).exists():
                with open(run_path / name, "rb") as file:
                    _add(tar, run_path, name, file, (run_path / name).stat().st_size)
    return out


def describe_run(run_path: Path) -> dict[str, Any]:
    """What a run's card says; see the head of this file."""
    record, config = read_record(run_path), _read_config(run_path)
    evaluations = {split: _read_evaluation(path) for split in SPLITS
                   if (path := run_path / f"eval-{split}.json").exists()}
    if not evaluations:
        raise UserError(f"expected numbers of {' or '.join(SPLITS)} in {run_path}, found none; evaluate it first: make "
                        f"eval RUN={shell_word(run_path)}")
    epochs, best_val = read_progress(run_path)
    return {"format": FORMAT, "name": run_path.resolve().name, "sizes": record.sizes, "stories": record.stories,
            "identities": {name: value for name, value in config.items()
                           if isinstance(value, dict) and set(value) == {"id", "fields"}},
            "epochs": epochs, "best_val": plain_number(best_val), "evaluations": evaluations,
            "settings": config["settings"], "finetune": config.get("finetune", {}),
            "fitted": record.resolved.get("fitted", {}),
            "weights": {name: sha256_file(run_path / name) for name in (BEST, BACKBONE) if (run_path / name).exists()}}


def without_places(value: Any, are_paths: bool = False) -> Any:
    """Plain JSON whose texts name files and folders by their last part alone: where an absolute path stands in them, or
    where they are paths themselves."""
    if isinstance(value, Mapping):
        return {name: without_places(part, are_paths) for name, part in value.items()}
    if isinstance(value, list):
        return [without_places(part, are_paths) for part in value]
    if not isinstance(value, str):
        return value
    return _last_part(value) if are_paths else _PATH.sub(lambda found: _last_part(found[0]), value)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _read_config(run_path: Path) -> dict[str, Any]:
    """config.json; what identities say is no place, and their sha256 holds."""
    config = read_json(run_path / CONFIG, "a run's config.json", "train the run again")
    return config | {name: without_places(config[name], are_paths=True)
                     for name in ("features", "settings", "finetune", "resolved") if name in config}


def _read_evaluation(path: Path) -> dict[str, Any]:
    raw = read_json(path, "a run's numbers", "evaluate it again")
    try:
        rows = {row: {metric: {part: plain_number(score.get(part)) for part in PARTS}
                      for metric, score in metrics.items()} for row, metrics in raw["rows"].items()}
        told = json.dumps(raw["protocol"], ensure_ascii=False)
        for place in (str(raw["run"]["path"]), str(raw["run"]["features"])):  # as they were given: a note names them
            if "/" in place:
                told = told.replace(json.dumps(place, ensure_ascii=False)[1:-1], _last_part(place))
        return {"rows": rows, "protocol": without_places(json.loads(told)), "epoch": raw["run"].get("epoch"),
                "machine": raw.get("machine", {})}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"expected a run's numbers in {path}, found {type(error).__name__}: {error}; evaluate it again"
                        ) from None


def _add(tar: tarfile.TarFile, run_path: Path, name: str, file: Any, size: int) -> None:
    member = tarfile.TarInfo(f"{run_path.resolve().name}/{name}")
    member.size = size
    tar.addfile(member, file)
