"""Cautions: what a careful colleague would say of a result before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prescreen.report import measuring_checks, order_checks
from prescreen.report.data import Findings


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


# The most important first.
CHECKS: dict[str, Callable[[Findings], str]] = {
    "results": order_checks.results,
    "signal": order_checks.untrusted,
    "training": measuring_checks.untrained,
    "ties": order_checks.ties,
    "stability": order_checks.unstable,
    "disagreement": order_checks.disagreeing,
    "edge of the space": measuring_checks.edge,
    "probe": measuring_checks.small_probe,
    "foreign probe": measuring_checks.foreign_probe,
    "failures": measuring_checks.failures,
    "size": order_checks.size,
    "left out": measuring_checks.left_out,
    "few candidates": order_checks.few,
    "not done": order_checks.unfinished,
}
