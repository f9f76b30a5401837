"""Report: what a study has shown its readings to be worth, in a few plain lines."""

from __future__ import annotations

from collections.abc import Iterable

from prescreen.pruning.agreement import agreement, correlation
from prescreen.pruning.ends import Ends
from prescreen.pruning.guard import Guard
from prescreen.pruning.outlook import Outlook
from prescreen.pruning.population import Population
from prescreen.pruning.reasons import Reasons, summary

# Lines of the report: steps are left out between the first and the last.
_STEPS = 4


def report(
    population: Population, guard: Guard, pruned: int, reasons: Iterable[Reasons] = ()
) -> str:
    """How well readings go with the ends of completed trials, and how many trials were pruned.

    Args:
        population: the readings.
        guard: the number of completed trials that must have been read at a step.
        pruned: the number of trials that were pruned.
        reasons: what the checks of each trial came to, if that is known.
    """
    last = summary(reasons)
    return "\n".join(
        [
            _worth_of_readings(population, guard, pruned),
            *(["Last checks of trials:"] if last else []),
        ]
        + [f"  {line}" for line in last]
    )


def _worth_of_readings(population: Population, guard: Guard, pruned: int) -> str:
    ends, trials = population.ends(), len(population)
    lines = [f"{pruned} of {trials} trials that were read were pruned."]
    if ends is None:
        return f"{lines[0]} None has completed: nothing is known of what readings are worth."
    of = "the objective of completed trials"
    if ends.until is not None:
        of = "the last readings of completed trials, as no objective is known"
    lines.append(f"Readings against {of}:")
    steps = population.shared_steps()
    every = max(1, -(-(len(steps) - 1) // (_STEPS - 1)))
    for step in [*steps[:-1][::every], *steps[-1:]]:
        if (seen := population.outlook(step)) is not None:
            lines.append(f"  step {step}: {_worth(seen, ends, guard)}")
    return "\n".join(lines)


def contradiction(population: Population, guard: Guard, step: int) -> str:
    """One line, if completed trials contradict the readings at a step: none is pruned there."""
    seen, ends = population.outlook(step), population.ends()
    if seen is None or ends is None or not seen.contradicted:
        return ""
    if not guard.has_started(len(seen.completed)):
        return ""
    return f"step {step}: {_worth(seen, ends, guard)}"


def _worth(seen: Outlook, ends: Ends, guard: Guard) -> str:
    count = len(seen.completed)
    known = ends.scores[ends.trials.searchsorted(seen.trials[seen.completed])]
    told: list[str] = []
    several = len(seen.readings) > 1
    for source, readings in seen.readings.items():
        now = readings[seen.completed]
        rho, sure = correlation(now, known), agreement(now, known)
        of, short = f"of {source} " if several else "", "" if told else " less a standard error"
        told.append(f"{of}{rho:.2f} ({sure:.2f}{short})")
    slopes = " and ".join(f"{slope:.2f}" for slope in seen.slopes.values())
    if not guard.has_started(count):
        belief = f"too few, {guard.n_startup_trials} are needed"
    elif seen.contradicted:
        belief = "readings contradict how trials end, so none is pruned"
    else:
        belief = f"an end is expected to follow {slopes} of {'them' if several else 'a reading'}"
    return f"{count} completed trials, ρ {', '.join(told)}; {belief}"
