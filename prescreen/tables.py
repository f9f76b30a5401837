"""Tables: columns of text in the width of a terminal; no word is broken."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence

from prescreen.text import plain_table, printable

# A text may go on in the next line after one of these, and the name of a column after more of them.
_PIECES = re.compile(r"[^\s/|,]*[\s/|,]*")
_PIECES_OF_NAMES = re.compile(r"[^\s/|,_-]*[\s/|,_-]*")
_EXPONENT = re.compile(r"-?\d+(\.\d+)?e[+-]\d+")
_LEAST = 12  # characters in which a wrapped column can be read


def fitted_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Sequence[int] = (0,),
    *,
    wrap: Sequence[int] = (),
    width: int | None = None,
    spare: Sequence[int] = (),
) -> tuple[str, list[str]]:
    """A table as ``plain_table`` makes it, in a width.

    If it is too wide, headers are wrapped and numbers with exponents are shortened, then columns that
    can be spared are left out, and then texts are wrapped. What has no place to be wrapped stays whole.

    Args:
        header: names of the columns.
        rows: texts.
        left: the columns that are aligned to the left.
        wrap: those of which texts can be wrapped.
        width: in characters; None for as many as there are.
        spare: columns that are left out where there is no room, the first ones first.

    Returns:
        The table, and the columns that it leaves out.
    """
    whole = plain_table(header, rows, left)
    if width is None or max(map(len, whole.splitlines())) <= width:
        return whole, []
    cells = [
        [printable(one if at in left else _shortened(one)) for at, one in enumerate(row)]
        for row in rows
    ]
    heads = [printable(one) for one in header]
    needed = [
        max([_longest(head, _PIECES_OF_NAMES), *(len(row[at]) for row in cells)])
        for at, head in enumerate(heads)
    ]
    shown, left_out = [*range(len(heads))], []
    for column in spare:
        if _total([needed[at] for at in shown]) <= width:
            break
        shown.remove(column)
        left_out.append(heads[column])
    least = {
        at: max([_LEAST, *(_longest(row[column], _PIECES) for row in cells)])
        for at, column in enumerate(shown)
        if column in wrap
    }
    widths = _narrowed([needed[at] for at in shown], least, width)
    to_left = [column in left for column in shown]
    top = _lines([heads[at] for at in shown], widths, to_left, _PIECES_OF_NAMES)
    body = [_lines([row[at] for at in shown], widths, to_left, _PIECES) for row in cells]
    return "\n".join([*top, "-" * _total(widths), *itertools.chain(*body)]), left_out


def fitted_line(text: str, width: int | None, indent: str = "   ") -> str:
    """A line for people, in several where it is longer than the width."""
    if width is None or len(text) <= width:
        return text
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _shortened(text: str) -> str:
    """``2.805e+06`` with fewer digits: ``2.8e6``."""
    if _EXPONENT.fullmatch(text) is None:
        return text
    digits, _, exponent = f"{float(text):.3g}".partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _pieces(text: str, pattern: re.Pattern[str]) -> list[str]:
    return [one for one in pattern.findall(text) if one]


def _longest(text: str, pattern: re.Pattern[str]) -> int:
    return max((len(one.rstrip()) for one in _pieces(text, pattern)), default=0)


def _narrowed(widths: Sequence[int], least: Mapping[int, int], width: int) -> list[int]:
    """Widths that fit, if those of some columns can be lowered so far; the widest gives first."""
    narrow = [*widths]
    while _total(narrow) > width:
        able = [at for at in least if narrow[at] > least[at]]
        if not able:
            break
        narrow[max(able, key=lambda at: narrow[at])] -= 1
    return narrow


def _wrapped(text: str, width: int, pattern: re.Pattern[str]) -> list[str]:
    if len(text) <= width:
        return [text]
    lines = [""]
    for piece in _pieces(text, pattern):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _lines(
    cells: Sequence[str],
    widths: Sequence[int],
    to_left: Sequence[bool],
    pattern: re.Pattern[str],
) -> list[str]:
    """The lines of one row; those of a header stand on its last line."""
    parts = [_wrapped(cell, width, pattern) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, parts))
    empty = [[""] * (height - len(own)) for own in parts]
    is_header = pattern is _PIECES_OF_NAMES
    padded = [
        more + own if is_header else own + more for own, more in zip(parts, empty, strict=True)
    ]
    return [
        "  ".join(
            own[line].ljust(width) if is_left else own[line].rjust(width)
            for own, width, is_left in zip(padded, widths, to_left, strict=True)
        ).rstrip()
        for line in range(height)
    ]
