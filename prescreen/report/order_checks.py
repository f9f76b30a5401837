"""Checks of an order: whether it can be trusted, from plain findings; empty texts say nothing."""

from __future__ import annotations

import math

import numpy as np

from prescreen.report.data import RUNNING, Entry, Findings
from prescreen.report.orders import Agreement, agree, along, column, compared_at, costs

# Of fewer candidates no correlation is worth a word.
ENOUGH = 6
_FEW_NAMES = 3
# A mean of ρ with the other measures below which one contradicts them.
_AGAINST = -0.2


def results(findings: Findings) -> str:
    """Readings that did not foresee the final results."""
    last = along(findings)[-1:] if _has_results(findings.ranked) else []
    if not last or last[0][1].count < ENOUGH or last[0][1].rho >= 0.3:
        return ""
    step, one = last[0]
    return (
        f"Readings did not foresee the results: at step {step} their order agrees with that of "
        f"{findings.final} by ρ {_rho(one)} only. Do not prune by them here."
    )


def untrusted(findings: Findings) -> str:
    """Trained heads whose order does not go with that of the untrained networks."""
    entries = findings.ranked
    if len(entries) < ENOUGH or _has_results(entries):
        return ""
    told = compared_at(entries, findings.measures, max(one.step for one in entries))[1]
    if told is None or told.trust >= 0.5:
        return ""
    return (
        f"The trained heads' signal is not valid yet: it has {told.trust:.2f} of its weight, as its "
        "order hardly goes with that of the untrained networks. Train for more steps, or check the "
        "recipe."
    )


def ties(findings: Findings) -> str:
    """Candidates that cannot be told from the first."""
    tied = [one.name for one in findings.ranked if one.tied]
    if not tied:
        return ""
    names = ", ".join(tied[:_FEW_NAMES]) + (" …" if len(tied) > _FEW_NAMES else "")
    return (
        f"The first cannot be told from {len(tied)} other{'s' if len(tied) > 1 else ''} ({names}): "
        "train these longer, or with more seeds, before you choose."
    )


def unstable(findings: Findings) -> str:
    """An order that was still changing near its end."""
    entries = findings.ranked
    if _has_results(entries):  # which are the better judge
        return ""
    found = [(step, one) for step, one in along(findings) if one.count >= ENOUGH]
    end = max((one.step for one in entries), default=0)
    # The order before half of the training may still change; the one after it should not.
    late = [(step, one) for step, one in found if end / 2 <= step < end]
    if not late or late[-1][1].rho >= 0.5:
        return ""
    step, one = late[-1]
    return (
        f"The order was still changing: at step {step} of {end} it agrees with the one at the end by "
        f"ρ {_rho(one)}. More steps would settle it."
    )


def disagreeing(findings: Findings) -> str:
    """A measure that contradicts the others."""
    entries = findings.ranked
    if len(entries) < ENOUGH:
        return ""
    used = [name for name in findings.measures if name not in findings.left_out]
    columns = {name: column(entries, name) for name in used}
    told = []
    for name, own in columns.items():
        rhos = {other: agree(own, also).rho for other, also in columns.items() if other != name}
        known = {other: rho for other, rho in rhos.items() if not math.isnan(rho)}
        # Of two that contradict each other one sentence says it.
        if known and max(known.values()) < 0 and np.mean([*known.values()]) < _AGAINST:
            listed = ", ".join(f"{rho:.2f} with {other}" for other, rho in known.items())
            told.append(f"{name} orders candidates against the others (ρ {listed}).")
    if not told:
        return ""
    return f"{told[0]} Look at the candidates that each side prefers before you trust the score."


def size(findings: Findings) -> str:
    """An order that is that of size."""
    entries = findings.ranked
    if len(entries) < ENOUGH:
        return ""
    one = agree(np.array([e.score for e in entries]), costs(entries, "parameters"))
    if not abs(one.rho) >= 0.95:
        return ""
    order = "that of their size" if one.rho > 0 else "the reverse of that of their size"
    return (
        f"The order is nearly {order} (ρ {one.rho:.2f} with parameters): compare candidates of like "
        "size to see more than that."
    )


def few(findings: Findings) -> str:
    """Too few candidates."""
    count = len(findings.ranked)
    if not 0 < count < 4:
        return ""
    have = "s have" if count > 1 else " has"
    return f"Only {count} candidate{have} a place: the order cannot be checked."


def unfinished(findings: Findings) -> str:
    """Candidates that are not done."""
    running = sum(one.status == RUNNING for one in findings.entries)
    return f"{running} of {len(findings.entries)} candidates are not done." if running else ""


def _has_results(entries: list[Entry]) -> bool:
    return any(not math.isnan(one.final) for one in entries)


def _rho(one: Agreement) -> str:
    return f"{one.rho:.2f} [{one.low:.2f}, {one.high:.2f}]"
