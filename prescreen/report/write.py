"""Write: the report of a source, as a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prescreen.files import replace_text
from prescreen.report.collect import collect
from prescreen.report.render import render
from prescreen.report.results import with_results


def write_report(
    source: Any,
    path: str | Path = "report.html",
    *,
    final: Mapping[str, float] | str | None = None,
    higher_is_better: bool = True,
) -> Path:
    """Write one HTML file about a ranking, a run, a study or an experiment; it needs no network.

    Args:
        source: a run's folder, a ``Ranking``, an Optuna ``Study``, or the folder of a Ray experiment.
        path: of the file; one that is there is replaced.
        final: where final results are known: by candidate, or the name of a measurement or, in Ray, of a
            metric. A study has its objective.
        higher_is_better: which way is good in them.

    Returns:
        The path.

    Raises:
        ValueError: ``source`` is something else, or ``final`` is of none of its candidates.
        ImportError: the ``report`` extra is not installed.
    """
    findings = collect(source)
    if final is not None:
        findings = with_results(findings, final, higher_is_better)
    page = render(findings, time.strftime("%Y-%m-%d"))
    replace_text(Path(path), page)
    return Path(path)
