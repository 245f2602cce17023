"""python -m evaluate crossval DATA --out DIR: grouped folds, features made once, one pooled table."""
import argparse
import shlex
from pathlib import Path

from data.errors import CommandParser
from evaluate.config import CrossvalConfig, add_flags, make
from train.settings import FIELDS, add_settings


def build_parser(prog: str) -> CommandParser:
    """The flags; every setting of training is one too."""
    parser = CommandParser(prog=prog, allow_abbrev=False, argument_default=argparse.SUPPRESS,
                           description="Deal a data folder's albums into folds, make features once, train and evaluate "
                                       "each fold, and print one table over the test stories of all.")
    parser.add_argument("dataset", type=Path, metavar="DATA", help="data folder; see python -m data folds --help")
    add_flags(parser, CrossvalConfig)
    features = parser.add_argument_group("features (default: as the features folder was made)")
    features.add_argument("--weights", metavar="random|imagenet|PATH", help="of the backbone")
    features.add_argument("--backbone", metavar="NAME|module:factory", help="what looks at the photos")
    features.add_argument("--features-args", default="", metavar="FLAGS",
                          help="further flags of python -m extract, as one word: --features-args='--exact --views 4'")
    training = parser.add_argument_group("training: every setting of python -m train")
    training.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings, or a run's config.json")
    add_settings(training, leave_out=("words",))
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Do what is left, print the pooled tables and where everything is."""
    given = vars(arguments)
    extraction = [f"--{name}={given[name]}" for name in ("weights", "backbone") if name in given]
    training = [*(("--config", str(given["config"])) if "config" in given else ()),
                *(_flag(name, given[name]) for name in FIELDS if name in given)]
    config = make(CrossvalConfig, arguments, training=tuple(training),
                  extraction=(*extraction, *shlex.split(arguments.features_args)))
    from data.files import read_json
    from evaluate.crossval.measuring import TABLES
    from evaluate.crossval.runner import run_crossval
    from evaluate.table import describe_result, format_tables
    path = run_crossval(config)
    evaluation = read_json(path, "the pooled numbers", "delete it and give the same command again")
    print(format_tables(evaluation))
    print("\n[low, high]: 95 % over the albums of all folds; + the model is better than this row, - worse (paired "
          "difference).\n")
    print("\n".join([*describe_result(evaluation), *(f"Note: {note}." for note in evaluation["protocol"]["notes"])]))
    print(f"\nnumbers   {path}\ntables    {path.with_name(TABLES)}\nruns      {config.out / 'fold-0'} ...\n"
          f"features  {config.features_path}")


def _flag(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    return f"--{flag}={value}" if not isinstance(value, bool) else f"--{'' if value else 'no-'}{flag}"
