"""What a trial of Tune reports at steps that are read, and at steps that are not."""

import math

import pytest
from optuna_studies import INPUTS, make_model
from ray.tune.utils import flatten_dict

from prescreen.integrations import budget as budgets
from prescreen.integrations.ray import Reader
from prescreen.integrations.ray import reader as readers
from prescreen.integrations.ray.results import reading_in, was_due


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(budgets, "clock", made)
    monkeypatch.setattr(readers, "_ACCOUNT", budgets.Account())
    return made


def test_a_step_that_is_not_read_reports_the_latest_score(clock):
    reader = Reader(make_model(), INPUTS, ["entropy", "confidence"])
    assert reader.read(0) == {
        "step": 0,
        "prescreen": {"score": pytest.approx(math.nan, nan_ok=True)},
    }
    scores = [math.nan]
    for step in range(1, 3000):
        clock.now += 1.0
        result = reader.read(step)
        assert result["step"] == step
        for form in (result, flatten_dict(result)):
            assert was_due(form) == ("entropy" in result["prescreen"])
            assert (reading_in(form) is not None) == was_due(form)
        if was_due(result):
            scores.append(result["prescreen"]["score"])
        assert result["prescreen"]["score"] == pytest.approx(scores[-1], nan_ok=True)
    assert len(scores) > 5


def test_overhead_is_what_reading_took_and_is_no_readout(clock):
    model = make_model()
    model.register_forward_hook(lambda *call: setattr(clock, "now", clock.now + 2.0))
    reader = Reader(model, INPUTS, ["confidence"], budget=None)
    found = []
    for step in range(1, 4):
        clock.now += 6.0
        result = reader.read(step)
        found.append(result["prescreen"]["overhead"])
        reading = reading_in(flatten_dict(result))
        assert reading.overhead == found[-1]
        assert {*reading.values} == {"confidence"}
    assert found == pytest.approx([found[0], 2 * found[0], 3 * found[0]])
    assert reader.share == pytest.approx(found[-1] / clock.now)


def test_a_result_says_whether_a_reading_failed():
    reader = Reader(make_model(), INPUTS[:, :3], ["confidence"], budget=None)
    with pytest.warns(UserWarning, match="^the trial continues without a reading: "):
        failed = reader.read(1)
    assert failed == {"step": 1}
    assert was_due(failed)


def test_before_training_the_panel_says_what_is_known_of_the_untrained_network(clock):
    reader = Reader(make_model(), INPUTS)
    result = reader.read(0)
    values = result["prescreen"]
    assert result["step"] == 0
    assert values["flops"] > 0
    assert math.isnan(values["ahead/expected_agreement"])
    assert math.isnan(values["score"])  # nothing has failed
    assert reading_in(result).architecture
    clock.now += 1.0
    assert reader.read(1)["prescreen"]["flops"] == values["flops"]
