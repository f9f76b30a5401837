"""What several proxies do to a network, and the two proxies that others must beat: size and cost."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode


def with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy whose BatchNorms use the batch at hand, as in training, but without dropout.

    The papers score networks in train mode. This is the same forward pass without its two side
    effects: randomness and a running mean that depends on the number of forward passes.
    """
    twin = copy.deepcopy(model).eval().requires_grad_()
    for module in twin.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = None
    return twin


def weighted_layers(model: nn.Module) -> list[nn.Linear | _ConvNd]:
    """All convolutions and linear layers, as registered."""
    return [layer for layer in model.modules() if isinstance(layer, (nn.Linear, _ConvNd))]


def weights(model: nn.Module) -> list[Tensor]:
    """Their weights; the proxies leave out biases and the parameters of normalization layers."""
    return [layer.weight for layer in weighted_layers(model)]


def parameters(model: nn.Module) -> float:
    """Trainable parameters. Higher is better."""
    return float(sum(p.numel() for p in model.parameters() if p.requires_grad))


def flops(model: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Floating point operations for one image: 2 for a multiply-add. Higher is better.

    Convolutions and matrix products that are executed, as `torch.utils.flop_counter` counts them;
    papers that say FLOPs often mean multiply-adds, which are half as many. Runs on the meta device:
    nothing is computed, and torch does not fuse a Transformer layer into one operation that would not
    be counted.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(1, *image_shape, device="meta"))
    return float(counter.get_total_flops())
