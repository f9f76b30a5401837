"""Trees: what models are called with and return, and batches: tensors in tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors of a tree."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | tuple | list):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_in(part)


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same tree with every tensor replaced; a mapping becomes a dict."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(part, function) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [map_tensors(part, function) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def to_device(tree: Any, device: str | torch.device) -> Any:
    """The same tree on a device; what is there already is not copied.

    Args:
        tree: of tensors, and of other things that have a method ``to``. Anything else stays as it is.
        device: where to.
    """
    device = torch.device(device)
    if isinstance(tree, Tensor):
        # Copies to the CPU that are not waited for could be read before they have arrived.
        return tree.to(device, non_blocking=device.type == "cuda")
    if not isinstance(tree, type) and callable(getattr(tree, "to", None)):
        return tree.to(device)
    if isinstance(tree, Mapping):
        return {key: to_device(part, device) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [to_device(part, device) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree
