"""The command line's `export`: a candidate of a run as files from which it can be built again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prescreen.cli.output import show

Flag = typer.Option


def export_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `prescreen rank`.")],
    candidate: Annotated[
        str, typer.Argument(help="Its name, the beginning of it, or its rank: #3.")
    ] = "#1",
    to: Annotated[
        Path | None, Flag(help="Folder for the files.  [RUN/exported/NAME]", show_default=False)
    ] = None,
    weights: Annotated[
        bool,
        Flag("--weights", help="Train it briefly again as it was, and keep its weights."),
    ] = False,
    space: Annotated[
        str | None, Flag(help="Where it comes from, if the run does not say it, as one in Python.")
    ] = None,
    data: Annotated[str | None, Flag(help="The data of the run, likewise.")] = None,
) -> None:
    """Write a candidate's config and how to build it again in three lines; with --weights, trained.

    Weights are not kept by a run. They are trained again with the same seed, and every reading is
    compared with the run's: it is said whether they are bit for bit those that were measured.
    """
    from prescreen.cli.exported import exported

    folder, is_same = exported(run, candidate, to, weights=weights, space=space, data=data)
    show(str(folder))
    if not is_same:
        raise typer.Exit(1)
