"""python -m evaluate runs FOLDER ...: list runs, what differs between them, headline numbers."""
import argparse
from pathlib import Path

from data.errors import CommandParser


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="List the runs below some folders.")
    parser.add_argument("roots", type=Path, nargs="*", default=[Path("artifacts")], metavar="FOLDER",
                        help="where to look (artifacts)")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Find and print."""
    from evaluate.run_list import find_runs, format_runs
    print(format_runs(find_runs(arguments.roots)))
