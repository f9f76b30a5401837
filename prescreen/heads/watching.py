"""Watching: what enters and leaves the head in a forward pass that the training makes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from prescreen.captured import Capture
from prescreen.heads.execute import WINDOW, Run, recording, version_of
from prescreen.heads.find import known_heads
from prescreen.heads.layers import Head, layers_of
from prescreen.heads.subject import Subject, layer, logits_in, require_executed, seen
from prescreen.heads.wrappers import unwrap
from prescreen.predictions import Link
from prescreen.random_state import undisturbed
from prescreen.trees import modules_of

# The most samples, tokens or pixels, as for ``capture``.
_MAX_POSITIONS = 4096


class Watched:
    """The latest forward pass of a model.

    Args:
        model: wrapped or not.
        head: dotted name of the prediction head, if it is not found.
    """

    def __init__(self, model: nn.Module, head: str | None) -> None:
        self.known = known_heads(model, head)
        self.root = unwrap(model)
        self._named = head is not None
        self._inputs: Any = None
        self._run: Run | None = None
        self._weights: list[tuple[nn.Parameter, int]] = []

    def took(self, args: tuple[Any, ...], kwargs: dict[str, Any], run: Run) -> None:
        """Note what a forward pass was given, what ran, and which state its weights are in."""
        self._inputs = _arguments(self.root, args, kwargs)
        self._run = run
        layers = {id(one.head): one.head.module for one in run.executions}
        parameters = (p for module in layers.values() for p in module.parameters())
        self._weights = [(p, version_of(p)) for p in parameters]

    def capture(self, link: Link) -> Capture:
        """What entered and left the head.

        Raises:
            ValueError: there was no forward pass, weights have changed since, or no layer's own output
                is the logits.
            NonFiniteError: the model has diverged.
        """
        run = self._run
        if run is None:
            raise ValueError(
                "`watching` must hold a forward pass of the model, got none; parts that are called "
                "alone are not watched"
            )
        if any(version_of(p) != version for p, version in self._weights):
            raise ValueError(
                "`watching` must end before the optimizer's step, got weights that have changed since "
                "the forward pass"
            )
        device = next((p.device.type for p in self.root.parameters()), "cpu")
        with torch.no_grad(), torch.autocast(device, enabled=False), undisturbed(self.root):
            return self._captured(run, Subject(self.root, self._inputs, link, _MAX_POSITIONS))

    def _captured(self, run: Run, subject: Subject) -> Capture:
        logits = logits_in(run.output)
        found = None if logits is None else seen(subject, run, logits)
        if found is not None:
            return found[1]
        if self._named:
            require_executed(run, self.known)
            return layer(subject, run, self.known[0])
        raise ValueError(
            "`head` must be named where no layer's own output is the logits that the training's forward "
            f"pass returns, got None for {type(self.root).__name__}; Probe may run the model again"
        )


@contextmanager
def watched(model: nn.Module, head: str | None) -> Iterator[Watched]:
    """The latest forward pass of a model inside.

    Compiled code would neither call nor tolerate hooks that come and go.

    Inputs and outputs of layers are held as they are, not copied, until the ``Watched`` is let go.

    Raises:
        ValueError: the named head is not one, or the model is compiled.
    """
    watch = Watched(model, head)
    if any("_orig_mod" in m._modules or m._compiled_call_impl for m in (model, *modules_of(model))):
        raise ValueError(
            "`model` must be watched as it is before torch.compile, got a compiled one; Probe reads it"
        )
    layers: tuple[Head, ...] = watch.known or layers_of(watch.root)
    with recording(layers, None if watch.known else WINDOW) as executions:
        before = watch.root.register_forward_pre_hook(lambda *_: executions.clear())
        after = watch.root.register_forward_hook(
            lambda _, args, kwargs, output: watch.took(args, kwargs, Run([*executions], output)),
            with_kwargs=True,
        )
        try:
            yield watch
        finally:
            before.remove()
            after.remove()


def _arguments(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a model was called with, as ``capture`` takes it."""
    if not kwargs:
        return args
    try:
        return inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return kwargs
