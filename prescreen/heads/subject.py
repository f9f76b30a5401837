"""Subject: a model on its inputs, and the three ways in which its head is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from prescreen.captured import Capture, NonFiniteError, NotLinearError
from prescreen.heads.execute import Execution, Run
from prescreen.heads.explaining import explained, own
from prescreen.heads.layers import CONVOLUTIONS, Head
from prescreen.heads.masks import counted, require_unpadded
from prescreen.heads.positions import Call, LinearMap, check_fit, draw, flatten_calls, output_size
from prescreen.heads.tails import Tail, tails
from prescreen.heads.tracing import Trace, Wanted, Whole, trace
from prescreen.heads.views import class_views, rows_of_view
from prescreen.predictions import Link, model_logits
from prescreen.trees import count_samples

_LAYERS = (nn.Linear, *CONVOLUTIONS)

# A rearrangement of maps (N, K, h, w).
Places: TypeAlias = Callable[[Tensor], Tensor]


class Subject(NamedTuple):
    """An unwrapped model in evaluation, what it is called with, and how it is read."""

    model: nn.Module
    inputs: Any
    link: Link
    max_positions: int
    places: Places | None = None

    def rows(self, shape: Sequence[int]) -> Tensor:
        """Numbers of the rows that count, by the masks in the inputs, in the order of their places.

        Args:
            shape: that of the rows of the logits.

        Raises:
            ValueError: places are brought back, and the rows are of none.
        """
        is_map = len(shape) > 2
        if self.places is not None and not is_map and prod(shape) > count_samples(self.inputs):
            raise ValueError(
                "`view` must leave samples at their places where predictions are of regions or tokens, "
                f"got a moved one for {tuple(shape)} of them; choose readouts that need no view"
            )
        keep = self._places_of(shape) if is_map else counted(self.model, self.inputs, shape)
        return torch.arange(prod(shape)) if keep is None else keep

    def read(self, rows: Tensor, classes: int) -> Tensor:
        """Those of the rows that count that are read; they are drawn if there are too many."""
        return rows[draw(len(rows), self.max_positions, classes)]

    def _places_of(self, shape: Sequence[int]) -> Tensor | None:
        """The rows of maps (N, h, w), in the order of the places that they are brought to."""
        if self.places is None:
            return None
        require_unpadded(self.model, self.inputs)
        numbers = torch.arange(prod(shape)).view(shape[0], 1, *shape[1:])
        return self.places(numbers).flatten()

    def retraced(self, wanted: Wanted, head: Whole | None = None) -> Trace | None:
        """A traced run; None if the model cannot be followed."""
        try:
            return trace(self.model, self.inputs, wanted, head)
        except ValueError:  # it ran before: the tracing is at fault
            return None


def logits_in(output: Any) -> Tensor | None:
    """The logits that a loss sees; None if the output does not say which they are."""
    try:
        logits = model_logits(output)
    except ValueError:
        return None
    return logits if logits.ndim and logits.is_floating_point() else None


def seen(subject: Subject, run: Run, logits: Tensor) -> tuple[str, Capture] | None:
    """The head, if a layer's output is the logits or holds them as a view."""
    for execution in reversed(run.executions):
        (head, call, _), effective = execution, LinearMap.of(execution.head.module)
        view = None if execution.changed else rows_of_view(effective, call.outputs, logits)
        if view is None or not _is_plain(execution, effective):
            continue
        call = execution.unchanged()
        places, classes, lying = view
        rows = subject.read(subject.rows(lying.shape[:-1]), len(effective.weight))
        at = rows if places is None else places[rows]
        features, made = flatten_calls(effective, [call], at)
        bias = None if effective.bias is None else effective.bias[classes]
        weight = effective.flat_weight[classes]
        try:
            found = Capture(features, made[:, classes], weight, bias, subject.link, rows)
            return head.name, found
        except NotLinearError:  # changed in place where torch does not count that
            return None
    return None


def behind(subject: Subject, logits: Tensor) -> tuple[str, Capture] | None:
    """The head, if the logits are linear in the results of linear maps; runs the model again."""
    if not bool(torch.isfinite(logits).all()):
        bad = int((~torch.isfinite(logits)).sum())
        raise NonFiniteError(
            f"`logits` must be finite, got {bad} NaN or infinite of {logits.numel()} values"
        )
    classes = {1} if logits.ndim == 1 else {logits.shape[1], logits.shape[-1]}
    # The model may also leave classes out, or put them together from several maps.
    for wanted in (classes.__contains__, lambda _: True):
        made = subject.retraced(wanted)
        if made and (found := _explained(subject, made)):
            return found
    return None


