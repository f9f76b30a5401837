"""Results: final results of candidates, given by hand or found among what was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prescreen.checks import require
from prescreen.report.data import Findings
from prescreen.report.placed import placed

GIVEN = "final result"


def with_results(findings: Findings, final: Mapping[str, float] | str, higher: bool) -> Findings:
    """The same with final results.

    Args:
        findings: without, or with others.
        final: results by the names of candidates, or the name of a measurement.
        higher: which way is good.

    Raises:
        ValueError: no candidate has such a result.
    """
    if isinstance(final, str):
        known = dict.fromkeys(name for one in findings.entries for name in one.values)
        require(
            "final", f"one of {', '.join(known) or 'none that are known'}", final, final in known
        )
        found = [one.values.get(final, math.nan) for one in findings.entries]
        name = final
    else:
        names = {one.name for one in findings.entries}
        require("final", "results by the names of candidates", [*final][:3], bool(names & {*final}))
        found = [float(final.get(one.name, one.final)) for one in findings.entries]
        name = GIVEN
    entries = [replace(one, final=own) for one, own in zip(findings.entries, found, strict=True)]
    made = replace(findings, entries=tuple(entries), final=name, higher=higher)
    return placed(made) if made.hosted else made


def read_results(path: Path) -> dict[str, float]:
    """Results by candidate from a CSV file: the first column is the name, the last one the result.

    Raises:
        ValueError: the file cannot be read, or has no row with a number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if len(row) > 1]
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(
            f"`final` must be a CSV file that can be read, got {path} ({error})"
        ) from None
    found: dict[str, float] = {}
    for row in rows:
        try:
            found[row[0]] = float(row[-1])
        except ValueError:
            continue  # a header, or a candidate without a result
    require("final", "a CSV file of names and results", str(path), bool(found))
    return found
