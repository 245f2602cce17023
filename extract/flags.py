"""Flags of every command; light, so that --help answers at once. Defaults are those of ExtractConfig."""
import argparse
from dataclasses import fields
from pathlib import Path

from extract.config import ExtractConfig

TIMED_PHOTOS = 64  # by plan
DEFAULTS = {field.name: field.default for field in fields(ExtractConfig)}


def add_extraction_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of an extraction but the features folder."""
    parser.add_argument("--data", dest="dataset", type=Path, required=True, metavar="DIR",
                        help="data folder: annotations in VIST's format, photos anywhere below")
    _add_backbone_flags(parser)
    _add_content_flags(parser)
    _add_machine_flags(parser)


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of plan: those of the extraction that is planned."""
    parser.add_argument("out", type=Path, metavar="FEATURES", help="features folder that would be made or continued")
    parser.add_argument("--no-timing", dest="timing", action="store_false",
                        help=f"do not look at {TIMED_PHOTOS} photos to measure the speed")
    add_extraction_flags(parser)


def add_verify_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verify."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder")
    parser.add_argument("--full", action="store_true", help="hash every file too: finds any flipped bit")
    parser.add_argument("--weights", metavar="random|imagenet|PATH",
                        help="make the canaries' features anew with these weights and compare")
    parser.add_argument("--backbone", metavar="NAME|module:factory",
                        help="with --weights: the backbone; a plug-in must be named, others the folder names")
    parser.add_argument("--data", dest="dataset", type=Path, metavar="DIR",
                        help="with --weights: decode the canaries from these photos too")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="with --weights: where to (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave damaged files where they are")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def add_inspect_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of inspect."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder, finished or not")
    parser.add_argument("--photo", metavar="ID", help="draw the nearest neighbours of this photo")
    parser.add_argument("--data", dest="dataset", type=Path, metavar="DIR",
                        help="take pictures from these photos (default: the folder's thumbnails)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where pictures go (default: FEATURES-inspect)")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="text alone")


def add_gc_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of gc."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--damaged", action="store_true", help="remove what verify set aside as damaged too")


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
                       help="photos the backbone sees at a time (8, on CUDA 128 or what it has room for)")
    group.add_argument("--compile", dest="compiled", action="store_true", help="run through torch.compile")
    group.add_argument("--grid", action="store_true", help="store the 7 x 7 map before pooling too")


def _add_content_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what goes into the folder")
    group.add_argument("--thumbnails", type=int, default=DEFAULTS["thumbnails"], metavar="SIDE",
                       help="keep small JPEGs, their longer side in pixels (none)")
    group.add_argument("--views", type=int, default=DEFAULTS["views"], metavar="W",
                       help="look at so many augmented views of every photo too, an album's alike (none)")
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
    group.add_argument("--readers", type=int, metavar="N",
                       help="threads or processes that read and decode (by cores, photos and device)")
    group.add_argument("--reader-kind", choices=("auto", "threads", "processes"), default=DEFAULTS["reader_kind"],
                       help="processes where a GPU looks faster than threads read (%(default)s)")
    group.add_argument("--mixed", action="store_true",
                       help="append though another device, batch or --compile made the folder: last digits differ")
    group.add_argument("--rank", type=int, metavar="R", help="this process among --world, from 0; torchrun sets both")
    group.add_argument("--world", type=int, metavar="W", help="processes that share the work, on any machines")
