"""The ready-made objective over a search space."""

import math
import types

import optuna
import pytest
import torch
from optuna.pruners import NopPruner, ThresholdPruner
from optuna.trial import FixedTrial, TrialState
from optuna_studies import needs_constraints
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toy import make_task, mlp

from prescreen.integrations.optuna import ReadoutPruner, objective, trajectory
from prescreen.integrations.optuna.costs import costs_of
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import READOUTS
from prescreen.screening import screen
from prescreen.spaces.candidate import Candidate
from prescreen.training.recipe import Training

BRIEF = Training(steps=6, batch_size=16)
FULL = Training(steps=12, batch_size=16)


def sample(trial):
    return {"width": trial.suggest_categorical("width", [4, 8, 32])}


def space(build=lambda config: mlp(config["width"])):
    module = types.ModuleType("small_space")
    module.sample, module.build = sample, build
    return module


def run(function, directions=("maximize",), trials=4, pruner=None, **options):
    study = optuna.create_study(
        directions=directions,
        pruner=pruner or NopPruner(),
        sampler=optuna.samplers.RandomSampler(0),
    )
    study.optimize(function, n_trials=trials, **options)
    return study


def test_the_value_is_the_score_of_the_last_reading():
    study = run(objective(space(), make_task(), BRIEF, value="entropy", readouts=["entropy"]))
    for trial in study.trials:
        read = trajectory(trial)
        assert [reading.step for reading in read] == [2, 3, 5, 6]
        assert trial.value == READOUTS["entropy"].score(read.last.values["entropy"])
        width = trial.params["width"]
        candidate = Candidate("again", {}, lambda width=width: mlp(width))
        *_, expected = screen(candidate, make_task(), BRIEF, ["entropy"])
        assert read.last.values == expected.values


def test_survivors_are_trained_in_full_and_evaluated_by_the_users_function():
    seen = []

    def evaluate(model):
        seen.append(model)
        return sum(p.numel() for p in model.parameters())

    function = objective(space(), make_task(), BRIEF, value=evaluate, full_training=FULL)
    study = run(function, ("minimize",), pruner=ReadoutPruner())
    assert [trial.value for trial in study.trials] == [
        sum(p.numel() for p in model.parameters()) for model in seen
    ]
    steps = [[reading.step for reading in trajectory(trial)] for trial in study.trials]
    assert steps == [[0, 2, 3, 5, 6, 12]] * 4  # 0: the untrained network
    width = study.trials[0].params["width"]
    built = []
    candidate = Candidate("again", {}, lambda: built.append(mlp(width)) or built[0])
    (_,) = screen(candidate, make_task(), FULL, readings=1)
    for ours, alone in zip(seen[0].parameters(), built[0].parameters(), strict=True):
        assert torch.equal(ours, alone)


def test_pruned_trials_are_not_trained_in_full():
    never = ReadoutPruner(
        ThresholdPruner(lower=2.0), ["mutual_information"], n_startup_trials=0, min_agreement=None
    )
    evaluated = []
    function = objective(
        space(),
        make_task(),
        BRIEF,
        value=evaluated.append,
        full_training=FULL,
        readouts=["mutual_information"],
    )
    study = run(function, pruner=never)
    assert all(trial.state is TrialState.PRUNED for trial in study.trials)
    assert all(len(trajectory(trial)) == 1 for trial in study.trials)
    assert evaluated == []


@needs_constraints
def test_costs_are_returned_and_limits_are_constraints():
    function = objective(
        space(),
        make_task(),
        BRIEF,
        value="ahead/expected_agreement",
        costs=["parameters", "flops"],
        limits={"parameters": 300},
    )
    study = run(function, ("maximize", "minimize", "minimize"), trials=8)
    widths = {trial.params["width"] for trial in study.trials}
    assert widths == {4, 8, 32}
    for trial in study.trials:
        width = trial.params["width"]
        parameters = 17 * width + 3 * (width + 1)
        within = parameters <= 300
        assert trial.state is (TrialState.COMPLETE if within else TrialState.PRUNED)
        assert (trial.constraints["parameters"] <= 0) is within
        if within:
            assert trial.values[1:] == [parameters, 2 * 16 * width + 2 * width * 3]
        else:
            assert len(trajectory(trial)) == 0


class Rows(nn.Module):
    """Puts the rows of an image side by side again."""

    def forward(self, x):
        return x.reshape(-1, 4 * x.shape[-1])


class Stubborn(nn.Module):
    """Reads a value, which meta tensors do not have."""

    def forward(self, x):
        return x * float(x.sum() + 1)


def test_costs_if_the_meta_device_fails():
    task = make_task()
    state = torch.get_rng_state()
    plain = costs_of(Candidate("a", {}, lambda: mlp(8)), task, ["parameters", "flops"])
    stubborn = Candidate("b", {}, lambda: nn.Sequential(Stubborn(), mlp(8)))
    assert costs_of(stubborn, task, ["flops", "parameters"]) == plain
    with FlopCounterMode(display=False) as counter:
        mlp(8)(torch.zeros(1, 1, 4, 4))
    assert plain["flops"] == counter.get_total_flops()
    assert costs_of(stubborn, task, []) == {}
    torch.set_rng_state(state)


