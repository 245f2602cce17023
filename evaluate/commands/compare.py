"""python -m evaluate compare A B [C ...]: paired differences of runs or prediction files, and what can be claimed."""
import argparse
from pathlib import Path

from data.errors import CommandParser
from evaluate.config import CompareConfig, add_flags, make


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Compare runs or prediction files, pair by pair over albums.")
    parser.add_argument("systems", type=Path, nargs="*", metavar="RUN",
                        help="run folders, prediction files of task next, or (with --references) files of stories")
    add_flags(parser, CompareConfig)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Compare and print."""
    config = make(CompareConfig, arguments)
    from evaluate.comparison.compare import compare_systems, format_comparison
    print(format_comparison(compare_systems(config)))
    if config.out:
        print(f"\nwritten to {config.out}")
