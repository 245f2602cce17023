"""Ranking 200,000 candidate photos for 5,000 queries against the bare matrix product, and the memory it takes.

    python -m tests.benchmarks.retrieval [--candidates 200000] [--queries 5000] [--width 2048]

Candidates are float16 rows of a mapped file, standardised on the way as evaluation does. Memory is what is anonymous
(mapped files do not count), at its peak, less what the process had before.
"""
import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluate.photos.retrieval import BLOCK, normalise, rank_candidates
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.memory import Peak

SPEED, MEGABYTES = 0.8, 1000.0  # wanted: share of the bare product's speed, memory


def measure(num_candidates: int, num_queries: int, width: int) -> tuple[float, float, float]:
    """Seconds of the ranking, seconds of the bare product, megabytes of anonymous memory."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = _write_candidates(Path(folder) / "features", num_candidates, width, random)
        mean, std = np.full(width, 1.0, np.float32), np.full(width, 2.0, np.float32)

        def read(index: np.ndarray) -> np.ndarray:
            block = rows.take(index, axis=0).astype(np.float32)
            block -= mean
            block /= std
            return normalise(block)
        target = random.integers(0, num_candidates, num_queries)
        excluded = random.integers(0, num_candidates, (num_queries, 4))
        with Peak() as peak:
            queries = normalise(read(target) + 0.02 * random.standard_normal((num_queries, width), np.float32))
            started = time.perf_counter()
            found = rank_candidates(queries, read, num_candidates, target, excluded)
            taken = time.perf_counter() - started
        assert np.nanmedian(found.ranks.mean) == 1, "a noisy copy is found among all candidates"
        bare = _time_bare_product(queries, num_candidates)
    return taken, bare, peak.megabytes


def _write_candidates(path: Path, num_candidates: int, width: int, random: np.random.Generator) -> np.ndarray:
    rows = np.memmap(path, np.float16, "w+", shape=(num_candidates, width))
    for start in range(0, num_candidates, BLOCK):
        stop = min(start + BLOCK, num_candidates)
        rows[start:stop] = random.standard_normal((stop - start, width), np.float32) * 2 + 1
    rows.flush()
    return np.memmap(path, np.float16, "r", shape=(num_candidates, width))


def _time_bare_product(queries: np.ndarray, num_candidates: int) -> float:
    """Seconds of the same products on float32 rows that lie ready."""
    block = np.ones((BLOCK, queries.shape[1]), np.float32)
    started = time.perf_counter()
    for start in range(0, num_candidates, BLOCK):
        queries @ block[:min(BLOCK, num_candidates - start)].T
    return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--width", type=int, default=2048)
    arguments = parser.parse_args(argv)
    taken, bare, megabytes = measure(arguments.candidates, arguments.queries, arguments.width)
    name = f"ranking {arguments.candidates:,} photos for {arguments.queries:,} queries"
    return report([Figure(name=name, value=taken, unit="s", ratio=bare / taken, at_least=SPEED,
                          peer=f"the bare matrix product, {bare:.1f}"),
                   Figure(name=f"{name}, anonymous memory", value=megabytes, unit="MB", at_most=MEGABYTES)])


if __name__ == "__main__":
    main()
