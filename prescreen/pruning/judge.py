"""Judge: decides over the readings of many trials, for a host that keeps none of them itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from prescreen.panel import Panel
from prescreen.pruning.guard import Guard, among_best
from prescreen.pruning.hindsight import hindsight
from prescreen.pruning.population import Population
from prescreen.pruning.rules import Halving, Median, Rule


class Judge:
    """A rule's decisions over trials, and a guard's whether the rule may be believed.

    A reading is ranked among those of trials that completed or, for ``Halving``, of all trials at
    the rung. Everything depends on the order of the calls alone. It pickles, and stays small:
    numbers are kept, of trials that were pruned only those at rungs.

    Args:
        panel: the readouts that are compared.
        rule: what decides.
        guard: what has to hold besides.
    """

    def __init__(self, panel: Panel, rule: Rule, guard: Guard) -> None:
        self.panel = panel
        self.rule = rule
        self.guard = guard
        self._complete = Population(len(panel))
        self._at_rungs = Population(len(panel))
        self._running: dict[int, dict[int, tuple[float, ...]]] = {}
        self._rungs: dict[int, int] = {}
        self._objectives: dict[int, float] = {}
        self._trusted: dict[int, tuple[int, bool]] = {}

    def read(self, member: int, step: int, values: Mapping[str, float]) -> bool:
        """Take in a trial's reading.

        Returns:
            Whether the trial should end. One that is NaN throughout should once warm-up is over.

        Raises:
            KeyError: the values lack a readout of the panel.
        """
        readings = self._running.setdefault(member, {})
        previous = max((other for other in readings if other < step), default=None)
        readings[step] = oriented = self.panel.oriented(values)
        due = self.guard.is_due(step, previous)
        if all(map(math.isnan, oriented)):
            return due
        wanted = self._wanted(member, step, oriented)
        return due and wanted and self._may_prune(step)

    def complete(self, member: int, objective: float = math.nan) -> None:
        """A trial ran to its end; its readings count from now on.

        Args:
            member: the trial.
            objective: its final value, higher is better; ``max_false_prune`` looks at it.
        """
        readings = self._running.get(member, {})
        self.forget(member)
        if readings and not all(map(math.isnan, readings[max(readings)])):
            self._complete.add(member, readings)
            self._objectives[member] = objective

    def forget(self, member: int) -> None:
        """A trial ended otherwise: it was pruned, or it failed."""
        self._running.pop(member, None)
        self._rungs.pop(member, None)

    def _wanted(self, member: int, step: int, values: Sequence[float]) -> bool:
        """Whether the rule wants to prune; a rung is noted whatever the guard says."""
        if isinstance(self.rule, Median):
            best = max(self._scores(self._running[member]), default=1.0)
            return self.rule.prunes(best, self._complete.scores(step, values)[1])
        rung = self.rule.rung(step)
        if rung is None or rung <= self._rungs.get(member, 0):
            return False
        self._rungs[member] = rung
        score, others = self._at_rungs.scores(rung, values)
        self._at_rungs.add(member, {rung: values})
        return self.rule.prunes(score, others)

    def _scores(self, readings: Mapping[int, Sequence[float]]) -> Iterator[float]:
        """Scores of a trial's readings at the steps at which completed trials were read."""
        for step, values in readings.items():
            if len(self._complete.members(step)):
                yield self._complete.score(step, values)

    def _may_prune(self, step: int) -> bool:
        count = len(self._complete.members(step))
        if not self.guard.has_started(count) or not self._trusts_order(step):
            return False
        if self.guard.max_false_prune is None:
            return True
        return self.guard.tolerates(*self._in_hindsight(step))

    def _trusts_order(self, step: int) -> bool:
        if self.guard.min_agreement is None:
            return True
        known, trusted = self._trusted.get(step, (-1, False))
        # Thousands of trials and one more agree as they did: ranking them all anew takes longest.
        if len(self._objectives) > 1.01 * known:
            trusted = self.guard.trusts_order(*self._complete.orders(step))
            self._trusted[step] = len(self._objectives), trusted
        return trusted

    def _in_hindsight(self, step: int) -> tuple[int, int]:
        """Completed trials that the rule would have pruned by their reading here; the best of them."""
        population, at = self._complete, step
        if isinstance(self.rule, Halving):
            population, at = self._at_rungs, self.rule.rung(step) or step
        scores, members = population.ranked(at), population.members(at)
        complete = [i for i, member in enumerate(members) if member in self._objectives]
        objectives = np.array([self._objectives[members[i]] for i in complete])
        best = among_best(np.nan_to_num(objectives, nan=-np.inf)[:, None], self.guard.best_share)

        def prunes(index: int) -> bool:
            one = complete[index]
            return self.rule.prunes(scores[one], np.delete(scores, one))

        return hindsight(scores[complete], best, prunes)
