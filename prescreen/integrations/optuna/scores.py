"""Scores: ranks of readings among the trials that they should be compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prescreen.integrations.optuna.memory import Memory
from prescreen.integrations.optuna.twins import Readings
from prescreen.pruning import Population
from prescreen.ranks import aggregate

# Two ways lead to a score: rounding keeps equal readings equal to the last bit.
_DECIMALS = 12


class Scores:
    """Mean rank of a reading over the readouts of a panel, from 0 (worst in all) to 1 (best).

    Ranks are comparable across steps only if the same trials are there at every step, so that by
    default they are taken among the trials that completed and the one that is judged. Successive
    halving compares at one step, but with all that have been there: for it, every trial counts.

    Args:
        memory: readings of finished trials.
        unfinished: trial number to readings, of the judged trial among others.
        judged: its number.
        everyone: rank among trials of every state.
    """

    def __init__(
        self, memory: Memory, unfinished: Mapping[int, Readings], judged: int, *, everyone: bool
    ) -> None:
        rest = Population(len(memory.panel))
        for number, readings in unfinished.items():
            if everyone or number == judged:
                rest.add(number, readings)
        self._judged = judged
        self._populations = [memory.complete, rest, *([memory.ended] if everyone else [])]
        self._ranked: dict[int, dict[int, float]] = {}

    def at_step(self, number: int, readings: Readings, step: int) -> float:
        """The score of a trial at a step at which it was read.

        Raises:
            KeyError: it was not read there.
        """
        if number == self._judged:
            return self._score(number, readings[step], step)
        if step not in self._ranked:
            self._rank(step)
        score = self._ranked[step].get(number)
        return self._score(number, readings[step], step) if score is None else score

    def at_all_steps(self, number: int, readings: Readings) -> dict[int, float]:
        """The scores of one trial, without ranking all others at every step."""
        return {step: self._score(number, values, step) for step, values in readings.items()}

    def _score(self, number: int, values: tuple[float, ...], step: int) -> float:
        """What ``_rank`` gives this trial, from a count of those that it beats."""
        wins, others = 0.0, 0
        for population in self._populations:
            wins += population.beaten(step, values)
            others += len(population.members(step))
            if number in population:  # it ties with itself
                wins, others = wins - 0.5, others - 1
        return round(wins / others, _DECIMALS) if others > 0 else 1.0

    def _rank(self, step: int) -> None:
        members = [number for group in self._populations for number in group.members(step)]
        readings = np.concatenate([group.readings(step) for group in self._populations])
        scores = aggregate(readings).round(_DECIMALS).tolist()
        self._ranked[step] = dict(zip(members, scores, strict=True))
