"""Structure: a digest that distinguishes architectures."""

from __future__ import annotations

import hashlib

from torch import nn

from prescreen.heads.find import unwrap

# Settings that decide what a layer computes, apart from the shapes of its parameters. Others, such as
# the rate of a dropout, belong to training.
_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups", "num_heads", "output_size")


def structure(model: nn.Module) -> str:
    """A digest of a network's modules, their geometry, and the shapes of its parameters and buffers.

    Networks of equal structure differ only in their weights, as far as their modules show: decisions
    inside a ``forward`` are not seen.
    """
    root = unwrap(model)
    lines = [
        f"{name} {type(module).__qualname__} {[getattr(module, key, None) for key in _GEOMETRY]}"
        for name, module in root.named_modules()
    ]
    for name, tensor in (*root.named_parameters(), *root.named_buffers()):
        lines.append(f"{name} {tuple(tensor.shape)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
