"""How many cores there are to work with."""
import os


def count_cores() -> int:
    """Cores that this process may run on: those it is bound to where the system tells (Linux), else the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
