"""Options that several commands have."""

from __future__ import annotations

import json
from typing import Any

import typer

DATA = typer.Option(
    help="digits, a torchvision data set, an image or parquet folder, an .npz file, or KIND:PATH "
    "(docs/tasks.md), such as text:PATH or masks:PATH."
)
HEAD = typer.Option(help="Dotted name of the head, if it is not found.")
PROBE = typer.Option(
    help="A folder of unlabelled images (or text) to read on.  [validation or test, else held out]"
)
JSON = typer.Option("--json/--no-json", help="Print JSON.")


_TIMES = {"k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}


def count(option: str, text: str | None) -> float | None:
    """A count such as ``"1.5M"``, ``"300k"`` or ``"2e6"``; None for None.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    number, times = (text[:-1], _TIMES[text[-1:]]) if text[-1:] in _TIMES else (text, 1.0)
    return _number(option, "a number such as 2e6, 300k, 1.5M or 2G", text, number, times)


def _number(option: str, allowed: str, text: str, number: str, times: float) -> float:
    try:
        return float(number) * times
    except ValueError:
        raise ValueError(f"`{option}` must be {allowed}, got {text!r}") from None


def duration(option: str, text: str | None, unit: str) -> float | None:
    """Time in a unit, such as ``"90s"``, ``"1.5h"`` or ``"5ms"``; plain numbers are in that unit.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    own = next((one for one in units if text.endswith(one)), "")
    times = units[own or unit] / units[unit]
    allowed = f"a time such as {'5ms or 0.1s' if unit == 'ms' else '90s, 30m or 1.5h'}"
    return _number(option, allowed, text, text.removesuffix(own), times)


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",")]


def pairs(option: str, text: str | None) -> dict[str, Any]:
    """Names and values of ``NAME=VALUE`` with commas; a value is JSON, or else a text.

    Raises:
        ValueError: a part is no such pair.
    """
    found: dict[str, Any] = {}
    for part in [] if text is None else names(text):
        name, equals, value = part.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(f"`{option}` must be NAME=VALUE with commas, got {text!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers in a list with commas, None for None.

    Raises:
        ValueError: a part is not a number.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"`{option}` must be numbers with commas, got {text!r}") from error
