"""Rank networks on tables: one number to predict, and several yes-or-no labels of one row.

A regression reads its table from a file, as `prescreen rank --data regression:PATH#COLUMN` does; the
labels come as tensors. The rows of the probe are held out, and their targets are not looked at.
"""

import csv
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from prescreen import Training, load_task, rank
from prescreen.tasks import MultilabelTask

WIDTHS = {"linear": 0, "narrow": 4, "wide": 64}


def network(width: int, inputs: int, outputs: int) -> nn.Module:
    if width == 0:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


def write_table(path: Path) -> None:
    """Ten measurements of 442 patients, and how their diabetes went on."""
    data = load_diabetes()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "progression"])
        writer.writerows([*row, target] for row, target in zip(data.data, data.target, strict=True))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "diabetes.csv"
        write_table(path)
        task = load_task(f"regression:{path}#progression", probe_size=128)
        models = {name: lambda width=width: network(width, 10, 1) for name, width in WIDTHS.items()}
        training = Training(steps=100, batch_size=64, optimizer="adamw", lr=0.01)
        print(rank(models, task, training=training))

    randoms = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 6, generator=randoms)
    labels = torch.stack([inputs[:, 0] > 0, inputs[:, 1] * inputs[:, 2] > 0], dim=1)
    task = MultilabelTask(inputs, labels, probe_size=256)
    models = {name: lambda width=width: network(width, 6, 2) for name, width in WIDTHS.items()}
    print(rank(models, task, training=training))


if __name__ == "__main__":
    main()
