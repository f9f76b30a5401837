"""Checks: an argument that is not allowed is refused in one line that says what is and what came."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral


def require(argument: str, allowed: str, value: object, holds: bool) -> None:
    """Refuse an argument for which something does not hold.

    Args:
        argument: its name.
        allowed: what it must be, such as ``"at least 0"``.
        value: what came.
        holds: whether it is allowed.

    Raises:
        ValueError: ``holds`` is False.
    """
    if not holds:
        raise ValueError(f"`{argument}` must be {allowed}, got {value!r}")


def require_at_least(argument: str, value: object, least: int) -> None:
    """Refuse what is not an integer of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"`{argument}` must be an integer, got {value!r}")
    require(argument, f"at least {least}", value, int(value) >= least)


def require_number(argument: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuse what is not a finite number from ``low`` to ``high``, both included.

    Raises:
        ValueError: it is not.
    """
    allowed = f"at least {low}" if high == math.inf else f"from {low} to {high}"
    require(argument, allowed, value, low <= value <= high and value < math.inf)


def require_one_of(argument: str, value: object, allowed: Iterable[str]) -> None:
    """Refuse what is not one of some names.

    Raises:
        ValueError: it is not.
    """
    names = list(allowed)
    require(argument, f"one of {', '.join(names)}", value, value in names)


def require_kind(argument: str, value: object, kind: type) -> None:
    """Refuse what is not an instance of a class.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise ValueError(f"`{argument}` must be a {kind.__name__}, got {got}")
