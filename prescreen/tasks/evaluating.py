"""Evaluating: a model as it is used, for the losses that tasks know of their own probe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode without gradients; gives the model's device, and leaves every mode as it was."""
    modes = {module: module.training for module in model.modules()}
    weight = next(model.parameters(), torch.empty(0))
    try:
        model.eval()
        with torch.no_grad():
            yield weight.device
    finally:
        for module, mode in modes.items():
            module.training = mode
