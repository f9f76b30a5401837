import math
import pickle
import random

import pytest

from prescreen.panel import Panel
from prescreen.pruning import Halving, Population
from prescreen.readouts import READOUTS, resolve_readouts

NETWORK = ("confidence", "isotropy", "synflow")


def population(columns, names=("confidence",), ended=True):
    """Step -> trial -> value of all readouts."""
    made = Population(Panel.of(resolve_readouts(names)))
    for trial in sorted({trial for column in columns.values() for trial in column}):
        for step, column in columns.items():
            if trial in column:
                made.read(trial, step, dict.fromkeys(names, column[trial]))
        if ended:
            made.complete(trial)
    return made


def test_readings_are_kept_by_trial_and_step():
    made = population({1: {4: 1.0, 5: 3.0}, 9: {5: 5.0}})
    made.read(6, 9, {"confidence": 0.5, "other": 1.0})
    assert list(made.completed(1).members) == [4, 5]
    assert list(made.completed(9).members) == [5]
    assert len(made.completed(2)) == 0
    assert made.steps(5) == [1, 9]
    assert made.steps(77) == []
    assert made.reading(6, 9) == (0.5,)
    with pytest.raises(KeyError):
        made.reading(6, 1)
    with pytest.raises(KeyError):
        made.read(7, 1, {"other": 1.0})


def test_a_second_reading_at_a_step_is_ignored():
    made = population({1: {4: 1.0}, 2: {4: 2.0}}, ended=False)
    made.read(4, 1, {"confidence": 9.0})
    assert made.reading(4, 1) == (1.0,)
    assert made.steps(4) == [1, 2]


def test_readings_are_oriented():
    made = Population(Panel.of(resolve_readouts(["entropy", "confidence"])))
    made.read(0, 1, {"confidence": 0.7, "entropy": 0.2})
    assert made.reading(0, 1) == (-0.2, 0.7)


@pytest.mark.parametrize("last", [math.nan, 1.0])
def test_a_trial_whose_last_reading_diverged_is_not_compared_with(last):
    made = population({1: {0: 1.0}, 2: {0: last}})
    assert len(made.completed(1)) == (last == 1.0)


def test_agreement_is_with_the_latest_step_that_most_trials_share():
    rising = {trial: float(trial) for trial in range(6)}
    falling = {trial: -float(trial) for trial in range(6)}
    made = population({10: rising, 20: falling, 30: {0: 0.0, 1: 1.0}})
    assert made.agreement(10) < -0.9  # step 30 was reached by two of six
    assert made.agreement(20) < -0.9  # the last one that is shared is compared with the one before
    assert population({10: rising, 20: rising}).agreement(10) > 0.9
    assert population({10: rising}).agreement(10) == -1.0
    # If trials are partly shared, only the shared ones are compared.
    part = {trial: rising[trial] for trial in (5, 3, 2, 0)}
    assert population({10: rising, 20: part}).agreement(10) > 0.8


def test_a_trial_enters_the_rungs_that_it_was_read_at():
    rule = Halving(grace_period=2, reduction_factor=2)
    made = population({1: {0: 0.1}, 3: {0: 0.3, 1: 1.3}, 9: {0: 0.9, 2: math.nan}}, ended=False)
    assert [step for step in (1, 3, 9) if made.enters(rule, 0, step)] == [3, 9]
    assert list(made.at_rung(rule, 2).members) == [0, 1]
    assert list(made.at_rung(rule, 4).members) == []
    assert list(made.at_rung(rule, 8).members) == [0]  # a reading of NaN only does not enter a rung
    made.read(1, 4, {"confidence": 1.4})
    made.read(1, 5, {"confidence": 1.5})
    assert list(made.at_rung(rule, 4).members) == [1]


def told(events, names=NETWORK):
    made = Population(Panel.of(resolve_readouts(names)))
    for event in events:
        made.complete(*event) if len(event) == 2 else made.read(*event)
    return made


def network(value, head=0.5):
    return dict(zip(NETWORK, (head, value, 10 * value), strict=True))


