"""Flags of every command, those of an extraction from ExtractConfig's fields; light: --help answers at once."""
import argparse
from pathlib import Path

from data.settings import add_flags
from extract.config import ExtractConfig

TIMED_PHOTOS = 64  # by plan
WORD_SETTINGS = ("photos", "words", "words_from", "tag_table", "text_encoder", "vocabulary_size", "caption_length",
                 "seed", "limit", "shard_rows")


def add_extraction_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of an extraction but the features folder; rank and world are None where they are not given."""
    parser.add_argument("--data", dest="dataset", type=Path, required=True, metavar="DIR",
                        help="data folder: annotations in VIST's format, photos anywhere below")
    add_flags(parser, ExtractConfig)
    parser.set_defaults(rank=None, world=None)


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


def add_pack_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of pack."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder; it is only read")
    parser.add_argument("--out", type=Path, metavar="TAR", help="where to (default: FEATURES.tar)")
    _add_choice_flags(parser)


def add_push_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of push."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder; it is only read")
    parser.add_argument("url", metavar="URL", help="a folder, s3://BUCKET/PLACE or hf://datasets/OWNER/NAME")
    _add_choice_flags(parser)


def add_pull_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of pull."""
    parser.add_argument("url", metavar="URL", help="a folder or a tar: a path, or http(s)://, s3://, hf://")
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="where to; a part that is there is completed")
    _add_choice_flags(parser)


def _add_choice_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--splits", nargs="+", default=(), metavar="SPLIT",
                        help="train, val, test: stories of these and the photo rows that they name (all)")
    parser.add_argument("--words", nargs="+", default=(), metavar="NAME", help="these word sets (all)")
    parser.add_argument("--leave-out", nargs="+", default=(), choices=("thumbs", "tokens", "views", "text"),
                        metavar="KIND", help="without thumbs, tokens, views or text features; photo features always go")


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of import-features."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="their file or folder; README lists the layouts")
    parser.add_argument("--data", dest="dataset", type=Path, required=True, metavar="DIR",
                        help="data folder with the stories that are told of these photos")
    parser.add_argument("--out", type=Path, required=True, metavar="FEATURES", help="features folder to make")
    parser.add_argument("--backbone", required=True, metavar="NAME", help="what their maker says they come from")
    parser.add_argument("--licence", default="not told: ask whoever made them", help="of the features, for the card")
    parser.add_argument("--features", metavar="NAME", help="the column, dataset or array of vectors")
    parser.add_argument("--ids", metavar="NAME", help="the column or dataset of photo ids, or of paths")
    parser.add_argument("--dtype", choices=("float16", "float32", "float64"), help="of bare numbers in an LMDB")
    parser.add_argument("--check", metavar="random|imagenet|PATH",
                        help="look at a sample of the photos with these weights and say how far features agree")
    parser.add_argument("--check-backbone", metavar="NAME|module:factory", help="with --check: the net (--backbone's)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default=ExtractConfig.device,
                        help="with --check: where to (%(default)s)")
    add_flags(parser, ExtractConfig, WORD_SETTINGS)


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of export-features."""
    parser.add_argument("folder", type=Path, metavar="FEATURES", help="features folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--format", choices=("npy", "parquet", "arrow", "webdataset"), required=True,
                        help="arrow is what datasets.load_from_disk opens")
