"""The Ray integration on a real Ray cluster on this machine."""

import inspect
import json
import math
from pathlib import Path

import optuna
import pytest
import ray_space
import torch
from lowest import later_than
from optuna_studies import INPUTS
from optuna_studies import make_model as small_model
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch
from ray.tune.utils.serialization import TuneFunctionDecoder
from toy import BAD, make_task, mlp

from prescreen import Candidate, Training, screen
from prescreen.integrations.ray import (
    Halving,
    Median,
    PrunedSearch,
    Reader,
    ReadoutCallback,
    ReadoutScheduler,
    ReadoutStopper,
    trainable,
)
from prescreen.panel import DEFAULT_PANEL

SPACE = Path(ray_space.__file__)
BRIEF = Training(steps=8, batch_size=16)
STEPS = [2, 4, 6, 8]


def fit(what, folder, scheduler=None, *, stop=None, callbacks=(), **config):
    """Run an experiment; returns the readings of every trial in the order of results."""
    param_space = config.pop("param_space", None)
    tuner = tune.Tuner(
        what,
        param_space=param_space,
        tune_config=tune.TuneConfig(
            scheduler=scheduler, reuse_actors=True, **{"max_concurrent_trials": 1, **config}
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder), name="run", verbose=0, stop=stop, callbacks=list(callbacks)
        ),
    )
    return tuner.fit()


def readings(result):
    frame = result.metrics_dataframe
    columns = [f"prescreen/{name}" for name in DEFAULT_PANEL]
    return frame["step"].tolist(), frame[columns].to_numpy().tolist()


def expected(width):
    candidate = Candidate("again", {}, lambda: mlp(width), lambda: mlp(2 * width))
    found = list(screen(candidate, make_task(), BRIEF))
    return [[reading.values[name] for name in DEFAULT_PANEL] for reading in found]


def test_a_plain_grid_is_screened_by_reused_processes(ray_session, tmp_path):
    widths = [2, 4, 8, "broken", "constant", "explosive"]
    results = fit(
        trainable(SPACE, make_task(), BRIEF, extra={"twice": lambda model: 2.0}),
        tmp_path,
        param_space={"width": tune.grid_search(widths)},
    )
    assert results.num_errors == 0
    by_width = {result.config["width"]: result for result in results}
    assert set(by_width) == set(widths)
    for width in (2, 4, 8):
        assert readings(by_width[width]) == (STEPS, expected(width))
        metrics = by_width[width].metrics
        assert metrics["prescreen"]["score"] == metrics["prescreen"]["ahead/expected_agreement"]
        assert metrics["twice"] == 2.0
        assert metrics["parameters"] == sum(p.numel() for p in mlp(width).parameters())
        assert by_width[width].checkpoint is not None
    for width in BAD.keys() & set(widths):
        metrics = by_width[width].metrics
        kind = {"broken": "build", "constant": "collapsed", "explosive": "diverged"}[width]
        assert metrics["prescreen"]["failure"].startswith(f"{kind}: ")
        assert all(math.isnan(metrics["prescreen"][name]) for name in DEFAULT_PANEL)
        assert metrics["prescreen"]["score"] == -math.inf
        assert metrics["done"]
    assert len({result.metrics["pid"] for result in results}) == 1


