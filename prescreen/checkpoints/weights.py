"""Weights: the network of a checkpoint file of any origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from prescreen.files import load_state
from prescreen.importing import import_file, import_module
from prescreen.spaces.candidate import Candidate
from prescreen.tasks import Task

Builder = Callable[..., nn.Module]

# Where training scripts put the weights in a checkpoint.
_ENTRIES = ("state_dict", "model_state_dict", "model")
# Prefixes that wrappers and trainers add to names.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_FORMS = "package.module:function or FILE.py:function"


def load_network(file: Path, builder: str | Builder, task: Task) -> nn.Module:
    """The network of a checkpoint, with its weights."""
    build = _imported(builder) if isinstance(builder, str) else builder
    model = Candidate(str(file), {}, build).model(**task.sizes)
    state = _weights(load_state(file), model)
    if state is None:
        raise ValueError(f"checkpoint must hold a state dict, got none in {file}")
    try:
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(
            f"checkpoint must hold the weights of the model, got {file}: {problem}"
        ) from None
    return model


def _imported(name: str) -> Builder:
    where, _, function = name.rpartition(":")
    if not where:
        raise ValueError(f"`models` must be {_FORMS}, got {name!r}")
    found = import_file if where.endswith(".py") else import_module
    module = found(where, "models")
    build = getattr(module, function, None)
    if not callable(build):
        problem = "is not found" if module is None else f"has no function {function}"
        raise ValueError(f"`models` must be {_FORMS}, got {name!r}, which {problem}")
    return build


def _weights(content: Any, model: nn.Module) -> Mapping[str, Any] | None:
    """The state dict in a checkpoint, under the names of the model."""
    for entry in _ENTRIES:
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
            break
    if not isinstance(content, Mapping) or not content:
        return None
    if not any(isinstance(value, Tensor) for value in content.values()):
        return None
    ours = model.state_dict()
    for prefix in _PREFIXES:
        wrapped = all(name.startswith(prefix) for name in content)
        if wrapped and not any(name.startswith(prefix) for name in ours):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return content
