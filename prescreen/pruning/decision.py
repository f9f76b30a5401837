"""Decision: whether a trial should end, from a population alone."""

from __future__ import annotations

import numpy as np

from prescreen.pruning.guard import Guard
from prescreen.pruning.hindsight import ended_best, hindsight
from prescreen.pruning.population import Population
from prescreen.pruning.rules import Halving, Improvement, Median, Rule


def decide(rule: Rule, guard: Guard, population: Population, trial: int, step: int) -> bool:
    """Whether a trial should end, as of its reading at a step.

    A reading of a network that has diverged (NaN in all readouts of the trained network) ends its trial
    at the next check. Any other reading ends it if the rule says so and the guard trusts the rule.

    Args:
        rule: ``Improvement``, over all trials that have come to the step; ``Median``, over trials that
            completed; or ``Halving``, over all trials at a rung.
        guard: when the rule is asked and, for the latter two, when it is trusted.
        population: the readings; hosts with the same population decide alike.
        trial: its number in the population.
        step: the step of its reading.

    Raises:
        KeyError: the trial was not read at that step.
    """
    diverged = population.has_diverged(trial, step)
    before = [one for one in population.steps(trial) if one < step]
    if not guard.is_due(step, before[-1] if before else None):
        return False
    if diverged:
        return True
    if isinstance(rule, Improvement):
        return _is_unlikely(rule, guard, population, trial, step)
    return (
        _wants(rule, population, trial, step)
        and believes(guard, population, step)
        and (guard.max_false_prune is None or _tolerates(rule, guard, population, step))
    )


def believes(guard: Guard, population: Population, step: int) -> bool:
    """Whether enough completed trials were read at a step, and their order there lasts."""
    return guard.has_started(len(population.completed(step))) and (
        guard.min_agreement is None or guard.trusts_order(population.agreement(step))
    )


def _is_unlikely(
    rule: Improvement, guard: Guard, population: Population, trial: int, step: int
) -> bool:
    seen = population.outlook(step)
    if seen is None or not guard.has_started(len(seen.completed)) or seen.contradicted:
        return False
    return rule.prunes(float(seen.chances[seen.at(trial)]), float(seen.chances.mean()), seen.gain)


def _wants(rule: Median | Halving, population: Population, trial: int, step: int) -> bool:
    if isinstance(rule, Halving):
        if not population.enters(rule, trial, step):
            return False
        column = population.at_rung(rule, rule.rung(step) or step)
        scores, own = column.scores(), column.index(trial)
        return rule.prunes(scores[own], np.delete(scores, own))
    # Scores at different steps can be compared, if the same trials were read at all of them.
    scored = [
        column.score(population.reading(trial, one))
        for one in population.steps(trial)
        if one <= step and len(column := population.completed(one))
    ]
    others = population.completed(step).scores(population.reading(trial, step))
    return rule.prunes(max(scored, default=1.0), others)


def _tolerates(rule: Median | Halving, guard: Guard, population: Population, step: int) -> bool:
    """Whether the rule would have pruned few enough of the completed trials that ended best."""
    if isinstance(rule, Halving):
        column = population.at_rung(rule, rule.rung(step) or step)
    else:
        column = population.completed(step)
    scores = column.scores()
    objectives = [population.objective(member) for member in column.members]
    known = [index for index, objective in enumerate(objectives) if objective]
    best = ended_best([objectives[index] for index in known], guard.best_share)

    def prunes(index: int) -> bool:
        return rule.prunes(scores[known[index]], np.delete(scores, known[index]))

    return guard.tolerates(*hindsight(scores[known], best, prunes))
