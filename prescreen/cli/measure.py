"""Measure: a ranking according to the options of `rank`, which are kept in its folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prescreen.cli.bar import progress_bar
from prescreen.cli.config import SAVED, write_config
from prescreen.cli.logs import opened_log
from prescreen.cli.options import duration
from prescreen.cli.prepare import Prepared, prepared
from prescreen.cli.streams import candidates_on_stderr
from prescreen.loggers import Log
from prescreen.ranking.progress import Progress
from prescreen.ranking.report import Ranking
from prescreen.ranking.run import rank
from prescreen.text import first_line

logger = logging.getLogger(__name__)

# Options that are keywords of `rank` as they are.
_KEYWORDS = ("seed", "seeds", "on", "fresh", "timeout", "memory", "halving", "merge")


def measured(options: Mapping[str, Any]) -> tuple[Ranking, Path]:
    """The ranking that the options describe, and the folder that holds it."""
    with opened_log(options["log"]) as log:  # a wrong one is refused before data are read
        made = prepared(options)
        return _ranked(made, options, log), made.folder


def _ranked(made: Prepared, options: Mapping[str, Any], log: Log | None) -> Ranking:
    unsaved = True

    def save() -> None:
        # Once the run has its folder: what is refused leaves a folder as it was.
        nonlocal unsaved
        if unsaved:
            _save(made.folder, options)
        unsaved = False

    # The standard output is for the result, but Ray and candidates print there as well.
    counted = "candidates" if options["seeds"] == 1 else "trainings"
    with progress_bar(counted) as show, candidates_on_stderr():

        def update(progress: Progress) -> None:
            save()
            show(progress)

        ranking = rank(
            made.space,
            made.task,
            samples=made.samples,
            out=made.folder,
            progress=update,
            log=log,
            cache=options["reuse"],
            time_budget=duration("time_budget", options["time_budget"], "s"),
            **{name: options[name] for name in _KEYWORDS},
            **made.settings,
        )
        save()
    return ranking


def _save(folder: Path, options: Mapping[str, Any]) -> None:
    try:
        write_config(folder / SAVED, {**options, "out": folder})
    except OSError as error:
        logger.warning("%s could not be written: %s", folder / SAVED, first_line(error))
