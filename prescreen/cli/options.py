"""Options that several commands have."""

from __future__ import annotations

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


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",")]


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
