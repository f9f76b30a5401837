"""Collect: what a report shows, from a run folder, a ranking, a study or a Ray experiment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prescreen.ranking import Ranking
from prescreen.ranking.folder import JOURNAL
from prescreen.report.data import Findings
from prescreen.report.of_ranking import of_ranking
from prescreen.report.of_run import of_run

_STATES = "experiment_state*.json"


def collect(source: Any) -> Findings:
    """What a report or a figure shows.

    Args:
        source: a run's folder, a ``Ranking``, an Optuna ``Study``, the folder of a Ray experiment, or
            ``Findings`` themselves.

    Raises:
        ValueError: it is something else, or the folder cannot be read.
    """
    if isinstance(source, Findings):
        return source
    if isinstance(source, Ranking):
        return of_ranking(source)
    if isinstance(source, str | Path):
        return _of_folder(Path(source))
    optuna = sys.modules.get("optuna")  # who has a study has imported it
    if optuna is not None and isinstance(source, optuna.Study):
        from prescreen.report.of_study import of_study

        return of_study(source)
    raise ValueError(
        "`source` must be a folder of a run or of a Ray experiment, a Ranking or an Optuna Study, got "
        f"{type(source).__name__}"
    )


def _of_folder(folder: Path) -> Findings:
    if not (folder / JOURNAL).exists() and any(folder.glob(_STATES)):
        from prescreen.report.of_experiment import of_experiment

        return of_experiment(folder)
    return of_run(folder)
