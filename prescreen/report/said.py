"""Said: the sentences and small tables of a report, as plain texts."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prescreen.report.data import OK, PRUNED, RUNNING, Findings
from prescreen.report.orders import agree, along, finals
from prescreen.report.spent import hindsight, spent
from prescreen.text import printable, shortened

_MOST = 50
_LONGEST = 300


def text(value: object) -> str:
    """A value on one line, not too long."""
    return shortened(printable(value if isinstance(value, str) else str(value)), _LONGEST)


def number(value: float, digits: int = 4) -> str:
    """A number for people; a dash if it is not known."""
    return f"{value:.{digits}g}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def summary(findings: Findings) -> str:
    """The result in a sentence or two."""
    ranked, entries = findings.ranked, findings.entries
    counts = Counter("failed" if one.failed else one.status for one in entries)
    names = {OK: "ran to their end", PRUNED: "pruned", "failed": "failed", RUNNING: "not done"}
    parts = [f"{counts[key]:,} {name}" for key, name in names.items() if counts[key]]
    seeds = f", {findings.seeds} seeds each" if findings.seeds > 1 else ""
    lines = [f"{len(entries):,} candidates{seeds}: {', '.join(parts) or 'none'}."]
    if ranked:
        tied = sum(one.tied for one in ranked)
        first = f"The best is {text(ranked[0].name)}"
        if not math.isnan(ranked[0].final):
            first += f" with {text(findings.final)} {number(ranked[0].final)}"
        lines.append(f"{first}; {tied} cannot be told from it." if tied else f"{first}.")
    return " ".join(lines)


def spent_lines(findings: Findings) -> list[str]:
    """What was spent and what pruning saved."""
    found = spent(findings)
    lines = []
    if not math.isnan(found.seconds):
        each = f"{found.seconds / max(len(findings.entries), 1):.1f} s a candidate"
        lines.append(f"All candidates together took {duration(found.seconds)}, {each}.")
    if not math.isnan(found.overhead) and found.seconds > 0:
        share = found.overhead / found.seconds
        lines.append(f"Reading took {duration(found.overhead)} of it ({share:.1%}).")
    if found.steps:
        lines.append(f"They were trained for {found.steps:,} optimizer steps.")
    lines += _execution(findings)
    if found.pruned:
        lines.append(
            f"{found.pruned:,} were pruned, which saved about {found.saved:,} steps "
            f"({found.share:.0%} of what all would have taken)."
        )
    else:
        lines.append("None was pruned.")
    return lines


def _execution(findings: Findings) -> list[str]:
    """How candidates were trained on their device, the most frequent way first."""
    lasts = [one.trajectory.last for one in findings.entries if len(one.trajectory)]
    ways = Counter(last.execution for last in lasts if last.execution).most_common()
    return (
        [f"Execution: {', '.join(f'{text(n)} ({count:,})' for n, count in ways)}."] if ways else []
    )


def results(findings: Findings) -> str:
    """How well scores agree with final results; empty if there are none."""
    entries = [one for one in findings.ranked if not math.isnan(one.final)]
    if not entries:
        return ""
    one = agree(np.array([e.score for e in entries]), finals(findings, entries))
    better = "higher" if findings.higher else "lower"
    interval = "" if math.isnan(one.low) else f" (95 % interval {one.low:.2f} to {one.high:.2f})"
    rho = "–" if math.isnan(one.rho) else f"{one.rho:.2f}"
    return (
        f"Spearman's ρ of scores with {text(findings.final)} ({better} is better) is {rho}{interval}, "
        f"over {one.count} candidates that ran to their end."
    )


def along_rows(findings: Findings) -> list[list[str]]:
    """Agreement with the end, a row a step; only where there are final results."""
    if not results(findings):
        return []
    rows = []
    for step, one in along(findings)[-_MOST:]:
        interval = "–" if math.isnan(one.low) else f"{one.low:.2f} to {one.high:.2f}"
        rows.append([f"{step:,}", f"{one.rho:.2f}", interval, str(one.count)])
    return rows


def hindsight_rows(findings: Findings) -> list[list[str]]:
    """What pruning would have cost, a row a step and share."""
    return [
        [f"{h.step:,}", f"{h.kept} of {h.count}", number(h.best), number(h.lost) if h.lost else "0"]
        for h in hindsight(findings)
    ]


def failures(findings: Findings) -> list[dict[str, Any]]:
    """Failures by kind and reason, the most frequent first."""
    kinds = Counter((one.status, one.reason) for one in findings.entries if one.failed)
    first: dict[tuple[str, str], int] = {}
    for index, one in enumerate(findings.entries):
        if one.failed:
            first.setdefault((one.status, one.reason), index)
    rows = [
        {
            "kind": text(kind),
            "reason": text(reason) or "–",
            "count": f"{count:,}",
            "name": text(findings.entries[first[kind, reason]].name),
            "at": first[kind, reason],
        }
        for (kind, reason), count in kinds.most_common(_MOST)
    ]
    return rows


def kept(findings: Findings) -> list[tuple[str, str]]:
    """Why candidates that ran to their end were kept, as the pruner noted it, and how many."""
    reasons = Counter(one.reason for one in findings.entries if one.status == OK and one.reason)
    return [(text(reason), f"{count:,}") for reason, count in reasons.most_common(_MOST)]


def settings(findings: Findings) -> list[tuple[str, str]]:
    """Names and values; what is nested becomes a name with a dot."""
    return [(text(name), text(value)) for name, value in _flat(findings.settings)]


def _flat(found: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value is None or value == [] or value == "":
            yield f"{before}{name}", "–"
        elif isinstance(value, list | tuple):
            yield f"{before}{name}", ", ".join(map(str, value))
        else:
            yield (
                f"{before}{name}",
                value if isinstance(value, str) else json.dumps(value, default=str),
            )
