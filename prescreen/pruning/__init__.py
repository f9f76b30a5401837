"""Pruning: decisions over many trials' readings, the same for Optuna and Ray, and free of both.

A host tells a ``Population`` what was read of its trials and how they ended, and asks ``decide``: a
rule (``Median``, ``Halving``) says which trial is poor, a ``Guard`` whether the rule may be believed.
All of them are small, pickle, and depend on nothing but what they were given.
"""

from prescreen.panel import Panel
from prescreen.pruning.decision import decide
from prescreen.pruning.guard import Guard
from prescreen.pruning.population import Population
from prescreen.pruning.rules import Halving, Median, Rule

__all__ = ["Guard", "Halving", "Median", "Panel", "Population", "Rule", "decide"]
