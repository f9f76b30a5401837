"""Execution: run a model once and record what entered and left its layers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prescreen.heads.find import Head, layers_of
from prescreen.heads.positions import Call
from prescreen.text import first_line, message_of
from prescreen.trees import tensors_in

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


def execute_heads(
    model: nn.Module, inputs: Any, known: tuple[Head, ...]
) -> tuple[dict[Head, list[Call]], Any]:
    """Run the model; the calls of each head and the model's output.

    If no head is known, it is the last executed layer whose output, or a view of it, the model returns;
    failing that, the last executed layer.

    Raises:
        ValueError: the model cannot take the inputs, or does not execute the heads.
    """
    executions, counts, output = _run(
        model, inputs, known or layers_of(model), window=None if known else WINDOW
    )
    if not executions:
        if not known:
            raise ValueError(
                "`model` must run a Linear or Conv layer on a tensor, got none that it runs"
            )
        names = ", ".join(repr(head.name) for head in known)
        raise ValueError(f"`head` must be a layer that the model runs on a tensor, got {names}")
    heads = list(known) or [_last_head(executions, output)]
    calls = {head: [_unchanged(e) for e in executions if e.head == head] for head in heads}
    if any(len(calls[head]) < counts[head] for head in heads):
        return execute_heads(model, inputs, tuple(heads))  # some of its runs are out of the window
    return {head: made for head, made in calls.items() if made}, output


def _last_head(executions: list[Execution], output: Any) -> Head:
    returned = {_storage(tensor) for tensor in tensors_in(output)}
    matching = (e.head for e in reversed(executions) if _storage(e.call.outputs) in returned)
    return next(matching, executions[-1].head)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _unchanged(execution: Execution) -> Call:
    """The call as it was, even if the model has changed the output in place since."""
    head, call, versions = execution
    entered, left = (before == now for before, now in zip(versions, _versions(call), strict=True))
    if not entered:
        raise ValueError(
            f"`head` must have an input that stays, got {head.name!r}, changed in place"
        )
    return call if left else call._replace(outputs=head.module.forward(call.inputs))


def _versions(call: Call) -> tuple[int, ...]:
    return tuple(0 if tensor.is_inference() else tensor._version for tensor in call)


def _run(
    model: nn.Module, inputs: Any, layers: Iterable[Head], window: int | None
) -> tuple[list[Execution], Counter[Head], Any]:
    """The last ``window`` executions of some layers, how often each ran, the model's output."""
    executions: deque[Execution] = deque(maxlen=window)
    counts: Counter[Head] = Counter()

    def record(head: Head, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        entered = args[0] if args else kwargs.get("input")
        if not isinstance(entered, Tensor) or not isinstance(output, Tensor):
            return
        call = Call(entered.detach(), output.detach())
        counts[head] += 1
        executions.append(Execution(head, call, _versions(call)))

    handles = [
        head.module.register_forward_hook(
            lambda _, args, kwargs, output, head=head: record(head, args, kwargs, output),
            with_kwargs=True,
        )
        for head in layers
    ]
    try:
        output = call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return list(executions), counts, output


def call(model: nn.Module, inputs: Any) -> Any:
    """The model's output for a tensor, a tuple or list of arguments, or a dict of keywords.

    Raises:
        ValueError: the model cannot take the inputs.
    """
    args = () if isinstance(inputs, Mapping) else inputs
    args = (args,) if isinstance(args, Tensor) else args
    kwargs = inputs if isinstance(inputs, Mapping) else {}
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
