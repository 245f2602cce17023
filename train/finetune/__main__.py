"""python -m train.finetune --run RUN --data DATA --features FEATURES --out RUN2 [--any-setting VALUE ...]"""
import logging
import os
import sys

from data.errors import run_command
from train.finetune.command import read_command
from train.settings import require_folder
from train.threads import let_threads_sleep


def main() -> None:
    """Parse first; torch only for what can be run."""
    command = read_command()
    is_writer = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    logging.basicConfig(level=logging.INFO if is_writer else logging.ERROR, format="%(message)s")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # equal sums on CUDA too
    let_threads_sleep()
    require_folder(command.features_path)
    from train.finetune.session import print_summary, run_finetuning

    run_finetuning(command)
    if is_writer:
        print_summary(command)


if __name__ == "__main__":
    sys.exit(run_command(main))
