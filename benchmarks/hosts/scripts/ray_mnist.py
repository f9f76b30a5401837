"""Ray Tune's first example: learning rate and momentum of a small convolutional network."""

import os
import tempfile
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from torch.nn.functional import cross_entropy

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.networks import convolutions
from benchmarks.hosts.scripts.program import begin
from prescreen.integrations.ray import Reader, ReadoutScheduler  # prescreen


def train(config):
    """A trial."""
    begun, data, step = time.process_time(), digits(), 0
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = convolutions(8, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    reader = Reader(model, data.unlabelled, budget=0.1)  # prescreen
    for _ in range(config["epochs"]):
        for images, labels in data.epoch():
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            step += 1
        result = {"mean_accuracy": data.accuracy(model), "step": step}
        result.update(reader.read(step))  # prescreen
        tune.report({**result, "cpu": time.process_time() - begun})


def main() -> None:
    """Run the experiment."""
    program = begin(trials=10, epochs=10)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    scheduler = FIFOScheduler()
    scheduler = ASHAScheduler()  # theirs
    scheduler = ReadoutScheduler()  # prescreen
    tuner = tune.Tuner(
        train,
        param_space={
            "lr": tune.loguniform(1e-4, 1.0),
            "momentum": tune.uniform(0.1, 0.9),
            "epochs": program.epochs,
        },
        tune_config=tune.TuneConfig(
            metric="mean_accuracy",
            mode="max",
            scheduler=scheduler,
            search_alg=BasicVariantGenerator(random_state=program.seed),
            num_samples=program.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
    )
    table = tuner.fit().get_dataframe()
    ray.shutdown()
    pruned = int((table["training_iteration"] < program.epochs).sum())
    finished = table[table["training_iteration"] == program.epochs]
    program.found(finished["mean_accuracy"].max(), pruned=pruned, cpu=table["cpu"].sum())


if __name__ == "__main__":
    main()