def test_optunas_search_learns_which_trials_were_stopped(ray_session, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scheduler = ReadoutScheduler(Halving(2, 2), n_startup_trials=0, min_agreement=None)
    sampler = optuna.samplers.RandomSampler(seed=0)
    search = OptunaSearch(ray_space.sample, metric="prescreen/score", mode="max", sampler=sampler)
    results = fit(
        trainable(SPACE, make_task(), BRIEF),
        tmp_path,
        scheduler,
        search_alg=PrunedSearch(search),
        num_samples=8,
        callbacks=[ReadoutCallback(scheduler)],
    )
    assert results.num_errors == 0
    stopped = [result for result in results if result.metrics["prescreen"].get("stopped")]
    assert 0 < len(stopped) == len(scheduler.stopped) < 8
    assert all(result.metrics["step"] in (2, 4) for result in stopped)
    states = [trial.state.name for trial in search._ot_study.trials]
    assert states.count("PRUNED") == len(stopped)
    assert states.count("COMPLETE") == 8 - len(stopped)


def test_a_stopped_trial_is_complete_to_optunas_search_alone(ray_session, tmp_path):
    # The reason for PrunedSearch: if Tune changes this, the wrapper can go.
    class StopsAll(FIFOScheduler):
        def on_trial_result(self, controller, trial, result):
            return self.STOP

    search = OptunaSearch(ray_space.sample, metric="prescreen/score", mode="max")
    what = trainable(SPACE, make_task(), BRIEF)
    fit(what, tmp_path, StopsAll(), search_alg=search, num_samples=1)
    assert [trial.state.name for trial in search._ot_study.trials] == ["COMPLETE"]


def test_a_custom_trainable_reports_readings(ray_session, tmp_path):
    def own(config):
        model = small_model()
        reader = Reader(model, INPUTS, ["confidence"], budget=None)
        for step in range(10, 50, 10):
            with torch.no_grad():
                model[2].weight.mul_(config["factor"])
            tune.report({"accuracy": step / 100, **reader.read(step)})

    class Falls:
        last = -math.inf

        def update(self, reading):
            falls, self.last = (
                reading.values["confidence"] < self.last,
                reading.values["confidence"],
            )
            return falls

        def state_dict(self):
            return {"last": self.last}

        def load_state_dict(self, state):
            self.last = state["last"]

    scheduler = ReadoutScheduler(  # two trials are no evidence for the default rule
        Median(), ["confidence"], n_startup_trials=2, n_warmup_steps=20, min_agreement=None
    )
    results = fit(
        own,
        tmp_path,
        scheduler,
        stop=ReadoutStopper(Falls),
        metric="accuracy",
        mode="max",
        param_space={"factor": tune.grid_search([1.2, 1.3, 1.1, 0.9])},
    )
    assert results.num_errors == 0
    assert {r.config["factor"]: r.metrics["step"] for r in results} == {
        1.2: 40, 1.3: 40, 1.1: 20, 0.9: 20,
    }  # fmt: skip
    assert len(scheduler.stopped) == 1  # the last trial was stopped by its own curve
    (saved,) = tmp_path.glob("run/experiment_state*.json")
    knows = inspect.signature(TuneFunctionDecoder.__init__).parameters  # Ray 2.41 always unpickles
    unpickles = {"allow_cloudpickle": True} if "allow_cloudpickle" in knows else {}
    state = json.loads(saved.read_text(), cls=TuneFunctionDecoder, **unpickles)
    assert len(state["runner_data"]["_stopper"]._rules) == 4  # Tune saves stoppers itself


@later_than("ray", "2.41", "closes the log of a trainable that is reset")
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_trial_continues_from_its_checkpoint_bit_for_bit(ray_session, tmp_path, stop):
    make = trainable(SPACE, make_task(), BRIEF)
    first = make({"width": 8})
    begun = [first.train() for _ in range(stop)]
    saved = first.save(str(tmp_path))
    first.stop()
    resumed = make({"width": 2})
    assert resumed.reset({"width": 8})
    resumed.restore(saved)
    rest = []
    while not (rest or begun)[-1]["done"] or not rest:
        rest.append(resumed.train())
    resumed.stop()
    if stop == 4:  # nothing is left, and the last reading is reported again
        begun.pop()
    found = [[result["prescreen"][name] for name in DEFAULT_PANEL] for result in begun + rest]
    assert found == expected(8)
    assert [result["step"] for result in begun + rest] == STEPS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": Training(seconds=1.0)}, "`training` must have a budget in steps"),
        ({"readings": 0}, "`readings` must be at least 1, got 0"),
        ({"readouts": ["entropie"]}, "`readouts` must .* got 'entropie'"),
        ({"space": "no_such_space"}, "`space` must be a built-in one .*, got 'no_such_space'"),
        ({"task": "no_such_data"}, "`data` must be a folder, .*, got 'no_such_data'"),
        ({"extra": {"step": abs}}, "`extra` must have names that no result has, got step"),
    ],
)
def test_arguments_are_checked_before_an_experiment_begins(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        trainable(**{"space": SPACE, "task": make_task(), "training": BRIEF, **changes})


def test_tune_takes_results_of_steps_that_are_not_read(ray_session, tmp_path):
    """Also where the metric is the score; step 5 is at no point of the grid."""

    def own(config):
        reader = Reader(small_model(), INPUTS, ["confidence"])
        for step in range(1, 6):
            tune.report({"accuracy": step / 10, **reader.read(step)})

    results = fit(own, tmp_path, num_samples=2, metric="prescreen/score", mode="max")
    assert results.num_errors == 0
    for result in results:
        frame = result.metrics_dataframe
        assert frame["step"].tolist() == [1, 2, 3, 4, 5]
        assert "prescreen/score" in frame
        if "prescreen/confidence" in frame:  # if the budget of this process covers the trial
            assert frame["prescreen/confidence"].isna()[4]
