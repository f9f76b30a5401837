"""Collect: what a report shows, from a run folder, a ranking, a study or a Ray experiment."""

from __future__ import annotations

import sys
from typing import Any

from prescreen.ranking import Ranking
from prescreen.report.data import Findings
from prescreen.report.of_ranking import of_ranking


def collect(source: Any) -> Findings:
    """What a report or a figure shows.

    Args:
        source: a ``Ranking``, an Optuna ``Study``, or ``Findings`` themselves.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(source, Findings):
        return source
    if isinstance(source, Ranking):
        return of_ranking(source)
    optuna = sys.modules.get("optuna")
    if optuna is not None and isinstance(source, optuna.Study):
        from prescreen.report.of_study import of_study

        return of_study(source)
    raise ValueError(f"`source` must be a Ranking or an Optuna Study, got {type(source).__name__}")
