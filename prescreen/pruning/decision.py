"""Decision: whether a trial should end, from a population alone."""

from __future__ import annotations

import numpy as np

from prescreen.pruning.guard import Guard
from prescreen.pruning.hindsight import ended_best, hindsight
from prescreen.pruning.population import Population
from prescreen.pruning.reasons import Reason
from prescreen.pruning.rules import Halving, Improvement, Median, Rule


def decide(rule: Rule, guard: Guard, population: Population, trial: int, step: int) -> bool:
    """Whether a trial should end, as of its reading at a step: see ``judge``."""
    return judge(rule, guard, population, trial, step).pruned


def judge(rule: Rule, guard: Guard, population: Population, trial: int, step: int) -> Reason:
    """Whether a trial should end, as of its reading at a step, and why.

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
    if (waits := guard.waits(step, before[-1] if before else None)) is not None:
        return waits
    if diverged:
        return Reason("diverged", f"diverged at step {step}")
    if isinstance(rule, Improvement):
        return _by_outlook(rule, guard, population, trial, step)
    return (
        too_few(guard, len(population.completed(step)), step)
        or _satisfied(rule, population, trial, step)
        or untrusted(guard, population, step)
        or _intolerant(rule, guard, population, step)
        or Reason("poor", f"poor for {type(rule).__name__} at step {step}")
    )


def too_few(guard: Guard, count: int, step: int) -> Reason | None:
    """Why no rule is trusted at a step that too few completed trials were read at; None if it is."""
    if guard.has_started(count):
        return None
    needed = guard.n_startup_trials
    return Reason("few", f"{count} of {needed} completed trials read at step {step}")


def untrusted(guard: Guard, population: Population, step: int) -> Reason | None:
    """Why the order of completed trials at a step is not trusted; None if it is."""
    if guard.min_agreement is None or guard.trusts_order(population.agreement(step)):
        return None
    sure = population.agreement(step)
    return Reason("order", f"ρ {sure:.2f} less a standard error, needed {guard.min_agreement:.2f}")


def intolerable(guard: Guard, would_prune: int, ended_best: int) -> Reason | None:
    """Why a rule is not trusted that would have pruned the best; None if it is."""
    if guard.tolerates(would_prune, ended_best):
        return None
    return Reason(
        "tolerance",
        f"{ended_best} of {would_prune} that the rule would have pruned ended best, allowed "
        f"{guard.max_false_prune:.2f} with one more",
    )


def _by_outlook(
    rule: Improvement, guard: Guard, population: Population, trial: int, step: int
) -> Reason:
    seen, ends = population.outlook(step), population.ends()
    if ends is not None and ends.until is not None and step >= ends.until:
        return Reason("last", f"no objective is known, and none was read after step {step}")
    few = too_few(guard, 0 if seen is None else len(seen.completed), step)
    if seen is None or few is not None:
        return few or Reason("few", f"no completed trial read at step {step}")
    if seen.contradicted:
        return Reason("contradicted", f"completed trials contradict the readings at step {step}")
    chance, mean = float(seen.chances[seen.at(trial)]), float(seen.chances.mean())
    told = f"({chance:.2g} to end best, {mean:.2g} on average)"
    if rule.prunes(chance, mean, seen.gain):
        return Reason("unlikely", f"unlikely {told} at step {step}")
    return Reason("likely", f"likely enough {told} at step {step}")


def _satisfied(
    rule: Median | Halving, population: Population, trial: int, step: int
) -> Reason | None:
    """Why the rule keeps a trial; None if it would prune it."""
    if isinstance(rule, Halving):
        if not population.enters(rule, trial, step):
            return Reason("rung", f"no rung begins at step {step}")
        column = population.at_rung(rule, rule.rung(step) or step)
        scores, own = column.scores(), column.index(trial)
        prunes = rule.prunes(scores[own], np.delete(scores, own))
    else:
        # Scores at different steps can be compared, if the same trials were read at all of them.
        scored = [
            column.score(population.reading(trial, one))
            for one in population.steps(trial)
            if one <= step and len(column := population.completed(one))
        ]
        others = population.completed(step).scores(population.reading(trial, step))
        prunes = rule.prunes(max(scored, default=1.0), others)
    return (
        None if prunes else Reason("good", f"good enough for {type(rule).__name__} at step {step}")
    )


def _intolerant(
    rule: Median | Halving, guard: Guard, population: Population, step: int
) -> Reason | None:
    """Why the rule is not trusted, by what it would have done to completed trials; None if it is."""
    if guard.max_false_prune is None:
        return None
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

    return intolerable(guard, *hindsight(scores[known], best, prunes))
