"""python -m evaluate ablate --features F [--grid G.toml]: a grid of cheap trainings, one table, one plot."""
import argparse
from dataclasses import MISSING, fields
from pathlib import Path

from data.errors import CommandParser
from evaluate.ablation.config import AblationConfig

DEFAULTS = {field.name: field.default for field in fields(AblationConfig) if field.default is not MISSING}


def build_parser(prog: str) -> CommandParser:
    """The flags; their defaults are AblationConfig's."""
    parser = CommandParser(prog=prog, description="Train every row of a grid with every seed, evaluate on val, and "
                                                  "hold the rows against one of them.")
    parser.add_argument("--features", type=Path, required=True, help="features folder")
    parser.add_argument("--grid", type=Path, metavar="TOML",
                        help="the grid (default: evaluate/ablation/default_grid.toml)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where runs and tables go (default: beside features)")
    parser.add_argument("--fraction", type=float, nargs="+", dest="fractions", default=DEFAULTS["fractions"],
                        metavar="F", help="a learning curve instead: the reference row alone on these shares of the "
                                          "train albums, for example 0.1 0.3 1")
    for name, what in (("jobs", "trainings side by side"), ("resamples", "draws of albums"),
                       ("seed", "of these draws")):
        parser.add_argument(f"--{name}", type=int, default=DEFAULTS[name], help=f"{what} (%(default)s)")
    parser.add_argument("--no-cost", dest="cost", action="store_false", help="do not measure the cost end to end")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train, evaluate, print."""
    config = AblationConfig(features=arguments.features, fractions=tuple(arguments.fractions), **{
        name: getattr(arguments, name) for name in DEFAULTS if name != "fractions"})
    from evaluate.ablation.runner import run_ablation
    from evaluate.ablation.table import format_text, write_tables
    ablation = run_ablation(config)
    paths = write_tables(ablation)
    print(format_text(ablation))
    if config.cost:
        print("\n" + _describe_cost(config, ablation.trainings))
    print("\n" + "\n".join(map(str, paths)))


def _describe_cost(config: AblationConfig, trainings: list) -> str:
    from data.folder.folder import Features
    from evaluate.ablation.step_cost import describe_cost, measure_backbone
    from evaluate.evaluation import choose_device
    from train.runs import read_metrics, read_record
    epochs = [read_metrics(training.run_path) for training in trainings]
    stories = [read_record(training.run_path).stories["train"] for training in trainings]
    looks = sum(count * len(lines) for count, lines in zip(stories, epochs))
    seconds = sum(line["seconds"] for lines in epochs for line in lines)
    return describe_cost(measure_backbone(Features.open(config.features), choose_device("auto")), looks, 1, seconds)
