"""All benchmarks by name, and how they are run: one after another, each in a process of its own."""
import importlib
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.figures import Figure


class Benchmark(NamedTuple):
    """A script, its flags for the real thing, and for the small form."""

    script: str
    flags: str = ""
    quick: str = ""


TINY = "--photos 10 --megapixels 0.1 --backbone tests.tiny_backbone:factory"
BENCHMARKS = {
    "extraction": Benchmark("extraction", "", TINY),
    "extraction-compiled": Benchmark("extraction", "--compile", f"{TINY} --compile"),
    "extraction-12mp": Benchmark("extraction", "--megapixels 12", TINY),
    "extraction-fed": Benchmark("extraction_fed", "", "--photos 20 --megapixels 0.1 --ready 200"),
    "extraction-memory": Benchmark("extraction_memory", "", "--photos 10 40"),
    "extraction-drift": Benchmark("extraction_drift", "", "--photos 10 --backbone tests.tiny_backbone:factory"),
    "training-step": Benchmark("training_step", "", "--preset small --batch 4 --steps 2"),
    "training-loader": Benchmark("training_loader", "", "--stories 300 --repeats 1"),
    "training-epoch": Benchmark("training_epoch", "", "--stories 32 --repeats 1"),
    "training-large": Benchmark("training_large", "", "--gibibytes 0.02 --stories 200 --repeats 1"),
    "evaluation": Benchmark("evaluation", "", "--share 0.004 --preset small --rows 1"),
    "retrieval": Benchmark("retrieval", "", "--candidates 3000 --queries 100 --width 64"),
    "sharing": Benchmark("sharing", "", "--stories 100 --repeats 1"),
    "writing": Benchmark("writing", "", "--captions 2 --vocabulary 60 --alone 1"),
}


def run_benchmark(script: str, flags: list[str]) -> list[Figure]:
    """Run one script in this process."""
    return importlib.import_module(f"tests.benchmarks.{script}").main(flags)


def run_benchmarks(names: Sequence[str], quick: bool = False, photos: Path | None = None) -> list[Figure]:
    """Run benchmarks by name; each prints its figures, and all are handed back."""
    figures: list[Figure] = []
    for name in names:
        benchmark, began = BENCHMARKS[name], time.monotonic()
        flags = (benchmark.quick if quick else benchmark.flags).split()
        if photos is not None and benchmark.script == "extraction_drift":
            flags += ["--data", str(photos)]
        print(f"\n{name} {' '.join(flags)}".rstrip(), flush=True)
        # a process of its own: neither its memory nor its threads are another's
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                figures += pool.submit(run_benchmark, benchmark.script, flags).result()
            except Exception as error:  # one that breaks must not take the others' figures with it
                figures.append(Figure(name=name, failed=f"{type(error).__name__}: {error}"))
        print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)
    return figures
