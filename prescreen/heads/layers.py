"""Layers: the linear maps that can be a head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from prescreen.heads.wrappers import attribute, unwrap

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


@dataclass(frozen=True)
class Head:
    """A linear layer or convolution whose output is the model's prediction.

    Args:
        name: its path in the unwrapped model.
        module: the layer.

    Raises:
        ValueError: the module is not a linear map of its input, or is a grouped convolution.
    """

    name: str
    module: nn.Module

    def __post_init__(self) -> None:
        if not is_layer(self.module):
            raise ValueError(
                "`head` must be a Linear, or a Conv or ConvTranspose of 1d, 2d or 3d, "
                f"got {self.name!r}, which is {type(self.module).__name__}"
            )
        groups = getattr(self.module, "groups", 1)
        if groups != 1:
            raise ValueError(
                f"`head` must be a convolution with groups=1, got {self.name!r} with groups={groups}"
            )


def layers_of(model: nn.Module) -> tuple[Head, ...]:
    """All linear layers and ungrouped convolutions of a model, as registered."""
    return tuple(
        Head(name, module)
        for name, module in model.named_modules()
        if is_layer(module) and getattr(module, "groups", 1) == 1
    )


def is_layer(module: nn.Module) -> bool:
    """Whether a module is nn.Linear, a convolution, also a transposed one, or looks like a Linear."""
    if isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        return True
    sizes = [attribute(module, name) for name in ("out_features", "in_features")]
    if None in sizes or unwrap(module) is not module:
        return False
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and list(weight.shape) == sizes
