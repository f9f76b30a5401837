"""Pruning: decisions on the readings of many trials, the same for Optuna and Ray.

A host tells a ``Population`` the readings of its trials and how they ended, and asks ``judge``. A rule
says which trial is poor: ``Improvement`` by what completed trials have shown readings to be worth,
``Median`` and ``Halving`` by rank, and for these a ``Guard`` says whether to trust them. All of them are
small, can be pickled, and know nothing of the host.
"""

from prescreen.panel import Panel
from prescreen.pruning.decision import decide, judge
from prescreen.pruning.guard import Guard
from prescreen.pruning.population import Population
from prescreen.pruning.reasons import Reason, Reasons, summary, with_reason
from prescreen.pruning.report import contradiction, report
from prescreen.pruning.rules import Halving, Improvement, Median, Rule, bounded

__all__ = [
    "Guard",
    "Halving",
    "Improvement",
    "Median",
    "Panel",
    "Population",
    "Reason",
    "Reasons",
    "Rule",
    "bounded",
    "contradiction",
    "decide",
    "judge",
    "report",
    "summary",
    "with_reason",
]
