"""A script for Ray Tune as users write it: learning rate and momentum of one network.

It reports once an epoch. Scheduler and reader have their defaults.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from torch import nn

from benchmarks.hosts.live.data import Data, convolutions
from prescreen.integrations.ray import Reader, ReadoutScheduler

SCHEDULERS: dict[str, Callable[[], TrialScheduler]] = {
    "unpruned": FIFOScheduler,
    "validation": lambda: MedianStoppingRule("training_iteration", grace_period=1),
    "readouts": ReadoutScheduler,
}


def train(config: dict[str, Any], data: Data, way: str, epochs: int) -> None:
    """A trial: it reports accuracy and CPU seconds, both of the trial so far."""
    begun = time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = convolutions(16, 3, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    reader = Reader(model, data.unlabelled) if way == "readouts" else None
    step = 0
    for _ in range(epochs):
        for inputs, labels in data.epoch():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            step += 1
        result: dict[str, Any] = {"step": step} if reader is None else reader.read(step)
        result["accuracy"] = data.accuracy(model)
        tune.report({**result, "cpu": time.process_time() - begun})


def momentum(data: Data, way: str, seed: int, trials: int, epochs: int) -> dict[str, float]:
    """An experiment; the same seed draws the same trials whichever way they are stopped."""
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_parameters(train, data=data, way=way, epochs=epochs),
        param_space={"lr": tune.loguniform(1e-4, 1.0), "momentum": tune.uniform(0.1, 0.99)},
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=BasicVariantGenerator(random_state=seed),
            scheduler=SCHEDULERS[way](),
            num_samples=trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
    )
    begun = time.process_time()
    results = tuner.fit()
    scheduling = time.process_time() - begun
    table = results.get_dataframe()
    ray.shutdown()
    frames = [results[number].metrics_dataframe for number in range(len(results))]
    reading = [frame.get("prescreen/overhead") for frame in frames if frame is not None]
    return {
        "cpu": scheduling + table["cpu"].sum(),
        "seconds": table["time_total_s"].sum(),
        "best": 100 * table["accuracy"].max(),
        "completed": int((table["training_iteration"] == epochs).sum()),
        "reading": sum(seconds.max() for seconds in reading if seconds is not None),
    }
