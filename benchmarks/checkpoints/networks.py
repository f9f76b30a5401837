"""The networks: a classic and a modern convolutional one, and a Transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from prescreen.search_spaces.vit import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10


class Network(nn.Module):
    """What computes features (N, D), and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, K)."""
        logits: Tensor = self.head(self.body(images))
        return logits


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm beside a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(before, channels, stride), nn.ReLU(), *convolution(channels, channels)
        )
        same = before == channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/stride, W/stride)."""
        return functional.relu(self.shortcut(x) + self.body(x))


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, MLP with GELU (Liu et al. 2022, arXiv 2201.03545).

    Kernels are 3×3 because maps are 8×8 and less, and the residual branch starts at a tenth.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        layers = nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        self.mlp = nn.Sequential(nn.LayerNorm(channels), *layers)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        branch: Tensor = self.scale * self.mlp(self.depthwise(x).movedim(1, -1))
        return x + branch.movedim(-1, 1)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of every place."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def convolution(before: int, channels: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A 3×3 convolution and its BatchNorm."""
    convolution = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels)


def resnet(c: int = 16) -> Network:
    """Three stages of one residual block each."""
    stem = convolution(3, c)
    blocks = ResidualBlock(c, c, 1), ResidualBlock(c, 2 * c, 2), ResidualBlock(2 * c, 4 * c, 2)
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return Network(nn.Sequential(*stem, nn.ReLU(), *blocks, *pool), nn.Linear(4 * c, CLASSES))


def convnext(channels: int = 32) -> Network:
    """Patches of 2×2 pixels and three stages of one block each."""
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 2, stride=2), ChannelNorm(channels)]
    for stage in range(3):
        width = channels << stage
        if stage:
            layers += [ChannelNorm(width // 2), nn.Conv2d(width // 2, width, 2, stride=2)]
        layers.append(ConvNeXtBlock(width))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width)]
    return Network(nn.Sequential(*layers), nn.Linear(width, CLASSES))


def vit(width: int = 64, depth: int = 4) -> Network:
    """A Vision Transformer on 16 patches of 4×4 pixels."""
    # It cuts an 8×8 image into patches of 2×2, which with four pixels a channel are 4×4.
    sizes = {"num_classes": CLASSES, "in_channels": 12, "image_size": (8, 8)}
    model = VisionTransformer(depth=depth, width=width, heads=4, mlp_ratio=2, **sizes)
    head, model.head = model.head, nn.Identity()
    return Network(nn.Sequential(nn.PixelUnshuffle(2), model), head)


@dataclass(frozen=True)
class Architecture:
    """A kind of network."""

    build: Callable[[], Network]
    recipe: dict[str, Any]  # part of `prescreen.Training`
    by_heart: int = 1  # factor on the epochs that it needs to memorize labels


ARCHITECTURES = {
    "resnet": Architecture(resnet, {"optimizer": "sgd", "lr": 0.05}),
    "convnext": Architecture(convnext, {"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05}),
    "vit": Architecture(vit, {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05}, by_heart=2),
}


def build(architecture: str, seed: int) -> Network:
    """A network with its initial weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[architecture].build()
    # On a CPU this makes convolutions faster; the weights' layout is enough.
    return network.to(memory_format=torch.channels_last)
