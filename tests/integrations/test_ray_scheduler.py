"""The scheduler, stopper, reader and searcher for Ray Tune, called as Tune calls them."""

import logging
import math
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from optuna_studies import INPUTS, make_model
from patience import PATIENCE
from ray import cloudpickle
from ray.tune import Stopper
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from prescreen.integrations.ray import (
    Halving,
    Median,
    PrunedSearch,
    Reader,
    ReadoutCallback,
    ReadoutScheduler,
    ReadoutStopper,
)
from prescreen.panel import DEFAULT_PANEL
from prescreen.probe import Probe
from prescreen.readouts import READOUTS, Readout

FREE = {"n_startup_trials": 0, "min_agreement": None}
PANEL = ("confidence", "entropy")


def result(step, quality, **others):
    """A flattened result; low entropy is good."""
    reading = {"prescreen/confidence": quality, "prescreen/entropy": -quality}
    return {"step": step, "training_iteration": 1, **reading, **others}


def scheduler(rule=None, **options):
    made = ReadoutScheduler(rule or Median(), PANEL, **{**FREE, **options})
    made.set_search_properties("accuracy", "max")
    return made


def as_trial(trial_id):
    return SimpleNamespace(trial_id=str(trial_id))


def run(made, trial_id, results):
    """The decision at every result, up to a stop; then the trial completes."""
    decisions = []
    for one in results:
        decisions.append(made.on_trial_result(None, as_trial(trial_id), one))
        if decisions[-1] == "STOP":
            break
    made.on_trial_complete(None, as_trial(trial_id), one)
    return decisions


def test_the_worse_half_is_stopped_whichever_way_a_readout_is_good():
    made = scheduler()
    for number, quality in enumerate([0.3, 0.5, 0.7]):
        run(made, number, [result(2, quality)])
    assert run(made, "poor", [result(2, 0.4)]) == ["STOP"]
    assert run(made, "good", [result(2, 0.6)]) == ["CONTINUE"]
    assert made.stopped == {"poor": 2}
    assert "1 of 5 trials that were read were pruned" in made.debug_string()


def test_the_searcher_keeps_the_objective():
    # Tune refuses a metric in both the scheduler and TuneConfig.
    assert not ASHAScheduler(metric="prescreen/score", mode="max").set_search_properties("a", "max")
    assert ReadoutScheduler().set_search_properties("a", "max")
    assert scheduler().metric is None  # results need not contain one


def test_halving_compares_with_all_trials_at_a_rung():
    made = scheduler(Halving(grace_period=4, reduction_factor=2))
    qualities = [0.5, 0.4, 0.6, 0.45, 0.7]
    decisions = []
    for number, quality in enumerate(qualities):
        assert made.on_trial_result(None, as_trial(number), result(2, quality)) == "CONTINUE"
        decisions.append(made.on_trial_result(None, as_trial(number), result(4, quality)))
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "STOP", "CONTINUE"]


def test_steps_are_counted_not_reports():
    made = scheduler(n_warmup_steps=10)
    for number in range(3):
        run(made, number, [result(5, 0.5), result(10, 0.5)])
    later = [result(5, 0.1), result(10, 0.1)]
    assert run(made, "poor", later) == ["CONTINUE", "STOP"]
    custom = scheduler(time_attr="epoch", max_t=3)
    assert run(custom, 0, [{**result(1, 0.5), "epoch": epoch} for epoch in (1, 2, 3, 4)]) == [
        "CONTINUE", "CONTINUE", "STOP",
    ]  # fmt: skip
    assert custom.stopped == {}  # ending is not pruning


def test_the_gate_keeps_trials_while_the_order_changes():
    rng = np.random.default_rng(0)
    lasting, changing = (scheduler(n_startup_trials=5, min_agreement=0.5) for _ in range(2))
    for number, quality in enumerate(rng.random(12)):
        lasting.on_trial_result(None, as_trial(number), result(1, quality))
        lasting.on_trial_complete(None, as_trial(number), result(2, quality))
        changing.on_trial_result(None, as_trial(number), result(1, quality))
        changing.on_trial_complete(None, as_trial(number), result(2, rng.random()))
    lasting.stopped.clear()
    assert run(lasting, "poor", [result(1, -1.0)]) == ["STOP"]
    assert run(changing, "poor", [result(1, -1.0)]) == ["CONTINUE"]


