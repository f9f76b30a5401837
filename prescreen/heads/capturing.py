"""Capturing: what enters and leaves the prediction head of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prescreen.captured import Capture
from prescreen.checks import require_at_least
from prescreen.heads.execute import WINDOW, Run, execute
from prescreen.heads.find import Head, known_heads, layers_of, unwrap
from prescreen.heads.preserve import preserve
from prescreen.heads.subject import (
    Places,
    Subject,
    behind,
    layer,
    logits_in,
    named,
    require_executed,
    seen,
)
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
    places: Places | None = None,
) -> Capture:
    """What enters and leaves the prediction head; the model stays as it was.

    The head is what gives the logits that a loss sees (``model_logits`` of the output). If no layer's
    output is these logits, the model runs a second time: adapters, functions of features and a weight,
    scales, selections, means and weighted sums of heads are one head on joint features, with its
    effective weight. Rows are the positions whose logits the model returns, without padding that masks
    in the inputs leave out.

    Args:
        model: any model whose logits are linear in some features. It may be wrapped, such as by
            torch.compile, DistributedDataParallel or an average; processes do not communicate.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        head: a layer or its path, to be read instead, at its own output.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        batch_statistics: normalise every BatchNorm with this batch's statistics instead of its
            running ones, which are useless until training is far along.
        max_positions: the most samples, tokens or pixels; of more, this many are drawn with a fixed
            seed, spread evenly, and fewer of more than 16,384 classes: at most 2²⁶ logits are read.
            ``positions`` of the capture says which.
        places: brings maps (N, K, h, w) of predictions on these inputs to the places of other ones,
            such as ``lambda maps: maps.flip(-1)`` for mirrored images; it may only rearrange them. Rows
            are then those of the other inputs.

    Raises:
        ValueError: the model cannot take the inputs, its logits are not linear in features, or its
            output does not say which they are.
        NonFiniteError: features, logits or weights are NaN or infinite.
    """
    captures = _read(model, inputs, head, link, batch_statistics, max_positions, places)
    if len(captures) > 1:
        raise _several(list(captures))
    return next(iter(captures.values()))


def capture_heads(
    model: nn.Module,
    inputs: Any,
    *,
    head: str | nn.Module | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
    max_positions: int = 4096,
    places: Places | None = None,
) -> dict[str, Capture]:
    """Like ``capture``, but for every head separately, by its path in the unwrapped model."""
    options = (head, link, batch_statistics, max_positions, places)
    return _read(model, inputs, *options, apart=True)


def _read(
    model: nn.Module,
    inputs: Any,
    head: str | nn.Module | None,
    link: Link,
    batch_statistics: bool,
    max_positions: int,
    places: Places | None,
    *,
    apart: bool = False,
) -> dict[str, Capture]:
    """A capture by the name of its head; several, if they are wanted apart or give no logits."""
    known = known_heads(model, head)
    root = unwrap(model)
    _check_arguments(root, inputs, max_positions)
    subject = Subject(root, inputs, link, max_positions, places)
    with preserve(root, batch_statistics=batch_statistics):
        run = execute(root, inputs, known or layers_of(root), None if known else WINDOW)
        # The maps of torchvision's segmentation models are enlarged, what leaves their heads is not.
        enlarged = known and isinstance(run.output, Mapping) and "logits" not in run.output
        logits = None if enlarged else logits_in(run.output)
        if head is not None:
            return {known[0].name: named(subject, run, known[0], logits)}
        if logits is None or (apart and len(known) > 1):
            return {one.name: layer(subject, run, one) for one in _executed(run, known)}
        found = seen(subject, run, logits) or behind(subject, logits)
        if found is None:
            raise _unexplained(root, known)
        return dict([found])


def _executed(run: Run, known: tuple[Head, ...]) -> list[Head]:
    if not known:
        got = type(run.output).__name__
        raise ValueError(
            "`head` must be named where a model returns no tensor, object or dict with logits, or tuple "
            f"that begins with a tensor, got None and {got}; name it with head='path.to.layer'"
        )
    return require_executed(run, known)


def _unexplained(model: nn.Module, known: tuple[Head, ...]) -> ValueError:
    names = [head.name for head in known]
    if len(names) > 1:
        return _several(names)
    example = repr(names[0]) if names else "'path.to.layer'"
    return ValueError(
        "`head` must be named where no linear map gives the logits, got None for what "
        f"{type(model).__name__} returns; name the layer with head={example}"
    )


def _several(names: Sequence[str]) -> ValueError:
    return ValueError(
        "`head` must name one of several heads whose weighted sum is not the model's output, "
        f"got None for {', '.join(names)}; choose one, as in head={names[0]!r}, or use capture_heads"
    )


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
