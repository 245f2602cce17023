"""How the threads of one process wait for each other; no torch here, since it decides when torch is loaded."""
import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


SPINS = "2000"


def let_threads_sleep() -> None:
    """Make OpenMP threads sleep soon where they wait, unless the environment says how they shall.

    GNU OpenMP spins for some milliseconds at every barrier. Beside other work the thread it waits for does not run
    meanwhile. Measured with two threads on two cores, stories/s alone / beside two busy loops: as it comes 129 / 21,
    2,000 spins 129 / 50, none (OMP_WAIT_POLICY=PASSIVE) 100 / 71. Call it before torch is loaded.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPINS
