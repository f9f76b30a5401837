"""Random state: torch's global generators, which all threads of a process share.

Whoever swaps them, or another process-wide setting of torch, holds one lock until they are restored.
Readings do not swap them if there are other threads: these may draw at any time, and a generator that is
set back would repeat their draws.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from prescreen.trees import modules_of

# Held while process-wide state of torch is swapped and while a model is read. The only lock for either:
# two would be taken in either order, and wait for each other.
ONE_AT_A_TIME = threading.RLock()

if hasattr(os, "register_at_fork"):  # not on Windows
    # A forked process has only one thread, which may not be the one that held the lock.
    os.register_at_fork(after_in_child=ONE_AT_A_TIME._at_fork_reinit)  # type: ignore[attr-defined]


@contextmanager
def forked(devices: Sequence[torch.device] = (), seed: int | None = None) -> Iterator[None]:
    """The global generators may be set and drawn from inside; they are restored.

    Args:
        devices: CUDA devices whose generators are drawn from; the CPU's always is.
        seed: set all of them to this seed.
    """
    with ONE_AT_A_TIME, torch.random.fork_rng(list(devices)):
        if seed is not None:
            torch.manual_seed(seed)
        yield


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """What a model draws inside does not advance the global generators.

    Draws are those that it would make from the global generators as they are at its first draw. Only
    the model should run inside: torch computes some decompositions otherwise under a dispatch mode.
    """
    tensors = (
        t for m in modules_of(model) for t in (*m._parameters.values(), *m._buffers.values())
    )
    indices = sorted({t.device.index for t in tensors if t is not None and t.is_cuda})
    with ONE_AT_A_TIME:
        alone = threading.active_count() == 1
        with torch.random.fork_rng(indices, device_type="cuda") if alone else _OwnDraws():
            yield


class _OwnDraws(TorchDispatchMode):
    """Operations of this thread draw from generators that nobody else has."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._generators: dict[torch.device, Generator] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operation, with a generator if it draws."""
        kwargs = dict(kwargs or {})
        device = _device(args, kwargs)
        may_draw = torch.Tag.nondeterministic_seeded in getattr(func, "tags", ())
        # Meta tensors have no values; the generators of other devices cannot be copied here.
        is_known = device.type in ("cpu", "cuda")
        if not (may_draw and is_known and _draws(func, args, kwargs)):
            return func(*args, **kwargs)
        drawing = _with_generator(func)
        if drawing is not None:
            generator = kwargs.pop("generator", None) or self._generator(device)
            return drawing(*args, **kwargs, generator=generator)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> Generator:
        if device not in self._generators:
            self._generators[device] = Generator(device)
            is_cpu = device.type == "cpu"
            state = torch.get_rng_state() if is_cpu else torch.cuda.get_rng_state(device)
            self._generators[device].set_state(state)
        return self._generators[device]


@cache
def _with_generator(func: Any) -> Any | None:
    """An operation, or its form that takes a generator; None if it has none."""
    names = {argument.name for argument in func._schema.arguments} | {"generator"}
    packet = func.overloadpacket
    forms = (func, *(getattr(packet, name) for name in packet.overloads()))
    return next((f for f in forms if {a.name for a in f._schema.arguments} == names), None)


def _draws(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation that can draw does: attention that drops out nothing does not."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    return bool(given.get("train", True) and given.get("dropout_p", True))


def _device(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.device:
    first = next((value for value in args if isinstance(value, Tensor)), None)
    return torch.device(kwargs.get("device") or "cpu") if first is None else first.device
