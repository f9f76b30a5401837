"""Prune a small search by readings of unlabelled data."""

import optuna
import optunahub
import torch
from torch import nn

module = optunahub.load_module(package="pruners/readout_pruner")

generator = torch.Generator().manual_seed(0)
inputs = torch.randn(1200, 16, generator=generator)
labels = (inputs @ torch.randn(16, 4, generator=generator)).argmax(1)
unlabelled = inputs[1000:]


def objective(trial: optuna.Trial) -> tuple[float, int]:
    """Train a classifier of the first 1,000 inputs; its loss and its size are minimized."""
    torch.manual_seed(0)
    width = trial.suggest_int("width", 2, 64, log=True)
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    # Such short trials are read whenever asked; by default 2 % of the time may go into readings.
    reader = module.Reader(trial, model, unlabelled, budget=None)
    for step in range(1, 101):
        loss = nn.functional.cross_entropy(model(inputs[:1000]), labels[:1000])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            reader.read(step)
            if reader.should_prune():
                raise optuna.TrialPruned
    return loss.item(), width


if __name__ == "__main__":
    study = optuna.create_study(
        directions=["minimize", "minimize"], pruner=module.ReadoutPruner(n_startup_trials=8)
    )
    study.optimize(objective, n_trials=30)
    print(study.best_trials)
