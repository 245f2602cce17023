"""How the threads of one process wait for each other; no torch here, since it decides when torch is loaded."""
import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def let_threads_sleep() -> None:
    """Make OpenMP threads sleep where they wait, unless the environment says how they shall.

    GNU OpenMP spins for some milliseconds at every barrier. Beside other work the thread it waits for does not run
    meanwhile, so that a step with two threads took ten times as long and more. Call it before torch is loaded.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