def test_a_bound_on_false_prunes_looks_at_the_objective_in_its_mode():
    for mode, stops in (("max", True), ("min", False)):
        made = ReadoutScheduler(Median(), PANEL, **FREE, max_false_prune=0.1)
        made.set_search_properties("accuracy", mode)
        for number in range(60):
            quality = number * 7 % 60 / 60
            made.on_trial_complete(None, as_trial(number), result(1, quality, accuracy=quality))
        assert (run(made, "poor", [result(1, 0.01)]) == ["STOP"]) == stops
    for made, bound in (
        (ReadoutScheduler(Median(), max_false_prune=0.1), "max_false_prune"),
        (ReadoutScheduler(max_regret=0.1), "max_regret"),
    ):
        with pytest.raises(ValueError, match=rf"^`{bound}` must be None without .* got 0.1$"):
            made.set_search_properties(None, None)
    assert ReadoutScheduler(max_false_prune=0.1).set_search_properties(None, None)


@pytest.mark.parametrize("metric", ["accuracy", None])
def test_a_trial_is_stopped_that_is_unlikely_to_end_best(metric, caplog):
    """Without a metric, what trials read last stands for how they end."""
    for inverted in (False, True):
        made = ReadoutScheduler(readouts=PANEL)
        made.set_search_properties(metric, None if metric is None else "max")
        for number in range(24):
            quality = number * 7 % 24 / 24
            made.on_trial_result(
                None, as_trial(number), result(1, -quality if inverted else quality)
            )
            last = result(9, quality, accuracy=quality)
            made.on_trial_complete(None, as_trial(number), last)
        made.stopped.clear()
        poor, good = ("good", "poor") if inverted else ("poor", "good")
        assert run(made, poor, [result(1, -2.0)]) == ["CONTINUE" if inverted else "STOP"]
        assert run(made, good, [result(1, 2.0)]) == ["CONTINUE"]
        if metric is None:  # at the last step there is nothing more to learn
            assert run(made, "late", [result(9, -2.0)]) == ["CONTINUE"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "ReadoutScheduler: step 1: 5 completed trials, ρ -1.00 (-1.00 less a standard error); readings "
        "contradict how trials end, so none is pruned"
    )


def test_nan_is_the_worst():
    made = scheduler()
    for number in range(3):
        run(made, number, [result(2, 0.5)])
    assert run(made, "part", [{**result(2, 0.9), "prescreen/entropy": math.nan}]) == ["CONTINUE"]
    assert run(made, "worse", [{**result(2, 0.1), "prescreen/entropy": math.nan}]) == ["STOP"]
    assert run(made, "all", [result(2, math.nan)]) == ["STOP"]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"step": 1},
        {"prescreen/confidence": 0.5, "prescreen/entropy": 0.5},
        {"step": 1, "prescreen/confidence": 0.5},
        {**result(1, 0.5), "prescreen/entropy": None},
        {**result(1, 0.5), "step": "one"},
        {**result(1, 0.5), "step": None},
    ],
)
def test_a_result_without_a_whole_reading_is_noted_once_and_the_trial_continues(broken, caplog):
    made = scheduler()
    with caplog.at_level(logging.WARNING):
        assert run(made, "a", [broken, broken]) == ["CONTINUE", "CONTINUE"]
        assert run(made, "b", [broken]) == ["CONTINUE"]
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "ReadoutScheduler: trial a continues" in record.getMessage()
    assert run(made, "c", [result(1, 0.5)]) == ["CONTINUE"]


