"""python -m extract --data DIR --out FEATURES, and python -m extract COMMAND FEATURES."""
import sys

from data.errors import run_command
from extract.command import main

if __name__ == "__main__":
    sys.exit(run_command(main))
