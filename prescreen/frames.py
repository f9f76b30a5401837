"""Frames: what was measured as a pandas table, as a Parquet file, and as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from os import PathLike
from typing import Any

from prescreen.text import printable

_STYLE = "font-variant-numeric: tabular-nums; text-align: "


def frame(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A pandas table.

    Raises:
        ImportError: pandas is missing.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "`to_pandas` needs the 'frames' extra: pip install 'prescreen[frames]'"
        ) from error
    return pandas.DataFrame(columns)


def write_parquet(table: Any, path: str | PathLike[str]) -> None:
    """Write a pandas table into a Parquet file.

    Raises:
        ImportError: pyarrow is missing.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "`to_parquet` needs the 'frames' extra: pip install 'prescreen[frames]'"
        ) from error
    table.to_parquet(path, engine="pyarrow", index=False)


def with_values(
    fixed: Mapping[str, Sequence[Any]], values: Sequence[Mapping[str, float]]
) -> dict[str, Sequence[Any]]:
    """Columns of readouts beside fixed ones; one of the same name gets ``readout`` before it.

    Args:
        fixed: the columns that are always there.
        values: readout name to value, a row each; NaN where one is missing.
    """
    names = dict.fromkeys(name for row in values for name in row)
    own = {
        f"readout {name}" if name in fixed else name: [
            row.get(name, float("nan")) for row in values
        ]
        for name in names
    }
    return {**fixed, **own}


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = (), left: int = 1
) -> str:
    """A compact table for a notebook; texts are escaped.

    Args:
        header: names of the columns.
        rows: cells.
        notes: lines below the table.
        left: how many columns, from the first on, are aligned to the left.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ("left" if at < left else "right" for at in range(len(cells)))
        pairs = zip(cells, sides, strict=True)
        return "".join(f'<{tag} style="{_STYLE}{s}">{_safe(c)}</{tag}>' for c, s in pairs)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    below = "".join(f"<div>{_safe(note)}</div>" for note in notes)
    return (
        f"<table><thead><tr>{line(header, 'th')}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def _safe(text: str) -> str:
    return escape(printable(text))
