"""Optuna with two objectives: accuracy, and operations of the network. Optuna itself cannot prune it."""

import optuna
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.networks import perceptron
from benchmarks.hosts.scripts.program import begin
from prescreen.integrations.optuna import Reader, ReadoutPruner  # prescreen


def main() -> None:
    """Run the study."""
    program, data = begin(trials=20, epochs=30), digits()

    def objective(trial: optuna.Trial) -> tuple[float, int]:
        torch.manual_seed(trial.number)
        model = perceptron(trial)
        with FlopCounterMode(display=False) as counter:
            model(data.unlabelled[:1])
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        reader = Reader(trial, model, data.unlabelled, budget=0.1)  # prescreen
        step = 0
        for _ in range(program.epochs):
            for images, labels in data.epoch():
                optimizer.zero_grad()
                cross_entropy(model(images), labels).backward()
                optimizer.step()
                step += 1
                reader.read(step)  # prescreen
                if reader.should_prune():  # prescreen
                    raise optuna.TrialPruned  # prescreen
        return data.accuracy(model), counter.get_total_flops()

    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=program.seed),
        pruner=ReadoutPruner(),  # prescreen
    )
    study.optimize(objective, n_trials=program.trials)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    program.found(max(trial.values[0] for trial in study.best_trials), pruned=pruned)


if __name__ == "__main__":
    main()
