"""Execution: how a network is trained on its device; what is computed changes by rounding only.

The rule looks at the network alone, never at a clock: all workers, and a resumed run, choose alike.
docs/speed.md has what it is worth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from prescreen.random_state import forked

# Convolutions are worth another layout if they hold this share of the weights:
# `python -m benchmarks.throughput.layouts`.
SHARE = 1 / 5

# Losses in both layouts differ by rounding. What reads memory in a fixed order is much further off.
_ROUNDING = 1e-3

_PLAIN = "plain"


@dataclass(frozen=True)
class Execution:
    """How a network is trained.

    Args:
        channels_last: the weights of convolutions, and so what they return, hold the channels of a pixel
            side by side.
    """

    channels_last: bool = False

    def __str__(self) -> str:
        """Such as ``"channels_last"``; ``"plain"`` if nothing is on."""
        return ",".join(name for name, on in vars(self).items() if on) or _PLAIN

    @classmethod
    def named(cls, text: str) -> Execution:
        """The one that ``str`` calls so."""
        return cls(**dict.fromkeys(text.split(","), True)) if text != _PLAIN else cls()


def execution_of(model: nn.Module, device: torch.device) -> Execution:
    """What pays for a network; only on a CPU has it been measured.

    Args:
        model: the network, with its weights.
        device: where it is trained.
    """
    return Execution(channels_last=device.type == "cpu" and _convolves(model))


def lay_out(model: nn.Module, channels_last: bool) -> None:
    """Bring the weights of all convolutions over images into a layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for convolution in _convolutions(model):
        # Not `contiguous`: for kernels of one pixel, or one channel, either layout passes for both.
        convolution.to(memory_format=layout)


def keeping_results(
    chosen: Execution,
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    devices: Sequence[torch.device],
    seed: int,
) -> Execution:
    """What was chosen, without the layout if it changes the loss, or if the network cannot take it.

    ``view`` refuses what is not contiguous, custom operations may take for granted that it is, and
    dropout draws the masks of other pixels.

    Args:
        chosen: by the rule.
        model: the network before its first step; copies of it are run.
        loss: of a network on the first batch.
        devices: whose random state is kept as well.
        seed: of what the copies draw.
    """
    if not chosen.channels_last:
        return chosen
    try:
        with forked(devices, seed), torch.no_grad():
            before = loss(copy.deepcopy(model)).item()
        other = copy.deepcopy(model)
        lay_out(other, channels_last=True)
        with forked(devices, seed), torch.enable_grad():
            after = loss(other)
            after.backward()
        same = math.isclose(before, after.item(), rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    except Exception:  # whatever a candidate's code raises in any layout, its training raises
        same = False
    return replace(chosen, channels_last=same)


def _convolves(model: nn.Module) -> bool:
    """Whether most of the work is in convolutions, whose layout nobody has chosen yet."""
    convolutions = _convolutions(model)
    weights = sum(one.weight.numel() for one in convolutions)
    whole = sum(weight.numel() for weight in model.parameters() if weight.ndim > 1)
    is_chosen = any(not one.weight.is_contiguous() for one in convolutions)
    return not is_chosen and 0 < SHARE * whole <= weights


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]
