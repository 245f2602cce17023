"""Seconds by part of a longer work, for the log."""
import time


class Clock:
    """Runs from its making; every lap ends a part."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """End a part that began with the last lap."""
        now = time.perf_counter()
        self._laps[part] = now - self._last
        self._last = now

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self._laps.items())
