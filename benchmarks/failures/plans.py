"""The candidates: what each is trained with, and what network it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from prescreen.search_spaces import nas_bench_201
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.architectures.nas_bench_201 import SHUFFLE
from benchmarks.common.images import published_cells
from prescreen import Training

EXPERIMENTS = ("recipe", "overfit", "imbalance", "shifted")

# Rows of the shuffled truth, none of them among the report cells of architectures/nas_bench_201.py.
CELLS = {"shifted": slice(100, 120), "imbalance": slice(120, 136)}
CONVOLUTIONS = nas_bench_201.to_arch(
    {f"edge_{to}_{source}": "nor_conv_3x3" for to, source in nas_bench_201.EDGES}
)

LEVELS: dict[str, tuple[float, ...]] = {
    "temperature": (0.25, 0.5, 2.0, 4.0, 8.0),
    "smoothing": (0.05, 0.1, 0.2, 0.4),
    "dropout": (0.1, 0.2, 0.4, 0.6),
    "weight_decay": (0.0, 5e-5, 5e-3, 2e-2),
    "lr": (0.005, 0.015, 0.15, 0.4),
    "wrong": (0.1, 0.2, 0.4, 0.6),
}
SEEDS = (1, 2)


@dataclass(frozen=True)
class Recipe:
    """What a candidate is trained with and what network it is."""

    temperature: float = 1.0  # by which the training loss divides logits
    smoothing: float = 0.0  # of labels
    dropout: float = 0.0  # before the last layer
    weight_decay: float = 5e-4
    lr: float = 0.05
    wrong: float = 0.0  # share of training labels that are wrong
    seed: int = 0  # of initial weights, batches and dropout
    channels: int = 8  # of the network's first stage
    cells: int = 1  # of each stage
    augment: bool = True  # whether training images are cropped and flipped

    def training(self, steps: int) -> Training:
        """The package's recipe."""
        own = Training(steps=steps, batch_size=64, lr=self.lr)
        return replace(own, weight_decay=self.weight_decay, seed=self.seed)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What training minimises."""
        return functional.cross_entropy(
            logits / self.temperature, targets, label_smoothing=self.smoothing
        )

    def build(self, arch: str) -> nn.Sequential:
        """The network, with its initial weights."""
        sizes = {"channels": self.channels, "cells_per_stage": self.cells}
        with torch.random.fork_rng([]):
            torch.manual_seed(self.seed)
            model = nas_bench_201.build({"arch": arch}, **sizes)
        assert isinstance(model, nn.Sequential)
        return model.insert(len(model) - 1, nn.Dropout(self.dropout)) if self.dropout else model


@dataclass(frozen=True)
class Plan:
    """One candidate: the factor in which it differs, and by how much; its accuracy if published."""

    experiment: str
    name: str
    factor: str
    level: float
    recipe: Recipe = Recipe()
    arch: str = CONVOLUTIONS
    published: float | None = None


def plans(experiment: str, truth: Path) -> list[Plan]:
    """The candidates of an experiment; `truth` is a CSV with columns arch and test_accuracy."""
    plan = partial(Plan, experiment)
    found = []
    if experiment == "recipe":
        found.append(plan("base", "seed", 0.0))
        for factor, levels in {"seed": SEEDS, **LEVELS}.items():
            for level in levels:
                recipe = replace(Recipe(), **{factor: level})  # type: ignore[arg-type]  # a field's name
                found.append(plan(f"{factor} {level:g}", factor, level, recipe))
    elif experiment == "overfit":
        for augment, channels, cells in product((True, False), (4, 8, 12), (1, 2)):
            name = f"{channels} channels, {cells} cells{', augmented' if augment else ''}"
            recipe = Recipe(channels=channels, cells=cells, augment=augment)
            found.append(plan(name, "augmented" if augment else "plain", channels, recipe))
    else:
        for i, row in enumerate(published_cells(truth, SHUFFLE)[CELLS[experiment]]):
            arch, accuracy = row["arch"], float(row["test_accuracy"])
            name = nas_bench_201.name(nas_bench_201.from_arch(arch))
            found.append(plan(name, "cell", i, arch=arch, published=accuracy))
    return found