def test_a_trainable_that_reports_no_reading_is_told_what_to_report(caplog):
    run(scheduler(), "a", [{"step": 1, "accuracy": 0.5}])
    (record,) = caplog.records
    assert record.getMessage() == (
        "ReadoutScheduler: trial a continues: its result lacks confidence, entropy; report "
        '{"step": …, "prescreen": {"confidence": …}}, as Reader.read(step) returns it'
    )


def test_trials_are_numbered_as_tune_makes_them():
    """All trials of an architecture get the first one's value, whichever is read first."""
    panel = ("confidence", "isotropy")
    for added, stops in ((["a", "b"], False), (["b", "a"], True)):
        made = ReadoutScheduler(Median(), panel, **FREE)
        made.set_search_properties("accuracy", "max")
        for trial_id in added:
            made.on_trial_add(None, as_trial(trial_id))
        other = {"step": 1, "prescreen/confidence": 0.5, "prescreen/isotropy": 0.5}
        made.on_trial_complete(None, as_trial("other"), other)
        for trial_id, isotropy in (("b", 0.1), ("a", 0.9)):
            one = {"step": 1, "prescreen/confidence": 0.5, "prescreen/isotropy": isotropy}
            one["prescreen/architecture"] = "same"
            decision = made.on_trial_result(None, as_trial(trial_id), one)
        assert (decision == "STOP") == stops


def test_hooks_take_whatever_tune_does():
    made = scheduler()
    for hook in (made.on_trial_add, made.on_trial_error, made.on_trial_remove):
        hook(None, as_trial("new"))
    made.on_trial_complete(None, as_trial("new"), {})
    assert made.choose_trial_to_run(SimpleNamespace(get_trials=list)) is None


def test_equal_results_in_equal_order_give_equal_decisions_and_state_survives():
    one, other = scheduler(), scheduler()
    for number, quality in enumerate(np.random.default_rng(3).random(50)):
        results = [result(step, quality + step / 100) for step in (1, 2, 3)]
        # The other one is a new scheduler for every trial, with the saved state.
        again = scheduler()
        ReadoutCallback(again).set_state(
            pickle.loads(pickle.dumps(ReadoutCallback(other).get_state()))
        )
        other = again
        assert run(one, number, results) == run(other, number, results)
    assert 0 < len(one.stopped) < 50
    assert one.stopped == other.stopped


def test_a_stopped_trial_stays_stopped():
    made = scheduler()
    for number in range(3):
        run(made, number, [result(2, 0.5)])
    run(made, "poor", [result(2, 0.1)])
    assert made.on_trial_result(None, as_trial("poor"), result(4, 0.9)) == "STOP"


def test_a_new_experiment_starts_without_old_state():
    made = scheduler()
    for number in range(3):
        run(made, number, [result(2, 0.5)])
    assert made.set_search_properties("accuracy", "max")
    assert run(made, "poor", [result(2, 0.1)]) == ["CONTINUE"]


def test_a_scheduler_is_small_when_pickled():
    made = ReadoutScheduler(max_t=3)
    assert len(pickle.dumps(made)) < 2000
    made.set_search_properties("accuracy", "max")
    for number in range(100):
        reading = {f"prescreen/{name}": number / 100 for name in DEFAULT_PANEL}
        for step in (1, 2):
            made.on_trial_result(None, as_trial(number), {"step": step, **reading})
    assert len(pickle.dumps(made)) < 30_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"rule": "median"},
            "`rule` must be an Improvement, a Median or a Halving, got 'median'",
        ),
        ({"max_t": 0}, "`max_t` must be at least 1, got 0"),
        ({"interval_steps": 0}, "`interval_steps` must be at least 1, got 0"),
        ({"readouts": ["entropie"]}, "`readouts` must .* got 'entropie'.*"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ReadoutScheduler(**arguments)


def test_the_callback_marks_stopped_trials():
    made = scheduler()
    for number in range(3):
        run(made, number, [result(2, 0.5)])
    run(made, "poor", [result(2, 0.1)])
    nested = {"step": 2, "prescreen": {"confidence": 0.1}}
    ReadoutCallback(made).on_trial_result(1, [], as_trial("poor"), nested)
    reason = "pruned: poor for Median at step 2"
    assert nested["prescreen"] == {"confidence": 0.1, "stopped": True, "reason": reason}


class Recorded(Searcher):
    """A searcher that records its calls."""

    def __init__(self, metric="accuracy"):
        super().__init__(metric=metric, mode="max")
        self.told = []

    def on_trial_result(self, trial_id, result):
        self.told.append(("result", trial_id))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result is not None, error))


