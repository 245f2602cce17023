"""python -m evaluate compare A B [C ...]: paired differences of runs or prediction files, and what can be claimed."""
import argparse
from dataclasses import MISSING, fields
from pathlib import Path

from data.errors import CommandParser
from evaluate.config import SPLITS, TS
from evaluate.statistics.compare_config import CompareConfig

DEFAULTS = {field.name: field.default for field in fields(CompareConfig) if field.default is not MISSING}


def build_parser(prog: str) -> CommandParser:
    """The flags; their defaults are CompareConfig's."""
    parser = CommandParser(prog=prog, description="Compare runs or prediction files, pair by pair over albums.")
    parser.add_argument("systems", type=Path, nargs="*", metavar="RUN",
                        help="run folders, prediction files of task next, or (with --references) files of stories")
    parser.add_argument("--split", choices=SPLITS, default=DEFAULTS["split"], help="of runs (%(default)s)")
    parser.add_argument("--t", type=int, choices=TS, default=DEFAULTS["t"], help="frames seen (%(default)s)")
    parser.add_argument("--references", type=Path, metavar="PATH", help="reference stories: the published protocol")
    parser.add_argument("--resamples", type=int, default=DEFAULTS["resamples"], help="draws over albums (%(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULTS["seed"], help="of the draws (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the result there as well")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Compare and print."""
    config = CompareConfig(systems=tuple(arguments.systems), **{name: getattr(arguments, name) for name in DEFAULTS})
    from evaluate.statistics.compare import compare_systems, format_comparison
    print(format_comparison(compare_systems(config)))
    if config.out:
        print(f"\nwritten to {config.out}")
