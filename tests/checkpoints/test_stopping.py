"""Stopping: patience as in Lightning, waiting through plateaus, never before the readout is valid."""

import json
import math

import pytest

from prescreen import EarlyStopping, Reading


def run(values, name="stable_information", **arguments):
    """The index at which training stops; None if it does not."""
    stopping = EarlyStopping(name, **arguments)
    for i, value in enumerate(values):
        if stopping.update(Reading(10 * i, {name: value})):
            return i
    return None


PLAIN = {"smoothing": 1, "patience_share": 0.0}
FALLING = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.mark.parametrize("patience", [1, 2, 3, 4])
def test_patience_counts_readings_without_improvement(patience):
    assert run(FALLING, patience=patience, **PLAIN) == 5 + patience


def test_improvements_below_min_delta_do_not_count():
    values = [0.0, 0.5, 1.0, 1.05, 1.1, 1.15, 1.2]
    assert run(values, patience=2, **PLAIN) is None
    assert run(values, patience=3, min_delta=0.11, **PLAIN) is None  # from the best, not the last
    assert run(values, patience=3, min_delta=0.5, **PLAIN) == 5


def test_lower_is_better_if_the_readout_says_so():
    assert run([-value for value in FALLING], "entropy", patience=2, **PLAIN) == 7
    assert run(FALLING, "entropy", patience=2, **PLAIN) is None


def test_patience_grows_with_training():
    rising = [i / 20 for i in range(20)]
    dip = [0.9] * 4 + [1.2, 1.3]
    assert run(rising + dip, patience=2, smoothing=1, patience_share=0.0) == 21
    assert run(rising + dip, patience=2, smoothing=1, patience_share=0.25) is None
    assert run(rising + [0.9] * 6, patience=2, smoothing=1, patience_share=0.25) == 24


def test_one_reading_that_jumps_is_smoothed_away():
    values = [0.0, 1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert run(values, patience=3, patience_share=0.0, smoothing=1) == 7
    assert run(values, patience=3, patience_share=0.0, smoothing=3) is None


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4],  # inverted from the start
        [0.5, 0.52, 0.48, 0.51, 0.49, 0.52, 0.48, 0.5],  # pure noise
        [0.5] * 8,
    ],
)
def test_nothing_is_stopped_on_a_readout_that_never_rose(values):
    assert run(values, patience=1, **PLAIN) is None
    assert run(values, patience=1) is None


def test_nothing_is_stopped_before_the_warm_up_is_over():
    assert run(FALLING, patience=1, n_warmup_steps=80, **PLAIN) == 8


def test_a_readout_that_is_not_finite_stops_at_once_or_is_skipped():
    values = [0.0, 1.0, math.nan, 2.0]
    assert run(values, **PLAIN) == 2
    assert run(values, check_finite=False, **PLAIN) is None


def test_the_first_reading_may_need_an_earlier_one():
    assert run([math.nan, *FALLING], patience=2, **PLAIN) == 8
    assert run([math.nan, math.nan], **PLAIN) == 1
    stopping = EarlyStopping(patience=2, **PLAIN)
    for i, value in enumerate(FALLING[:4]):
        stopping.update(Reading(i, {"stable_information": value}))
    resumed = EarlyStopping(patience=2, **PLAIN)
    resumed.load_state_dict(stopping.state_dict())
    assert resumed.best_step == 3
    assert resumed.update(Reading(4, {"stable_information": math.nan}))


def decisions(stopping, values, first=0):
    readings = [Reading(10 * i, {"stable_information": v}) for i, v in enumerate(values)][first:]
    return [(stopping.update(one), stopping.reason, stopping.best_step) for one in readings]


@pytest.mark.parametrize("check_finite", [True, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_value_after_resuming_counts_as_in_the_uninterrupted_run(bad, check_finite):
    for place in range(len(FALLING)):
        values = [*FALLING[:place], bad, *FALLING[place:]]
        arguments = {"patience": 2, "check_finite": check_finite, **PLAIN}
        expected = decisions(EarlyStopping(**arguments), values)
        for cut in range(1, len(values)):
            first, second = (EarlyStopping(**arguments) for _ in range(2))
            decisions(first, values[:cut])
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
            assert decisions(second, values, first=cut) == expected[cut:]


@pytest.mark.parametrize("values", [[math.nan, *FALLING], FALLING, [math.nan]])
def test_a_second_training_is_judged_as_by_a_new_rule(values):
    used = EarlyStopping(patience=2, **PLAIN)
    decisions(used, [math.nan, 5.0, 9.0, 1.0])
    assert decisions(used, values) == decisions(EarlyStopping(patience=2, **PLAIN), values)


def test_the_reading_after_a_return_may_need_an_earlier_one():
    stopping = EarlyStopping(patience=2, **PLAIN)
    decisions(stopping, FALLING[:6])
    assert not stopping.update(Reading(20, {"stable_information": math.nan}))
    assert stopping.best_step == 10
    assert stopping.update(Reading(30, {"stable_information": math.nan}))


def test_a_resumed_run_stops_where_the_uninterrupted_one_does():
    whole = EarlyStopping(patience=2, **PLAIN)
    decisions = [whole.update(Reading(i, {"stable_information": v})) for i, v in enumerate(FALLING)]
    for cut in range(len(FALLING)):
        first = EarlyStopping(patience=2, **PLAIN)
        for i, value in enumerate(FALLING[:cut]):
            first.update(Reading(i, {"stable_information": value}))
        second = EarlyStopping(patience=2, **PLAIN)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        # Training continues from a checkpoint of two readings ago.
        for i in range(max(0, cut - 2), len(FALLING)):
            decision = second.update(Reading(i, {"stable_information": FALLING[i]}))
            assert decision == decisions[i]
        assert second.reason == whole.reason
        assert second.best_step == whole.best_step == 5


def test_the_reason_is_given():
    stopping = EarlyStopping(patience=2, **PLAIN)
    for i, value in enumerate(FALLING[:8]):
        stopping.update(Reading(10 * i, {"stable_information": value}))
    assert stopping.reason == "stable_information has not improved in 2 readings, since step 50"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "`patience` must be at least 1, got 0"),
        ({"smoothing": 1.5}, "`smoothing` must be an integer, got 1.5"),
        ({"n_warmup_steps": -1}, "`n_warmup_steps` must be at least 0, got -1"),
        ({"min_delta": -0.1}, "`min_delta` must be at least 0, got -0.1"),
        ({"patience_share": math.nan}, "`patience_share` must be at least 0, got nan"),
        ({"readout": "nothing"}, "`readouts` must be .*, got 'nothing'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**arguments)


def test_a_reading_without_the_readout_is_refused():
    with pytest.raises(
        ValueError, match=r"^`reading` must have stable_information, got a at step 3$"
    ):
        EarlyStopping().update(Reading(3, {"a": 1.0}))
