"""Losses of training steps, which stay on an accelerator until a reading."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prescreen.failures import CandidateFailed
from prescreen.training.steps import TrainingStep, losses_of


class Losses:
    """The losses of the steps since the last reading.

    Args:
        wait: whether to look at every loss at once; else when they are taken.
    """

    def __init__(self, wait: bool) -> None:
        self._wait = wait
        self._steps: list[TrainingStep] = []

    def add(self, step: TrainingStep) -> None:
        """Note a step.

        Raises:
            CandidateFailed: training diverged at it.
        """
        self._steps.append(step)
        if self._wait:
            _finite([step])

    def take(self) -> list[float]:
        """The losses, which are forgotten.

        Raises:
            CandidateFailed: training diverged at one of the steps.
        """
        losses = _finite(self._steps)
        self._steps = []
        return losses


def _finite(steps: Sequence[TrainingStep]) -> list[float]:
    losses = losses_of(steps)
    for step, loss in zip(steps, losses, strict=True):
        if not math.isfinite(loss):
            raise CandidateFailed("diverged", f"loss {loss} at step {step.number}")
    return losses
