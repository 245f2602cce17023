"""python -m evaluate story a.jpg b.jpg c.jpg d.jpg --run RUN: what comes next in a story of your own."""
import argparse
from pathlib import Path

from data.errors import CommandParser
from evaluate.config import StoryConfig, add_flags, make
from train.writing_config import WritingConfig


def build_parser(prog: str) -> CommandParser:
    """The flags."""
    parser = CommandParser(prog=prog, description="Show a run 1 to 4 photos in order: it writes the next sentence and "
                                                  "names tags and matching photos. A run of task tell writes a "
                                                  "sentence for each of up to 5.")
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="the story's first photos, in order")
    parser.add_argument("--caption", action="append", default=[], dest="captions", metavar="TEXT",
                        help="what happens in a photo; once a photo, in their order, or not at all")
    add_flags(parser, StoryConfig)
    add_flags(parser, WritingConfig)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Look, write, print."""
    config = make(StoryConfig, arguments, writing=make(WritingConfig, arguments))
    from evaluate.own_story.story import format_story, tell_story
    print(format_story(config, tell_story(config)))
