"""Errors a user can cause, and how a command ends on them.

Exit codes: 0 done, 2 bad input (one sentence on stderr), 3 done but over a limit (too many bad photos),
130 interrupted.
"""
import argparse
import errno
import re
import shlex
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

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
    return line if line.isascii() and line.isprintable() else "".join(
        character.encode("unicode_escape").decode("ascii") if unicodedata.category(character).startswith("C")
        else character for character in line)


def shell_word(value: object) -> str:
    """A path, or anything else, as one word of a command that somebody may copy."""
    return shlex.quote(str(value))


def suggest(name: str, names: Iterable[str]) -> str:
    """": did you mean ...?" where one of `names` comes near or is its initials (learning-rate, lr), else nothing."""
    import difflib
    bare = {known.strip("-"): known for known in names}
    words = name.strip("-").replace("-", "_").split("_")
    initials = "".join(word[:1] for word in words)
    nearest = [initials] if len(words) > 1 and initials in bare else difflib.get_close_matches(
        name.strip("-"), list(bare), n=1, cutoff=0.5)
    return f": did you mean {bare[nearest[0]]!r}?" if nearest else ""


def require_command(argv: Sequence[str], commands: Iterable[str], prog: str) -> None:
    """Refuse a first word that is neither a flag nor one of the commands.

    Raises:
        UserError: with the nearest command.
    """
    if argv and not argv[0].startswith("-") and argv[0] not in (names := list(commands)):
        raise UserError(f"unknown command {argv[0]!r}{suggest(argv[0], names)}; see: {prog} --help")


class CommandParser(argparse.ArgumentParser):
    """Flags of a command: what is wrong with them is said in one sentence, without the usage lines.

    A flag or choice that there is not is answered with the nearest one; parse inside `run_command`, which turns the
    UserError into exit code 2.
    """

    _given: Sequence[str] = ()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse a command line; see the class."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise UserError(self._explain_unknown(unknown[0]))
        return known

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse what is known; argparse calls it for a subcommand too."""
        self._given = list(sys.argv[1:] if args is None else args)
        known, unknown = super().parse_known_args(self._given, namespace)
        flags = [word for word in unknown if word.startswith("-")]
        if flags and not self._subparsers:  # here, where a subcommand's flags are known
            raise UserError(self._explain_unknown(flags[0]))
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """Raise a UserError."""
        flags = tuple(self._option_string_actions)
        for word in self._given if "required" in message else ():  # what is missing was given under a wrong name
            name = word.partition("=")[0]
            is_known = name in flags or self.allow_abbrev and any(flag.startswith(name) for flag in flags)
            if word.startswith("--") and word != "--" and not is_known:
                message = self._explain_unknown(word).partition("; see:")[0]
                break
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message += suggest(choice[1], re.findall(r"[^\s,']+", choice[2]))
        raise UserError(f"{message}; see: {self.prog} --help")

    def _explain_unknown(self, word: str) -> str:
        name = word.partition("=")[0]
        return f"unknown argument {word!r}{suggest(name, self._option_string_actions)}; see: {self.prog} --help"


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
