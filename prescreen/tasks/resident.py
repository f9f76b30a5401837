"""Resident: data that are kept on the device on which models are trained."""

from __future__ import annotations

import torch
from torch import Tensor


def free_memory(device: torch.device) -> int:
    """The bytes that are free on a device for data to be kept there; 0 where that is not known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def sent(drawn: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the CPU on a device, which this process does not wait for."""
    if device.type == "cuda":
        drawn = drawn.pin_memory()
    return drawn.to(device, non_blocking=True)
