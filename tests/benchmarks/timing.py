"""Taking times: what is compared is measured in turn, several times over, and the median counts."""
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Seconds(NamedTuple):
    """Time on the wall, and time of all cores spent in this process."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Times:
    """The repeats of one version, in the order they were taken."""

    taken: list[Seconds]

    @property
    def wall(self) -> float:
        """Median seconds on the wall."""
        return statistics.median(seconds.wall for seconds in self.taken)

    @property
    def cpu(self) -> float:
        """Median seconds of processor time."""
        return statistics.median(seconds.cpu for seconds in self.taken)

    def scale(self, factor: float) -> "Times":
        """The times of a part of what was done."""
        return Times([Seconds(seconds.wall * factor, seconds.cpu * factor) for seconds in self.taken])


def take_time(run: Callable[[], object]) -> Seconds:
    """Run once."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def measure_in_turn(versions: Mapping[str, Callable[[int], object]], repeats: int) -> dict[str, Times]:
    """Time every version `repeats` times after one round that does not count.

    Versions take turns, forth in one round and back in the next, so that whatever slows the machine down for a while
    slows all of them.

    Args:
        versions: by name; each is called with the number of the round, 0 for the one that does not count.
    """
    taken: dict[str, list[Seconds]] = {name: [] for name in versions}
    for number in range(repeats + 1):
        for name in list(versions)[::1 if number % 2 else -1]:
            seconds = take_time(lambda: versions[name](number))
            if number:
                taken[name].append(seconds)
    return {name: Times(seconds) for name, seconds in taken.items()}


def divide(over: Times, under: Times) -> float:
    """The median over rounds of one version's wall time by the other's in the same round."""
    return statistics.median(above.wall / below.wall for above, below in zip(over.taken, under.taken, strict=True))
