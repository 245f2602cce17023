"""python -m evaluate ab-sheet RUN_A RUN_B [--out sheet.html], then ab-sheet --key sheet.key.json --answers *.json"""
import argparse
from pathlib import Path

from data.errors import CommandParser, UserError
from evaluate.config import AbConfig, add_flags, make


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Write a blind comparison of two runs for human judges, or read "
                                                  "their answers back (--key and --answers).")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two evaluated runs or predictions files")
    parser.add_argument("--out", type=Path, default=Path("sheet.html"), metavar="HTML",
                        help="the sheet; its key lies beside it (%(default)s)")
    parser.add_argument("--features", type=Path, metavar="FOLDER",
                        help="features folder (default: the one the first run was trained on)")
    parser.add_argument("--data", type=Path, dest="dataset", metavar="DIR",
                        help="photos, for a folder without thumbnails")
    add_flags(parser, AbConfig)
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
    config = make(AbConfig, arguments)
    from data.folder.folder import Features
    from evaluate.page.ab_sheet import key_path_of, write_ab_sheet
    from train.runs import read_record
    features = Features.open(arguments.features or Path(read_record(arguments.runs[0]).features))
    sheet = write_ab_sheet(arguments.runs[0], arguments.runs[1], features, arguments.out, config, arguments.dataset)
    print(f"sheet  {sheet}   for the judges\nkey    {key_path_of(sheet)}   not for the judges\n\nThen: python -m "
          f"evaluate ab-sheet --key {key_path_of(sheet)} --answers answers-*.json")