def test_a_searcher_does_not_see_stopped_and_failed_trials_as_completed():
    inner = Recorded()
    search = PrunedSearch(inner)
    assert (search.metric, search.mode) == ("accuracy", "max")
    search.on_trial_result("a", {"accuracy": 0.5})
    search.on_trial_complete("whole", {"accuracy": 0.5})
    search.on_trial_complete("stopped", {"accuracy": 0.5, "prescreen/stopped": True})
    search.on_trial_complete("failed", {"accuracy": 0.5, "prescreen/failure": "build: no"})
    search.on_trial_complete("diverged", {"accuracy": math.nan})
    search.on_trial_complete("error", None, error=True)
    assert inner.told == [
        ("result", "a"),
        ("whole", True, False),
        ("stopped", False, False),
        ("failed", False, False),
        ("diverged", False, False),
        ("error", False, True),
    ]


class Patience:
    """Stops when a readout has failed to rise twice."""

    def __init__(self):
        self.best, self.waited = -math.inf, 0

    def update(self, reading):
        risen = reading.values["confidence"] > self.best
        self.best = max(self.best, reading.values["confidence"])
        self.waited = 0 if risen else self.waited + 1
        return self.waited >= 2

    def state_dict(self):
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"], state["waited"]


def test_a_stopper_has_a_rule_for_every_trial_and_survives_being_pickled():
    stopper = ReadoutStopper(Patience)
    assert isinstance(stopper, Stopper)
    curves = {"rising": [0.1, 0.2, 0.3, 0.4, 0.5], "falling": [0.5, 0.4, 0.3, 0.2, 0.1]}
    stops = []
    for step in range(5):
        for trial_id, curve in curves.items():
            one = {"step": step, "prescreen": {"confidence": curve[step], "score": 1.0}}
            stops.append((trial_id, step, stopper(trial_id, one)))
        stopper = cloudpickle.loads(cloudpickle.dumps(stopper))
    assert [(t, s) for t, s, stop in stops if stop] == [
        ("falling", 2),
        ("falling", 3),
        ("falling", 4),
    ]
    assert not stopper.stop_all()


def test_a_stopper_looks_at_every_reading_once():
    stopper = ReadoutStopper(Patience)
    one = {"step": 3, "prescreen": {"confidence": 0.5}}
    assert [stopper("a", one) for _ in range(5)] == [False] * 5
    assert not stopper("a", {"step": 4})


def test_a_reader_gives_what_a_probe_does():
    model = make_model()
    reader = Reader(model, INPUTS, budget=None)
    with torch.no_grad():
        model[0].weight.mul_(2)
    reported = reader.read(10)
    assert reported["step"] == 10
    assert 0 < reported["prescreen"].pop("overhead") < PATIENCE
    untrained = make_model()
    probe = Probe(INPUTS)
    probe.read_untrained(untrained)
    expected = probe.read(model, 10)
    assert reported["prescreen"] == {
        **expected.values,
        "score": expected.values["ahead/expected_agreement"],
        "architecture": expected.architecture,
    }
    assert (
        "architecture"
        not in Reader(model, INPUTS, ["confidence"], budget=None).read(1)["prescreen"]
    )


def test_the_score_is_the_first_readout_and_higher_is_better():
    model = make_model()
    values = Reader(model, INPUTS, ["entropy", "confidence"], budget=None).read(1)["prescreen"]
    assert values["score"] == -values["entropy"]
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    values = Reader(model, INPUTS, ["entropy", "confidence"], budget=None).read(1)["prescreen"]
    assert math.isnan(values["entropy"])
    assert values["score"] == -math.inf


