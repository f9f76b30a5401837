"""Vision Transformers for small images, of varied depth, width, attention heads and MLP ratio.

References: Dosovitskiy et al. 2021, arXiv 2010.11929; Beyer et al. 2022, arXiv 2205.01580 (mean over
the patches instead of a class token).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .timm_models import patch_size

# Every width is a multiple of every number of heads: all combinations exist.
CHOICES = {
    "depth": (2, 3, 4, 6),
    "width": (32, 64, 96, 128),
    "heads": (1, 2, 4, 8),
    "mlp_ratio": (1, 2, 3, 4),
}


def sample(trial: Any) -> dict[str, int]:
    """Draw depth, width, heads and MLP ratio."""
    return {key: trial.suggest_categorical(key, list(CHOICES[key])) for key in CHOICES}


def grid() -> Iterable[dict[str, int]]:
    """All 256 configs, the MLP ratio varying fastest."""
    for values in itertools.product(*CHOICES.values()):
        yield dict(zip(CHOICES, values, strict=True))


def name(config: Mapping[str, int]) -> str:
    """Depth × width, heads and MLP ratio, such as ``6x128-h4-r2``."""
    return "{depth}x{width}-h{heads}-r{mlp_ratio}".format(**_checked(config))


def build(
    config: Mapping[str, int],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] = 32,
) -> nn.Module:
    """An untrained Vision Transformer for images of one size.

    Patches shrink with the image: 4×4 pixels for 32×32 and 28×28, 2×2 for 8×8. There is no dropout:
    training is brief.

    Args:
        config: ``depth``, ``width``, ``heads`` and ``mlp_ratio``, each one of its `CHOICES`.
        num_classes: K.
        in_channels: channels of the images.
        image_size: their side, or (height, width), in pixels.

    Raises:
        ValueError: a key is missing or unknown, a value is not one of its choices, or the image has no
            pixels.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"`image_size` must be a side or (height, width), got {image_size!r}")
    return VisionTransformer(
        **_checked(config), num_classes=num_classes, in_channels=in_channels, image_size=size
    )


class VisionTransformer(nn.Module):
    """Patches, learned positions, pre-norm Transformer layers, mean over patches, linear head."""

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        heads: int,
        mlp_ratio: int,
        num_classes: int,
        in_channels: int,
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        patch = _patch_size(image_size)
        patches = (image_size[0] // patch) * (image_size[1] // patch)
        self.embedding = nn.Conv2d(in_channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, patches, width))
        # Not nn.TransformerEncoder: it gives all layers copies of the same initial weights.
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width,
                    heads,
                    mlp_ratio * width,
                    dropout=0.0,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        self._initialise()

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, K)."""
        tokens = self.embedding(images).flatten(2).mT + self.positions
        logits: Tensor = self.head(self.norm(self.layers(tokens)).mean(1))
        return logits

    def _initialise(self) -> None:
        """As is usual for ViTs: truncated normal with a deviation of 0.02, biases zero.

        The embedding, a convolution, keeps torch's own initialisation.
        """
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


def _patch_size(size: tuple[int, int]) -> int:
    """As in `timm_models`, but single pixels, which learn slowly, only if a side is odd."""
    smallest = 2 if size[0] % 2 == size[1] % 2 == 0 else 1
    return max(patch_size(size), smallest)


def _checked(config: Mapping[str, int]) -> dict[str, int]:
    if set(config) != set(CHOICES):
        raise ValueError(f"`config` must have the keys {', '.join(CHOICES)}, got {[*config]}")
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"`{key}` must be one of {choices}, got {config[key]!r}")
    return {key: int(config[key]) for key in CHOICES}  # 2.0 may come from a JSON file
