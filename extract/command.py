"""The command line of python -m extract: extraction itself, or a command about a features folder."""
import argparse
import importlib
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path

from data.errors import CommandParser
from extract.config import ExtractConfig

DEFAULTS = {field.name: field.default for field in fields(ExtractConfig)}

# name -> (module with add_arguments(parser) and run(arguments), what it does)
COMMANDS = {
    "plan": ("extract.plan_report", "say what an extraction would do: counts, bytes, hours; writes nothing"),
    "verify": ("extract.verify", "check that a features folder is what was written, to the bit with --full"),
    "inspect": ("extract.inspection", "show what a features folder holds, also while it is being made"),
    "gc": ("extract.garbage", "remove shards that the manifest no longer names"),
}


def main(argv: list[str] | None = None) -> None:
    """Run an extraction, or the command named first.

    Raises:
        UserError, LimitExceeded: see `data.errors.run_command`.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        module_name, what = COMMANDS[argv[0]]
        module = importlib.import_module(module_name)
        parser = CommandParser(prog=f"python -m extract {argv[0]}", description=f"{what.capitalize()}.")
        module.add_arguments(parser)
        arguments = parser.parse_args(argv[1:])
        _start_logging(0)
        module.run(arguments)
        return
    config = read_config(build_parser().parse_args(argv))
    _start_logging(config.rank)
    from extract.runner import run_extraction
    run_extraction(config)


def build_parser() -> CommandParser:
    """The flags of an extraction; defaults are those of ExtractConfig."""
    parser = CommandParser(
        prog="python -m extract", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Look at every photo of a data folder once and keep what was seen as features, words and tags.",
        epilog="commands about a features folder (python -m extract COMMAND FEATURES):\n"
               + "\n".join(f"  {name:10} {what}" for name, (_, what) in COMMANDS.items()))
    parser.add_argument("--out", type=Path, required=True, metavar="FEATURES",
                        help="features folder to make or to bring up to date")
    add_extraction_flags(parser)
    return parser


def add_extraction_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of an extraction but the features folder."""
    parser.add_argument("--data", dest="dataset", type=Path, required=True, metavar="DIR",
                        help="data folder: annotations in VIST's format, photos anywhere below")
    _add_backbone_flags(parser)
    _add_content_flags(parser)
    _add_machine_flags(parser)


def read_config(arguments: argparse.Namespace) -> ExtractConfig:
    """The configuration that flags and, for their place among processes, torchrun's variables give."""
    given = vars(arguments)
    given["rank"] = _place(given["rank"], "RANK", 0)
    given["world"] = _place(given["world"], "WORLD_SIZE", 1)
    given["local_rank"] = _place(None, "LOCAL_RANK", given["rank"])
    return ExtractConfig(**given)


def _place(flag: int | None, variable: str, default: int) -> int:
    return flag if flag is not None else int(os.environ.get(variable, default))


def _add_backbone_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what looks at the photos (fixed for a folder)")
    group.add_argument("--weights", default=DEFAULTS["weights"], metavar="random|imagenet|PATH",
                       help="seeded, torchvision's IMAGENET1K_V1, or a .pth or .safetensors file (%(default)s)")
    group.add_argument("--backbone", default=DEFAULTS["backbone"], metavar="NAME|module:factory",
                       help="a torchvision classifier, or a factory that returns (module, spec) (%(default)s)")
    group.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default=DEFAULTS["precision"],
                       help="auto: float16 on CUDA, bfloat16 where the processor has it, else float32; then kept")
    group.add_argument("--resize", choices=("squash", "crop"), default=DEFAULTS["resize"],
                       help="both sides to the target, or the shorter side and the centre cut out (squash)")
    group.add_argument("--exact", action="store_true", help="decode JPEGs in full, not at reduced size")
    group.add_argument("--batch-size", type=int, default=DEFAULTS["batch_size"], metavar="B",
                       help="photos the backbone sees at a time (32, on CUDA 128 or what it has room for)")
    group.add_argument("--compile", dest="compiled", action="store_true", help="run through torch.compile")
    group.add_argument("--grid", action="store_true", help="store the 7 x 7 map before pooling too")


def _add_content_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what goes into the folder")
    group.add_argument("--thumbnails", type=int, default=DEFAULTS["thumbnails"], metavar="SIDE",
                       help="keep small JPEGs, their longer side in pixels (none)")
    group.add_argument("--photos", choices=("stories", "albums"), default=DEFAULTS["photos"],
                       help="those that stories name, or all of the annotations' images (%(default)s)")
    group.add_argument("--words", default=DEFAULTS["words"], metavar="NAME", help="name of the word set (%(default)s)")
    group.add_argument("--words-from", type=Path, metavar="FEATURES",
                       help="take vocabulary, tags and length from this folder, to evaluate its runs on other stories")
    group.add_argument("--tag-table", type=Path, metavar="JSON", help="a tag table of your own")
    group.add_argument("--vocabulary-size", type=int, default=DEFAULTS["vocabulary_size"], metavar="V",
                       help="words with an id of their own, the reserved ones included (%(default)s)")
    group.add_argument("--caption-length", type=int, default=DEFAULTS["caption_length"], metavar="T",
                       help="ids in a row, start and end included (%(default)s)")
    group.add_argument("--seed", type=int, default=DEFAULTS["seed"], help="splits a lone train file (%(default)s)")
    group.add_argument("--limit", type=int, metavar="STORIES", help="at most so many stories of every split")
    group.add_argument("--shard-rows", type=int, default=DEFAULTS["shard_rows"], metavar="N",
                       help="photos in a new shard (%(default)s)")


def _add_machine_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("this run")
    group.add_argument("--retry", action="store_true", help="look at the bad photos again")
    group.add_argument("--rehash", action="store_true", help="read every photo, whatever its time and size say")
    group.add_argument("--max-bad", type=float, default=DEFAULTS["max_bad"], metavar="SHARE",
                       help="end with exit code 3 above this share of present photos that are of no use (%(default)s)")
    group.add_argument("--max-missing", type=float, default=DEFAULTS["max_missing"], metavar="SHARE",
                       help="the same for missing photos (%(default)s)")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default=DEFAULTS["device"],
                       help="a GPU where there is one (%(default)s)")
    group.add_argument("--readers", type=int, metavar="N", help="threads that read and decode (one a core)")
    group.add_argument("--rank", type=int, metavar="R", help="this process among --world, from 0; torchrun sets both")
    group.add_argument("--world", type=int, metavar="W", help="processes that share the work, on any machines")


def _start_logging(rank: int) -> None:
    prefix = f"[{rank}] " if rank else ""
    logging.basicConfig(level=logging.INFO, format=f"{prefix}%(message)s")
