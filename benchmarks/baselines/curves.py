"""Proxies that need brief training: sums of training losses, and loss and accuracy at a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prescreen.heads.preserve import preserve
from prescreen.predictions import model_logits


def tse(losses: Sequence[float]) -> float:
    """Training speed estimate: the sum of all training losses so far. Lower is better.

    The paper sums the mean losses of epochs; the sum over steps is that times the steps per epoch.

    Reference: Ru et al. 2021, arXiv 2006.04492.
    """
    return math.fsum(losses)


def tse_e(losses: Sequence[float], window: int) -> float:
    """The mean of the last losses: TSE without the noisy beginning. Lower is better.

    With the steps of one epoch as the window this is the paper's TSE-E with E = 1.

    Reference: Ru et al. 2021, arXiv 2006.04492.
        window: how many of the last steps count.

    Raises:
        ValueError: a window that is empty or longer than the training.
    """
    if not 1 <= window <= len(losses):
        raise ValueError(f"`window` must be 1 to {len(losses)} steps, got {window}")
    return math.fsum(losses[-window:]) / window


def loss(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    batch_statistics: bool,
    batch_size: int = 512,
) -> float:
    """Mean cross-entropy. Lower is better. Arguments as for `accuracy`."""
    logits = _logits(model, inputs, batch_statistics, batch_size)
    return F.cross_entropy(logits, labels).item()


def accuracy(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    batch_statistics: bool,
    batch_size: int = 512,
) -> float:
    """Share of samples whose class has the largest logit. Higher is better.

    NaN if a logit is NaN: the largest one would then be arbitrary.

    Args:
        model: a classifier.
        inputs: (N, C, H, W).
        labels: (N,), integers.
        batch_statistics: let BatchNorm use each batch's own statistics instead of its running ones.
        batch_size: at most this many samples per forward pass; passes are as equal as possible.
    """
    logits = _logits(model, inputs, batch_statistics, batch_size)
    if logits.isnan().any():
        return float("nan")
    return (logits.argmax(1) == labels).double().mean().item()


def _logits(model: nn.Module, inputs: Tensor, batch_statistics: bool, batch_size: int) -> Tensor:
    # Equal parts: a small remainder would have different statistics.
    parts = inputs.tensor_split(math.ceil(len(inputs) / batch_size))
    with preserve(model, batch_statistics=batch_statistics):
        return torch.cat([model_logits(model(part)) for part in parts])
