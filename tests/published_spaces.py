"""What tests of search spaces share: tables of published networks, and a step of training."""

import csv
from pathlib import Path

import pytest
import torch

from prescreen.spaces.chosen import as_candidates

DATA = Path(__file__).parents[2] / "shared" / "data"
# Channels and sizes of images that every space takes.
IMAGES = [(1, (4, 4)), (1, (7, 30)), (3, (16, 16)), (4, (28, 28))]


def published_rows(space, count):
    """The rows of a space's table."""
    table = DATA / space / "cifar10.csv"
    if not table.exists():
        pytest.skip(f"needs the table {table.name} in shared/data/{space}")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count
    return rows


def with_gradients(space, count, seed, channels, size):
    """Candidates of a space as networks that made predictions, and have the gradients of these."""
    for candidate in as_candidates(space, count, seed):
        network = candidate.model(num_classes=5, in_channels=channels, image_size=size)
        logits = network(torch.randn(2, channels, *size))
        assert logits.shape == (2, 5)
        logits.sum().backward()
        yield network
