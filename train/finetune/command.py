"""The command line of python -m train.finetune; no torch here."""
import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from data.errors import CommandParser, UserError
from train.config import TrainConfig
from train.finetune.config import CHANGEABLE, Command, FinetuneConfig
from train.settings import add_setting, check_settings, read_table

OWN = {known.name: known for known in fields(FinetuneConfig)}
RUN = {known.name: known for known in fields(TrainConfig) if known.name in CHANGEABLE}
PATHS = {"run": ("RUN", "run to begin with"), "data": ("DATA", "data folder with the photos"),
         "features": ("FEATURES", "features folder that the run was trained on"),
         "out": ("RUN2", "run folder to write")}


def read_command(argv: Sequence[str] | None = None) -> Command:
    """Parse flags; `--config` may name a TOML file of settings or a fine-tuned run's config.json; flags win over it.

    Raises:
        UserError: if one is unknown (with the nearest right name), absent, or of the wrong kind or range.
    """
    given = vars(make_parser().parse_args(argv))
    force, file = given.pop("force"), given.pop("config")
    given = {**(read_replay(file) if file else {}), **given}
    for name, (metavar, meaning) in PATHS.items():
        if name not in given:
            raise UserError(f"expected --{name} {metavar}, the {meaning}, found none; name one")
    paths = {name: Path(given.pop(name)) for name in PATHS}
    if paths["run"].resolve() == paths["out"].resolve():
        raise UserError(f"expected --out to be another folder than --run, found {paths['out']} for both; name another")
    return Command(FinetuneConfig(**{name: value for name, value in given.items() if name in OWN}),
                   {name: value for name, value in given.items() if name in RUN}, paths["run"], paths["data"],
                   paths["features"], paths["out"], force)


def read_replay(path: Path) -> dict[str, Any]:
    """Settings from a TOML file, or from a fine-tuned run's config.json with the paths it was made from.

    Raises:
        UserError: if the file is absent or broken, is that of a plain training, or holds a name or a kind of value that
            no setting has.
    """
    raw, places = read_table(path), dict[str, Any]()
    if isinstance(raw.get("settings"), dict):
        finetune, resolved = raw.get("finetune"), raw.get("resolved")
        if not isinstance(finetune, dict) or not isinstance(resolved, dict) or not {"run", "photos"} <= resolved.keys():
            raise UserError(f"expected the config.json of a fine-tuning, found that of a training in {path}; replay it "
                            f"with: python -m train --config {path}")
        places = {"run": resolved["run"], "data": resolved["photos"], "features": raw.get("features")}
        places = {name: place for name, place in places.items() if isinstance(place, str)}
        raw = {name: value for name, value in {**raw["settings"], **finetune}.items() if name in OWN or name in RUN}
    return {**places, **check_settings(raw, {**RUN, **OWN}, path)}


def make_parser() -> CommandParser:
    """One flag per setting: those of FinetuneConfig, and those of the run that may be changed."""
    parser = CommandParser(prog="python -m train.finetune", allow_abbrev=False, argument_default=argparse.SUPPRESS,
                           description="Train a run further on the photos themselves, its backbone too. Targets stay "
                                       "the folder's features. What is there already goes on.")
    for name, (metavar, meaning) in PATHS.items():
        # torchrun takes --run for a beginning of its own --run-path, so there is another name
        parser.add_argument(f"--{name}", *(["--init"] if name == "run" else []), dest=name, type=Path, metavar=metavar,
                            help=meaning)
    parser.add_argument("--config", type=Path, default=None, metavar="FILE",
                        help="TOML file of settings, or a fine-tuned run's config.json to replay it")
    parser.add_argument("--force", action="store_true", default=False,
                        help="start anew; the run that is there is moved beside")
    for known in OWN.values():
        shown = known.metadata["help"] + (f" (default {known.default})" if known.default != "" else "")
        add_setting(parser, known, shown)
    for known in RUN.values():
        add_setting(parser, known, f"{known.metadata['help']} (default: the run's)")
    return parser
