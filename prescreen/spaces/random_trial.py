"""RandomTrial: drives a search space's ``sample(trial)`` without an optimizer."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any


class RandomTrial:
    """Draws parameters uniformly, with the signatures of Optuna's Trial.

    A parameter that is suggested again keeps its value.

    Args:
        generator: the source of randomness.
    """

    def __init__(self, generator: random.Random) -> None:
        self.params: dict[str, Any] = {}
        self._generator = generator

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        if not choices:
            raise ValueError(f"`choices` of {name!r} must hold at least one, got none")
        return self._keep(name, lambda: self._generator.choice(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """An integer from low to high, both included."""
        _check_range(name, low, high, None if step == 1 else step, log)
        if log:
            draw = self._log_uniform(low - 0.5, high + 0.5)
            return int(self._keep(name, lambda: min(max(round(draw()), low), high)))
        return int(self._keep(name, lambda: self._generator.randrange(low, high + 1, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, or one of low, low + step, … up to high."""
        _check_range(name, low, high, step, log)
        if log:
            draw = self._log_uniform(low, high)
            return float(self._keep(name, lambda: min(max(draw(), low), high)))
        if step is None:
            return float(self._keep(name, lambda: self._generator.uniform(low, high)))
        # The small term keeps a last step that rounding would put just above high.
        steps = math.floor((high - low) / step + 1e-9)
        draw_step = functools.partial(self._generator.randint, 0, steps)
        return float(self._keep(name, lambda: min(low + draw_step() * step, high)))

    def _keep(self, name: str, draw: Callable[[], Any]) -> Any:
        if name not in self.params:
            self.params[name] = draw()
        return self.params[name]

    def _log_uniform(self, low: float, high: float) -> Callable[[], float]:
        return lambda: math.exp(self._generator.uniform(math.log(low), math.log(high)))


def _check_range(name: str, low: float, high: float, step: float | None, log: bool) -> None:
    if not low <= high:
        raise ValueError(f"`low` of {name!r} must be at most high, got {low} > {high}")
    if step is not None and (log or not step > 0):
        raise ValueError(f"`step` of {name!r} must be above 0 and without log, got {step}")
    if log and low <= 0:
        raise ValueError(f"`low` of {name!r} must be above 0 with log, got {low}")