def test_trials_of_one_architecture_tie_in_measures_of_the_network():
    made = told([(3, 1, network(0.3), "a"), (7, 1, network(0.7), "a"), (5, 1, network(0.5), "b")])
    assert made.reading(3, 1) == made.reading(7, 1) == (0.5, 0.3, 3.0)
    assert made.reading(5, 1) == (0.5, 0.5, 5.0)
    made.read(2, 1, network(0.2), "a")  # all get the value of the lowest number, whenever it comes
    assert made.reading(7, 1) == (0.5, 0.2, 2.0)
    unknown = told([(0, 1, network(0.3)), (1, 1, network(0.7))])
    assert unknown.reading(0, 1) != unknown.reading(1, 1)


def test_an_undefined_measure_no_longer_counts():
    made = told([(0, 1, network(0.3)), (0, (1.0,)), (1, 1, network(0.7)), (1, (1.0,))])
    assert made.completed(1).scores().tolist() == [1 / 6, 5 / 6]
    made.read(2, 1, {**network(0.9), "synflow": math.nan})
    assert made.completed(1).scores().tolist() == [1 / 3, 2 / 3]
    assert made.reading(0, 1) == (0.5, 0.3, 0.0)


def test_a_network_that_diverged_is_not_compared_and_leaves_measures_as_they_are():
    made = told([(0, 1, network(0.3)), (1, 1, dict.fromkeys(NETWORK, math.nan))])
    assert made.has_diverged(1, 1)
    assert not made.has_diverged(0, 1)
    assert made.reading(0, 1) == (0.5, 0.3, 3.0)
    assert told([(0, 1, network(0.3, head=math.nan))]).has_diverged(0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_readings_does_not_matter(seed):
    rng = random.Random(seed)
    readings = {
        (trial, step): {
            "confidence": rng.choice([0.1, 0.2, 0.3, math.nan]),
            "isotropy": rng.random(),
            "synflow": math.nan if rng.random() < 0.01 else rng.random(),
        }
        for trial in range(12)
        for step in (1, 2, 3)
    }
    events = [(*key, values, f"a{key[0] % 5}") for key, values in readings.items()]
    ends = [(trial, (1.0,)) for trial in range(0, 12, 2)]
    rule = Halving(1, 2)
    one = told(events + ends)
    rng.shuffle(events)
    rng.shuffle(ends)
    other = told(events[:20])
    other.at_rung(rule, 1)  # what was derived before must be derived again
    for trial, step, values, architecture in events[20:]:
        other.read(trial, step, values, architecture)
    for trial, objective in ends:
        other.complete(trial, objective)
    again = pickle.loads(pickle.dumps(other))
    for made in (other, again):
        assert all(
            str(made.reading(*key)) == str(one.reading(*key)) for key in readings
        )  # NaN are equal
        for step in (1, 2, 3):
            assert standing(made.completed(step)) == standing(one.completed(step))
            assert made.agreement(step) == pytest.approx(one.agreement(step))
        for rung in (1, 2):
            assert standing(made.at_rung(rule, rung)) == standing(one.at_rung(rule, rung))


def standing(column):
    return dict(zip(column.members, column.scores().tolist(), strict=True))


def test_panel_turns_signs_and_keeps_nan():
    panel = Panel.of({name: READOUTS[name] for name in ("entropy", "confidence")})
    assert panel.oriented({"confidence": 0.7, "entropy": 0.2, "other": 1.0}) == (-0.2, 0.7)
    assert math.isnan(panel.oriented({"confidence": 0.7, "entropy": "nan"})[0])
    assert panel.lacking({"confidence": 0.7}) == ["entropy"]
    lower = Panel.of({"entropy": READOUTS["entropy"]})
    assert lower.published(lower.oriented({"entropy": 0.2})) == 0.2


def test_it_is_small_when_pickled():
    made = population({step: dict.fromkeys(range(200), 0.5) for step in (1, 2, 3)})
    assert len(pickle.dumps(made)) < 200 * (3 * 16 + 150)
    again = pickle.loads(pickle.dumps(made))
    assert standing(again.completed(2)) == standing(made.completed(2))
