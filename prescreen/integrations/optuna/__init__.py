"""Optuna: read trials, prune them by their readings, or let Optuna search a whole space.

``Reader`` is for your own objective, ``ReadoutPruner`` is for the study, and ``objective`` makes a
complete objective for a search space.
"""

# First, because without Optuna the others fail less clearly.
import prescreen.integrations.optuna.versions  # noqa: F401

# isort: split
from prescreen.integrations.optuna.attributes import trajectory
from prescreen.integrations.optuna.composition import AllOf, AnyOf
from prescreen.integrations.optuna.objective import objective
from prescreen.integrations.optuna.pruner import ReadoutPruner
from prescreen.integrations.optuna.reader import Reader
from prescreen.integrations.optuna.reasons import reasons_of
from prescreen.integrations.optuna.recorder import Recorder
from prescreen.pruning import Halving, Improvement, Median

__all__ = [
    "AllOf",
    "AnyOf",
    "Halving",
    "Improvement",
    "Median",
    "Reader",
    "ReadoutPruner",
    "Recorder",
    "objective",
    "reasons_of",
    "trajectory",
]
