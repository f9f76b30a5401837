"""One trial in several processes: all are told what the first one read and decided."""

import math
import warnings

import optuna
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from optuna.pruners import BasePruner
from optuna_studies import FREE, INPUTS, make_model

from prescreen.integrations.optuna import Reader, ReadoutPruner, Recorder, trajectory
from prescreen.probe import Probe


class TorchDistributedTrial:
    """As far as a reader looks at that of optuna-integration, which may not be installed."""

    def __init__(self, trial):
        self._delegate, self._group = trial, dist.group.WORLD


def trial_of(kind, trial):
    if kind == "own":
        return TorchDistributedTrial(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental
        from optuna_integration import TorchDistributedTrial as Theirs

        return Theirs(trial)


class Late(BasePruner):
    """Prunes from the third reading on."""

    def prune(self, study, trial):
        return len(trial.intermediate_values) > 2


def train(rank, kind, folder, told):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    pruner = ReadoutPruner(Late(), ["entropy", "flops"], **FREE)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask() if rank == 0 else None
    model = torch.nn.parallel.DistributedDataParallel(make_model())
    reader = Reader(trial_of(kind, trial), model, INPUTS + rank, budget=None, mirror="attributes")
    found = []
    for step in range(1, 5):
        reading = reader.read(step)
        found.append((reading.step, dict(reading.values), reader.should_prune()))
    errors = []
    for bad in (lambda: reader.read(2), lambda: study.tell(trial, 1.0) if rank == 0 else None):
        try:
            bad()
            reader.read(9)
        except Exception as error:
            errors.append((type(error).__name__, str(error)))
    told[rank] = found, errors, reader.share > 0, len(trajectory(trial)) if rank == 0 else None
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["own", pytest.param("theirs", marks=pytest.mark.slow)])
def test_all_processes_prune_a_trial_together(tmp_path, kind):
    if kind == "theirs":
        pytest.importorskip("optuna_integration", reason="optuna-integration is not installed")
    with mp.Manager() as manager:
        told = manager.dict()
        mp.spawn(train, (kind, str(tmp_path), told), nprocs=2)
        (first, first_errors, *of_first), (other, other_errors, *of_other) = told[0], told[1]
    assert first == other
    assert [pruned for *_, pruned in first] == [False, False, True, True]
    probe = Probe(INPUTS, ["entropy", "flops"])
    probe.read_untrained(make_model())
    assert first[0][1] == pytest.approx(dict(probe.read(make_model(), 1).values))
    assert all(
        there.endswith(here)
        for (_, here), (_, there) in zip(first_errors, other_errors, strict=True)
    )
    assert [kind for kind, _ in first_errors] == [kind for kind, _ in other_errors]
    assert [kind for kind, _ in first_errors] == ["ValueError", "RuntimeError"]
    assert of_first == [True, 4]
    assert of_other == [False, None]


def test_what_would_never_prune_it_is_refused_by_name():
    class TorchDistributedTrial(optuna.trial.FixedTrial):
        pass

    message = r"^`trial` must be that of one process, got TorchDistributedTrial; read with Reader"
    with pytest.raises(ValueError, match=message):
        Recorder(TorchDistributedTrial({}))


def other_weights():
    model = make_model()
    torch.nn.init.normal_(model[0].weight)
    return model


def resumed(study, trial):
    """A dead attempt's copy, as Optuna's callback for stale heartbeats makes it."""
    study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    return study.ask()


@pytest.mark.parametrize("budget", [None, 1.0])
@pytest.mark.parametrize("loads", ["before", "after"])
def test_a_reader_may_be_made_before_or_after_a_checkpoint_is_loaded(budget, loads):
    study, trained = optuna.create_study(), make_model()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(3.0)
    first = study.ask()
    reader = Reader(first, make_model(), INPUTS, budget=budget)
    before = reader.read(1)
    second = resumed(optuna.create_study(), first)
    model = other_weights()
    if loads == "after":
        reader = Reader(second, model, INPUTS, budget=budget)
    model.load_state_dict(trained.state_dict())
    if loads == "before":
        reader = Reader(second, model, INPUTS, budget=budget)
    again = reader.read(2)
    for name in ("isotropy", "flops"):
        assert again.values[name] == before.values[name]
    assert math.isfinite(again.values["isotropy"])
    assert again.architecture == before.architecture


def test_another_architecture_is_measured_itself():
    study = optuna.create_study()
    first = study.ask()
    Reader(first, make_model(), INPUTS, budget=None).read(1)
    second = resumed(study, first)
    other = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    Reader(second, other, INPUTS, budget=None).read(1)
    readings = [trajectory(trial).last for trial in (first, second)]
    assert readings[0].architecture != readings[1].architecture
    assert readings[0].values["flops"] != readings[1].values["flops"]
