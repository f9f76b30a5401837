"""The command line's `report`: one HTML file about a run, a study or an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prescreen.cli.output import note

Flag = typer.Option


def report_command(
    run: Annotated[
        str,
        typer.Argument(
            help="Folder of a run (which may still go on) or of a Ray experiment; or the storage of an "
            "Optuna study: a URL, or the file of a journal storage."
        ),
    ],
    out: Annotated[
        Path | None, Flag(help="The file.  [report.html in the folder, or STUDY.html here]")
    ] = None,
    study: Annotated[
        str | None, Flag(help="Name of the Optuna study.  [the only one of the storage]")
    ] = None,
    final: Annotated[
        str | None,
        Flag(
            help="Final results: a FILE.csv of names and results, or the name of a measurement or of a "
            "metric in Ray.  [a study's objective]"
        ),
    ] = None,
    lower_is_better: Annotated[
        bool, Flag("--lower-is-better", help="Of the final results.")
    ] = False,
) -> None:
    """Write one HTML file with tables, charts and what to be careful about; it needs no network."""
    from prescreen.report import collect, write_report
    from prescreen.report.results import read_results
    from prescreen.report.stored import of_stored_study

    is_study = study is not None or "://" in run or Path(run).is_file()
    findings = of_stored_study(run, study) if is_study else collect(run)
    results = read_results(Path(final)) if final is not None and final.endswith(".csv") else final
    where = out or (_file_of(findings.title) if is_study else Path(run) / "report.html")
    path = write_report(findings, where, final=results, higher_is_better=not lower_is_better)
    note(f"Report: {path}")


def _file_of(title: str) -> Path:
    """A file name from a study's title, whatever is in it."""
    plain = "".join(
        one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in title
    )
    return Path(f"{plain.strip('.-')[:80]}.html")
