"""Execution: run a model once and record what entered and left its layers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prescreen.checks import require_at_least
from prescreen.heads.layers import Head
from prescreen.heads.positions import Call
from prescreen.heads.wrappers import unwrap
from prescreen.predictions import LOSS_MASK
from prescreen.text import first_line, message_of
from prescreen.trees import map_tensors, modules_of, tensors_in, to_device

# If its name is unknown, the head is looked for among the last executions: holding the input of every
# layer would cost the memory of a training step.
WINDOW = 16

# Errors of models about their inputs: timm asserts, Python misses an argument.
_MODEL_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


class Execution(NamedTuple):
    """One execution of a layer, and the versions of its tensors, which in-place changes increase."""

    head: Head
    call: Call
    versions: tuple[int, ...]

    @property
    def changed(self) -> bool:
        """Whether the model has changed what left the layer, in place."""
        return self.versions[1] != version_of(self.call.outputs)

    def unchanged(self) -> Call:
        """The call as it was, even if the model has changed the output in place since.

        Raises:
            ValueError: it has changed the input.
        """
        require_unchanged(self.head.name, self.call.inputs, self.versions[0])
        if not self.changed:
            return self.call
        return self.call._replace(outputs=self.head.module.forward(self.call.inputs))


class Run(NamedTuple):
    """The last executions of some layers, and the model's output."""

    executions: list[Execution]
    output: Any


def execute(
    model: nn.Module, inputs: Any, layers: Iterable[Head], window: int | None = None
) -> Run:
    """Run the model and record the last ``window`` executions of some layers; None for all.

    Raises:
        ValueError: the model cannot take the inputs.
    """
    with recording(layers, window) as executions:
        output = call(model, inputs)
    return Run(list(executions), output)


@contextmanager
def recording(layers: Iterable[Head], window: int | None) -> Iterator[deque[Execution]]:
    """The last ``window`` executions of some layers inside; None for all."""
    executions: deque[Execution] = deque(maxlen=window)

    def record(head: Head, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        entered = args[0] if args else kwargs.get("input")
        if not isinstance(entered, Tensor) or not isinstance(output, Tensor):
            return
        if storage_of(output) < 0:
            return
        call = Call(entered.detach(), output.detach())
        executions.append(Execution(head, call, (version_of(entered), version_of(output))))

    handles = [
        head.module.register_forward_hook(
            lambda _, args, kwargs, output, head=head: record(head, args, kwargs, output),
            with_kwargs=True,
            prepend=True,  # another's hook may replace what the layer computes
        )
        for head in layers
    ]
    try:
        yield executions
    finally:
        for handle in handles:
            handle.remove()


def version_of(tensor: Tensor) -> int:
    """How often a tensor has been changed in place; 0 if torch does not count that."""
    return 0 if tensor.is_inference() else tensor._version


def storage_of(tensor: Tensor) -> int:
    """Where a tensor's memory begins; a negative number if it has none, as inside ``torch.vmap``."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return -id(tensor)


def require_unchanged(name: str, inputs: Tensor, version: int) -> None:
    """Refuse features that the model has changed in place since they entered the head.

    Raises:
        ValueError: it has.
    """
    if version_of(inputs) != version:
        raise ValueError(f"`head` must have an input that stays, got {name!r}, changed in place")


def require_runnable(model: nn.Module, inputs: Any, max_positions: int) -> None:
    """Refuse what no model can be run on, and a model that has not been run before though it must.

    Raises:
        ValueError: an argument is not allowed.
    """
    require_at_least("max_positions", max_positions, 2)
    if not any(tensor.numel() for tensor in tensors_in(inputs)):
        got = f"shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else repr(inputs)
        raise ValueError(
            "`inputs` must be a non-empty tensor, or a tuple, list or dict of arguments that holds one, "
            f"got {got}"
        )
    own = ((*m._parameters.values(), *m._buffers.values()) for m in modules_of(model))
    if any(is_lazy(one) for tensors in own for one in tensors if one is not None):
        raise ValueError(
            f"`model` must have initialised parameters, got lazy ones in {type(model).__name__}; "
            "run it once before"
        )


def call(model: nn.Module, inputs: Any) -> Any:
    """The model's output for a tensor, a tuple or list of arguments, or a dict of keywords.

    Raises:
        ValueError: the model cannot take the inputs.
    """
    args = () if isinstance(inputs, Mapping) else inputs
    args = (args,) if isinstance(args, Tensor) else args
    named = inputs.items() if isinstance(inputs, Mapping) else ()
    kwargs = {name: value for name, value in named if name != LOSS_MASK}
    try:
        return model(*args, **kwargs)
    except _MODEL_ERRORS as error:
        if is_out_of_memory(error):
            raise
        got = ", ".join(
            f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)} on {t.device}"
            for t in tensors_in(inputs)
        )
        raise ValueError(
            f"`inputs` must be such that the model can run on them, got {got}: {first_line(error)}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted."""
    # On the CPU torch raises a plain RuntimeError that only its text identifies.
    texts = ("not enough memory", "can't allocate memory", "std::bad_alloc")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in message_of(error) for text in texts
    )


def on_device_of(model: nn.Module, inputs: Any) -> Any:
    """The inputs on the model's device and, if all of its parameters are of one kind, of that kind."""
    model = unwrap(model)
    weights = [p for m in modules_of(model) for p in m._parameters.values() if p is not None]
    inputs = to_device(inputs, weights[0].device if weights else torch.device("cpu"))
    kinds = {p.dtype for p in weights if p.is_floating_point()}
    floating = [part for part in tensors_in(inputs) if part.is_floating_point()]
    if len(kinds) != 1 or {part.dtype for part in floating} <= kinds:
        return inputs
    (kind,) = kinds
    return map_tensors(inputs, lambda part: part.to(kind) if part.is_floating_point() else part)
