"""Preserve: run a model and leave it exactly as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prescreen.heads.wrappers import wrapped
from prescreen.random_state import undisturbed

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
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(undisturbed(model))
        stack.enter_context(_fresh_autocast())
        stack.enter_context(_uncompiled())
        stack.enter_context(_without_wrappers(model))
        stack.enter_context(_evaluation(model, batch_statistics))
        stack.enter_context(_same_tensors(model))
        stack.enter_context(_same_gradients(model))
        yield


@contextmanager
def _without_wrappers(model: nn.Module) -> Iterator[None]:
    """Let wrappers inside the model run what they wrap, here and without communication."""
    pairs = [(m, wrapped(m)) for m in model.modules() if "_orig_mod" not in m._modules]
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
def _evaluation(model: nn.Module, batch_statistics: bool) -> Iterator[None]:
    """Eval mode; a BatchNorm without running statistics uses the batch's.

    The flags are set one by one because a model's own train() may do more than that. In eval mode
    SyncBatchNorm neither communicates nor needs a GPU.
    """
    flags = [(module, module.training) for module in model.modules()]
    normalizations = [
        (module, module.running_mean, module.running_var)
        for module, training in flags
        if isinstance(module, _BatchNorm) and batch_statistics and (training or not model.training)
    ]
    try:
        for module, _ in flags:
            module.training = False
        for batch_norm, _, _ in normalizations:
            batch_norm.running_mean = batch_norm.running_var = None
        yield
    finally:
        for batch_norm, mean, variance in normalizations:
            batch_norm.running_mean, batch_norm.running_var = mean, variance
        for module, training in flags:
            module.training = training


@contextmanager
def _same_tensors(model: nn.Module) -> Iterator[None]:
    """Restore the values of buffers, and the tensor of every name."""
    modules = list(model.modules())
    tables = [vars(m)[table] for m in modules for table in _TABLES]
    # LeViT and related models cache what they compute in eval mode until they are trained again.
    own = [(m, key) for m in modules for key in vars(m).keys() - _OF_EVERY_MODULE]
    tables += [vars(m)[key] for m, key in own if isinstance(vars(m)[key], dict)]
    entries = [(table, dict(table) if isinstance(table, dict) else {*table}) for table in tables]
    # Not only buffers: weight_norm keeps its latest weight as a plain attribute.
    plain = [(m, k, v) for m in modules for k, v in vars(m).items() if isinstance(v, Tensor)]
    written = [*model.buffers(), *_renormalized(modules)]
    copies = [(tensor, tensor.clone()) for tensor in written]
    try:
        yield
    finally:
        for table, saved in entries:
            # Frozen mappings, such as configurations of diffusers, refuse changes, and need none.
            if _differs(table, saved):
                table.clear()
                table.update(saved)
        for module, name, value in plain:
            vars(module)[name] = value
        # Writing back unchanged values would break a later backward pass.
        for tensor, copy in copies:
            if not torch.equal(tensor, copy):
                tensor.copy_(copy)


def _differs(table: Any, saved: Any) -> bool:
    """Whether a table has other entries than were saved, or in another order."""
    if not isinstance(table, dict):
        return bool(table != saved)
    pairs = zip(table.items(), saved.items(), strict=False)
    return len(table) != len(saved) or any(
        now[0] is not before[0] or now[1] is not before[1] for now, before in pairs
    )


def _renormalized(modules: list[nn.Module]) -> list[Tensor]:
    embeddings = (m for m in modules if isinstance(m, nn.Embedding | nn.EmbeddingBag))
    return [m.weight for m in embeddings if m.max_norm is not None]


@contextmanager
def _same_gradients(model: nn.Module) -> Iterator[None]:
    saved = [(p, p.requires_grad, p.grad) for p in model.parameters()]
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
