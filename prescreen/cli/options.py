"""Options that several commands have."""

from __future__ import annotations

import typer

DATA = typer.Option(
    help="digits, a torchvision data set, an image or parquet folder, or an .npz file."
)
HEAD = typer.Option(help="Dotted name of the head, if it is not found.")
JSON = typer.Option("--json", help="Print JSON.")


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",")]
