"""The command line of python -m train.finetune; no torch here."""
import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from data.errors import CommandParser, UserError
from train.config import TrainConfig
from train.finetune.config import CHANGEABLE, TRAINABLE, Command, FinetuneConfig
from train.settings import CHOICES

OWN = {known.name: known for known in fields(FinetuneConfig)}
RUN = {known.name: known for known in fields(TrainConfig) if known.name in CHANGEABLE}


def read_command(argv: Sequence[str] | None = None) -> Command:
    """Parse flags.

    Raises:
        UserError: if one is unknown, absent, or of the wrong kind or range.
    """
    given = vars(make_parser().parse_args(argv))
    paths = {name: given.pop(name) for name in ("run", "data", "features", "out")}
    force = given.pop("force")
    if paths["run"].resolve() == paths["out"].resolve():
        raise UserError(f"expected --out to be another folder than --run, found {paths['out']} for both; name another")
    return Command(FinetuneConfig(**{name: value for name, value in given.items() if name in OWN}),
                   {name: value for name, value in given.items() if name in RUN}, paths["run"], paths["data"],
                   paths["features"], paths["out"], force)


def make_parser() -> CommandParser:
    """One flag per setting: those of FinetuneConfig, and those of the run that may be changed."""
    parser = CommandParser(prog="python -m train.finetune", allow_abbrev=False, argument_default=argparse.SUPPRESS,
                           description="Train a run further on the photos themselves, its backbone too. Targets stay "
                                       "the folder's features. What is there already goes on.")
    # torchrun takes --run for a beginning of its own --run-path, so there is another name
    parser.add_argument("--run", "--init", dest="run", type=Path, required=True, metavar="RUN",
                        help="run to begin with")
    for name, metavar, meaning in (("data", "DATA", "data folder with the photos"),
                                   ("features", "FEATURES", "features folder that the run was trained on"),
                                   ("out", "RUN2", "run folder to write")):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar=metavar, help=meaning)
    parser.add_argument("--force", action="store_true", default=False,
                        help="start anew; the run that is there is moved beside")
    for name, known in OWN.items():
        shown = known.metadata["help"] + (f" (default {known.default})" if known.default != "" else "")
        _add_flag(parser, name, known.default, shown, TRAINABLE if name == "trainable" else None)
    for name, known in RUN.items():
        choices = CHOICES.get(name)
        _add_flag(parser, name, known.default, f"{known.metadata['help']} (default: the run's)",
                  tuple(choices) if choices else None)
    return parser


def _add_flag(parser: CommandParser, name: str, default: object, shown: str, choices: tuple[str, ...] | None) -> None:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(default, bool):
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=shown)
    else:
        parser.add_argument(flag, type=type(default), choices=choices, help=shown,
                            metavar=None if choices else name.upper())
