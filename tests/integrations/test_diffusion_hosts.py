"""Hosts take a diffusion model as they take a classifier of images: one test a host."""

import json
import math

import pytest
import torch
from toy_networks import Denoiser
from toy_tasks import diffusion

from prescreen import CheckpointSelector, Monitor, Training
from prescreen.cli.app import run
from prescreen.readouts import resolve_readouts
from prescreen.screening import Plan
from prescreen.spaces.space import resolve_space

CONFIG = {"depth": 1, "width": 4, "kernel": 3, "norm": "group", "skip": "add"}
BRIEF = Training(steps=8, batch_size=8)


def test_rays_trainable_reads_it_and_continues_from_a_checkpoint(tmp_path):
    pytest.importorskip("ray")
    from prescreen.integrations.ray.trainable import ScreeningTrainable

    class Direct(ScreeningTrainable):
        """Without Tune, which hands the space and the plan over in its object store."""

        trial_name = "one"

        def setup(self, config):
            super().setup(config, resolve_space("unet"), Plan(diffusion(0), BRIEF, readings=2))

    first = Direct(CONFIG)
    results = [first.step()]
    first.save_checkpoint(str(tmp_path))
    results.append(first.step())
    assert [result["step"] for result in results] == [4, 8]
    values = results[1]["prescreen"]
    assert all(math.isfinite(values[name]) for name in diffusion(0).panel)
    other = Direct(CONFIG)
    other.load_checkpoint(str(tmp_path))
    assert other.step()["prescreen"] == values


def trained(task, model):
    """Steps of a loop of one's own."""
    optimizer, batches = torch.optim.SGD(model.parameters(), lr=0.05), task.batches(16, 0)
    for step in (1, 2, 3):
        optimizer.zero_grad()
        task.loss(model, next(batches)).backward()
        optimizer.step()
        yield step


def test_optunas_reader_reads_it_in_a_loop_of_its_own():
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import Reader

    task, model = diffusion(0), Denoiser(8, 4)
    trial = optuna.create_study().ask()
    options = {"readouts": task.panel, "link": task.link, "parts": task.parts}
    reader = Reader(trial, model, task.probe, view=task.views, budget=None, **options)
    for step in trained(task, model):
        values = reader.read(step).values
        assert all(math.isfinite(values[name]) for name in task.panel)
    assert not reader.should_prune()


def test_checkpoints_are_chosen(tmp_path):
    task, model = diffusion(0), Denoiser(8, 4)
    readouts = resolve_readouts(task.checkpoint_panel, task.targets)
    monitor = Monitor(task.probe, readouts=readouts, link=task.link, parts=task.parts)
    selector, values = CheckpointSelector(tmp_path / "best", readouts), []
    for step in trained(task, model):
        reading = monitor.read(model, step)
        selector.update(reading, model)
        values += reading.values.values()
    assert all(map(math.isfinite, values))
    model.load_state_dict(selector.load())


def test_the_command_line_ranks_networks_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = "--samples 2 --steps 4 --batch-size 4 --probe-size 12 --on here --json"
    code = run(["rank", "unet", "--data", "diffusion:digits", *options.split()])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    rows = json.loads(printed.out)["rows"]
    assert {*rows[0]["values"]} == {*diffusion(0).panel}
