"""Evaluate a run: the result tables, both output files, the page."""
import argparse
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from data.errors import CommandParser, UserError, shell_word
from evaluate.captions.writing_config import METHODS, WritingConfig
from evaluate.config import MISSING as MISSING_CHOICES
from evaluate.config import SPLITS, EvalConfig

DEFAULTS: dict[str, Any] = {field.name: None if field.default is MISSING else field.default
                            for field in fields(EvalConfig)}
WRITING = {field.name: field.default for field in fields(WritingConfig)}
WRITING_FLAGS = ("beam_width", "length_weight", "temperature", "top_k", "top_p", "no_repeat_ngram",
                 "repetition_penalty")


def build_parser(prog: str) -> CommandParser:
    """The flags of an evaluation; their defaults are EvalConfig's."""
    parser = CommandParser(prog=prog, description="Evaluate a run: numbers beside baselines, and a page.",
                           formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--features", type=Path, help="features folder (default: the one it was trained on)")
    parser.add_argument("--split", choices=SPLITS, default=DEFAULTS["split"], help="test is looked at by name, once")
    parser.add_argument("--data", type=Path, dest="dataset", metavar="DIR",
                        help="photos, to show them and to compare pixels")
    parser.add_argument("--words", metavar="NAME", help="word set of the folder (default: the run's)")
    parser.add_argument("--missing", choices=MISSING_CHOICES, default=DEFAULTS["missing"],
                        help="stories with unusable photos: keep and mask, or leave out")
    for name, what in (("limit", "at most so many stories of each split; 0: all"),
                       ("resamples", "bootstrap draws over albums"), ("seed", "of draws and distractors"),
                       ("batch_size", "stories at once")):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=DEFAULTS[name], help=what)
    parser.add_argument("--sense", type=int, default=argparse.SUPPRESS, metavar="N",
                        help="stories to put back in order (default: a twentieth of the split, at most 200); 0: none, "
                             "and no endings to choose")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default=DEFAULTS["device"], help="where to run")
    parser.add_argument("--strict", action="store_true", help="refuse a folder with other photos than the run's")
    for name, what in (("baselines", "the model alone"), ("meteor", "spare METEOR's time"), ("page", "no page")):
        parser.add_argument(f"--no-{name}", dest=name, action="store_false", help=what)
    parser.add_argument("--method", choices=METHODS, default=WRITING["method"], help="how captions are written")
    for name in WRITING_FLAGS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(WRITING[name]), default=WRITING[name],
                            help="of writing")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, print the tables, write the page."""
    try:
        writing = WritingConfig(method=arguments.method, seed=arguments.seed,
                                **{name: getattr(arguments, name) for name in WRITING_FLAGS})
    except ValueError as error:
        raise UserError(f"writing: {error}") from None
    config = EvalConfig(writing=writing, **{name: getattr(arguments, name, DEFAULTS[name]) for name in DEFAULTS
                                            if name != "writing"})
    from data.files import read_json, require_room, write_text
    if config.run.is_dir():  # else said where it is opened
        require_room(config.run, "the numbers of a run")
    from evaluate.evaluation import evaluate_run
    from evaluate.table import LEGEND, SPREAD, describe_result, format_markdown, format_tables
    from evaluate.terminal import wrap
    path = evaluate_run(config)
    evaluation = read_json(path, "the numbers just written", "evaluate again")
    full = write_text(path.with_suffix(".md"), format_markdown(evaluation))
    print(wrap(describe_result(evaluation)), format_tables(evaluation), wrap([
        f"{LEGEND}; {SPREAD}: half of the model's own interval. All intervals: {full.name}",
        *(f"Note: {note}." for note in evaluation["protocol"]["notes"])]), sep="\n\n")
    print(f"\nnumbers      {path}\ntables       {full}\n"
          f"predictions  {path.with_name(f'predictions-{config.split}.jsonl')}")
    if arguments.page:
        print(f"page         {_write_page(config, Path(evaluation['run']['features']))}")
    print("\n" + wrap([f"Next: open the page; compare two runs with: make compare RUNS=\"{shell_word(config.run)} "
                       "OTHER\"; change one thing and train again: make train RUN=... ARGS=..."]))


def _write_page(config: EvalConfig, features_path: Path) -> Path:
    from data.folder.folder import Features
    from evaluate.page.report import write_report
    from train.runs import read_record
    features = Features.open(features_path)
    return write_report(config.run, config.split, features, config.dataset,
                        config.words or read_record(config.run).config.words)
