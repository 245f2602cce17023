"""python -m evaluate ab-sheet RUN_A RUN_B [--out sheet.html], then ab-sheet --key sheet.key.json --answers *.json"""
import argparse
from dataclasses import fields
from pathlib import Path

from data.errors import CommandParser, UserError
from evaluate.config import SPLITS
from evaluate.page.ab_config import AbConfig

DEFAULTS = {field.name: field.default for field in fields(AbConfig)}


def build_parser(prog: str) -> CommandParser:
    """The flags; their defaults are AbConfig's."""
    parser = CommandParser(prog=prog, description="Write a blind comparison of two runs for human judges, or read "
                                                  "their answers back (--key and --answers).")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two evaluated runs or predictions files")
    parser.add_argument("--out", type=Path, default=Path("sheet.html"), metavar="HTML",
                        help="the sheet; its key lies beside it (%(default)s)")
    parser.add_argument("--features", type=Path, metavar="FOLDER",
                        help="features folder (default: the one the first run was trained on)")
    parser.add_argument("--data", type=Path, dest="dataset", metavar="DIR",
                        help="photos, for a folder without thumbnails")
    parser.add_argument("--stories", type=int, dest="num_stories", default=DEFAULTS["num_stories"],
                        help="questions at most (%(default)s)")
    parser.add_argument("--split", choices=SPLITS, default=DEFAULTS["split"], help="(%(default)s)")
    parser.add_argument("--words", default=DEFAULTS["words"], metavar="NAME", help="word set (%(default)s)")
    parser.add_argument("--t", type=int, default=DEFAULTS["t"], help="frames seen (%(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULTS["seed"], help="of stories, order, sides (%(default)s)")
    parser.add_argument("--key", type=Path, metavar="JSON", help="read answers back: the sheet's key")
    parser.add_argument("--answers", type=Path, nargs="+", default=[], metavar="JSON", help="one file a judge")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Write a sheet, or print what the judges said."""
    if arguments.key or arguments.answers:
        if not arguments.key or not arguments.answers or arguments.runs:
            raise UserError("expected --key KEY with --answers FILE ... and no runs; give the key that was written "
                            "beside the sheet and one file a judge")
        from evaluate.page.ab_answers import describe_answers, read_ab_answers
        print("\n".join(describe_answers(read_ab_answers(arguments.key, arguments.answers))))
        return
    if len(arguments.runs) != 2:
        raise UserError(f"expected two runs to compare, found {len(arguments.runs)}; name RUN_A and RUN_B")
    config = AbConfig(**{name: getattr(arguments, name) for name in DEFAULTS})
    from data.folder.folder import Features
    from evaluate.page.ab_sheet import key_path_of, write_ab_sheet
    features = Features.open(arguments.features or _trained_on(arguments.runs[0]))
    sheet = write_ab_sheet(arguments.runs[0], arguments.runs[1], features, arguments.out, config, arguments.dataset)
    print(f"sheet  {sheet}   for the judges\nkey    {key_path_of(sheet)}   not for the judges\n\nThen: python -m "
          f"evaluate ab-sheet --key {key_path_of(sheet)} --answers answers-*.json")


def _trained_on(run_path: Path) -> Path:
    from data.files import read_json
    record = read_json(run_path / "config.json", "a run's config.json", "name the features folder with --features")
    return Path(str(record.get("features", "")))
