"""Mobile networks: inverted residual blocks of many depths, widths, kernels and activations.

References: MobileNetV2, Sandler et al. 2018, arXiv 1801.04381; MobileNetV3, Howard et al. 2019, arXiv
1905.02244.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

STAGES = (1, 2, 3)
OF_STAGE = {
    "depth": (1, 2, 3),
    "kernel": (3, 5, 7),
    "expansion": (1, 2, 4, 6),
    "attention": (False, True),
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "width": (8, 12, 16, 24),
    "activation": tuple(ACTIVATIONS),
    **{f"{key}_{stage}": OF_STAGE[key] for stage in STAGES for key in OF_STAGE},
}


def sample(trial: Any) -> dict[str, Any]:
    """Draw width and activation of all stages, and depth, kernel, expansion and attention of each."""
    return {key: trial.suggest_categorical(key, list(CHOICES[key])) for key in CHOICES}


def name(config: Mapping[str, Any]) -> str:
    """Width, activation, and depth × kernel e expansion of each stage, such as ``w16 gelu 2×3e4+se``."""
    stages = (
        f"{config[f'depth_{s}']}×{config[f'kernel_{s}']}e{config[f'expansion_{s}']}"
        + ("+se" if config[f"attention_{s}"] else "")
        for s in STAGES
    )
    return " ".join([f"w{config['width']}", config["activation"], *stages])


def build(
    config: Mapping[str, Any],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
) -> nn.Module:
    """A stem, three stages of inverted residual blocks, and a linear head, for images of any size.

    The second and third stage halve the resolution and double the width.

    Args:
        config: as `sample` returns it.
        num_classes: K.
        in_channels: channels of the images.
        image_size: ignored: the network takes every size.

    Raises:
        ValueError: a key is missing or unknown, or a value is not one of its choices.
    """
    _check(config)
    activation = ACTIVATIONS[config["activation"]]
    channels = config["width"]
    layers: list[nn.Module] = [_conv_bn(in_channels, channels, 3), activation()]
    for stage in STAGES:
        width = config["width"] << (stage - 1)
        for number in range(config[f"depth_{stage}"]):
            stride = 2 if stage > 1 and number == 0 else 1
            layers.append(
                InvertedResidual(
                    channels,
                    width,
                    kernel=config[f"kernel_{stage}"],
                    stride=stride,
                    expansion=config[f"expansion_{stage}"],
                    attention=config[f"attention_{stage}"],
                    activation=activation,
                )
            )
            channels = width
    layers += [_conv_bn(channels, 4 * channels, 1), activation()]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, *pool, nn.Linear(4 * channels, num_classes))
    return network.to(memory_format=torch.channels_last)


class InvertedResidual(nn.Module):
    """Expand by a 1×1, filter by a depthwise and project by a 1×1 convolution; a skip where it fits."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        stride: int,
        expansion: int,
        attention: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        expand = [_conv_bn(in_channels, wide, 1), activation()] if expansion > 1 else []
        squeeze = [SqueezeExcite(wide)] if attention else []
        self.body = nn.Sequential(
            *expand,
            _conv_bn(wide, wide, kernel, stride, groups=wide),
            activation(),
            *squeeze,
            _conv_bn(wide, channels, 1),
        )
        self.skip = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/stride, W/stride)."""
        out: Tensor = self.body(x)
        return x + out if self.skip else out


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate that sees the means of all."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        out: Tensor = x * self.gate(x)
        return out


def _conv_bn(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(*(in_channels, channels, kernel, stride, kernel // 2), groups=groups, bias=False),
        nn.BatchNorm2d(channels),
    )


def _check(config: Mapping[str, Any]) -> None:
    if set(config) != set(CHOICES):
        raise ValueError(f"`config` must have the keys {', '.join(CHOICES)}, got {[*config]}")
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"`{key}` must be one of {choices}, got {config[key]!r}")
