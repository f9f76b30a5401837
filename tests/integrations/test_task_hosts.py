"""Every host takes every kind of task as it takes a classifier of images."""

import math
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader
from toy_networks import network
from toy_tasks import TASKS

from prescreen import CheckpointSelector, Monitor, Training
from prescreen.readouts import resolve_readouts
from prescreen.screening import Plan
from prescreen.spaces.space import Space, accepted
from prescreen.tasks.base import panel_of, targets_of

every = pytest.mark.parametrize("kind", TASKS)
BRIEF = Training(steps=8, batch_size=16, lr=0.05)


def model_for(kind, task):
    torch.manual_seed(0)
    return network(kind)(8, **accepted(network(kind), task.sizes))


def options(task):
    return {"link": task.link, "parts": getattr(task, "parts", None), "view": task.views}


def checkpoint_panel(task):
    """What chooses checkpoints; measures of the untrained network cannot."""
    names = getattr(
        task, "checkpoint_panel", ("entropy",) if task.link == "softmax" else ("rankme",)
    )
    return resolve_readouts(names, targets_of(task))


def trained(task, model):
    """Steps of a loop of one's own."""
    optimizer, batches = torch.optim.SGD(model.parameters(), lr=0.05), task.batches(16, 0)
    for step in (1, 2, 3):
        optimizer.zero_grad()
        task.loss(model, next(batches)).backward()
        optimizer.step()
        yield step


@every
def test_rays_trainable_reads_it_and_continues_from_a_checkpoint(kind, tmp_path):
    pytest.importorskip("ray")
    from prescreen.integrations.ray.trainable import ScreeningTrainable

    task = TASKS[kind](0)
    module = SimpleNamespace(sample=dict, build=lambda config, **sizes: model_for(kind, task))

    class Direct(ScreeningTrainable):
        """Without Tune, which hands the space and the plan over in its object store."""

        trial_name = "one"

        def setup(self, config):
            super().setup(config, Space("toys", module), Plan(task, BRIEF, readings=2))

    first = Direct({})
    results = [first.step()]
    first.save_checkpoint(str(tmp_path))
    results.append(first.step())
    assert [result["step"] for result in results] == [4, 8]
    values = results[1]["prescreen"]
    assert all(math.isfinite(values[name]) for name in panel_of(task))
    other = Direct({})
    other.load_checkpoint(str(tmp_path))
    assert other.step()["prescreen"] == values


@every
def test_optunas_reader_reads_it_in_a_loop_of_its_own(kind):
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import Reader

    task = TASKS[kind](0)
    model, trial = model_for(kind, task), optuna.create_study().ask()
    panel = resolve_readouts(panel_of(task), targets_of(task))
    reader = Reader(trial, model, task.probe, readouts=panel, budget=None, **options(task))
    for step in trained(task, model):
        values = reader.read(step).values
        assert all(math.isfinite(values[name]) for name in panel)
    assert not reader.should_prune()


@every
def test_checkpoints_are_chosen(kind, tmp_path):
    task = TASKS[kind](0)
    model, names = model_for(kind, task), checkpoint_panel(task)
    readouts = resolve_readouts(names, targets_of(task))
    monitor = Monitor(task.probe, readouts=readouts, **options(task))
    selector = CheckpointSelector(tmp_path / "best", names)
    for step in trained(task, model):
        reading = monitor.read(model, step)
        selector.update(reading, model)
        follows = any(one.of_before for one in readouts.values())
        assert (step == 1 and follows) or all(map(math.isfinite, reading.values.values()))
    model.load_state_dict(selector.load())


@every
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning")
def test_lightnings_trainer_keeps_the_best_checkpoint(kind, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from prescreen.integrations.lightning import (
        ReadoutCheckpoint,
        ReadoutEarlyStopping,
        ReadoutModelCheckpoint,
    )

    task = TASKS[kind](0)
    resolved = resolve_readouts(checkpoint_panel(task), targets_of(task))
    readouts = {f"my {name}": readout for name, readout in resolved.items()}

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = model_for(kind, task)

        def forward(self, *inputs, **keywords):
            return self.network(*inputs, **keywords)

        def training_step(self, batch, index):
            return task.loss(self, batch)

        def train_dataloader(self):
            batches = [*islice(task.batches(16, 0), 2)]
            return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05)

    monitor = Monitor(task.probe, readouts=readouts, **options(task))
    keep = ReadoutCheckpoint(monitor, tmp_path / "best")
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    whole = ReadoutModelCheckpoint(monitor, tmp_path / "whole")
    every_kind = [keep, whole, ReadoutEarlyStopping(monitor)]
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=every_kind, **quiet)
    trainer.fit(Module())
    logged = {f"prescreen/{name}" for name in readouts}
    assert logged <= {*trainer.callback_metrics}
    assert keep.selector.best.step in (2, 4)
    assert whole.best_model_path.endswith(f"step-{keep.selector.best.step}.ckpt")
