"""Pruners that judge label-free readings of a model's prediction head; the code is in prescreen."""

from prescreen.integrations.optuna import (
    AllOf,
    AnyOf,
    Halving,
    Improvement,
    Median,
    Reader,
    ReadoutPruner,
    Recorder,
    objective,
)

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
]
