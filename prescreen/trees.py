"""Trees: tensors in tuples, lists and dicts, such as inputs and outputs of models, and batches."""

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
    return _map(tree, lambda part: isinstance(part, Tensor), function)


def to_device(tree: Any, device: str | torch.device) -> Any:
    """The same tree on a device; tensors that are already there are not copied.

    Args:
        tree: tensors, and other objects with a method ``to``. Anything else stays as it is.
        device: the target.
    """
    device = torch.device(device)

    def moved(part: Any) -> Any:
        # A non-blocking copy to the CPU could be read before it has arrived.
        options = {"non_blocking": device.type == "cuda"} if isinstance(part, Tensor) else {}
        return part.to(device, **options)

    return _map(tree, _moves, moved)


def _map(tree: Any, is_leaf: Callable[[Any], bool], function: Callable[[Any], Any]) -> Any:
    if is_leaf(tree):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: _map(part, is_leaf, function) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [_map(part, is_leaf, function) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def _moves(part: Any) -> bool:
    return not isinstance(part, type) and callable(getattr(part, "to", None))
