"""Preserve: run a model and leave it exactly as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prescreen.heads.values import Values
from prescreen.heads.wrappers import may_wrap, wrapped
from prescreen.random_state import undisturbed
from prescreen.trees import modules_of

# Where a module keeps its tensors by name.
_TABLES = ("_parameters", "_buffers", "_non_persistent_buffers_set")
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


@contextmanager
def preserve(model: nn.Module, *, batch_statistics: bool = True) -> Iterator[None]:
    """Evaluation without gradients, after which the model is bit for bit as it was.

    One thread at a time: models may share modules, and random state and compilation are the process's.
    Others wait.

    These are restored, also when the model raises: the train/eval flag of every submodule, the values
    and identity of buffers, the identity, ``grad`` and ``requires_grad`` of parameters, torch's random
    number generators on the CPU and on the model's CUDA devices, the grad mode and autocast's cache.
    Parameters are not copied, as torch's layers do not write into them, except a max_norm embedding,
    which is restored. Compiled parts run uncompiled. Processes of a distributed group do not
    communicate: a reading is local to its process.

    Args:
        model: the unwrapped model.
        batch_statistics: normalise every BatchNorm with the batch's own statistics, without
            touching the running ones. A BatchNorm in eval mode inside a model in train mode is frozen:
            like in training, it keeps using its running statistics.
    """
    modules = modules_of(model)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(undisturbed(model))
        stack.enter_context(_fresh_autocast())
        stack.enter_context(_uncompiled())
        stack.enter_context(_without_wrappers(modules))
        stack.enter_context(_evaluation(modules, batch_statistics))
        stack.enter_context(_same_tensors(modules))
        stack.enter_context(_same_gradients(modules))
        yield


@contextmanager
def _without_wrappers(modules: list[nn.Module]) -> Iterator[None]:
    """Let wrappers inside the model run what they wrap, here and without communication."""
    kinds = {type(m) for m in modules}
    known = {kind for kind in kinds if may_wrap(kind)}
    pairs = [(m, wrapped(m)) for m in modules if type(m) in known and "_orig_mod" not in m._modules]
    wrappers = [(vars(m), inner) for m, inner in pairs if inner is not None]
    saved = [(own, own.get("forward")) for own, _ in wrappers]
    try:
        for own, inner in wrappers:
            own["forward"] = inner
        yield
    finally:
        for own, forward in saved:
            if forward is None:
                own.pop("forward", None)
            else:
                own["forward"] = forward


@contextmanager
def _evaluation(modules: list[nn.Module], batch_statistics: bool) -> Iterator[None]:
    """Eval mode; a BatchNorm without running statistics uses the batch's.

    The flags are set one by one because a model's own train() may do more than that. In eval mode
    SyncBatchNorm neither communicates nor needs a GPU.
    """
    flags = [(module, module.training) for module in modules]
    normalizations = [
        (module._buffers, name, module._buffers[name])
        for module, training in flags
        if isinstance(module, _BatchNorm) and batch_statistics and (training or not flags[0][1])
        for name in ("running_mean", "running_var")
        if name in module._buffers
    ]
    try:
        for module, _ in flags:
            _set_training(module, False)
        for buffers, name, _ in normalizations:
            buffers[name] = None
        yield
    finally:
        for buffers, name, statistics in normalizations:
            buffers[name] = statistics
        for module, training in flags:
            _set_training(module, training)


def _set_training(module: nn.Module, flag: bool) -> None:
    own = vars(module)
    if "training" in own and type(module).__setattr__ is nn.Module.__setattr__:
        own["training"] = flag  # a twentieth of the time of the line below
    else:
        module.training = flag


@contextmanager
def _same_tensors(modules: list[nn.Module]) -> Iterator[None]:
    """Restore the values of buffers, and the tensor of every name."""
    tables = [vars(m)[table] for m in modules for table in _TABLES]
    plain = []
    for own in map(vars, modules):
        for key in own.keys() - _OF_EVERY_MODULE:
            value = own[key]
            # LeViT and related models cache what they compute in eval mode until they are trained again.
            if isinstance(value, dict):
                tables.append(value)
            # Not only buffers: weight_norm keeps its latest weight as a plain attribute.
            elif isinstance(value, Tensor):
                plain.append((own, key, value))
    entries = [(table, dict(table) if isinstance(table, dict) else {*table}) for table in tables]
    buffers = (one for m in modules for one in m._buffers.values() if one is not None)
    written = Values([*buffers, *_renormalized(modules)])
    try:
        yield
    finally:
        for table, saved in entries:
            # Frozen mappings, such as configurations of diffusers, refuse changes, and need none.
            if _differs(table, saved):
                table.clear()
                table.update(saved)
        for own, name, value in plain:
            own[name] = value
        written.restore()


def _differs(table: Any, saved: Any) -> bool:
    """Whether a table has other entries than were saved, or in another order."""
    if not isinstance(table, dict):
        return bool(table != saved)
    if len(table) != len(saved):
        return True
    pairs = zip(table.items(), saved.items(), strict=False)
    return any(now[0] is not before[0] or now[1] is not before[1] for now, before in pairs)


def _renormalized(modules: list[nn.Module]) -> list[Tensor]:
    embeddings = (m for m in modules if isinstance(m, nn.Embedding | nn.EmbeddingBag))
    return [m.weight for m in embeddings if m.max_norm is not None]


@contextmanager
def _same_gradients(modules: list[nn.Module]) -> Iterator[None]:
    every = (p for m in modules for p in m._parameters.values() if p is not None)
    saved = [(p, p.requires_grad, p.grad) for p in every]
    try:
        yield
    finally:
        for parameter, requires_grad, gradient in saved:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not gradient:
                parameter.grad = gradient


@contextmanager
def _fresh_autocast() -> Iterator[None]:
    """Neither use nor fill the cache of a caller's autocast.

    It holds weights as they were when first cast, perhaps before an optimizer step.
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def _uncompiled() -> AbstractContextManager[object]:
    """Run compiled submodules and functions uncompiled: dynamo ignores hooks that are added later.

    Compiled code is kept and not compiled again.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
