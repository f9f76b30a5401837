"""Decisions against a plain oracle, and things that they must not depend on."""

import math
import pickle

import pytest
from pruning_oracle import Oracle
from recordings import GUARDS, HEAD, KINDS, NETWORK, Direct, recording, replay

from prescreen.panel import Panel
from prescreen.pruning import Guard, Halving, Improvement, Median, Population, decide
from prescreen.readouts import resolve_readouts

RULES = [
    Median(),
    Median(25.0),
    Median(80.0),
    Halving(2, 2),
    Halving(1, 3),
    Improvement(),
    Improvement(max_regret=0.1),
]
FREE = {"n_startup_trials": 0, "min_agreement": None}


def panel_of(*names):
    return Panel.of(resolve_readouts(names))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("kind", KINDS)
def test_decisions_equal_the_oracle(kind, guard, rule):
    recorded = recording(kind, seed=0, trials=30)
    guarded = Guard(**GUARDS[guard])
    decisions = replay(recorded, Direct(rule, guarded, recorded.readouts))
    oracle = Oracle(rule, guarded, panel_of(*recorded.readouts))
    assert decisions == replay(recorded, oracle)


def test_the_recordings_leave_something_to_decide():
    for kind in KINDS:
        for guard, settings in GUARDS.items():
            recorded = recording(kind, seed=0, trials=30)
            for rule in (Median(), Halving(2, 2), Improvement(0.9)):
                decisions = replay(recorded, Direct(rule, Guard(**settings), recorded.readouts))
                assert 0 < sum(decisions.values()) < len(decisions), (kind, guard)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_measures_of_the_network_decide_nothing_within_one_architecture(rule):
    recorded = recording("one architecture", seed=5)
    guard = Guard(**GUARDS["agreement"])
    alone = replay(recorded, Direct(rule, guard, HEAD))
    for readouts in (HEAD + NETWORK, HEAD[:1] + NETWORK + HEAD[1:]):
        assert replay(recorded, Direct(rule, guard, readouts)) == alone
    several = replay(recorded, Direct(rule, Guard(**FREE), NETWORK))
    assert not any(several.values())


@pytest.mark.parametrize("rule", RULES[::3], ids=str)
def test_a_decision_asks_and_changes_nothing(rule):
    recorded = recording("some architectures", seed=6)
    host = Direct(rule, Guard(**GUARDS["agreement"]), recorded.readouts)
    decide_here = host.read

    def read_twice(*reading):
        once = decide_here(*reading)
        host.population = pickle.loads(pickle.dumps(host.population))
        assert decide_here(*reading) == once
        return once

    expected = replay(recorded, Direct(rule, host.guard, recorded.readouts))
    host.read = read_twice
    assert replay(recorded, host) == expected


def test_a_reading_of_nan_only_ends_its_trial_after_the_warm_up():
    for rule in (Median(), Halving(4)):
        population = Population(panel_of("confidence", "isotropy"))
        for step in (2, 4):
            population.read(0, step, {"confidence": math.nan, "isotropy": 2.0})
        guard = Guard(n_warmup_steps=3)
        assert not decide(rule, guard, population, 0, 2)
        assert decide(rule, guard, population, 0, 4)
        population.complete(0)  # others are not compared with it
        assert len(population.completed(4)) == 0


def bounded(rule, guard, reading, objective=lambda quality: (quality,)):
    """The decisions on trials of rising and falling quality, one after the other."""
    population = Population(panel_of("confidence"))
    decisions = []
    for number in range(60):
        quality = number * 7 % 60 / 60
        population.read(number, 1, {"confidence": reading(quality)})
        decisions.append(decide(rule, guard, population, number, 1))
        population.complete(number, objective(quality))
    return decisions


@pytest.mark.parametrize("rule", [Median(), Halving(1, 2)])
def test_a_bound_on_false_prunes_needs_evidence_and_bounds(rule):
    free = bounded(rule, Guard(**FREE), lambda quality: quality)
    bound = bounded(rule, Guard(**FREE, max_false_prune=0.1), lambda quality: quality)
    assert not any(bound[:10])
    assert any(bound[20:])
    assert all(wanted or not kept for wanted, kept in zip(free, bound, strict=True))


@pytest.mark.parametrize("rule", [Median(), Halving(1, 2)])
def test_a_bound_on_false_prunes_refuses_without_evidence(rule):
    guard = Guard(**FREE, max_false_prune=0.1)
    assert not any(bounded(rule, guard, lambda quality: -quality))  # inverted
    assert not any(bounded(rule, guard, lambda quality: quality, lambda quality: ()))


def test_trials_that_failed_are_no_evidence_of_a_good_end():
    guard = Guard(**FREE, max_false_prune=0.1)
    failed = bounded(
        Median(), guard, lambda quality: quality, lambda q: (q if q > 0.5 else -math.inf,)
    )
    assert any(failed)


def test_a_decision_without_a_reading_is_an_error():
    with pytest.raises(KeyError):
        decide(Median(), Guard(), Population(panel_of("confidence")), 0, 1)
