"""Processes: in data-parallel training the first process acts, and tells the others what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")


def told_by_first(function: Callable[[], T], group: Any = None) -> T:
    """What a function returns in the first process, in all of them; they must all ask.

    Args:
        function: called in the first process only; its result can be pickled.
        group: the processes, by default all. Alone, this process is the first.

    Raises:
        Exception: what the function raises. In the other processes it is a ValueError or a RuntimeError
            with its message, so that none waits for ever.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return function()
    error: Exception | None = None
    told: list[Any] = [None]
    if dist.get_rank(group) == 0:
        try:
            told = [(True, function())]
        except Exception as raised:  # the other processes wait for an answer, even an error
            # An error itself may hold what cannot be sent.
            error, told = raised, [(False, (isinstance(raised, ValueError), _message(raised)))]
    dist.broadcast_object_list(told, src=0, group=group)
    if error is not None:
        raise error
    is_result, answer = told[0]
    if not is_result:
        is_value_error, message = answer
        raise ValueError(message) if is_value_error else RuntimeError(message)
    result: T = answer
    return result


def _message(error: Exception) -> str:
    """What an error says, of others than ValueError with its class."""
    try:
        return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    except Exception:  # a message that cannot be made
        return type(error).__name__
