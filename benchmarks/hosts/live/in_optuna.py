"""Two scripts for Optuna as users write them: a training loop of one's own, and a Lightning module.

Both validate once an epoch. Pruner and reader have their defaults.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import optuna
import torch
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from torch import Tensor, nn

from benchmarks.hosts.live.data import BATCH, Data, convolutions
from prescreen.integrations.optuna import Reader, ReadoutPruner, trajectory

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "unpruned": NopPruner,
    "validation": MedianPruner,
    "readouts": ReadoutPruner,
}


def run(
    objective: Callable[[optuna.Trial], float], way: str, seed: int, trials: int
) -> dict[str, float]:
    """Run a study; the same seed draws the same trials whichever way they are pruned."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=PRUNERS[way]())
    begun, cpu = time.perf_counter(), time.process_time()
    study.optimize(objective, n_trials=trials)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    lasts = [taken.last for trial in study.trials if len(taken := trajectory(trial))]
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    return {
        "cpu": cpu,
        "seconds": seconds,
        "best": 100 * study.best_value,
        "completed": len(complete),
        "reading": sum(last.overhead for last in lasts),
    }


def mlp(data: Data, way: str, seed: int, trials: int, epochs: int) -> dict[str, float]:
    """A multilayer perceptron, and a training loop of one's own."""

    def define(trial: optuna.Trial) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        size = data.unlabelled[0].numel()
        for number in range(trial.suggest_int("layers", 1, 3)):
            width = trial.suggest_int(f"width_{number}", 4, 256, log=True)
            dropout = trial.suggest_float(f"dropout_{number}", 0.1, 0.5)
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        return nn.Sequential(*layers, nn.Linear(size, 10))

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        model = define(trial)
        kind = getattr(
            torch.optim, trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
        )
        optimizer = kind(model.parameters(), lr=trial.suggest_float("lr", 1e-5, 1e-1, log=True))
        reader = Reader(trial, model, data.unlabelled) if way == "readouts" else None
        step, accuracy = 0, 0.0
        for epoch in range(epochs):
            for inputs, labels in data.epoch():
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
                step += 1
                if reader is not None:
                    reader.read(step)
                    if reader.should_prune():
                        raise optuna.TrialPruned
            accuracy = data.accuracy(model)
            if way == "validation":
                trial.report(accuracy, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return accuracy

    return run(objective, way, seed, trials)


class Module(lightning.LightningModule):
    """A classifier."""

    def __init__(self, network: nn.Module, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.network, self.lr, self.weight_decay = network, lr, weight_decay

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return self.network(inputs)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)


class Pruning(lightning.Callback):
    """Reads after every batch, validates after every epoch, and ends a trial."""

    def __init__(self, trial: optuna.Trial, module: Module, data: Data, way: str) -> None:
        self.trial, self.data, self.way, self.accuracy = trial, data, way, 0.0
        self.reader = Reader(trial, module, data.unlabelled) if way == "readouts" else None

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        """Prune by readings."""
        if self.reader is not None:
            self.reader.read(trainer.global_step)
            if self.reader.should_prune():
                raise optuna.TrialPruned

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Prune by validation accuracy."""
        self.accuracy = self.data.accuracy(module)
        if self.way == "validation":
            self.trial.report(self.accuracy, trainer.current_epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned


class Batches:
    """What Lightning iterates over."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.data.epoch()

    def __len__(self) -> int:
        return -(-len(self.data.train[1]) // BATCH)


def lightning_module(data: Data, way: str, seed: int, trials: int, epochs: int) -> dict[str, float]:
    """A convolutional network, trained by Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        channels = trial.suggest_int("channels", 4, 32, log=True)
        depth = trial.suggest_int("depth", 1, 4)
        network = convolutions(channels, depth, trial.suggest_float("dropout", 0.0, 0.5))
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        module = Module(network, lr, trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True))
        pruning = Pruning(trial, module, data, way)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[pruning],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, Batches(data))
        return pruning.accuracy

    return run(objective, way, seed, trials)
