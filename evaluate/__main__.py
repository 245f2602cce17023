"""python -m evaluate --run RUN: numbers beside baselines, and a page. See the commands below for what else there is."""
import importlib
import logging
import sys

from data.errors import require_command, run_command
from train.threads import let_threads_sleep

COMMANDS = {
    "run": "evaluate a run (also without naming the command)",
    "score": "score any system's stories by the published protocol",
    "compare": "paired comparison of runs or prediction files",
    "ablate": "a grid of cheap trainings, one table, one plot",
    "crossval": "grouped folds of a data folder, features made once, one pooled table",
    "runs": "list runs: what differs, headline numbers",
    "story": "one story from photos of your own",
    "ab-sheet": "a blind comparison page for human judges, and its answers",
    "baselines": "train the baselines that need training, once a folder",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; see `data.errors.run_command` for the exit codes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argv = sys.argv[1:] if argv is None else argv
    let_threads_sleep()
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else ("run", argv)
    command = importlib.import_module(f"evaluate.commands.{name.replace('-', '_')}")

    def run() -> None:
        require_command(argv or [], COMMANDS, "python -m evaluate")
        parser = command.build_parser(f"python -m evaluate {name}" if argv and argv[0] == name else
                                      "python -m evaluate")
        if name == "run":
            parser.epilog = "other commands: " + "; ".join(
                f"{other}: {what}" for other, what in COMMANDS.items() if other != "run")
        command.run(parser.parse_args(rest))
    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
