"""Values: what tensors held, kept so that it can be compared and restored with few calls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Larger tensors are kept one by one: joining them would take their memory once more.
_SMALL = 1 << 16


class Values:
    """The values of some tensors at one time.

    Small ones of one kind are joined: a call for each BatchNorm of a network would take longer than the
    network itself, and on an accelerator each comparison waits for the device.

    Args:
        tensors: in any number; one that is named twice counts once.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        groups: dict[object, list[Tensor]] = {}
        for one in {id(tensor): tensor for tensor in tensors}.values():
            groups.setdefault((one.dtype, one.device) if _joins(one) else id(one), []).append(one)
        self._kept = [(some, [t.numel() for t in some], _joined(some)) for some in groups.values()]

    def restore(self) -> None:
        """Write back what changed; what did not is left alone, else a backward pass would break."""
        equal = [(_joined(tensors) == before).all() for tensors, _, before in self._kept]
        # One look at all of them, as each would wait for an accelerator.
        if not equal or all(torch.stack([one.to(equal[0].device) for one in equal]).tolist()):
            return
        for tensors, sizes, before in self._kept:
            for tensor, copy in zip(tensors, before.flatten().split(sizes), strict=True):
                copy = copy.view(tensor.shape)
                if not torch.equal(tensor, copy):
                    tensor.copy_(copy)


def _joins(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return plain and tensor.numel() <= _SMALL and not tensor.is_quantized


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0].clone()
    return torch.cat([one.flatten() for one in tensors])
