"""U-Nets of many depths, widths, kernels, normalizations and skips: a prediction for every pixel.

There are none without normalization: these often die at the first steps.

Reference: Ronneberger et al. 2015, arXiv 1505.04597; with time, Ho et al. 2020, arXiv 2006.11239.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(channels // 4, channels),
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "depth": (1, 2, 3, 4),
    "width": (4, 8, 12, 16),
    "kernel": (3, 5),
    "norm": tuple(NORMS),
    "skip": ("concatenate", "add", "none"),
}


def sample(trial: Any) -> dict[str, Any]:
    """Draw the depth, the width of the first level, the kernel, the norm and the kind of skip."""
    return {key: trial.suggest_categorical(key, list(CHOICES[key])) for key in CHOICES}


def name(config: Mapping[str, Any]) -> str:
    """Depth, width, kernel, norm and skip, such as ``d3 w16 k3 batch concatenate``."""
    return "d{depth} w{width} k{kernel} {norm} {skip}".format(**config)


def build(
    config: Mapping[str, Any],
    *,
    num_classes: int = 2,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    with_time: bool = False,
) -> nn.Module:
    """A U-Net from images (N, C, H, W) of any size to logits (N, K, H, W).

    Args:
        config: as `sample` returns it.
        num_classes: K.
        in_channels: channels of the images.
        image_size: ignored: the network takes every size.
        with_time: whether the network is called with times (N,) as well, as in diffusion.

    Raises:
        ValueError: a key is missing or unknown, or a value is not one of its choices.
    """
    _check(config)
    return UNet(config, num_classes, in_channels, with_time)


class UNet(nn.Module):
    """Levels down, each of half the size and twice the width, and up again, joined by skips."""

    def __init__(
        self, config: Mapping[str, Any], num_classes: int, in_channels: int, with_time: bool
    ) -> None:
        super().__init__()
        width, kernel, norm = config["width"], config["kernel"], NORMS[config["norm"]]
        self.skip = config["skip"]
        self.time = Time(4 * width) if with_time else None
        self.down, self.up, self.shrink = (nn.ModuleList() for _ in range(3))
        entering = in_channels
        for level in range(config["depth"] + 1):
            leaving = width << level
            self.down.append(Block(entering, leaving, kernel, norm, 4 * width * with_time))
            entering = leaving
        for level in reversed(range(config["depth"])):
            leaving = width << level
            joined = 2 * leaving if self.skip == "concatenate" else leaving
            self.shrink.append(nn.Conv2d(2 * leaving, leaving, 1))
            self.up.append(Block(joined, leaving, kernel, norm, 4 * width * with_time))
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor, times: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, K, H, W)."""
        told = None if self.time is None or times is None else self.time(times)
        passed: list[Tensor] = []
        for block in self.down:
            if passed:
                x = functional.max_pool2d(x, 2, ceil_mode=True)
            x = block(x, told)
            passed.append(x)
        passed.pop()
        for shrink, block in zip(self.shrink, self.up, strict=True):
            beside = passed.pop()
            x = functional.interpolate(shrink(x), beside.shape[2:])
            if self.skip == "concatenate":
                x = torch.cat([x, beside], 1)
            elif self.skip == "add":
                x = x + beside
            x = block(x, told)
        logits: Tensor = self.head(x)
        return logits


class Block(nn.Module):
    """Two convolutions, each normalised and followed by ReLU; times shift the channels between them."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        norm: Callable[[int], nn.Module],
        time_width: int,
    ) -> None:
        super().__init__()
        self.first = _convolution(in_channels, channels, kernel, norm)
        self.second = _convolution(channels, channels, kernel, norm)
        self.time = nn.Linear(time_width, channels) if time_width else None

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        x = self.first(x)
        if self.time is not None and told is not None:
            x = x + self.time(told)[:, :, None, None]
        out: Tensor = self.second(x)
        return out


class Time(nn.Module):
    """Times (N,) as sines and cosines of many frequencies, then a layer: (N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies = width // 2
        self.layer = nn.Sequential(nn.Linear(width, width), nn.SiLU())

    def forward(self, times: Tensor) -> Tensor:
        """Map (N,) to (N, width)."""
        steps = torch.arange(self.frequencies, device=times.device) / self.frequencies
        angles = times[:, None] * torch.exp(-math.log(10_000) * steps)
        out: Tensor = self.layer(torch.cat([angles.sin(), angles.cos()], 1))
        return out


def _convolution(
    in_channels: int, channels: int, kernel: int, norm: Callable[[int], nn.Module]
) -> nn.Module:
    convolution = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, norm(channels), nn.ReLU(inplace=True))


def _check(config: Mapping[str, Any]) -> None:
    if set(config) != set(CHOICES):
        raise ValueError(f"`config` must have the keys {', '.join(CHOICES)}, got {[*config]}")
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"`{key}` must be one of {choices}, got {config[key]!r}")
