"""The commands of evaluation: their flags, what each prints. What takes long is imported when a command runs."""
import argparse
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from data.errors import CommandParser, UserError, printable, shell_word
from data.settings import add_flags, make
from evaluate.config import (
    AbConfig,
    AblationConfig,
    AppConfig,
    CompareConfig,
    CrossvalConfig,
    EvalConfig,
    ScoreConfig,
    StoryConfig,
)
from train.settings import FIELDS, add_settings
from train.writing.config import WritingConfig


@dataclass(frozen=True)
class Command:
    """A command: `what` it does, in a list of commands; how it is `run`, which says more; its flags.

    Attributes:
        configs: settings that are flags. add: further flags, in front of them.
    """

    what: str
    run: Callable[[argparse.Namespace], None]
    configs: tuple[type, ...] = ()
    add: Callable[[CommandParser], None] | None = None

    def build(self, prog: str) -> CommandParser:
        """The command line."""
        parser = CommandParser(prog=prog, description=self.run.__doc__)
        if self.add is not None:
            self.add(parser)
        for config in self.configs:
            add_flags(parser, config)
        return parser


def build_run(parser: CommandParser) -> None:
    """The flags of an evaluation; one seed and one size of batches for all."""
    parser.epilog = "other commands: " + "; ".join(
        f"{name}: {command.what}" for name, command in COMMANDS.items() if name != "run")
    parser.add_argument("--no-page", dest="page", action="store_false", help="no page")
    add_flags(parser, WritingConfig, [known.name for known in fields(WritingConfig) if known.name != "seed"])


def run_run(arguments: argparse.Namespace) -> None:
    """Evaluate a run: numbers beside baselines, and a page."""
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
        from data.folder.folder import Features
        from evaluate.page.report import write_report
        from train.run_folder.runs import read_record
        page = write_report(config.run, config.split, Features.open(Path(evaluation["run"]["features"])),
                            config.dataset, config.words or read_record(config.run).config.words)
        print(f"page         {page}")
    print("\n" + wrap([f"Next: open the page; compare two runs with: make compare RUNS=\"{shell_word(config.run)} "
                       "OTHER\"; change one thing and train again: make train RUN=... ARGS=..."]))


def run_score(arguments: argparse.Namespace) -> None:
    """Score stories by the published album-level protocol: BLEU, ROUGE-L, CIDEr, METEOR, beside one constant story and
    the human writers."""
    config = make(ScoreConfig, arguments)
    from evaluate.comparison.score import format_result, score_predictions
    # nothing that was read may move the terminal's cursor
    lines = format_result(score_predictions(config)).split("\n")
    print("\n".join(line if line.isprintable() else printable(line) for line in lines))
    _tell_written(config.out)


