"""Text: lines of errors, plain tables, and values for strict JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import PurePath
from typing import Any

# Longer messages, such as those that hold a whole tensor, are cut.
_LONGEST = 1000
_DEVICES = r"(?i)con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$"


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
    return printable(shortened(line))


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The beginning of a text that is longer than people read."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def printable(text: str) -> str:
    """A text on one line for people: what a terminal would act on or hide is escaped.

    That is control characters, new lines, marks of writing direction and lone surrogates.
    """
    if text.isprintable():
        return text
    escaped = (one.encode("unicode_escape").decode() for one in text)
    return "".join(
        one if one.isprintable() else code for one, code in zip(text, escaped, strict=True)
    )


def file_name(text: str, longest: int = 60) -> str:
    """A text as the name of a file or folder that every platform can have, without an extension.

    What Windows does not allow becomes a hyphen; names of its devices get a line in front.
    """
    plain = re.sub(r'[<>:"/\\|?*\s]', "-", printable(text).replace("\\", "-"))
    plain = plain.encode("utf-8", "replace").decode()[:longest].strip(". ")
    return f"_{plain}" if re.fullmatch(_DEVICES, plain.partition(".")[0]) or not plain else plain


def ordinal(number: int) -> str:
    """Its place in words: 1st, 2nd, 3rd, 4th."""
    last = number % 100
    return f"{number}{'th' if 10 < last < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(last % 10, 'th')}"


def spreadsheet_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe comes before ``=``, ``+`` ..."""
    line = printable(text)
    return f"'{line}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else line


def plain_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Aligned columns of printable text; the columns in ``left`` are aligned to the left."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def showing(**parts: str) -> Callable[[Any], str]:
    """A method ``__repr__`` that shows some attributes, without the values of tensors and addresses.

    Args:
        **parts: under what name which attribute is shown; dots go into attributes.
    """

    def show(thing: Any) -> str:
        shown = (f"{name}={_shown(attrgetter(path)(thing))}" for name, path in parts.items())
        return f"{type(thing).__name__}({', '.join(shown)})"

    return show


def _shown(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{' × '.join(map(str, value.shape))} {value.dtype}>"
    if isinstance(value, Mapping):
        named = {key: _shown(item) for key, item in value.items() if _is_plain(item)}
        several = [f"{key!r}: {item}" for key, item in named.items()] or [*map(repr, value)]
        return f"{{{', '.join(several)}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shown, value))})"
    if callable(value) and not isinstance(value, type):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return printable(shortened(repr(str(value) if isinstance(value, PurePath) else value)))


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str | list | tuple) or hasattr(value, "dtype")


def finite(value: Any) -> Any:
    """The same value for strict JSON: None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
