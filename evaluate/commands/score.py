"""python -m evaluate score --predictions P.json --references R.json: any system's stories, the published protocol."""
import argparse

from data.errors import CommandParser, printable
from evaluate.config import ScoreConfig, add_flags, make


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Score stories by the published album-level protocol: BLEU, ROUGE-L, "
                                                  "CIDEr, METEOR, beside one constant story and the human writers.")
    add_flags(parser, ScoreConfig)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Score and print; nothing that was read may move the terminal's cursor."""
    config = make(ScoreConfig, arguments)
    from evaluate.comparison.score import format_result, score_predictions
    lines = format_result(score_predictions(config)).split("\n")
    print("\n".join(line if line.isprintable() else printable(line) for line in lines))
    if config.out:
        print(f"\nwritten to {config.out}")
