"""Global state: what of Python, NumPy and torch a candidate may change, and how to set it back."""

from __future__ import annotations

import gc
import locale
import logging
import operator
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_modules

State = dict[str, Any]
Getter = Callable[[], Any]
Setter = Callable[[Any], object]
_UNKNOWN = object()


def global_state() -> State:
    """The present value of everything in the table."""
    return {name: _got(get) for name, (get, _) in TABLE.items()}


def _got(get: Getter) -> Any:
    try:
        return get()
    except RuntimeError:  # torch's precision, if it was set in the former and in the present way
        return _UNKNOWN


def set_global_state(now: State, wanted: State) -> None:
    """Set what differs, and touch nothing else."""
    for name, (_, set_) in TABLE.items():
        if now[name] != wanted[name] is not _UNKNOWN:
            set_(wanted[name])


def _attribute(owner: Any, name: str) -> tuple[Getter, Setter]:
    return partial(getattr, owner, name), partial(setattr, owner, name)


def _backends(*paths: str) -> dict[str, tuple[Getter, Setter]]:
    """Those attributes of torch.backends that this version of torch has."""
    found = {}
    for path in paths:
        *owners, name = path.split(".")
        try:
            owner = (
                operator.attrgetter(".".join(owners))(torch.backends) if owners else torch.backends
            )
            getattr(owner, name)
        except AttributeError:
            continue
        found[path] = _attribute(owner, name)
    return found


def _content(of: Callable[[], Any]) -> tuple[Getter, Setter]:
    """The content of a list or dict that others hold as well."""

    def set_(value: Any) -> None:
        held = of()
        held.clear()
        held.update(value) if isinstance(held, dict | os._Environ) else held.extend(value)

    return lambda: of().copy(), set_


def _device() -> torch.device | None:
    try:
        device = torch.get_default_device()
    except AttributeError:  # of torch 2.6, once a default has been taken back
        return None
    return None if device.type == "cpu" else device  # without a default it is the CPU


def _set_device(device: torch.device | None) -> None:
    torch.set_default_device(device)
    try:
        torch.get_default_device()
    except AttributeError:  # likewise; whoever asks next, such as Lightning, would fail
        del torch._GLOBAL_DEVICE_CONTEXT.device_context


def _autocast(device: str) -> dict[str, tuple[Getter, Setter]]:
    return {
        f"autocast on {device}": (
            lambda: torch.is_autocast_enabled(device),
            lambda on: torch.set_autocast_enabled(device, on),
        ),
        f"autocast dtype on {device}": (
            lambda: torch.get_autocast_dtype(device),
            lambda dtype: torch.set_autocast_dtype(device, dtype),
        ),
    }


def _deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _flushes_denormals() -> bool:
    tiny = torch.full((1,), 1e-40, dtype=torch.float32, device="cpu")
    return bool((tiny * 1).item() == 0)


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return name, np.asarray(keys).tobytes(), *rest


def _set_numpy_state(value: tuple[Any, ...]) -> None:
    name, keys, *rest = value
    np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))


def _set_filters(value: list[Any]) -> None:
    warnings.resetwarnings()  # tells the warnings that have been shown to ask again
    warnings.filters.extend(value)  # type: ignore[attr-defined]  # a list, whatever its stub says


def _logging() -> tuple[Any, ...]:
    return logging.root.level, logging.root.manager.disable, logging.root.handlers[:]


def _set_logging(value: tuple[Any, ...]) -> None:
    level, disabled, handlers = value
    logging.root.setLevel(level)
    logging.disable(disabled)
    logging.root.handlers[:] = handlers


def _handlers() -> Mapping[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(value: Mapping[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # there, a candidate cannot change them either
    for number, handler in value.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # removed
        return None


def _set_directory(value: str | None) -> None:
    if value is not None and os.path.isdir(value):
        os.chdir(value)


def _has_timer() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _set_timer(wanted: bool) -> None:
    # One that is left would end the next candidate.
    if not wanted and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


# The precision of numbers in torch's present form, or else in its former one.
_PRECISION = (
    "fp32_precision cuda.matmul.fp32_precision cudnn.conv.fp32_precision cudnn.rnn.fp32_precision "
    "mkldnn.fp32_precision mkldnn.matmul.fp32_precision mkldnn.conv.fp32_precision "
    "mkldnn.rnn.fp32_precision"
    if hasattr(torch.backends, "fp32_precision")
    else "cuda.matmul.allow_tf32 cudnn.allow_tf32"
)
_BACKENDS = (
    "cuda.matmul.allow_fp16_reduced_precision_reduction "
    "cuda.matmul.allow_bf16_reduced_precision_reduction cudnn.enabled cudnn.benchmark "
    "cudnn.deterministic mkldnn.enabled opt_einsum.enabled quantized.engine"
)

# What a candidate may change: how it is read, and how it is set. Values are compared with ==.
TABLE: dict[str, tuple[Getter, Setter]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (_device, _set_device),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "deterministic algorithms": (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _deterministic,
    ),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    **_backends(*_PRECISION.split(), *_BACKENDS.split()),
    **_autocast("cpu"),
    **_autocast("cuda"),
    "autocast cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "flushed denormals": (_flushes_denormals, torch.set_flush_denormal),
    "transformers' fast path": (
        torch.backends.mha.get_fastpath_enabled,
        torch.backends.mha.set_fastpath_enabled,
    ),
    **{
        name: _content(partial(getattr, torch_modules, name))
        for name, value in vars(torch_modules).items()
        if name.startswith("_global_") and isinstance(value, dict)  # hooks of all modules
    },
    "torch's random state": (
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda value: torch.set_rng_state(torch.frombuffer(bytearray(value), dtype=torch.uint8)),
    ),
    "random": (random.getstate, random.setstate),
    "NumPy's random state": (_numpy_state, _set_numpy_state),
    "NumPy's errors": (np.geterr, lambda value: np.seterr(**value)),
    "warnings": (lambda: list(warnings.filters), _set_filters),
    "shown warnings": _attribute(warnings, "showwarning"),
    "logging": (_logging, _set_logging),
    "environment": _content(lambda: os.environ),
    "directory": (_directory, _set_directory),
    "sys.path": _content(lambda: sys.path),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "garbage collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "locale": (partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
    **{f"sys.{name}": _attribute(sys, name) for name in ("stdin", "stdout", "stderr")},
    **{f"sys.{name}": _attribute(sys, name) for name in ("excepthook", "argv")},
    "signal handlers": (_handlers, _set_handlers),
    "timer": (_has_timer, _set_timer),
}
