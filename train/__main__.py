"""python -m train --features FEATURES --out RUN [--preset small] [--any-setting VALUE ...]"""
import logging
import os
import sys

from data.errors import run_command
from train.settings import read_command, require_folder
from train.threads import let_threads_sleep


def main() -> None:
    """Parse first; torch only for what can be run."""
    command = read_command()
    is_writer = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    logging.basicConfig(level=logging.INFO if is_writer else logging.ERROR, format="%(message)s")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # equal sums on CUDA too
    let_threads_sleep()
    require_folder(command.features_path)
    from train.session import run_training
    from train.summary import print_summary

    run_training(command.config, command.features_path, command.run_path, command.force)
    if is_writer:
        print_summary(command.run_path, command.features_path)


if __name__ == "__main__":
    sys.exit(run_command(main))