def named(subject: Subject, run: Run, head: Head, logits: Tensor | None) -> Capture:
    """A layer that the user names, at the positions that reach the logits if that can be told."""
    require_executed(run, (head,))
    if logits is None or isinstance(run.output, list):  # levels of a pyramid, for example
        return layer(subject, run, head)
    if len(run.executions) == 1 and (direct := seen(subject, run, logits)):
        return direct[1]
    made = subject.retraced(lambda _: False, (head.module, effective_map(run.executions[-1])))
    for lying, found in [] if made is None else _tails(made):
        rows = _wanted(subject, lying)
        if (capture := own(found, rows, lying[..., 0].numel(), subject.link)) is not None:
            return capture
    return layer(subject, run, head)


def layer(subject: Subject, run: Run, head: Head) -> Capture:
    """A layer at all positions at which it ran and that count."""
    executions = [execution for execution in run.executions if execution.head == head]
    calls = [execution.unchanged() for execution in executions]
    effective = effective_map(executions[-1])
    shapes = [effective.channels_last(call.outputs).shape[:-1] for call in calls]
    kept, start = [], 0
    for shape in shapes:
        kept.append(subject.rows(shape) + start)
        start += shape.numel()
    rows = subject.read(torch.cat(kept), len(effective.weight))
    features, logits = flatten_calls(effective, calls, rows)
    return Capture(features, logits, effective.flat_weight, effective.bias, subject.link, rows)


def require_executed(run: Run, heads: Sequence[Head]) -> list[Head]:
    """The heads that ran.

    Raises:
        ValueError: none did.
    """
    executed = {execution.head for execution in run.executions}
    ran = [head for head in heads if head in executed]
    if not ran:
        names = ", ".join(repr(head.name) for head in heads)
        raise ValueError(f"`head` must be a layer that the model runs on a tensor, got {names}")
    return ran


def _explained(subject: Subject, made: Trace) -> tuple[str, Capture] | None:
    for lying, found in _tails(made):
        rows, flat = _wanted(subject, lying), lying.flatten(0, -2)
        capture = explained(flat, found, rows, subject.link, log_softmax=made.log_softmax)
        if capture is not None:
            return found[0].application.name, capture
    return None


def _tails(made: Trace) -> list[tuple[Tensor, list[Tail]]]:
    """The logits as (..., K) with the tails of the maps that reach them, for each axis of classes."""
    logits = logits_in(made.output)
    with torch.inference_mode(False), torch.enable_grad():
        views = [] if logits is None else [*class_views(logits)]
        pairs = [(lying, tails(lying.flatten(0, -2))) for lying in views]
    return [(lying, found) for lying, found in pairs if found]


def _wanted(subject: Subject, lying: Tensor) -> Tensor:
    """Numbers of the rows to read, no more than are allowed."""
    return subject.read(subject.rows(lying.shape[:-1]), lying.shape[-1])


def _is_plain(execution: Execution, effective: LinearMap) -> bool:
    """Whether a layer computes what its weight says, bit for bit, as an adapter would not."""
    layer = execution.head.module
    kind = next((kind for kind in _LAYERS if isinstance(layer, kind)), None)
    # How far a transposed convolution reaches is up to its caller.
    if (
        kind is not None
        and not effective.spacing
        and type(layer).forward is kind.forward
        and "forward" not in vars(layer)
    ):
        return True
    return torch.equal(_applied(execution, effective, kind), execution.call.outputs)


def _applied(execution: Execution, effective: LinearMap, kind: Any) -> Tensor:
    if kind in CONVOLUTIONS:
        made: Tensor = kind.forward(execution.head.module, execution.call.inputs)
        return made
    return functional.linear(execution.call.inputs, effective.weight, effective.bias)


def effective_map(execution: Execution) -> LinearMap:
    """What a layer computes; if its weight does not say, its answers to unit vectors do."""
    layer: nn.Module = execution.head.module
    stated = LinearMap.of(layer)
    if stated.spacing:
        return _reaching(stated, execution.call)
    if stated.kernel_size or _is_plain(execution, stated):
        return stated
    check_fit(stated, execution.call)
    inputs = execution.call.inputs
    units = torch.eye(inputs.shape[-1], dtype=inputs.dtype, device=inputs.device)
    constant = layer.forward(torch.zeros_like(units[:1]))
    return LinearMap((layer.forward(units) - constant).mT, constant[0])


def _reaching(stated: LinearMap, call: Call) -> LinearMap:
    """A transposed convolution that makes outputs of the size that its caller asked for."""
    entered, left = (stated.with_sample_dimension(tensor).shape[2:] for tensor in call)
    if len(entered) != len(left):
        return stated
    more = [asked - own for asked, own in zip(left, output_size(stated, entered), strict=True)]
    sides: Any = zip(stated.padding, more, strict=True)
    return replace(stated, padding=[(before, after + some) for (before, after), some in sides])
