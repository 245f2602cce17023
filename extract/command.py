"""The command line of python -m extract: extraction itself, or a command about a features folder."""
import argparse
import importlib
import logging
import os
import sys
from pathlib import Path

from data.errors import CommandParser, UserError, require_command
from extract import flags
from extract.config import ExtractConfig

# name -> (module with run(arguments), its flags, what it does); modules are imported when their command runs
COMMANDS = {
    "plan": ("extract.plan_report", flags.add_plan_flags,
             "say what an extraction would do: counts, bytes, hours; writes nothing"),
    "verify": ("extract.verification.verify", flags.add_verify_flags,
               "check that a features folder is what was written, to the bit with --full"),
    "inspect": ("extract.inspection.inspection", flags.add_inspect_flags,
                "show what a features folder holds, also while it is being made"),
    "import-features": ("extract.exchange.importing", flags.add_import_flags,
                        "make a features folder of other people's features, keyed by photo id"),
    "export-features": ("extract.exchange.exporting", flags.add_export_flags,
                        "write a folder's features for other tools: npy, parquet, arrow, webdataset"),
    "pack": ("extract.sharing.pack", flags.add_pack_flags, "write a features folder, or a part of it, as one tar"),
    "push": ("extract.sharing.push", flags.add_push_flags, "bring what is not there yet to a folder, s3:// or hf://"),
    "pull": ("extract.sharing.pull", flags.add_pull_flags,
             "get a features folder, or a part, from a folder, a tar, http(s)://, s3:// or hf://"),
    "gc": ("extract.folder.garbage", flags.add_gc_flags, "remove shards that the manifest no longer names"),
}


def main(argv: list[str] | None = None) -> None:
    """Run an extraction, or the command named first.

    Raises:
        UserError, LimitExceeded: see `data.errors.run_command`.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        module_name, add_flags, what = COMMANDS[argv[0]]
        parser = CommandParser(prog=f"python -m extract {argv[0]}", description=f"{what.capitalize()}.")
        add_flags(parser)
        arguments = parser.parse_args(argv[1:])
        _start_logging(0)
        importlib.import_module(module_name).run(arguments)
        return
    require_command(argv, COMMANDS, "python -m extract")
    config = read_config(build_parser().parse_args(argv))
    _start_logging(config.rank)
    from extract.extraction import run_extraction
    run_extraction(config)


def build_parser() -> CommandParser:
    """The flags of an extraction; defaults are those of ExtractConfig."""
    parser = CommandParser(
        prog="python -m extract", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Look at every photo of a data folder once and keep what was seen as features, words and tags.",
        epilog="commands about a features folder (python -m extract COMMAND FEATURES):\n"
               + "\n".join(f"  {name:15} {what}" for name, (_, _, what) in COMMANDS.items()))
    parser.add_argument("--out", type=Path, required=True, metavar="FEATURES",
                        help="features folder to make or to bring up to date")
    flags.add_extraction_flags(parser)
    return parser


def read_config(arguments: argparse.Namespace) -> ExtractConfig:
    """The configuration that flags and, for their place among processes, torchrun's variables give."""
    given = vars(arguments)
    given["rank"] = _place(given["rank"], "RANK", 0)
    given["world"] = _place(given["world"], "WORLD_SIZE", 1)
    given["local_rank"] = _place(None, "LOCAL_RANK", given["rank"])
    return ExtractConfig(**given)


def _place(flag: int | None, variable: str, default: int) -> int:
    if flag is not None:
        return flag
    given = os.environ.get(variable, str(default))
    if not given.isdecimal():
        raise UserError(f"expected a whole number in the environment's {variable}, which torchrun sets, found "
                        f"{given!r:.40}; unset it, or give --rank and --world")
    return int(given)


def _start_logging(rank: int) -> None:
    prefix = f"[{rank}] " if rank else ""
    logging.basicConfig(level=logging.INFO, format=f"{prefix}%(message)s")
