"""Rank your own models on your own tensors, in three lines."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from prescreen import Training, rank
from prescreen.tasks import ImageTask


def mlp(width: int, depth: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def narrow() -> nn.Module:
    return mlp(4, depth=1)


def wide() -> nn.Module:
    return mlp(128, depth=1)


def deep() -> nn.Module:
    return mlp(128, depth=3)


def main() -> None:
    digits = load_digits()
    images = torch.tensor(digits.images[:, None], dtype=torch.float32)
    labels = torch.tensor(digits.target)
    training_set = TensorDataset(images[:1500], labels[:1500])
    unlabelled = images[1500:]

    task = ImageTask.from_dataset(training_set, probe=unlabelled)
    models = {"narrow": narrow, "wide": wide, "deep": deep}
    print(rank(models, task, training=Training(steps=60)))


if __name__ == "__main__":
    main()
