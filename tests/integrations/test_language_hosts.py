"""Hosts take a language model as they take a classifier of images: one test a host."""

import math

import pytest
import torch
from toy_networks import Causal
from toy_tasks import language

from prescreen import DEFAULT_PANEL, Training
from prescreen.screening import Plan
from prescreen.spaces.space import resolve_space

CONFIG = {
    "depth": 1,
    "width": 32,
    "heads": 1,
    "mlp_ratio": 1,
    "norm": "pre",
    "tied": True,
    "context": 8,
}
BRIEF = Training(steps=16, batch_size=16, optimizer="adamw", lr=0.01)


def test_rays_trainable_reads_it_and_continues_from_a_checkpoint(tmp_path):
    pytest.importorskip("ray")
    from prescreen.integrations.ray.trainable import ScreeningTrainable

    class Direct(ScreeningTrainable):
        """Without Tune, which hands the space and the plan over in its object store."""

        trial_name = "one"

        def setup(self, config):
            super().setup(config, resolve_space("gpt"), Plan(language(0), BRIEF, readings=2))

    first = Direct(CONFIG)
    results = [first.step()]
    first.save_checkpoint(str(tmp_path))
    results.append(first.step())
    assert [result["step"] for result in results] == [8, 16]
    values = results[1]["prescreen"]
    assert all(math.isfinite(values[name]) for name in language(0).panel)
    other = Direct(CONFIG)
    other.load_checkpoint(str(tmp_path))
    assert other.step()["prescreen"] == values


def test_optunas_reader_reads_it_in_a_loop_of_its_own():
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import Reader

    task = language(0)
    trial = optuna.create_study().ask()
    model = Causal(16, 4, 4)
    reader = Reader(trial, model, task.probe, view=task.views, budget=None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batches = task.batches(16, 0)
    for step in (1, 2):
        optimizer.zero_grad()
        task.loss(model, next(batches)).backward()
        optimizer.step()
        reading = reader.read(step)
        assert all(math.isfinite(reading.values[name]) for name in DEFAULT_PANEL)
    assert not reader.should_prune()
