"""What a trial of Tune reports at steps that are read, and at steps that are not."""

import math
import tempfile

import pytest
import torch
from optuna_studies import INPUTS, make_model
from ray import tune
from ray.tune.utils import flatten_dict

from prescreen.integrations import budget as budgets
from prescreen.integrations.ray import Reader
from prescreen.integrations.ray import reader as readers
from prescreen.integrations.ray.results import reading_in, was_due
from prescreen.panel import DEFAULT_PANEL


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


def train(config):
    """Continues from checkpoints; its reader is made before or after one is loaded."""
    model, saved = make_model(), {}
    reader = Reader(model, INPUTS, budget=None) if config["makes"] == "before" else None
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            saved = torch.load(f"{folder}/state.pt", weights_only=True)
        model.load_state_dict(saved["model"])
    if reader is None:
        reader = Reader(model, INPUTS, budget=None)
    if saved and config["saves"]:
        reader.load_state_dict(saved["reader"])
    for step in range(saved.get("step", 0) + 1, 5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.3)
        result = reader.read(step)
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "reader": reader.state_dict(), "step": step}
            torch.save(state, f"{folder}/state.pt")
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(folder))
        if step == 2 and not saved and config["fails"]:
            raise RuntimeError("this worker is lost")


CASES = [
    {"makes": "before", "saves": True, "fails": False},
    {"makes": "before", "saves": True, "fails": True},
    {"makes": "after", "saves": True, "fails": True},
    {"makes": "after", "saves": False, "fails": True},
]


def train_case(config):
    train(config["case"])


@pytest.mark.slow
def test_a_trial_that_continues_reads_as_one_that_was_not_interrupted(ray_session, tmp_path):
    space = {"case": tune.grid_search(CASES)}
    run = tune.RunConfig(
        storage_path=str(tmp_path), failure_config=tune.FailureConfig(max_failures=1), verbose=0
    )
    results = tune.Tuner(train_case, param_space=space, run_config=run).fit()
    found = {}
    for result in results:
        config = result.config["case"]
        frame = result.metrics_dataframe
        names = [f"prescreen/{name}" for name in (*DEFAULT_PANEL, "score")]
        found[tuple(config.values())] = frame[["step", *names]].values.tolist()
        stopped = config["fails"] and not config["saves"]
        assert (result.error is not None) == stopped
        if stopped:
            assert "`reader` must have its state where a trial continues" in str(result.error)
    whole = found["before", True, False]
    assert len(whole) == 4
    for key, rows in found.items():
        assert rows == whole[: len(rows)]
        assert len(rows) == (4 if key[1] else 2)


def test_a_reader_that_may_see_a_loaded_model_needs_its_state(monkeypatch):
    first = Reader(make_model(), INPUTS, budget=None)
    before = first.read(1)["prescreen"]
    monkeypatch.setattr(tune, "get_checkpoint", lambda: "a checkpoint")
    trained = make_model()
    torch.nn.init.normal_(trained[0].weight, std=9.0)
    reader = Reader(trained, INPUTS, budget=None)
    with pytest.raises(ValueError, match=r"^`reader` must have its state where a trial continues"):
        reader.read(2)
    reader.load_state_dict(first.state_dict())
    after = reader.read(2)["prescreen"]
    assert [after[name] for name in ("isotropy", "flops")] == [before["isotropy"], before["flops"]]
    without = Reader(trained, INPUTS, ["entropy"], budget=None)  # needs nothing of before
    assert without.read(2)["prescreen"]["entropy"] > 0
