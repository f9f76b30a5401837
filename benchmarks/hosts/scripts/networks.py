"""Networks that the scripts train on digits of 8×8 pixels."""

from __future__ import annotations

from typing import Any

from torch import nn


def perceptron(trial: Any) -> nn.Sequential:
    """A multilayer perceptron of one to three layers, drawn by a trial."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = 64
    for number in range(trial.suggest_int("layers", 1, 3)):
        width = trial.suggest_int(f"width_{number}", 4, 128, log=True)
        layers += [nn.Linear(size, width), nn.ReLU()]
        layers += [nn.Dropout(trial.suggest_float(f"dropout_{number}", 0.2, 0.5))]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, 10))


def convolutions(first: int, second: int) -> nn.Sequential:
    """Two convolutions and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * second, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