@pytest.mark.parametrize("limits", [{}, pytest.param({"flops": 1e9}, marks=needs_constraints)])
def test_a_candidate_that_fails_is_pruned_and_says_why(limits):
    def build(config):
        if config["width"] == 8:
            raise RuntimeError("no such layer")
        return mlp(config["width"])

    function = objective(
        space(build), make_task(), BRIEF, value="ahead/expected_agreement", limits=limits
    )
    study = run(function, trials=6)
    for trial in study.trials:
        failed = trial.params["width"] == 8
        assert trial.state is (TrialState.PRUNED if failed else TrialState.COMPLETE)
        said = trial.user_attrs.get(f"prescreen:{trial.number}:failure")
        assert said == ("build: RuntimeError: no such layer" if failed else None)


def test_it_runs_on_a_fixed_trial():
    function = objective(
        space(), make_task(), BRIEF, value="mutual_information", readouts=["mutual_information"]
    )
    assert 0 < function(FixedTrial({"width": 8})) < math.log(3)


class Noisy(nn.Module):
    """Draws random numbers in training, and in eval mode as well."""

    def forward(self, x):
        return nn.functional.dropout(x + 0.1 * torch.randn_like(x), 0.2, True)


def evaluate(model):
    """Draws as a DataLoader with shuffling does."""
    inputs = torch.randn(64, 1, 4, 4)
    with torch.no_grad():
        return model(inputs).amax().item()


@pytest.mark.parametrize("value", ["ahead/expected_agreement", evaluate])
def test_values_do_not_depend_on_n_jobs(value):
    """All threads share torch's generators and attention kernels."""

    def build(config):
        encoder = nn.TransformerEncoderLayer(config["width"], 2, config["width"], batch_first=True)
        return nn.Sequential(
            nn.Flatten(0, 2), nn.Linear(4, config["width"]), Noisy(), encoder, nn.Dropout(0.3),
            Rows(), nn.Linear(4 * config["width"], 3),
        )  # fmt: skip

    function = objective(space(build), make_task(), BRIEF, value=value, costs=["flops"], readings=3)
    found = []
    for n_jobs in (1, 2, 4):
        study = optuna.create_study(directions=["maximize", "minimize"], pruner=NopPruner())
        for width in (4, 8, 32) * 3:
            study.enqueue_trial({"width": width})
        study.optimize(function, n_trials=9, n_jobs=n_jobs)
        readings = {t.number: [r.values for r in trajectory(t)] for t in study.trials}
        found.append(
            {t.number: str((t.params, t.values, readings[t.number])) for t in study.trials}
        )
        assert torch.backends.mha.get_fastpath_enabled()
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "accuracy"}, "`value` must be .* of the readouts .* got 'accuracy'"),
        ({"value": 3}, "`value` must be a function or a readout's name, got 3"),
        ({"costs": ["latency"]}, "`costs` must be distinct ones of parameters, flops.*latency"),
        ({"costs": "flops"}, "`costs` must be distinct ones of parameters, flops.* got 'flops'"),
        ({"limits": {"latency": 1}}, "`limits` must be distinct ones of parameters, flops"),
        ({"limits": {"flops": 0}}, "`limits` must be above 0, got 0 for flops"),
        ({"readings": 0}, "`readings` must be at least 1, got 0"),
        (
            {"training": Training(seconds=1.0)},
            "`training` must have a budget in steps, got seconds=1.0",
        ),
        (
            {"full_training": BRIEF},
            "`full_training` must have more steps than brief training .6., got 6",
        ),
        ({"readouts": ["entropie"]}, "`readouts` must be .* got 'entropie'"),
        ({"space": "no_such_space"}, "`space` must be a built-in one .*, got 'no_such_space'"),
    ],
)
def test_arguments_are_checked_before_a_study_begins(changes, message):
    arguments = {
        "space": space(),
        "task": make_task(),
        "training": BRIEF,
        "value": "ahead/expected_agreement",
    }
    with pytest.raises(ValueError, match=f"^{message}"):
        objective(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("directions", "costs", "message"),
    [
        (["minimize"], [], "`directions` must be maximize, got minimize"),
        (
            ["maximize"],
            ["flops"],
            "`directions` must be 2 in number, for the value and flops, got 1",
        ),
        (["maximize"] * 2, ["flops"], "`directions` must be maximize, minimize, got maximize, m"),
    ],
)
def test_a_study_that_does_not_fit_is_refused(directions, costs, message):
    function = objective(space(), make_task(), BRIEF, value=DEFAULT_PANEL[0], costs=costs)
    with pytest.raises(ValueError, match=f"^{message}"):
        run(function, directions, trials=1)


def test_readings_are_logged_and_shown():
    taken = []
    function = objective(
        space(),
        make_task(),
        BRIEF,
        value="ahead/expected_agreement",
        readings=2,
        mirror="attributes",
        log=lambda values, step, run: taken.append((values, step, run)),
    )
    (trial,) = run(function, trials=1).trials
    readings = trajectory(trial).readings
    shown = {f"prescreen/{name}": value for name, value in readings[-1].values.items()}
    assert shown.items() <= trial.user_attrs.items()
    assert 0 <= trial.user_attrs["prescreen/score"] <= 1
    assert taken[-1] == (shown, readings[-1].step, "trial 0")
    assert [step for _, step, _ in taken] == [one.step for one in readings]