def build_compare(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("systems", type=Path, nargs="*", metavar="RUN",
                        help="run folders, prediction files of task next, or (with --references) files of stories")


def run_compare(arguments: argparse.Namespace) -> None:
    """Compare runs or prediction files, pair by pair over albums."""
    config = make(CompareConfig, arguments)
    from evaluate.comparison.compare import compare_systems, format_comparison
    print(format_comparison(compare_systems(config)))
    _tell_written(config.out)


def run_ablate(arguments: argparse.Namespace) -> None:
    """Train every row of a grid with every seed, evaluate on val, and hold the rows against one of them."""
    config = make(AblationConfig, arguments)
    from evaluate.ablation.runner import run_ablation
    from evaluate.ablation.table import format_text, write_tables
    ablation = run_ablation(config)
    paths = write_tables(ablation)
    print(format_text(ablation), "\n".join(map(str, paths)), sep="\n\n")


def build_crossval(parser: CommandParser) -> None:
    """The flags; every setting of training is one too."""
    parser.allow_abbrev, parser.argument_default = False, argparse.SUPPRESS
    parser.add_argument("dataset", type=Path, metavar="DATA", help="data folder; see python -m data folds --help")
    features = parser.add_argument_group("features (default: as the features folder was made)")
    features.add_argument("--weights", metavar="random|imagenet|PATH", help="of the backbone")
    features.add_argument("--backbone", metavar="NAME|module:factory", help="what looks at the photos")
    features.add_argument("--features-args", default="", metavar="FLAGS",
                          help="further flags of python -m extract, as one word: --features-args='--exact --views 4'")
    training = parser.add_argument_group("training: every setting of python -m train")
    training.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings, or a run's config.json")
    add_settings(training, leave_out=("words",))


def run_crossval(arguments: argparse.Namespace) -> None:
    """Deal a data folder's albums into folds, make features once, train and evaluate each fold, and print one table
    over the test stories of all."""
    def flag(name: str, value: object) -> str:
        name = name.replace("_", "-")
        return f"--{name}={value}" if not isinstance(value, bool) else f"--{'' if value else 'no-'}{name}"

    given = vars(arguments)
    config = make(CrossvalConfig, arguments,
                  training=tuple(flag(name, given[name]) for name in ("config", *FIELDS) if name in given),
                  extraction=(*(flag(name, given[name]) for name in ("weights", "backbone") if name in given),
                              *shlex.split(arguments.features_args)))
    from data.files import read_json
    from evaluate.crossval import runner
    from evaluate.crossval.measuring import TABLES
    from evaluate.table import describe_result, format_tables
    path = runner.run_crossval(config)
    evaluation = read_json(path, "the pooled numbers", "delete it and give the same command again")
    print(format_tables(evaluation))
    print("\n[low, high]: 95 % over the albums of all folds; + the model is better than this row, - worse (paired "
          "difference).\n")
    print("\n".join([*describe_result(evaluation), *(f"Note: {note}." for note in evaluation["protocol"]["notes"])]))
    print(f"\nnumbers   {path}\ntables    {path.with_name(TABLES)}\nruns      {config.out / 'fold-0'} ...\n"
          f"features  {config.features_path}")


def build_runs(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("roots", nargs="*", default=["artifacts"], metavar="FOLDER|CARD|URL",
                        help="where to look (artifacts); cards of runs, also by http(s)://, s3:// and hf://")


def run_runs(arguments: argparse.Namespace) -> None:
    """List the runs below some folders, and those whose cards others made with export, in one table."""
    from evaluate.runs.run_list import find_runs, format_runs
    print(format_runs(find_runs(arguments.roots)))


def build_export(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("run", type=Path, metavar="RUN", help="an evaluated run; it is only read")
    parser.add_argument("--out", type=Path, default=Path("card.json"), metavar="JSON|TAR",
                        help="the card, or a tar of card and weights to evaluate elsewhere (%(default)s)")


def run_export(arguments: argparse.Namespace) -> None:
    """Write a run's card, one JSON file with settings, identities and numbers, or a tar to evaluate it elsewhere."""
    from evaluate.runs.card import export_run
    out = export_run(arguments.run, arguments.out)
    name = shell_word(arguments.run.resolve().name)
    print(f"exported {out}", f"there: tar xf {shell_word(out.name)}, pull the features, then python -m evaluate --run "
          f"{name} --features FEATURES" if out.suffix == ".tar" else
          f"in one table with others: python -m evaluate runs {shell_word(out)} URL ...", sep="\n")


def build_story(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("photos", type=Path, nargs="*", metavar="PHOTO", help="the story's first photos, in order")
    parser.add_argument("--caption", action="append", default=[], dest="captions", metavar="TEXT",
                        help="what happens in a photo; once a photo, in their order, or not at all")


def run_story(arguments: argparse.Namespace) -> None:
    """Show a run 1 to 4 photos in order: it writes the next sentence and names tags and matching photos. A run of task
    tell writes a sentence for each of up to 5."""
    config = make(StoryConfig, arguments, writing=make(WritingConfig, arguments))
    from evaluate.own_story.story import format_story, tell_story
    print(format_story(config, tell_story(config)))


def run_app(arguments: argparse.Namespace) -> None:
    """Open a page on this machine, and on no other, where photos of your own become a story. Ctrl-C ends it."""
    config = make(AppConfig, arguments)
    from evaluate.app.server import serve
    serve(config)


def build_sheet(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two evaluated runs or predictions files")
    parser.add_argument("--out", type=Path, default=Path("sheet.html"), metavar="HTML",
                        help="the sheet; its key lies beside it (%(default)s)")
    parser.add_argument("--features", type=Path, metavar="FOLDER",
                        help="features folder (default: the one the first run was trained on)")
    parser.add_argument("--data", type=Path, dest="dataset", metavar="DIR",
                        help="photos, for a folder without thumbnails")
    parser.add_argument("--key", type=Path, metavar="JSON", help="read answers back: the sheet's key")
    parser.add_argument("--answers", type=Path, nargs="+", default=[], metavar="JSON", help="one file a judge")


def run_sheet(arguments: argparse.Namespace) -> None:
    """Write a blind comparison of two runs for human judges, or read their answers back (--key and --answers)."""
    if arguments.key or arguments.answers:
        if not arguments.key or not arguments.answers or arguments.runs:
            raise UserError("expected --key KEY with --answers FILE ... and no runs; give the key that was written "
                            "beside the sheet and one file a judge")
        from evaluate.page.ab_answers import describe_answers, read_ab_answers
        print("\n".join(describe_answers(read_ab_answers(arguments.key, arguments.answers))))
        return
    if len(arguments.runs) != 2:
        raise UserError(f"expected two runs to compare, found {len(arguments.runs)}; name RUN_A and RUN_B")
    config = make(AbConfig, arguments)
    from data.files import read_json
    from data.folder.folder import Features
    from evaluate.page.ab_sheet import key_path_of, write_ab_sheet
    record = {} if arguments.features else read_json(arguments.runs[0] / "config.json", "a run's config.json",
                                                     "name the features folder with --features")
    features = Features.open(arguments.features or Path(str(record.get("features", ""))))
    sheet = write_ab_sheet(arguments.runs[0], arguments.runs[1], features, arguments.out, config, arguments.dataset)
    print(f"sheet  {sheet}   for the judges\nkey    {key_path_of(sheet)}   not for the judges\n\nThen: python -m "
          f"evaluate ab-sheet --key {key_path_of(sheet)} --answers answers-*.json")


def build_baselines(parser: CommandParser) -> None:
    """Flags."""
    parser.add_argument("--features", type=Path, required=True, help="features folder")
    parser.add_argument("--words", default="default", metavar="NAME", help="its word set (%(default)s)")


def run_baselines(arguments: argparse.Namespace) -> None:
    """Train the baselines that need training (ridge, probe, text-only LSTM) and keep them beside the features."""
    from evaluate.baselines.fitted import train_baselines
    print(f"baselines of {arguments.features} lie in {train_baselines(arguments.features, arguments.words)}; every "
          "evaluation on it shows them from now on")


def _tell_written(path: Path | None) -> None:
    if path:
        print(f"\nwritten to {path}")


COMMANDS = {
    "run": Command("evaluate a run (also without naming the command)", run_run, (EvalConfig,), build_run),
    "score": Command("score any system's stories by the published protocol", run_score, (ScoreConfig,)),
    "compare": Command("paired comparison of runs or prediction files", run_compare, (CompareConfig,), build_compare),
    "ablate": Command("a grid of cheap trainings, one table, one plot", run_ablate, (AblationConfig,)),
    "crossval": Command("grouped folds of a data folder, features made once, one pooled table", run_crossval,
                        (CrossvalConfig,), build_crossval),
    "runs": Command("list runs: what differs, headline numbers", run_runs, (), build_runs),
    "export": Command("a run as a card for others' tables, or as a tar", run_export, (), build_export),
    "story": Command("one story from photos of your own", run_story, (StoryConfig, WritingConfig), build_story),
    "app": Command("a local page where photos of your own become a story", run_app, (AppConfig,)),
    "ab-sheet": Command("a blind comparison page for human judges, and its answers", run_sheet, (AbConfig,),
                        build_sheet),
    "baselines": Command("train the baselines that need training, once a folder", run_baselines, (), build_baselines)}
