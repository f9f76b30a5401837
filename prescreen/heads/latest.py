"""Latest: which layer was the head when a model was last read, so that it need not be searched again.

To search, the last inputs and outputs of all layers are held while the model runs. That takes up to half
of the time of the forward pass, as memory in use cannot be used again.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary, ref

from torch import nn

from prescreen.heads.layers import Head

_FOUND: WeakKeyDictionary[nn.Module, tuple[str, ref[nn.Module]]] = WeakKeyDictionary()


def likely_head(model: nn.Module) -> Head | None:
    """The layer, if the model still has it at the same place."""
    name, layer = _FOUND.get(model, ("", None))
    if layer is None:
        return None
    try:
        inside = model.get_submodule(name)
    except AttributeError:
        return None
    return Head(name, inside) if inside is layer() else None


def remember(model: nn.Module, name: str) -> None:
    """Note the layer that gave the logits."""
    _FOUND[model] = name, ref(model.get_submodule(name))


def forget(model: nn.Module) -> None:
    """Search at the next reading."""
    _FOUND.pop(model, None)
