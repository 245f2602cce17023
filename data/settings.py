"""Settings as the fields of a dataclass: default, meaning and what each may be stand once; flags are made from them.

Light: `--help` reads this file.
"""
import argparse
import typing
from collections.abc import Collection
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, TypeVar

from data.errors import UserError

Config = TypeVar("Config")


def setting(default: Any = MISSING, meaning: str = "", **rules: Any) -> Any:
    """A field with its default (none: it must be given) and the words that `--help` prints beside it.

    Args:
        rules: least, most, choices: what it may be; flag, where that is another name; group, the title it stands under;
            metavar, nargs: as argparse has them.
    """
    return field(default=default, metadata={"help": meaning, **rules})


class Checked:
    """Settings that are held against their rules when they are made."""

    def __post_init__(self) -> None:
        for known in fields(self):  # type: ignore[arg-type]
            value = getattr(self, known.name)
            least, most, choices = (known.metadata.get(rule) for rule in ("least", "most", "choices"))
            is_out = value is not None and not ((least is None or value >= least)  # so that nan is out
                                                and (most is None or value <= most))
            if is_out and most is not None:
                raise UserError(f"expected {flag_of(known)} from {least} to {most}, found {value}; give one in that "
                                "range")
            if is_out or choices and value not in choices and value is not None:
                expected = f"one of {', '.join(map(str, choices))}" if choices else f"at least {least}"
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
