"""Core-seconds and memory of evaluating a run at VIST's size, and of an ablation row beside its training.

    python -m tests.benchmarks.evaluation [--share 0.1] [--preset base] [--rows 4]

The folder has VIST's albums (40,000 train, 5,000 val, 5,000 test stories, 80,000 photos), or a share of them; the
figure is what all of it would cost where everything grows in step: baselines are fitted beforehand, as they are kept.
Core-seconds, user and system, because machines are shared; METEOR and the page are left out. The run has learned from a
few stories only, so that it writes longer captions than a trained one.
"""
import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evaluate.config import EvalConfig
from evaluate.evaluation.run import evaluate_run
from tests.benchmarks.features_folder import AS_IN_VIST, write_large_folder
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.memory import Peak
from train.config import make_config
from train.session import run_training

VIST = {"train": 40_000, "val": 5_000, "test": 5_000}
MOST_SECONDS, MOST_MEGABYTES, MOST_ROW_SECONDS = 600.0, 2000.0, 3.0
LEARNED_FROM = 512
SUBREAPER = 36  # prctl: whoever loses its parent becomes ours, and its time is counted
GRID = "seeds = [1]\n[base]\npreset = 'small'\nsteps = 0\nepochs = 1\nlimit = 16\n" + "".join(
    f"[rows.r{row}]\nlr = {row + 1}e-4\n" for row in range(12))


def core_seconds(who: int) -> float:
    """User and system time so far of this process or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measure_evaluation(root: Path, share: float, preset: str) -> tuple[float, float]:
    """Core-seconds and megabytes of anonymous memory of an evaluation whose baselines are kept."""
    features = write_large_folder(root / "features", {split: round(share * count) for split, count in VIST.items()},
                                  albums=AS_IN_VIST, captions=True)
    few = make_config({"preset": preset, "limit": LEARNED_FROM, "epochs": 1, "steps": 0})
    run_training(few, features, root / "run")
    config = EvalConfig(run=root / "run", features=features, meteor=False)
    evaluate_run(config)  # fits the baselines, which are kept
    began = core_seconds(resource.RUSAGE_SELF)
    with Peak() as peak:
        evaluate_run(config)
    return core_seconds(resource.RUSAGE_SELF) - began, peak.megabytes


def measure_row(root: Path, rows: int) -> float:
    """Core-seconds of one row more in a grid whose trainings are a single step."""
    features = write_large_folder(root / "small", dict.fromkeys(VIST, 100), albums=AS_IN_VIST, captions=True)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    taken = []
    for count in (1, 1 + rows):
        grid, out = root / f"{count}.toml", root / f"ablation-{count}"
        grid.write_text(GRID.partition(f"[rows.r{count}]")[0], encoding="utf-8")
        began = core_seconds(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "evaluate", "ablate", "--features", str(features), "--grid", str(grid),
                        "--out", str(out), "--resamples", "10"], check=True, stdout=subprocess.DEVNULL)
        _await_orphans()
        taken.append(core_seconds(resource.RUSAGE_CHILDREN) - began)
    return (taken[1] - taken[0]) / rows


def _await_orphans() -> None:
    """Wait for what outlives the command: the process that rows are forked from."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.1, help="of VIST's size")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--rows", type=int, default=4, help="at most 11")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        row = measure_row(Path(name), arguments.rows)
        seconds, megabytes = measure_evaluation(Path(name), arguments.share, arguments.preset)
    size = f"{VIST['test'] * arguments.share:,.0f} test stories, preset {arguments.preset}"
    whole = seconds / arguments.share
    return report([
        Figure(name=f"evaluation of {size}", value=seconds, unit="core-s", ratio=MOST_SECONDS / whole, at_least=1.0,
               peer=f"wanted {MOST_SECONDS:.0f} at VIST's size, here {whole:.0f}"),
        Figure(name=f"evaluation of {size}, anonymous memory", value=megabytes, unit="MB", at_most=MOST_MEGABYTES),
        Figure(name="an ablation row whose training is one step", value=row, unit="core-s",
               ratio=MOST_ROW_SECONDS / row, at_least=1.0, peer=f"wanted {MOST_ROW_SECONDS:.0f}")])


if __name__ == "__main__":
    main()