def test_asha_stops_what_diverged_by_its_score_and_not_by_nan():
    for metric, stops in (("prescreen/score", True), ("prescreen/confidence", False)):
        asha = ASHAScheduler("step", metric, "max", max_t=100, grace_period=1)
        asha.set_search_properties(None, None)
        for number, (value, score) in enumerate([(0.5, 0.5), (0.6, 0.6), (math.nan, -math.inf)]):
            asha.on_trial_add(None, as_trial(number))
            one = {"step": 1, "prescreen/confidence": value, "prescreen/score": score}
            decision = asha.on_trial_result(None, as_trial(number), one)
        assert (decision == "STOP") == stops


def test_a_readout_that_fails_warns_once_and_the_trial_continues():
    reader = Reader(make_model(), INPUTS[:, :3], ["confidence"], budget=None)
    with pytest.warns(UserWarning, match="^the trial continues without a reading: ") as warned:
        assert [reader.read(step) for step in (1, 2)] == [{"step": 1}, {"step": 2}]
    assert len(warned) == 1
    reader = Reader(make_model(), INPUTS[:, :3], ["confidence"], budget=None, on_error="raise")
    with pytest.raises(ValueError, match="mat1 and mat2"):
        reader.read(1)


def test_a_measure_that_fails_warns_once_and_the_trial_continues():
    readouts = {"confidence": READOUTS["confidence"], "mine": Readout(lambda n: n.no, ("network",))}
    with pytest.warns(UserWarning, match="readout 'mine' failed, AttributeError: ") as warned:
        reader = Reader(make_model(), INPUTS, readouts, budget=None)
    assert reader.read(1) == {"step": 1}
    assert len(warned) == 1
    with pytest.raises(RuntimeError, match=r"^readout 'mine' failed, AttributeError: "):
        Reader(make_model(), INPUTS, readouts, budget=None, on_error="raise")


def test_a_score_that_is_not_defined_is_not_that_of_a_failure():
    """ASHA does not stop a trial for its activation, and a searcher learns nothing from its score."""
    readouts = {"mine": Readout(lambda n: math.nan, ("network",)), "entropy": READOUTS["entropy"]}
    model = make_model()
    reader = Reader(model, INPUTS, readouts, budget=None)
    assert math.isnan(reader.read(1)["prescreen"]["score"])
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    assert reader.read(2)["prescreen"]["score"] == -math.inf
    before = Reader(make_model(), INPUTS, ["before/divergence/none"], budget=None)
    scores = [before.read(step)["prescreen"]["score"] for step in (1, 2)]
    assert math.isnan(scores[0])
    assert scores[1] == pytest.approx(0)
    told = Told("prescreen/score", "max")
    PrunedSearch(told).on_trial_complete("a", {"prescreen/score": math.nan})
    PrunedSearch(told).on_trial_complete("b", {"prescreen/score": -math.inf})
    assert told.ends == [("a", None, True), ("b", {"prescreen/score": -math.inf}, False)]


class Told(Searcher):
    """Notes the ends of trials."""

    def __init__(self, metric, mode):
        super().__init__(metric=metric, mode=mode)
        self.ends = []

    def suggest(self, trial_id):
        return {}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ends.append((trial_id, result, error))

    def save(self, checkpoint_path):
        pass

    def restore(self, checkpoint_path):
        pass


def test_a_reader_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"^`on_error` must be one of .* got .no.$"):
        Reader(make_model(), INPUTS, on_error="no")
    with pytest.raises(ValueError, match=r"^`readouts` must have names .* got score$"):
        Reader(make_model(), INPUTS, {"score": READOUTS["isotropy"]})


def test_without_ray_the_extra_is_named():
    code = "import sys; sys.modules['ray'] = None; import prescreen.integrations.ray"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs the 'ray' extra: pip install 'prescreen[ray]'" in done.stderr.splitlines()[-1]
