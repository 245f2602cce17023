"""Settings from flags and files: every one is a field of TrainConfig, and a wrong name is answered with the nearest."""
import argparse
import json
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from data.errors import CommandParser, UserError, suggest
from data.folder.manifest import MANIFEST
from train.config import PRESETS, TrainConfig, make_config

FIELDS = {known.name: known for known in fields(TrainConfig)}
DESCRIPTION = "Train the story model on a features folder; no photo is opened. A run that is there already goes on."


@dataclass(frozen=True)
class Command:
    """What one call of `python -m train` asks for."""

    config: TrainConfig
    features_path: Path
    run_path: Path
    force: bool


def read_command(argv: Sequence[str] | None = None) -> Command:
    """Parse flags; `--config` may name a TOML file of settings or the config.json of a run, and flags win over it.

    Raises:
        UserError: if a name is unknown (with the nearest right one), a value is of the wrong kind or out of range, or
            two contradict each other.
    """
    known = make_parser().parse_args(argv)
    given = {name: value for name, value in vars(known).items() if name in FIELDS}
    settings, features_path = read_settings(known.config) if known.config else ({}, None)
    features = known.features or features_path
    if features is None:
        raise UserError("expected --features FOLDER, found none; make one with: make features")
    run_path = known.out or (known.config.parent if known.config and known.config.name == "config.json" else None)
    if run_path is None:
        raise UserError("expected --out RUN, the folder to train into, found none; name one")
    return Command(make_config({**settings, **given}), Path(features), Path(run_path), known.force)


def require_folder(features_path: Path) -> None:
    """Refuse what is no features folder at all; torch takes seconds to load, so this is called before.

    Raises:
        UserError: if there is no folder, or no manifest in it.
    """
    if not (features_path / MANIFEST).is_file():
        from data.folder.folder import Features
        Features.open(features_path)


def make_parser() -> CommandParser:
    """The command line: one flag per setting, with its default from the dataclass."""
    parser = CommandParser(prog="python -m train", description=DESCRIPTION, allow_abbrev=False,
                           argument_default=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, default=None, metavar="FOLDER", help="features folder")
    parser.add_argument("--out", type=Path, default=None, metavar="RUN", help="run folder")
    parser.add_argument("--config", type=Path, default=None, metavar="FILE",
                        help="TOML file of settings, or a run's config.json to replay it")
    parser.add_argument("--force", action="store_true", default=False,
                        help="start anew; the run that is there is moved beside")
    add_settings(parser)
    return parser


def add_settings(parser: argparse._ActionsContainer, leave_out: Collection[str] = ()) -> None:
    """One flag for each setting, absent where it is not given."""
    for name, known in FIELDS.items():
        if name not in leave_out:
            changed = [f"{preset}: {values[name]}" for preset, values in PRESETS.items() if name in values]
            shown = f" ({', '.join([f'default {known.default}', *changed])})" if known.default != "" else ""
            add_setting(parser, known, known.metadata["help"] + shown)


def read_settings(path: Path) -> tuple[dict[str, Any], str | None]:
    """Settings from a TOML file, or from a run's config.json with the features folder it was trained on.

    Raises:
        UserError: if the file is absent or broken, or holds a name or a kind of value that no setting has.
    """
    raw, features_path = read_table(path), None
    if raw.get("finetune"):
        raise UserError(f"expected the config.json of a training, found that of a fine-tuning in {path}; replay it "
                        f"with: python -m train.finetune --config {path}")
    if isinstance(raw.get("settings"), dict):
        raw, features_path = raw["settings"], raw.get("features")
    return check_settings(raw, FIELDS, path), features_path


def read_table(path: Path) -> dict[str, Any]:
    """What a TOML file, or a run's config.json, holds.

    Raises:
        UserError: if the file is absent or broken.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError:
        raise UserError(f"expected a file of settings at {path}, found no such file; name a .toml file or a run's "
                        "config.json") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, not TOML, not JSON
        raise UserError(f"expected settings in {path}, found {type(error).__name__}: {error}; mend the file") from None
    if not isinstance(raw, dict):
        raise UserError(f"expected a table of settings in {path}, found {type(raw).__name__}; mend the file")
    return raw


def check_settings(raw: dict[str, Any], known: dict[str, Any], path: Path) -> dict[str, Any]:
    """Settings as the dataclass fields in `known` have them.

    Raises:
        UserError: if a name is unknown (with the nearest right one) or a value of another kind.
    """
    return {name: _check_kind(name, value, known, path) for name, value in raw.items()}


def add_setting(parser: argparse._ActionsContainer, known: Field, shown: str) -> None:
    """A flag for a setting, absent where it is not given; `shown` is its help."""
    flag, choices = f"--{known.name.replace('_', '-')}", known.metadata.get("choices")
    how: dict[str, Any] = {"type": type(known.default), "choices": choices,
                           "metavar": None if choices else known.name.upper()}
    parser.add_argument(flag, help=shown.replace("%", "%%"), **(
        {"action": argparse.BooleanOptionalAction} if isinstance(known.default, bool) else how))


def _check_kind(name: str, value: Any, known: dict[str, Any], path: Path) -> Any:
    if name not in known:
        raise UserError(f"unknown setting {name!r} in {path}{suggest(name, known)}")
    expected = type(known[name].default)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise UserError(f"setting {name} in {path}: expected {expected.__name__}, found {value!r}")
    return value
