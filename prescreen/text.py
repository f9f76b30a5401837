"""Text: lines of errors, plain tables, and values for strict JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# Longer messages, such as those that hold a whole tensor, are cut.
_LONGEST = 1000


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class if the message is empty."""
    return _line(message_of(error)) or type(error).__name__


def named_line(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    return f"{type(error).__name__}: {_line(message_of(error)) or 'no message'}"


def message_of(error: BaseException) -> str:
    """An error's message; empty if it cannot be made into a text."""
    try:
        return str.__str__(str(error))  # a plain text, even if the class of the message is not
    except BaseException:  # the methods of a foreign error are foreign code
        return ""


def _line(message: str) -> str:
    line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def plain_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Aligned columns of text; the columns in ``left`` are aligned to the left."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def finite(value: Any) -> Any:
    """The same value for strict JSON: None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
