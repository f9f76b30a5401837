"""Optuna with PyTorch: a perceptron's layers, optimizer and learning rate, in a loop of one's own."""

import optuna
import torch
from optuna.pruners import MedianPruner, NopPruner
from torch.nn.functional import cross_entropy

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.networks import perceptron
from benchmarks.hosts.scripts.program import begin
from prescreen.integrations.optuna import Reader, ReadoutPruner  # prescreen


def main() -> None:
    """Run the study."""
    program, data = begin(trials=20, epochs=30), digits()

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        model = perceptron(trial)
        name = trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=rate)
        reader = Reader(trial, model, data.unlabelled, budget=0.1)  # prescreen
        accuracy, step = 0.0, 0
        for epoch in range(program.epochs):
            for images, labels in data.epoch():
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                optimizer.step()
                step += 1
                reader.read(step)  # prescreen
                if reader.should_prune():  # prescreen
                    raise optuna.TrialPruned  # prescreen
            accuracy = data.accuracy(model)
            trial.report(accuracy, epoch)  # theirs
            if trial.should_prune():  # theirs
                raise optuna.TrialPruned  # theirs
        return accuracy

    pruner: optuna.pruners.BasePruner = NopPruner()
    pruner = MedianPruner()  # theirs
    pruner = ReadoutPruner()  # prescreen
    sampler = optuna.samplers.RandomSampler(seed=program.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=program.trials)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    program.found(study.best_value, pruned=pruned)


if __name__ == "__main__":
    main()
