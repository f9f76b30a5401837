"""Write: the report of a source, as a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prescreen.files import replace_text
from prescreen.report.collect import collect
from prescreen.report.render import render


def write_report(
    source: Any,
    path: str | Path = "report.html",
    *,
    final: Mapping[str, float] | None = None,
    final_name: str = "final result",
    higher_is_better: bool = True,
) -> Path:
    """Write one HTML file about a ranking, a run, a study or an experiment; it needs no network.

    Args:
        source: a run's folder, a ``Ranking``, an Optuna ``Study``, or the folder of a Ray experiment.
        path: of the file; one that is there is replaced.
        final: final results by candidate, where they are known; a study and an experiment have theirs.
        final_name: what they are.
        higher_is_better: which way is good.

    Returns:
        The path.

    Raises:
        ValueError: ``source`` is something else, or ``final`` names none of its candidates.
        ImportError: the ``report`` extra is not installed.
    """
    findings = collect(source)
    if final is not None:
        unknown = set(final) - {one.name for one in findings.entries}
        if unknown == set(final):
            raise ValueError(
                f"`final` must name candidates, got {', '.join(sorted(unknown)[:3]) or 'none'}"
            )
        findings = findings.with_final(final, final_name, higher_is_better)
    page = render(findings, time.strftime("%Y-%m-%d"))
    replace_text(Path(path), page)
    return Path(path)
