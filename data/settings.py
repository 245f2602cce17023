"""Settings as the fields of a dataclass: default, meaning and what each may be stand once; flags are made from them.

Light: `--help` reads this file.
"""
import argparse
import operator
import typing
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, TypeVar

from data.errors import UserError

Config = TypeVar("Config")
LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {  # rule -> what must hold, and how it is told
    "least": (operator.ge, "at least"), "above": (operator.gt, "more than"), "most": (operator.le, "at most"),
    "below": (operator.lt, "below")}


def setting(default: Any = MISSING, meaning: str = "", **rules: Any) -> Any:
    """A field with its default (none: it must be given) and the words that `--help` prints beside it.

    Args:
        rules: choices, or LIMITS: what it may be; flag, where that is another name; group, the title it stands under;
            metavar, nargs: as argparse has them.
    """
    return field(default=default, metadata={"help": meaning, **rules})


class Checked:
    """Settings that are held against their rules when they are made."""

    def __post_init__(self) -> None:
        for known in fields(self):  # type: ignore[arg-type]
            value = getattr(self, known.name)
            choices, limits = known.metadata.get("choices"), {
                rule: known.metadata[rule] for rule in LIMITS if known.metadata.get(rule) is not None}
            is_in = value in choices if choices else all(LIMITS[rule][0](value, limits[rule]) for rule in limits
                                                         if value is not None)  # nan is never in
            if value is None or is_in:
                continue
            expected = f"one of {', '.join(map(str, choices))}" if choices else " and ".join(
                f"{LIMITS[rule][1]} {limit}" for rule, limit in limits.items())
            raise UserError(f"setting {known.name}: expected {expected}, found {value!r}; change {flag_of(known)}")


def flag_of(known: Field) -> str:
    """The flag of a setting; one that is on by default is switched off by it."""
    name = known.metadata.get("flag", known.name).replace("_", "-")
    return f"--no-{name}" if known.default is True else f"--{name}"


def add_flags(parser: argparse._ActionsContainer, config: type, only: Collection[str] = ()) -> None:
    """A flag for each setting that has words for `--help`, or for some of them."""
    groups: dict[str, argparse._ActionsContainer] = {}
    for known in fields(config):
        rules, default = known.metadata, known.default
        if not rules.get("help") or only and known.name not in only:
            continue
        title = rules.get("group", "")
        if title not in groups:
            groups[title] = parser.add_argument_group(title) if title else parser
        add = partial(groups[title].add_argument, flag_of(known), dest=known.name)
        if isinstance(default, bool):
            add(action=f"store_{str(not default).lower()}", help=rules["help"])
            continue
        shown = rules["help"] + (" (%(default)s)" if default not in (None, MISSING, ()) else "")
        given = {name: rules[name] for name in ("metavar", "nargs", "choices") if name in rules}
        kind: Any = (typing.get_args(known.type) or (known.type,))[0]  # of `int | None` and `tuple[int, ...]` int
        add(type=kind, help=shown, **given,
            **({"required": True} if default is MISSING else {"default": default}))


def make(config: type[Config], arguments: argparse.Namespace, **given: Any) -> Config:
    """Settings from a command line's flags, and those that are given beside it."""
    names = {known.name for known in fields(config)}  # type: ignore[arg-type]
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()}
    return config(**{name: value for name, value in {**told, **given}.items() if name in names})
