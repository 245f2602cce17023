"""Retry-After, which photos' hosts and those of features folders both send; a file of its own, so that who needs it
alone need not load an HTTP client."""
import email.utils
import time


def read_retry_after(header: str) -> float | None:
    """Seconds that a Retry-After header asks to wait, given as seconds or as a date; None where it says neither."""
    told = header.strip()
    if told.isdecimal():
        return float(told[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
