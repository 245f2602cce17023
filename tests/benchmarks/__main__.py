"""Every benchmark one after another, each in a process of its own, and one table at the end.

    python -m tests.benchmarks [NAME ...] [--quick] [--data DIR]

`--quick` runs each in a small form that shows that it works; its figures mean nothing. `--data` names photos for the
drift of features. A figure that misses what was wanted is shown as such and is no error; a benchmark that breaks is.
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.errors import CommandParser, UserError, run_command
from tests.benchmarks.campaign import BENCHMARKS, run_benchmarks
from tests.benchmarks.figures import format_table
from train.threads import let_threads_sleep


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; 1 where a benchmark broke."""
    parser = CommandParser(prog="python -m tests.benchmarks", description=__doc__,
                           formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small forms; figures mean nothing")
    parser.add_argument("--data", type=Path, default=None, help="a data folder with photos, for the drift")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        raise UserError(f"expected names among {', '.join(BENCHMARKS)}, found {unknown[0]!r}")
    let_threads_sleep()  # as training does
    figures = run_benchmarks(arguments.names or list(BENCHMARKS), arguments.quick, arguments.data)
    print(f"\n{format_table(figures)}")
    return int(any(figure.failed for figure in figures))


if __name__ == "__main__":
    codes: list[int] = []
    sys.exit(run_command(lambda: codes.append(main())) or codes[0])
