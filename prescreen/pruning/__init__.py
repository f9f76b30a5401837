"""Pruning: decisions over many trials' readings, the same for Optuna and Ray, and free of both.

A host keeps the readings of its trials in a ``Population``, orients them with a ``Panel``, lets its
own rule (median, halving …) judge the scores, and asks a ``Guard`` whether the rule may be believed.
A host without a rule of its own leaves all that to a ``Judge``, with one of our rules.
All of them are small, pickle, and depend on nothing but what they were given.
"""

from prescreen.panel import Panel
from prescreen.pruning.guard import Guard, among_best
from prescreen.pruning.hindsight import hindsight
from prescreen.pruning.judge import Judge
from prescreen.pruning.population import Population
from prescreen.pruning.rules import Halving, Median, Rule

__all__ = [
    "Guard",
    "Halving",
    "Judge",
    "Median",
    "Panel",
    "Population",
    "Rule",
    "among_best",
    "hindsight",
]
