"""python -m evaluate --run RUN: numbers beside baselines, and a page; `evaluate.commands` has what else there is."""
import logging
import sys

from data.errors import require_command, run_command
from evaluate.commands import COMMANDS
from train.threads import let_threads_sleep


def main(argv: list[str] | None = None) -> int:
    """Run a command; see `data.errors.run_command` for the exit codes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argv = sys.argv[1:] if argv is None else argv
    let_threads_sleep()
    is_named = bool(argv) and argv[0] in COMMANDS
    command = COMMANDS[argv[0] if is_named else "run"]

    def run() -> None:
        require_command(argv or [], COMMANDS, "python -m evaluate")
        parser = command.build(f"python -m evaluate {argv[0]}" if is_named else "python -m evaluate")
        command.run(parser.parse_args(argv[is_named:]))
    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
