"""What `print` shows of public objects: no tensors, no addresses, no NaN that nobody measured."""

import re

import pytest
import toy
import toy_tasks
from toy import GOOD, TRAINING, make_task

import prescreen
from prescreen import (
    DEFAULT_PANEL,
    READOUTS,
    Candidate,
    CandidateFailed,
    CheckpointSelector,
    EarlyStopping,
    Monitor,
    Probe,
    Processes,
    Readout,
    TrainingProbe,
    capture,
    rank,
    read,
    screen,
    select_checkpoint,
)
from prescreen.ranking import Here, Ray, open_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("shown")
    rank({**GOOD, **toy.BAD}, make_task(), training=TRAINING, out=path / "run")
    return path


def monitor():
    return Monitor(make_task().probe)


def selector(folder):
    made = CheckpointSelector(folder / "best")
    made.update(monitor().read(toy.small(), 5), toy.small())
    return made


def checkpoints(folder):
    import torch

    torch.save(toy.small().state_dict(), folder / "a.pt")
    return select_checkpoint([folder / "a.pt"], toy.small, make_task())


# How each public name is come by, or an object that it makes.
MADE = {
    "DEFAULT_PANEL": lambda folder: DEFAULT_PANEL,
    "READOUTS": lambda folder: READOUTS,
    "Candidate": lambda folder: Candidate("small", {"width": 8}, toy.small),
    "CandidateFailed": lambda folder: CandidateFailed("run", "why"),
    "CheckpointRanking": checkpoints,
    "CheckpointSelector": selector,
    "EarlyStopping": lambda folder: EarlyStopping(),
    "Monitor": lambda folder: monitor(),
    "Probe": lambda folder: Probe(make_task().probe),
    "Processes": lambda folder: Processes(2),
    "Ranking": lambda folder: open_run(folder / "run").ranking,
    "Reading": lambda folder: read(toy.small(), make_task().probe),
    "Readout": lambda folder: Readout(lambda head: 1.0),
    "Task": lambda folder: make_task(),
    "Training": lambda folder: TRAINING,
    "TrainingProbe": lambda folder: TrainingProbe(["entropy"]),
    "capture": lambda folder: capture(toy.small(), make_task().probe),
    "load_task": lambda folder: prescreen.load_task,
    "rank": lambda folder: rank,
    "read": lambda folder: read(toy.small(), make_task().probe),
    "screen": lambda folder: screen(Candidate("s", {}, toy.small), make_task(), TRAINING),
    "select_checkpoint": lambda folder: select_checkpoint,
}
MORE = {
    "Trajectory": lambda folder: open_run(folder / "run").ranking.best.trajectory,
    "Row": lambda folder: open_run(folder / "run").ranking.best,
    "Run": lambda folder: open_run(folder / "run"),
    "Explanation": lambda folder: open_run(folder / "run").ranking.explain("small"),
    "Here": lambda folder: Here(),
    "Ray": lambda folder: Ray(),
    "readouts": lambda folder: [*READOUTS.values()][:5],
}


def readable(text, longest=3000):
    assert not re.search(r" at 0x|tensor\(|\bnan\b|<function|object at", text), text
    assert 0 < len(text) < longest
    assert all(line.isprintable() for line in text.splitlines())


def test_every_public_name_has_its_row():
    assert set(MADE) == set(prescreen.__all__)


@pytest.mark.parametrize("name", [*MADE, *MORE])
def test_it_is_readable(folder, name):
    if name in ("load_task", "rank", "select_checkpoint"):
        return  # functions, which Python shows
    thing = {**MADE, **MORE}[name](folder)
    readable(str(thing))


@pytest.mark.parametrize("kind", toy_tasks.TASKS)
def test_tasks_are(kind):
    task = toy_tasks.TASKS[kind](0)
    if type(task).__module__.startswith("prescreen."):
        readable(repr(task), 700)
        assert task.name in repr(task)


def test_those_of_optuna_are():
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations import optuna as ours

    pruner = ours.ReadoutPruner()
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    reader = ours.Reader(trial, toy.small(), make_task().probe, budget=None)
    for thing in (
        pruner,
        ours.AnyOf(pruner),
        ours.AllOf(pruner),
        reader,
        ours.Recorder(study.ask()),
    ):
        readable(repr(thing), 700)
    reader.read(1)
    reader.should_prune()
    for thing in (ours.trajectory(trial), ours.reasons_of(study), pruner.report(study)):
        readable(str(thing))
    for rule in (ours.Median(), ours.Halving(4), ours.Improvement()):
        readable(repr(rule), 100)


def test_those_of_ray_are():
    ours = pytest.importorskip("prescreen.integrations.ray")
    from ray.tune.search.basic_variant import BasicVariantGenerator

    scheduler = ours.ReadoutScheduler()
    reader = ours.Reader(toy.small(), make_task().probe)
    stopper = ours.ReadoutStopper(EarlyStopping)
    for thing in (scheduler, ours.ReadoutCallback(scheduler), reader, stopper):
        readable(repr(thing), 700)
    assert BasicVariantGenerator  # its repr is Ray's
    readable(scheduler.debug_string())


def test_those_of_training_hosts_are(tmp_path):
    lightning = pytest.importorskip("prescreen.integrations.lightning")
    readable(repr(lightning.ReadoutEarlyStopping(monitor())))
    transformers = pytest.importorskip("prescreen.integrations.transformers")
    stopping = EarlyStopping()
    readable(repr(transformers.ReadoutCallback(monitor(), stopping=stopping)))
