"""The bound of ``Improvement``, held by simulated studies whose readings say much, nothing, or wrong."""

import math

import numpy as np
import pytest

from prescreen.panel import Panel
from prescreen.pruning import Guard, Improvement, Population, decide
from prescreen.pruning.hindsight import among_best

PANEL = Panel(("head", "network"), (True, True), (False, True))
STEPS = 4
CORRELATIONS = (-0.5, 0.0, 0.3, 0.6, 0.9)


def simulated(rng, trials, correlation):
    """Final quality, and readings whose correlation with it rises from 0 to that at the last step."""
    quality, noise = rng.normal(size=(2, trials))
    rows = []
    for step in range(1, STEPS + 1):
        noise = 0.7 * noise + 0.51**0.5 * rng.normal(size=trials)
        now = correlation * step / STEPS
        rows.append(now * quality + (1 - now**2) ** 0.5 * noise)
    network = correlation * quality + (1 - correlation**2) ** 0.5 * rng.normal(size=trials)
    return quality, np.array(rows).T, network


def study(seed, trials, correlation, rule, *, architectures, objectives):
    """The share of the best trials that are pruned, and that of the steps that are spent."""
    rng = np.random.default_rng(seed)
    quality, head, network = simulated(rng, trials, correlation)
    ends = np.stack([quality, rng.normal(size=trials)], axis=1)[:, :objectives]
    population, completed, spent = Population(PANEL), np.zeros(trials, bool), 0
    for number in range(trials):
        name = f"a{number}" if architectures else "one"
        for step in range(1, STEPS + 1):
            values = {"head": head[number, step - 1], "network": network[number]}
            population.read(number, step, values, name)
            if step < STEPS and decide(rule, Guard(), population, number, step):
                break
        else:
            completed[number] = True
            population.complete(number, tuple(ends[number]))
        spent += step
    best = among_best(ends, 1 / trials)
    return 1 - completed[best].mean(), spent / trials / STEPS


def simulate(studies, trials, correlation, rule, **kind):
    return np.mean(
        [study([seed, 7], trials, correlation, rule, **kind) for seed in range(studies)], 0
    )


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("architectures", [True, False])
def test_at_most_the_allowed_share_of_the_best_is_lost(architectures, objectives):
    kind = {"architectures": architectures, "objectives": objectives}
    for correlation in CORRELATIONS[::2]:
        lost, _ = simulate(5, 20, correlation, Improvement(0.3), **kind)
        assert lost <= 0.3, correlation  # far from the bound: no allowance for chance is needed


@pytest.mark.slow
@pytest.mark.parametrize("bound", [0.1, 0.3, 0.5, 0.6])
@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("architectures", [True, False])
def test_the_bound_holds_over_many_studies(architectures, objectives, bound):
    kind = {"architectures": architectures, "objectives": objectives}
    for correlation in CORRELATIONS:
        for studies, trials in ((60, 20), (3, 500)):
            lost, _ = simulate(studies, trials, correlation, Improvement(bound), **kind)
            assert lost <= bound + 2 * (bound * (1 - bound) / studies) ** 0.5, (correlation, trials)


def test_what_says_much_saves_much_and_what_is_wrong_saves_nothing():
    kind = {"architectures": True, "objectives": 1}
    spent = [simulate(2, 60, one, Improvement(0.5), **kind)[1] for one in (-0.5, 0.3, 0.9)]
    assert spent[0] > 0.95
    assert spent[2] < spent[1] < 1
    assert spent[2] < 0.6


def test_trials_of_one_architecture_are_not_pruned_for_their_initial_weights():
    population = Population(PANEL)
    for number in range(20):
        population.read(number, 0, {"head": 0.0, "network": float(number)}, "one")
        assert not decide(Improvement(1.0), Guard(), population, number, 0)
        population.complete(number, (float(number),))


def test_at_step_0_architectures_are_pruned_before_any_training():
    population = Population(PANEL)
    for number in range(20):
        quality = number * 7 % 20
        population.read(number, 0, {"head": 0.0, "network": float(quality)}, f"a{number}")
        population.complete(number, (float(quality),))
    for quality, pruned in ((-1.0, True), (30.0, False)):
        number = 20 + pruned
        population.read(number, 0, {"head": 0.0, "network": quality}, f"a{number}")
        assert decide(Improvement(), Guard(), population, number, 0) is pruned


def test_readings_at_uneven_steps_are_compared_with_what_others_read_before():
    population = Population(PANEL)
    for number in range(20):
        quality = float(number * 7 % 20)
        for step in (1, 3 + number % 3, 9):
            population.read(number, step, {"head": quality, "network": 0.0}, "one")
        population.complete(number, (quality,))
    population.read(20, 4, {"head": -1.0, "network": 0.0}, "one")
    assert len(population.outlook(4).trials) == 21
    assert decide(Improvement(), Guard(), population, 20, 4)
    population.read(21, 1, {"head": 30.0, "network": 0.0}, "one")
    assert len(population.outlook(4).trials) == 21  # it has not come so far
    assert len(population.outlook(1).trials) == 21


def test_a_trial_that_was_only_read_untrained_is_compared_with_no_trained_one():
    """At step 0 nothing is known of its head; that says nothing of the heads of others."""
    population = Population(PANEL)
    for number in range(20):
        quality = float(number * 7 % 20)
        population.read(number, 0, {"head": math.nan, "network": 0.0}, f"a{number}")
        if number % 2:
            population.read(number, 3, {"head": quality, "network": 0.0}, f"a{number}")
        population.complete(number, (quality,))
    assert not population.has_diverged(0, 0)
    population.read(20, 3, {"head": -1.0, "network": 0.0}, "b")
    assert len(population.outlook(3).trials) == 11
    assert len(population.outlook(0).trials) == 20
    assert decide(Improvement(), Guard(), population, 20, 3)


def test_the_reading_after_that_of_the_untrained_network_is_the_first_of_the_trained_one():
    panel = Panel(("change", "network"), (True, True), (False, True), (True, False))
    population = Population(panel)
    for step in (0, 5, 9):
        population.read(0, step, {"change": math.nan, "network": 1.0}, "a")
    assert [population.has_diverged(0, step) for step in (0, 5, 9)] == [False, False, True]


def test_in_a_search_over_unlike_networks_the_head_decides_where_it_is_the_better_guide():
    """Sizes say nothing of how trials end, and outvote the head in their scores."""
    population, rng = Population(PANEL), np.random.default_rng(0)
    for number, size in enumerate(rng.permutation(30)):
        values = {"head": float(number * 7 % 30), "network": float(size)}
        population.read(number, 1, values, f"a{number}")
        population.complete(number, (values["head"],))
    for number, (head, size) in enumerate([(-1.0, 40.0), (40.0, -1.0)], start=30):
        population.read(number, 1, {"head": head, "network": size}, f"a{number}")
    pruned = [decide(Improvement(0.3), Guard(), population, number, 1) for number in (30, 31)]
    assert pruned == [True, False]
