"""Structure: what distinguishes architectures, and what they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torch import nn

from prescreen.heads.wrappers import unwrap

# Settings that decide what a layer computes, apart from the shapes of its parameters. Others, such as
# the rate of a dropout, belong to training.
_GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "groups", "num_heads", "output_size")

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def structure(model: nn.Module) -> str:
    """A digest of a network's structure, and the kinds of its modules, apart by spaces.

    The digest is of modules, their geometry, and the shapes of parameters and buffers. Networks of equal
    structure differ only in their weights, as far as their modules show: decisions inside a ``forward``
    are not seen. Whether there is a dropout belongs to training, like its rate.
    """
    model = unwrap(model)
    digest = hashlib.sha256("\n".join(_lines(model, "", set())).encode()).hexdigest()[:16]
    return " ".join([digest, *_kinds(model)])


def _kinds(model: nn.Module) -> list[str]:
    """Names of the classes of a network's modules, from its layers up to itself.

    Networks of one family share their blocks as well as their layers.
    """
    kinds = (type(m) for m in model.modules() if not (_passes(m) or type(m) in _CONTAINERS))
    return sorted({"".join(kind.__qualname__.split()) for kind in kinds})


def _lines(module: nn.Module, path: str, seen: set[int]) -> Iterator[str]:
    seen.add(id(module))
    kind = "Identity" if _passes(module) else type(module).__qualname__
    yield f"{path} {kind} {[getattr(module, key, None) for key in _GEOMETRY]}"
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    yield from (f"{path} {name} {tuple(tensor.shape)}" for name, tensor in own)
    in_a_row = isinstance(module, nn.Sequential)
    children = [(n, c) for n, c in module.named_children() if not (in_a_row and _passes(c))]
    for index, (name, child) in enumerate(children):
        if id(child) not in seen:
            yield from _lines(child, f"{path}.{index if in_a_row else name}", seen)


def _passes(module: nn.Module) -> bool:
    """Whether a module passes on what enters it, except in training: dropout in all its forms."""
    return isinstance(module, nn.Identity) or "Drop" in type(module).__qualname__
