"""python -m evaluate story a.jpg b.jpg c.jpg d.jpg --run RUN: what comes next in a story of your own."""
import argparse
from pathlib import Path

from data.errors import CommandParser, UserError
from evaluate.captions.writing_config import METHODS, WritingConfig


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Show a run 1 to 4 photos in order: it writes the next sentence and "
                                                  "names tags and matching photos. A run of task tell writes a "
                                                  "sentence for each of up to 5.")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="the story's first photos, in order")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--caption", action="append", default=[], dest="captions", metavar="TEXT",
                        help="what happens in a photo; once a photo, in their order, or not at all")
    parser.add_argument("--features", type=Path, help="folder whose photos are matched (default: the run's)")
    parser.add_argument("--weights", metavar="random|imagenet|PATH",
                        help="of the backbone (default: as this machine made the folder)")
    parser.add_argument("--backbone", metavar="MODULE:FACTORY", help="where the folder's is a plug-in")
    parser.add_argument("--top", type=int, default=5, help="matching photos (%(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s)")
    parser.add_argument("--method", choices=METHODS, default=WritingConfig.method, help="of writing (%(default)s)")
    parser.add_argument("--top-p", type=float, default=WritingConfig.top_p, help="of sampling (%(default)s)")
    parser.add_argument("--seed", type=int, default=WritingConfig.seed, help="of sampling (%(default)s)")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Look, write, print."""
    try:
        writing = WritingConfig(method=arguments.method, top_p=arguments.top_p, seed=arguments.seed)
    except ValueError as error:
        raise UserError(f"writing: {error}") from None
    from evaluate.story import StoryConfig, format_story, tell_story
    config = StoryConfig(photos=tuple(arguments.photos), captions=tuple(arguments.captions), writing=writing,
                         **{name: getattr(arguments, name) for name in ("run", "features", "weights", "backbone", "top",
                                                                        "device")})
    print(format_story(config, tell_story(config)))
