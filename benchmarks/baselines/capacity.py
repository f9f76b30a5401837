"""Size and cost: the two proxies that any other has to beat."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> float:
    """Trainable parameters. Higher is better."""
    return float(sum(p.numel() for p in model.parameters() if p.requires_grad))


def flops(model: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Floating point operations for one image: 2 for a multiply-add. Higher is better.

    `torch.utils.flop_counter` counts convolutions and matrix products, and nothing else; papers
    that say FLOPs often mean multiply-adds, which are half of it. Only what is executed counts.
    Runs on the meta device: nothing is computed, and torch does not fuse a Transformer layer into
    one operation that would not be counted.

    Args:
        model: any network that takes (N, C, H, W).
        image_shape: (C, H, W).
    """
    twin = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(1, *image_shape, device="meta"))
    return float(counter.get_total_flops())
