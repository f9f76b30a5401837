import json
import math

import pytest

from prescreen.reading import Reading, Trajectory


def test_json_round_trip_is_exact_and_strict():
    values = {"a": 0.1 + 0.2, "nan": math.nan, "up": math.inf, "down": -math.inf, "tiny": 5e-324}
    reading = Reading(7, values, seconds=1 / 3, training_loss=math.nan, parameters=12)
    text = json.dumps(reading.to_json(), allow_nan=False)
    back = Reading.from_json(json.loads(text))
    assert (back.step, back.seconds, back.parameters) == (7, 1 / 3, 12)
    assert math.isnan(back.training_loss)
    assert math.isnan(back.values["nan"])
    del values["nan"]
    assert {name: back.values[name] for name in values} == values


def test_series_and_smoothing():
    trajectory = Trajectory([Reading(1, {"a": 1.0}), Reading(2, {"a": 2.0})])
    trajectory.append(Reading(5, {"a": 6.0, "b": 1.0}))
    assert trajectory.series("a") == ([1, 2, 5], [1.0, 2.0, 6.0])
    assert trajectory.smoothed("a") == 6.0
    assert trajectory.smoothed("a", window=2) == 4.0
    assert trajectory.smoothed("a", window=9) == 3.0
    assert math.isnan(trajectory.smoothed("b", window=2))
    assert math.isnan(Trajectory().smoothed("a"))
    assert trajectory.last.step == 5
    assert len(trajectory) == 3


def test_steps_must_rise_and_windows_be_positive():
    trajectory = Trajectory([Reading(3, {})])
    with pytest.raises(ValueError, match=r"^`reading` must be of a step after 3, got 3$"):
        trajectory.append(Reading(3, {}))
    with pytest.raises(ValueError, match=r"^`window` must be at least 1, got 0$"):
        trajectory.smoothed("a", window=0)
