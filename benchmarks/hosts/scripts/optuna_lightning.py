"""Optuna with Lightning: a perceptron's layers and dropout, validated after every epoch."""

import lightning
import optuna
import torch
from optuna.pruners import MedianPruner, NopPruner
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.hosts.live.data import BATCH, digits
from benchmarks.hosts.live.in_optuna import Module
from benchmarks.hosts.scripts.networks import perceptron
from benchmarks.hosts.scripts.program import begin
from prescreen.integrations.optuna import ReadoutPruner  # prescreen
from prescreen.integrations.optuna.lightning import ReadoutPruning  # prescreen


class Reporting(lightning.Callback):  # theirs
    """As the callback of optuna-integration."""  # theirs

    def __init__(self, trial, data):  # theirs
        self.trial, self.data = trial, data  # theirs

    def on_train_epoch_end(self, trainer, module):  # theirs
        """Report, and ask."""  # theirs
        self.trial.report(self.data.accuracy(module), trainer.current_epoch)  # theirs
        if self.trial.should_prune():  # theirs
            raise optuna.TrialPruned  # theirs


def main() -> None:
    """Run the study."""
    program, data = begin(trials=20, epochs=10), digits()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        module = Module(perceptron(trial), rate, 0.0)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=program.epochs,
            enable_model_summary=False,
            callbacks=[
                ReadoutPruning(trial, data.unlabelled, budget=0.1),  # prescreen
                Reporting(trial, data),  # theirs
            ],
            **quiet,
        )
        trainer.fit(module, DataLoader(TensorDataset(*data.train), BATCH, shuffle=True))
        return data.accuracy(module)

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
