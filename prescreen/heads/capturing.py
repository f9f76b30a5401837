"""Capturing: one forward pass of a model, and what entered and left its prediction heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prescreen.captured import Capture
from prescreen.checks import require_at_least
from prescreen.heads.execute import execute_heads
from prescreen.heads.find import known_heads, unwrap
from prescreen.heads.positions import flat_weight, flatten_calls
from prescreen.heads.preserve import preserve
from prescreen.predictions import Link
from prescreen.trees import tensors_in


def capture(
    model: nn.Module,
    inputs: Any,
    *,
    head: str | nn.Module | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
    max_positions: int = 4096,
) -> Capture:
    """What enters and leaves the prediction head in one forward pass; the model stays as it was.

    Several heads whose weighted sum is the model's output, such as the two of a distilled model, count
    as one head on their joint features.

    Args:
        model: any model whose head is a linear layer or convolution. It may be wrapped by
            torch.compile, DataParallel or DistributedDataParallel; processes do not communicate.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        head: the head's path or the layer itself, if ``find_heads`` does not find it.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        batch_statistics: normalise every BatchNorm with this batch's statistics instead of its
            running ones, which are useless until training is far along.
        max_positions: the most samples, tokens or pixels; of more, this many are drawn with a fixed
            seed.

    Raises:
        ValueError: the model cannot take the inputs, the head is not found or not linear, or there are
            several heads whose weighted sum is not the output.
        NonFiniteError: features, logits or weights are NaN or infinite.
    """
    captures, outputs = _read(model, inputs, head, link, batch_statistics, max_positions)
    names = list(captures)
    if len(names) == 1:
        return captures[names[0]]
    joint = _join(list(captures.values()), outputs)
    if joint is None:
        raise ValueError(
            "`head` must name one of several heads whose weighted sum is not the model's output, "
            f"got None for {', '.join(names)}; choose one, as in head={names[0]!r}, or use capture_heads"
        )
    return joint


def capture_heads(
    model: nn.Module,
    inputs: Any,
    *,
    head: str | nn.Module | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
    max_positions: int = 4096,
) -> dict[str, Capture]:
    """Like ``capture``, but for every head separately, by its path in the unwrapped model."""
    return _read(model, inputs, head, link, batch_statistics, max_positions)[0]


def _read(
    model: nn.Module,
    inputs: Any,
    head: str | nn.Module | None,
    link: Link,
    batch_statistics: bool,
    max_positions: int,
) -> tuple[dict[str, Capture], list[Tensor]]:
    """A capture of every head, and the tensors (N, K) that the model returned."""
    known = known_heads(model, head)
    root = unwrap(model)
    _check_arguments(root, inputs, max_positions)
    with preserve(root, batch_statistics=batch_statistics):
        heads, output = execute_heads(root, inputs, known)
        captures: dict[str, Capture] = {}
        outputs: list[Tensor] = []
        for found, calls in heads.items():
            layer = found.module
            features, logits = flatten_calls(layer, calls, max_positions)
            bias = layer.bias.detach() if isinstance(layer.bias, Tensor) else None
            captures[found.name] = Capture(features, logits, flat_weight(layer), bias, link)
            if len(heads) > 1 and not outputs:
                same = (t for t in tensors_in(output) if t.shape == calls[0].outputs.shape)
                made = (calls[0]._replace(outputs=tensor.detach()) for tensor in same)
                outputs = [flatten_calls(layer, [call], max_positions)[1] for call in made]
    return captures, outputs


def _check_arguments(model: nn.Module, inputs: Any, max_positions: int) -> None:
    require_at_least("max_positions", max_positions, 2)
    if not any(tensor.numel() for tensor in tensors_in(inputs)):
        got = f"shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else repr(inputs)
        raise ValueError(
            "`inputs` must be a non-empty tensor, or a tuple, list or dict of arguments that holds one, "
            f"got {got}"
        )
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ValueError(
            f"`model` must have initialised parameters, got lazy ones in {type(model).__name__}; "
            "run it once before"
        )


def _join(heads: Sequence[Capture], outputs: Sequence[Tensor]) -> Capture | None:
    """One head on joint features, if a tensor of the output is a weighted sum of the logits."""
    if len({head.logits.shape for head in heads}) > 1:
        return None
    logits = torch.stack([head.logits.double() for head in heads], -1)
    for output in outputs:
        for weights in _mixtures(logits, output.double()):
            scale = (logits.abs() @ weights.abs()).max()
            error = (logits @ weights - output).abs().max()
            if bool(error <= 4 * torch.finfo(output.dtype).eps * scale):
                return _weighted_sum(heads, output, weights.tolist())
    return None


def _mixtures(logits: Tensor, output: Tensor) -> list[Tensor]:
    """The weights to try: a mean, a sum, and the best fit (EfficientViM learns its weights)."""
    ones = logits.new_ones(logits.shape[-1])
    flat = logits.flatten(0, -2)
    fitted = torch.linalg.pinv(flat.T @ flat, hermitian=True) @ (flat.T @ output.flatten())
    return [ones / len(ones), ones, fitted]


def _weighted_sum(heads: Sequence[Capture], output: Tensor, weights: list[float]) -> Capture:
    pairs = list(zip(weights, heads, strict=True))
    biases = [factor * head.bias for factor, head in pairs if head.bias is not None]
    return Capture(
        torch.cat([head.features for head in heads], 1),
        output,
        torch.cat([factor * head.weight for factor, head in pairs], 1),
        torch.stack(biases).sum(0) if biases else None,
        heads[0].link,
    )
