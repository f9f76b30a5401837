"""Checks of what was measured: training, probe, space and failures; empty texts say nothing."""

from __future__ import annotations

import math

import numpy as np

from prescreen.report.data import Findings
from prescreen.report.order_checks import ENOUGH

_SMALL_PROBE = 64


def untrained(findings: Findings) -> str:
    """Training that has hardly begun."""
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


def edge(findings: Findings) -> str:
    """Best candidates at the edge of the space."""
    best = findings.ranked[:5]
    found = []
    for name in dict(best[0].config) if len(findings.ranked) >= ENOUGH else ():
        values = [_number(one.config.get(name)) for one in findings.entries]
        known = [value for value in values if not math.isnan(value)]
        if len(known) < ENOUGH or len(set(known)) < 3:
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


def small_probe(findings: Findings) -> str:
    """A probe that is too small."""
    samples, entries = findings.samples, findings.ranked
    if 0 < samples < _SMALL_PROBE:
        return f"The probe has {samples} samples only: use {_SMALL_PROBE} or more (--probe-size)."
    widths = [one.high - one.low for one in entries if not math.isnan(one.low)]
    if len(widths) < ENOUGH or len(widths) < len(entries):
        return ""
    width, spread = float(np.median(widths)), float(np.std([one.score for one in entries]))
    if width / 2 <= spread:
        return ""
    return (
        f"Intervals are wider than candidates differ (half a width {width / 2:.2f}, scores spread by "
        f"{spread:.2f}): a larger probe (--probe-size) or more seeds would narrow them."
    )


def foreign_probe(findings: Findings) -> str:
    """A probe that is unlike the training data."""
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


def failures(findings: Findings) -> str:
    """Many failures."""
    failed = [one for one in findings.entries if one.failed]
    if 3 * len(failed) <= len(findings.entries):
        return ""
    kinds = ", ".join(sorted({one.status for one in failed}))
    return (
        f"{len(failed)} of {len(findings.entries)} candidates failed ({kinds}). The recipe or the "
        "space may be at fault, rather than the candidates."
    )


def left_out(findings: Findings) -> str:
    """Measures that are not in the score."""
    return "; ".join(f"{n} is not in the score, {why}" for n, why in findings.left_out.items())


def _number(value: object) -> float:
    """A number of a config; NaN for what is none, flags included."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else math.nan  # type: ignore[arg-type]
