"""Errors a user can cause, and how a command ends on them.

Exit codes: 0 done, 2 bad input (one sentence on stderr), 3 done but over a limit (too many bad photos),
130 interrupted.
"""
import argparse
import errno
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

BAD_INPUT = 2
OVER_LIMIT = 3
INTERRUPTED = 130
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class UserError(ValueError):
    """Bad input: the message says what was expected, what was found, where, and what to do."""


class LimitExceeded(Exception):
    """Everything good was written, but more went wrong than the limits allow."""


def printable(text: object) -> str:
    """One line that a terminal may be given, whoever wrote it: nothing in it moves, colours or reorders.

    White space becomes single blanks; control and format characters (escape sequences, bidirectional marks), lone
    surrogates and unassigned code points appear as their escapes.
    """
    line = " ".join(str(text).split())
    return line if line.isascii() and line.isprintable() else "".join(map(_show_character, line))


def _show_character(character: str) -> str:
    if not unicodedata.category(character).startswith("C"):
        return character
    return character.encode("unicode_escape").decode("ascii")


class CommandParser(argparse.ArgumentParser):
    """Flags of a command: what is wrong with them is said in one sentence, without the usage lines."""

    def error(self, message: str) -> NoReturn:
        """Raise a UserError; parse inside `run_command`, which turns it into exit code 2."""
        raise UserError(f"{message}; see: {self.prog} --help")


def run_command(main: Callable[[], object]) -> int:
    """Run a command and turn what a user can cause into an exit code and one sentence on stderr.

    Args:
        main: the command without arguments; its return value is dropped.

    Returns:
        0, or the exit code of the error that ended it. Anything else is our defect and keeps its traceback.
    """
    try:
        with _terminate_as_interrupt():
            main()
    except UserError as error:
        return _say(error, BAD_INPUT)
    except LimitExceeded as error:
        return _say(error, OVER_LIMIT)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on where this one stopped", INTERRUPTED)
    except BrokenPipeError:  # `... | head` closed our stdout: not an error of ours
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = error.filename or "a disk"
        return _say(f"expected to be able to read and write {where}, found: {error.strerror}; mend that and give the "
                    "same command again", BAD_INPUT)
    return 0


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, which batch systems send before they kill, end a command as Ctrl-C does: locks are let go of."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _say(error: object, code: int) -> int:
    sentence = printable(error)
    print(f"error: {sentence}" if code != INTERRUPTED else sentence, file=sys.stderr)
    return code
