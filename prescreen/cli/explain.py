"""The command line's `explain`: why a candidate of a run is ranked where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prescreen.cli.options import JSON
from prescreen.cli.output import note, show


def explain_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, which may still go on.")],
    candidate: Annotated[
        str, typer.Argument(help="Its name, the beginning of it, or its rank: #3.")
    ] = "#1",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say why a candidate is ranked where it is, and what would change its place."""
    from prescreen.cli.naming import name_of
    from prescreen.ranking.opened import open_run

    opened = open_run(run)
    found = opened.ranking.explain(name_of(candidate, opened.ranking, opened.unfinished))
    show(found.to_json() if as_json else str(found))
    if opened.unfinished:
        note(f"{len(opened.unfinished)} candidates of the run are not done, and not compared")
