"""Prune an ordinary PyTorch objective by readouts on unlabelled images."""

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

from prescreen.integrations.optuna import Reader

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 8 - 1
labels = torch.tensor(digits.target)
train, unlabelled, test = slice(0, 1000), images[1000:1300], slice(1300, None)


def objective(trial: optuna.Trial) -> float:
    torch.manual_seed(0)
    width = trial.suggest_int("width", 1, 128, log=True)
    layer = {"relu": nn.ReLU, "tanh": nn.Tanh}[trial.suggest_categorical("act", ["relu", "tanh"])]
    model = nn.Sequential(nn.Linear(64, width), layer(), nn.Linear(width, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    # A trial takes a tenth of a second: by default, 2 % of that time, there would be no readings.
    reader = Reader(trial, model, unlabelled, budget=None)
    for step in range(1, 121):
        batch = torch.randint(1000, (64,))
        loss = nn.functional.cross_entropy(model(images[train][batch]), labels[train][batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 30 == 0:
            reader.read(step)
            if reader.should_prune():
                raise optuna.TrialPruned
    return (model(images[test]).argmax(1) == labels[test]).float().mean().item()


def main() -> None:
    torch.set_num_threads(1)  # small networks do not gain from more
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)  # prunes by the median
    study.optimize(objective, n_trials=30)
    pruned = [trial.params for trial in study.trials if trial.state.name == "PRUNED"]
    print(f"{len(pruned)} of 30 trials pruned, among them {pruned[:2]}")
    print(f"best: {study.best_params}, test accuracy {study.best_value:.3f}")


if __name__ == "__main__":
    main()
