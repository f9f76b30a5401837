"""Optuna with torch.distributed: two processes train every trial together."""

import contextlib
import os
import socket
import time
import warnings

import optuna
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from optuna.pruners import MedianPruner, NopPruner
from optuna_integration import TorchDistributedTrial
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.networks import perceptron
from benchmarks.hosts.scripts.program import Program, begin
from prescreen.integrations.optuna import Reader, ReadoutPruner  # prescreen


def objective(single: optuna.Trial | None, epochs: int, number: int) -> float:
    """One trial, in one of the processes."""
    data, rank = digits(), dist.get_rank()
    trial = TorchDistributedTrial(single)
    torch.manual_seed(number)
    model = DistributedDataParallel(perceptron(trial))
    rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    reader = Reader(trial, model, data.unlabelled, budget=0.1)  # prescreen
    accuracy, step = 0.0, 0
    for epoch in range(epochs):
        for images, labels in data.epoch():
            optimizer.zero_grad()
            cross_entropy(model(images[rank::2]), labels[rank::2]).backward()
            optimizer.step()
            step += 1
            reader.read(step)  # prescreen
            if reader.should_prune():  # prescreen
                raise optuna.TrialPruned  # prescreen
        accuracy = data.accuracy(model.module)
        trial.report(accuracy, epoch)  # theirs
        if trial.should_prune():  # theirs
            raise optuna.TrialPruned  # theirs
    return accuracy


def work(rank: int, program: Program, file: str) -> None:
    """One of the processes; the first has the study."""
    warnings.simplefilter("ignore")  # the trial is experimental
    torch.set_num_threads(1)
    begun = time.process_time()
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = follow(program) if rank else search(program)
    cpu = torch.tensor(time.process_time() - begun)
    dist.all_reduce(cpu)  # the sum
    if rank == 0:
        torch.save((*found, cpu.item()), file)


def follow(program: Program) -> tuple[float, int]:
    """Train every trial with the first process."""
    for number in range(program.trials):
        with contextlib.suppress(optuna.TrialPruned):
            objective(None, program.epochs, number)
    return 0.0, 0


def search(program: Program) -> tuple[float, int]:
    """Run the study; returns the best value, and how many trials were pruned."""
    pruner: optuna.pruners.BasePruner = NopPruner()
    pruner = MedianPruner()  # theirs
    pruner = ReadoutPruner()  # prescreen
    sampler = optuna.samplers.RandomSampler(seed=program.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(
        lambda trial: objective(trial, program.epochs, trial.number), n_trials=program.trials
    )
    return study.best_value, sum(trial.state.name == "PRUNED" for trial in study.trials)


def main() -> None:
    """Run the study."""
    program = begin(trials=10, epochs=12)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]))
    file = "found.pt"
    mp.spawn(work, (program, file), nprocs=2)
    best, pruned, cpu = torch.load(file)
    program.found(best, pruned=pruned, cpu=cpu)


if __name__ == "__main__":
    main()
