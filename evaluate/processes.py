"""Our own commands as processes side by side, each with its share of the cores; whoever stops us stops them."""
import itertools
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, TypeVar

from data.cores import count_cores
from data.errors import UserError
from train.monitor import format_time

logger = logging.getLogger(__name__)

Task = TypeVar("Task")


def share_cores(jobs: int) -> dict[str, str]:
    """The environment of each of `jobs` processes that run side by side.

    More threads than cores make every one of them slower by a factor, and threads that wait busily take the cores from
    those that work.
    """
    environment = dict(os.environ)
    if jobs > 1:
        environment |= {"OMP_NUM_THREADS": str(max(1, count_cores() // jobs)),
                        "OMP_WAIT_POLICY": "PASSIVE"}
    return environment


class Processes:
    """The processes that were started and have not ended; used from several threads.

    They are forked from one that has loaded torch and nothing else: loading takes longer than a small training, and a
    process of its own can be killed, or run out of memory, without taking anything of the others.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment, self._context = environment, multiprocessing.get_context("forkserver")
        self._running: set[BaseProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def call(self, arguments: Sequence[str], words: IO[str]) -> int:
        """Run `python -m` with arguments to its end, what it says at the end of a file; its exit code."""
        with self._lock:  # multiprocessing reads the exit codes of all when one begins
            if self._stopped:
                return -signal.SIGTERM
            self._begin_server()
            process = self._context.Process(target=_run_module, args=(list(arguments), words.name))
            process.start()
            self._running.add(process)
        connection.wait([process.sentinel])
        with self._lock:
            process.join()
            self._running.discard(process)
        assert process.exitcode is not None
        return process.exitcode

    def _begin_server(self) -> None:
        """Start the process that others are forked from, unless it is there; its environment is theirs."""
        self._context.set_forkserver_preload(["evaluate.preload"])
        before = dict(os.environ)
        try:
            os.environ.update(self._environment)
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def train_and_evaluate(self, run: Path, features: Path, training: Sequence[str], evaluating: Sequence[str], who: str
                           ) -> None:
        """Train a run and evaluate it, without intervals: the table that it is for draws its own. What both say goes
        to <run>.log.

        Args:
            training, evaluating: further flags. who: whose it is, for the error if one fails.
        """
        common, log = ["--features", str(features)], run.with_suffix(".log")
        commands = {"training": ["train", *common, "--out", str(run), *training],
                    "evaluating": ["evaluate", "--run", str(run), *common, *evaluating, "--resamples", "0", "--sense",
                                   "0", "--no-meteor", "--no-page"]}
        with open(log, "w", encoding="utf-8") as words:
            for what, arguments in commands.items():
                code = self.call(arguments, words)
                if code:
                    said = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"])[-1]
                    raise UserError(f"{who}: {what} ended with code {code} and said: {said}; see {log}, then give the "
                                    "same command again")

    def stop(self) -> None:
        """Ask every process to save and end, and start no other."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _run_module(arguments: list[str], log: str) -> None:
    os.setsid()  # a session of its own: an interrupt from the keyboard reaches it through `stop`, once
    words = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(words, stream)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def work_off(tasks: Sequence[Task], jobs: int, work: Callable[[Task, Processes], str]) -> None:
    """Do tasks, `jobs` at a time; the first failure stops what has not begun, an interrupt what is under way.

    Args:
        work: does one, and says which it was, for the log.
    """
    processes, failed = Processes(share_cores(jobs)), threading.Event()
    started, told = time.monotonic(), itertools.count(1)

    def attempt(task: Task) -> None:
        try:
            if not failed.is_set():  # a worker takes the next task before anybody can cancel it
                said, finished = work(task, processes), next(told)
                left = (time.monotonic() - started) / finished * (len(tasks) - finished)
                logger.info("%d of %d: %s; %s to go", finished, len(tasks), said, format_time(left))
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(jobs) as workers:
        futures = [workers.submit(attempt, task) for task in tasks]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            processes.stop()
            raise
        finally:
            for future in futures:
                future.cancel()
    for future in done:
        if not future.cancelled():
            future.result()
