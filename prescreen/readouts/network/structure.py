"""Structure: what tells one architecture from another."""

from __future__ import annotations

import hashlib

from torch import nn

from prescreen.heads.find import unwrap

# What decides on a layer's work beside the shapes of its parameters. Other settings of modules, such as
# how much a dropout drops, belong to training.
_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups", "num_heads", "output_size")


def structure(model: nn.Module) -> str:
    """A digest of a network's modules, their geometry, and the shapes of its parameters and buffers.

    Networks of equal structure differ in their weights alone, as far as their modules tell: what a
    ``forward`` decides by itself is not seen.
    """
    root = unwrap(model)
    lines = [
        f"{name} {type(module).__qualname__} {[getattr(module, key, None) for key in _GEOMETRY]}"
        for name, module in root.named_modules()
    ]
    for name, tensor in (*root.named_parameters(), *root.named_buffers()):
        lines.append(f"{name} {tuple(tensor.shape)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
