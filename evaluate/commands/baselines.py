"""python -m evaluate baselines --features F: train what stands beside models, once a folder, kept in its .local."""
import argparse
from pathlib import Path

from data.errors import CommandParser


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Train the baselines that need training (ridge, linear probe, "
                                                  "text-only LSTM) and keep them beside the features.")
    parser.add_argument("--features", type=Path, required=True, help="features folder")
    parser.add_argument("--words", default="default", metavar="NAME", help="its word set (%(default)s)")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train what is not there yet."""
    from evaluate.baselines.fitted import train_baselines
    print(f"baselines of {arguments.features} lie in {train_baselines(arguments.features, arguments.words)}; every "
          "evaluation on it shows them from now on")
