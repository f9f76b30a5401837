"""What several proxies do to a network: copies to work on, and the weights that they look at."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


def with_batch_statistics(model: nn.Module) -> nn.Module:
    """A copy whose BatchNorms use the batch at hand, as in training, but without dropout.

    The papers score networks in train mode. This is the same forward pass without its two side
    effects: randomness and a running mean that depends on how often one has looked.
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
