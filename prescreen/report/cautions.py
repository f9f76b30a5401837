"""Cautions: what a careful colleague would say of a result before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prescreen.report.data import RUNNING, Entry, Findings
from prescreen.report.orders import Agreement, agree, along, column, compared_at, costs

# Of fewer candidates no correlation is worth a word.
_ENOUGH = 6
_SMALL_PROBE = 64
_FEW_NAMES = 3


@dataclass(frozen=True)
class Caution:
    """One thing to be careful about.

    Args:
        about: what it concerns, in a word or two.
        text: what is the matter, and what helps.
    """

    about: str
    text: str


def cautions(findings: Findings) -> tuple[Caution, ...]:
    """All that there is to say, the most important first."""
    said = ((about, check(findings)) for about, check in CHECKS.items())
    return tuple(Caution(about, text) for about, text in said if text)


def _few(findings: Findings) -> str:
    count = len(findings.ranked)
    if not 0 < count < 4:
        return ""
    have = "s have" if count > 1 else " has"
    return f"Only {count} candidate{have} a place: the order cannot be checked."


def _unfinished(findings: Findings) -> str:
    running = sum(one.status == RUNNING for one in findings.entries)
    return f"{running} of {len(findings.entries)} candidates are not done." if running else ""


def _failures(findings: Findings) -> str:
    failed = [one for one in findings.entries if one.failed]
    if 3 * len(failed) <= len(findings.entries):
        return ""
    kinds = ", ".join(sorted({one.status for one in failed}))
    return (
        f"{len(failed)} of {len(findings.entries)} candidates failed ({kinds}). The recipe or the "
        "space may be at fault, rather than the candidates."
    )


def _ties(findings: Findings) -> str:
    tied = [one.name for one in findings.ranked if one.tied]
    if not tied:
        return ""
    names = ", ".join(tied[:_FEW_NAMES]) + (" …" if len(tied) > _FEW_NAMES else "")
    return (
        f"The first cannot be told from {len(tied)} other{'s' if len(tied) > 1 else ''} ({names}): "
        "train these longer, or with more seeds, before you choose."
    )


def _unstable(findings: Findings) -> str:
    entries = findings.ranked
    found = [(step, one) for step, one in along(findings) if one.count >= _ENOUGH]
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


def _disagreeing(findings: Findings) -> str:
    entries = findings.ranked
    if len(entries) < _ENOUGH:
        return ""
    used = [name for name in findings.measures if name not in findings.left_out]
    columns = {name: column(entries, name) for name in used}
    against = []
    for name, own in columns.items():
        rhos = [agree(own, other).rho for also, other in columns.items() if also != name]
        known = [rho for rho in rhos if not math.isnan(rho)]
        if len(known) > 1 and max(known) < 0 and sum(known) / len(known) < -0.2:
            against.append(f"{name} (ρ {', '.join(f'{rho:.2f}' for rho in known)})")
    if len(used) == 2 and (rho := agree(*columns.values()).rho) < -0.2:
        against = [f"{used[0]} and {used[1]} each other (ρ {rho:.2f})"]
    return (
        f"Measures contradict: {' and '.join(against)}. The score averages over this; look at the "
        "candidates that each of them prefers."
        if against
        else ""
    )


def _untrusted(findings: Findings) -> str:
    entries = findings.ranked
    if len(entries) < _ENOUGH or _has_results(entries):
        return ""
    told = compared_at(entries, findings.measures, max(one.step for one in entries))[1]
    if told is None or told.trust >= 0.5:
        return ""
    return (
        f"The trained heads' signal is not valid yet: it has {told.trust:.2f} of its weight, as its "
        "order hardly goes with that of the untrained networks. Train for more steps, or check the "
        "recipe."
    )


def _results(findings: Findings) -> str:
    last = along(findings)[-1:] if _has_results(findings.ranked) else []
    if not last or last[0][1].count < _ENOUGH or last[0][1].rho >= 0.3:
        return ""
    step, one = last[0]
    return (
        f"Readings did not foresee the results: at step {step} their order agrees with that of "
        f"{findings.final} by ρ {_rho(one)} only. Do not prune by them here."
    )


def _untrained(findings: Findings) -> str:
    ratios = []
    for one in findings.ranked:
        losses = [r.training_loss for r in one.trajectory if math.isfinite(r.training_loss)]
        if len(losses) > 1 and losses[0] > 0:
            ratios.append(losses[-1] / losses[0])
    if not ratios or (ratio := float(np.median(ratios))) < 0.98:
        return ""
    return (
        f"Training has hardly begun: the median of the last losses is {ratio:.2f} of the first ones. "
        "Readings say little yet."
    )


def _small_probe(findings: Findings) -> str:
    samples, entries = findings.samples, findings.ranked
    if 0 < samples < _SMALL_PROBE:
        return f"The probe has {samples} samples only: use {_SMALL_PROBE} or more (--probe-size)."
    widths = [one.high - one.low for one in entries if not math.isnan(one.low)]
    if len(widths) < _ENOUGH or len(widths) < len(entries):
        return ""
    width, spread = float(np.median(widths)), float(np.std([one.score for one in entries]))
    if width / 2 <= spread:
        return ""
    return (
        f"Intervals are wider than candidates differ (half a width {width / 2:.2f}, scores spread by "
        f"{spread:.2f}): a larger probe (--probe-size) or more seeds would narrow them."
    )


def _foreign_probe(findings: Findings) -> str:
    name = next((n for n in findings.measures if n.endswith("expected_agreement")), "")
    pairs = [
        (math.exp(-one.trajectory.last.training_loss), one.values.get(name, math.nan))
        for one in findings.ranked
        if len(one.trajectory)
    ]
    known = [(fits, agrees) for fits, agrees in pairs if math.isfinite(fits + agrees)]
    if not known:
        return ""
    fits, agrees = (float(np.median(own)) for own in zip(*known, strict=True))
    if fits < 0.5 or agrees > fits / 2:
        return ""
    return (
        f"The probe may be foreign to the training data: right classes in training have a probability "
        f"of about {fits:.2f}, but predictions on the probe agree with those of another view by "
        f"{agrees:.2f} only."
    )


def _edge(findings: Findings) -> str:
    best = findings.ranked[:5]
    found = []
    for name in dict(best[0].config) if len(findings.ranked) >= _ENOUGH else ():
        values = [_number(one.config.get(name)) for one in findings.entries]
        known = [value for value in values if not math.isnan(value)]
        if len(known) < _ENOUGH or len(set(known)) < 3:
            continue
        low, high = findings.ranges.get(name, (min(known), max(known)))
        span = 0.02 * (high - low)
        for end, what in ((low, "lowest"), (high, "highest")):
            own = [abs(_number(one.config.get(name)) - end) <= span for one in best]
            usual = sum(abs(value - end) <= span for value in known) / len(known)
            if own[0] and sum(own) >= 3 and usual <= 1 / 3:
                found.append(f"{name} at its {what}, {best[0].config[name]}")
    if not found:
        return ""
    return (
        f"The best candidates lie on the edge of the space ({'; '.join(found)}): better ones may lie "
        "beyond it."
    )


def _size(findings: Findings) -> str:
    entries = findings.ranked
    if len(entries) < _ENOUGH:
        return ""
    one = agree(np.array([e.score for e in entries]), costs(entries, "parameters"))
    if not abs(one.rho) >= 0.95:
        return ""
    order = "that of their size" if one.rho > 0 else "the reverse of that of their size"
    return (
        f"The order is nearly {order} (ρ {one.rho:.2f} with parameters): compare candidates of like "
        "size to see more than that."
    )


def _left_out(findings: Findings) -> str:
    return "; ".join(f"{n} is not in the score, {why}" for n, why in findings.left_out.items())


CHECKS: dict[str, Callable[[Findings], str]] = {
    "results": _results,
    "signal": _untrusted,
    "training": _untrained,
    "ties": _ties,
    "stability": _unstable,
    "disagreement": _disagreeing,
    "edge of the space": _edge,
    "probe": _small_probe,
    "foreign probe": _foreign_probe,
    "failures": _failures,
    "size": _size,
    "left out": _left_out,
    "few candidates": _few,
    "not done": _unfinished,
}


def _has_results(entries: list[Entry]) -> bool:
    return any(not math.isnan(one.final) for one in entries)


def _rho(one: Agreement) -> str:
    return f"{one.rho:.2f} [{one.low:.2f}, {one.high:.2f}]"


def _number(value: object) -> float:
    """A number of a config; NaN for what is none, flags included."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else math.nan  # type: ignore[arg-type]
