"""Packages that only some commands need: imported late, and where they are absent it is said how to get them."""
import importlib
from typing import Any

from data.errors import UserError


def require_extra(package: str, extra: str, what: str) -> Any:
    """Import an optional package.

    Args:
        extra: the name in setup.cfg's extras that brings it. what: needs it, for the message.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"expected the package {package.partition('.')[0]} for {what}, found that it cannot be "
                        f"imported ({error}); install it with: pip install -c constraints.txt '.[{extra}]'") from None
