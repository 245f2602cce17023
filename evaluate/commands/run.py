"""Evaluate a run: the result tables, both output files, the page."""
import argparse
from dataclasses import fields
from pathlib import Path

from data.errors import CommandParser, shell_word
from evaluate.config import EvalConfig, add_flags, make
from train.writing_config import WritingConfig


def build_parser(prog: str) -> CommandParser:
    """The flags of an evaluation; one seed for all."""
    parser = CommandParser(prog=prog, description="Evaluate a run: numbers beside baselines, and a page.")
    add_flags(parser, EvalConfig)
    parser.add_argument("--no-page", dest="page", action="store_false", help="no page")
    add_flags(parser, WritingConfig, [known.name for known in fields(WritingConfig) if known.name != "seed"])
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, print the tables, write the page."""
    writing = {name: value for name, value in vars(arguments).items() if name != "batch_size"}
    config = make(EvalConfig, arguments, writing=make(WritingConfig, argparse.Namespace(**writing)))
    from data.files import read_json, require_room, write_text
    if config.run.is_dir():  # else said where it is opened
        require_room(config.run, "the numbers of a run")
    from evaluate.evaluation.run import evaluate_run
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
