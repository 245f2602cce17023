"""python -m evaluate score --predictions P.json --references R.json: any system's stories, the published protocol."""
import argparse
from dataclasses import fields
from pathlib import Path

from data.errors import CommandParser, printable
from evaluate.published.score_config import MISSING_ALBUMS, SPLITS, ScoreConfig

DEFAULTS = {field.name: field.default for field in fields(ScoreConfig)}


def build_parser(prog: str) -> argparse.ArgumentParser:
    """The flags; their defaults are ScoreConfig's."""
    parser = CommandParser(prog=prog, description="Score stories by the published album-level protocol: BLEU, ROUGE-L, "
                                                  "CIDEr, METEOR, beside one constant story and the human writers.")
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE",
                        help='{album_id: [story]} as JSON, lines of {"album_id", "story"}, or a run\'s predictions')
    parser.add_argument("--references", type=Path, metavar="PATH",
                        help="{album_id: [story, ...]} as JSON, a story annotation file, or a data folder (--split)")
    parser.add_argument("--split", choices=SPLITS, default=DEFAULTS["split"],
                        help="of a data folder (%(default)s)")
    parser.add_argument("--missing", choices=MISSING_ALBUMS, default=DEFAULTS["missing"],
                        help="albums without a story: score as empty, leave out, or refuse (%(default)s)")
    parser.add_argument("--t", type=int, default=DEFAULTS["t"],
                        help="frames seen, for predictions of single captions (%(default)s)")
    parser.add_argument("--no-meteor", dest="meteor", action="store_false", default=DEFAULTS["meteor"],
                        help="spare the minute that METEOR takes")
    parser.add_argument("--resamples", type=int, default=DEFAULTS["resamples"], metavar="N",
                        help="bootstrap draws over albums; 0: no intervals (%(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULTS["seed"], help="of draws and halves (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="JSON", help="write the result there as well")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Score and print."""
    config = ScoreConfig(**{name: getattr(arguments, name) for name in DEFAULTS})
    from evaluate.published.score import format_result, score_predictions
    result = score_predictions(config)
    print("\n".join(map(_clean, format_result(result).split("\n"))))
    if config.out:
        print(f"\nwritten to {config.out}")


def _clean(line: str) -> str:
    """Keep the table's blanks; nothing else that was read may move the terminal's cursor."""
    return line if line.isprintable() else printable(line)
