"""Wrappers: modules that run another module, and what is inside them."""

from __future__ import annotations

from typing import Any

from torch import nn

from prescreen.trees import modules_of

# Where wrappers keep the model that they wrap, by the name of their class or of one of its bases: most
# are from libraries that are not imported here.
WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",  # torch.compile
    "AveragedModel": "module",
    "ModelEma": "ema",  # timm
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "EMA": "ema_model",  # ema_pytorch
    "DeepSpeedEngine": "module",
    "_FabricModule": "module",  # Lightning
}
# Their layers hold a part of their weights, or none, until they run together with other processes.
SHARDED = ("FullyShardedDataParallel", "FSDPModule")


def unwrap(module: Any) -> nn.Module:
    """The module inside wrappers such as torch.compile, DataParallel and averages, however nested."""
    while True:
        inner = wrapped(module)
        if inner is None:
            root: nn.Module = module
            return root
        module = inner


def wrapped(module: Any) -> nn.Module | None:
    """The module that a wrapper holds; None if it is not a wrapper."""
    for kind in type(module).__mro__:
        inner = (
            getattr(module, WRAPPERS[kind.__name__], None) if kind.__name__ in WRAPPERS else None
        )
        if isinstance(inner, nn.Module):
            return inner
    return None


def attribute(module: nn.Module, name: str) -> Any:
    """An attribute of a module, apart from parameters, buffers and children; None if it has none.

    If there is none, torch takes microseconds to find that out, and models have hundreds of modules.
    """
    kind = type(module)
    if kind.__getattr__ is not nn.Module.__getattr__ or hasattr(kind, name):
        return getattr(module, name, None)
    return vars(module).get(name)


def may_wrap(kind: type) -> bool:
    """Whether modules of a class are wrappers."""
    return any(base.__name__ in WRAPPERS for base in kind.__mro__)


def require_whole(model: nn.Module) -> None:
    """Refuse a model that cannot be looked into here.

    Raises:
        ValueError: it is sharded over processes, or TorchScript.
    """
    classes = {type(module) for module in modules_of(model)}
    kinds = {kind.__name__ for one in classes for kind in one.__mro__}
    if "ScriptModule" in kinds:
        raise ValueError(
            "`model` must be an nn.Module in Python, got one made by torch.jit; read the one before"
        )
    if sharded := kinds & set(SHARDED):
        raise ValueError(
            f"`model` must have all its parameters here, got one sharded by {sharded.pop()}; "
            "read a copy with the full state_dict"
        )
