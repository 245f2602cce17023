"""python -m evaluate ablate --features F [--grid G.toml]: a grid of cheap trainings, one table, one plot."""
import argparse

from data.errors import CommandParser
from evaluate.config import AblationConfig, add_flags, make


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Train every row of a grid with every seed, evaluate on val, and "
                                                  "hold the rows against one of them.")
    add_flags(parser, AblationConfig)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train, evaluate, print."""
    config = make(AblationConfig, arguments)
    from evaluate.ablation.runner import run_ablation
    from evaluate.ablation.table import format_text, write_tables
    ablation = run_ablation(config)
    paths = write_tables(ablation)
    print(format_text(ablation), "\n".join(map(str, paths)), sep="\n\n")
