"""Ray Tune's tutorial with checkpoints: layer sizes, learning rate and batch size of a network."""

import os
import tempfile
import time
from pathlib import Path

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
from prescreen.integrations.ray import Reader, ReadoutCallback, ReadoutScheduler  # prescreen


def train(config):
    """A trial, which continues where its last checkpoint was written."""
    begun, data, images_seen, start = time.process_time(), digits(), 0, 0
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = convolutions(config["l1"], config["l2"])
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    reader = Reader(model, data.unlabelled, budget=0.1)  # prescreen
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        reader.load_state_dict(state["reader"])  # prescreen
        start = state["epoch"]
    inputs, labels = data.train
    for epoch in range(start, config["epochs"]):
        for rows in torch.randperm(len(labels)).split(config["batch"]):
            optimizer.zero_grad()
            cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        images_seen = (epoch + 1) * len(labels)
        result = {"accuracy": data.accuracy(model), "step": images_seen}
        result.update(reader.read(images_seen))  # prescreen
        result["cpu"] = time.process_time() - begun
        with tempfile.TemporaryDirectory() as folder:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "reader": reader.state_dict(),  # prescreen
                "epoch": epoch + 1,
            }
            torch.save(state, Path(folder) / "state.pt")
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(folder))


def main() -> None:
    """Run the experiment."""
    program = begin(trials=10, epochs=10)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    scheduler = FIFOScheduler()
    scheduler = ASHAScheduler(max_t=program.epochs, grace_period=1, reduction_factor=2)  # theirs
    scheduler = ReadoutScheduler()  # prescreen
    tuner = tune.Tuner(
        train,
        param_space={
            "l1": tune.choice([2, 4, 8, 16]),
            "l2": tune.choice([2, 4, 8, 16]),
            "lr": tune.loguniform(1e-4, 1e-1),
            "batch": tune.choice([16, 32, 64]),
            "epochs": program.epochs,
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            scheduler=scheduler,
            search_alg=BasicVariantGenerator(random_state=program.seed),
            num_samples=program.trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=tempfile.mkdtemp(),
            verbose=0,
            callbacks=[ReadoutCallback(scheduler)],  # prescreen
        ),
    )
    table = tuner.fit().get_dataframe()
    ray.shutdown()
    pruned = int((table["training_iteration"] < program.epochs).sum())
    finished = table[table["training_iteration"] == program.epochs]
    program.found(finished["accuracy"].max(), pruned=pruned, cpu=table["cpu"].sum())


if __name__ == "__main__":
    main()
