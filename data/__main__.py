"""python -m data storyworld|check|fetch|folds: draw the embedded world, look at a data folder, complete it, deal it."""
import argparse
import logging
import sys
from pathlib import Path

from data.annotations.stories import DEFAULT_SEED
from data.errors import CommandParser, run_command
from data.fetch.config import FetchConfig
from data.folds.folds import DEFAULT_FOLDS
from data.settings import add_flags, make
from data.storyworld.config import WorldConfig


def main(argv: list[str] | None = None) -> int:
    """Run a command; see `data.errors.run_command` for the exit codes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def run() -> None:
        arguments = _build_parser().parse_args(argv)
        arguments.run(arguments)
    return run_command(run)


def _build_parser() -> CommandParser:
    parser = CommandParser(prog="python -m data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    world = commands.add_parser("storyworld", help="draw a seeded world of stories in VIST's format",
                                description="Draw a seeded world of stories in VIST's format.")
    world.add_argument("--out", type=Path, required=True, metavar="DIR", help="the data folder to make")
    add_flags(world, WorldConfig)
    world.set_defaults(run=_draw_world)
    check = commands.add_parser("check", help="tell what a data folder holds and what would be left out",
                                description="Tell what a data folder holds and what would be left out.")
    check.add_argument("root", type=Path, metavar="DATA", help="the data folder")
    check.add_argument("--seed", type=int, default=DEFAULT_SEED,
                       help="splits the albums of a lone train file (%(default)s)")
    check.add_argument("--tag-table", type=Path, metavar="JSON", help="a tag table of your own")
    check.set_defaults(run=_check_data)
    fetch = commands.add_parser("fetch", help="download missing photos from where the annotations say they are",
                                description="Download missing photos from url_o, else url_m, of the annotations' "
                                            "images, and report what is gone and why.")
    fetch.add_argument("root", type=Path, metavar="DATA", help="the data folder; photos go into DATA/photos")
    add_flags(fetch, FetchConfig)
    fetch.set_defaults(run=_fetch)
    folds = commands.add_parser("folds", help="deal albums into folds; what shares photos or sentences stays together",
                                description="Deal the albums of all splits into folds, each a data folder. Albums that "
                                            "share photos or sentences stay together; photos are referred to.")
    folds.add_argument("root", type=Path, metavar="DATA", help="the data folder")
    folds.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for fold-0, fold-1, ...")
    folds.add_argument("--folds", type=int, default=DEFAULT_FOLDS, metavar="N", help="how many (%(default)s)")
    folds.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another seed, another deal (%(default)s)")
    folds.set_defaults(run=_deal_folds)
    return parser


def _fetch(arguments: argparse.Namespace) -> None:
    config = make(FetchConfig, arguments)
    from data.fetch.fetch import fetch_photos
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every photo
    print(fetch_photos(config))


def _draw_world(arguments: argparse.Namespace) -> None:
    config = make(WorldConfig, arguments)
    from data.storyworld.generate import write_world
    print(write_world(config, arguments.out))


def _check_data(arguments: argparse.Namespace) -> None:
    from data.check import check_data
    print(check_data(arguments.root, arguments.seed, arguments.tag_table))


def _deal_folds(arguments: argparse.Namespace) -> None:
    from data.folds.folds import format_folds, write_folds
    print(format_folds(write_folds(arguments.root, arguments.out, arguments.folds, arguments.seed)))


if __name__ == "__main__":
    sys.exit(main())
