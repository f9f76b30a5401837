"""What is not defined for a network counts for no one, in every decision; what failed is the worst."""

import itertools
import math

import numpy as np
import pytest
from recordings import Direct

from prescreen.panel import Panel
from prescreen.pruning import Guard, Halving, Median, Population, decide
from prescreen.ranking.journal import Record
from prescreen.ranking.order import order
from prescreen.reading import Reading, Trajectory
from prescreen.readouts import resolve_readouts
from prescreen.spaces.candidate import Candidate

NAMES = ("confidence", "entropy", "isotropy", "synflow")
FREE = Guard(n_startup_trials=0, min_agreement=None)
STEPS = (1, 2, 4)


def values_of(seed, trials=9):
    """Trial -> step -> values; measures of the untrained network are the same at all steps."""
    rng = np.random.default_rng(seed)
    network = rng.normal(size=(trials, 2))
    return [
        {step: dict(zip(NAMES, [*rng.normal(size=2), *own], strict=True)) for step in STEPS}
        for own in network
    ]


def undefined(trials, which, name):
    """The same trials, where a readout is not defined for some."""
    return [
        {s: {**row, name: math.nan} if t in which else row for s, row in by_step.items()}
        for t, by_step in enumerate(trials)
    ]


def decisions(trials, rule, names=NAMES, ended=range(6)):
    """Whether each trial would be pruned at each step, once all of them were read."""
    population = Population(Panel.of(resolve_readouts(names)))
    for number, by_step in enumerate(trials):
        for step, row in by_step.items():
            population.read(number, step, {n: row[n] for n in names}, f"a{number}")
        if number in ended:
            population.complete(number, (1.0,))
    return {
        (number, step): decide(rule, FREE, population, number, step)
        for number in range(len(trials))
        for step in STEPS
    }


def ranked(trials, names=NAMES):
    candidates = [Candidate(f"c{number}", {}, lambda: None) for number in range(len(trials))]
    records = {
        candidate.key: Record(
            Trajectory([Reading(s, {n: row[n] for n in names}) for s, row in by_step.items()]),
            "finished",
        )
        for candidate, by_step in zip(candidates, trials, strict=True)
    }
    return [row.name for row in order(candidates, records, resolve_readouts(names))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", [Median(), Median(25.0), Halving(1, 2), Halving(1, 3)], ids=str)
def test_a_readout_undefined_for_one_decides_as_if_it_were_absent(rule, name):
    others = tuple(other for other in NAMES if other != name)
    for seed in range(4):
        trials = values_of(seed)
        without = decisions(trials, rule, others)
        assert any(without.values())
        for which in ({0}, {3}, {8}, {1, 7}):
            decided = decisions(undefined(trials, which, name), rule)
            # A trained readout counts where it is defined for all that are compared.
            asked = without if name in NAMES[2:] else [key for key in without if key[0] in which]
            assert {key: decided[key] for key in asked} == {key: without[key] for key in asked}


@pytest.mark.parametrize("name", NAMES)
def test_a_readout_undefined_for_one_ranks_as_if_it_were_absent(name):
    others = tuple(other for other in NAMES if other != name)
    for seed, which in itertools.product(range(4), ({0}, {5}, {2, 8}, set(range(9)))):
        trials = values_of(seed)
        assert ranked(undefined(trials, which, name)) == ranked(trials, others)


def test_the_only_readout_undefined_for_one_orders_none():
    for which in range(9):
        one = [{1: {"isotropy": math.nan if n == which else float(n)}} for n in range(9)]
        assert ranked(one, ("isotropy",)) == [f"c{n}" for n in range(9)]


@pytest.mark.parametrize("rule", [Median(), Halving(1, 2)], ids=str)
def test_halves_of_equal_quality_are_pruned_alike(rule):
    """Half of the trials have an activation for which measures are not defined."""
    pruned = {True: 0, False: 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        smooth = rng.permutation([True, False] * 20)
        smooth[0] = True  # known from the beginning
        host = Direct(rule, FREE, NAMES)
        alone = Direct(rule, FREE, NAMES[:2])
        for number, is_smooth in enumerate(smooth):
            quality = rng.random()
            head = [quality + rng.normal(0, 0.1), -quality]
            network = [math.nan, math.nan] if is_smooth else rng.normal(size=2)
            row = dict(zip(NAMES, [*head, *network], strict=True))
            stops = host.read(number, 1, row, f"a{number}")
            assert stops == alone.read(number, 1, {n: row[n] for n in NAMES[:2]}, f"a{number}")
            pruned[bool(is_smooth)] += stops
            if not stops:
                host.ends(number, quality)
                alone.ends(number, quality)
    assert pruned[True] == pytest.approx(pruned[False], rel=0.15)


@pytest.mark.parametrize("name", ["before/divergence/none", "stable_information"])
@pytest.mark.parametrize("rule", [Median(), Halving(1, 2)], ids=str)
def test_a_first_reading_without_one_before_is_no_failure(rule, name):
    population = Population(Panel.of(resolve_readouts([name])))
    for number in range(6):
        population.read(number, 1, {name: math.nan})
        assert not population.has_diverged(number, 1)
        assert not decide(rule, FREE, population, number, 1)
        population.read(number, 2, {name: math.nan if number == 5 else float(number)})
        if number < 5:
            population.complete(number, (1.0,))
    assert population.has_diverged(5, 2)
    assert decide(rule, FREE, population, 5, 2)


def test_what_failed_is_the_worst_and_takes_nothing_from_others():
    for last in (0.5, math.nan):
        population = Population(Panel.of(resolve_readouts(NAMES)))
        failed = dict.fromkeys(NAMES, math.nan)
        for number in range(4):
            row = dict(zip(NAMES, [number, -number, number, number], strict=True))
            population.read(number, 1, failed if number == 0 else row, f"a{number}")
            population.read(number, 2, {**row, "confidence": last if number == 0 else 1.0})
            population.complete(number, (1.0,))
        scores = population.completed(1).scores()
        assert scores[0] == min(scores)
        assert len(set(scores[1:])) == 3
