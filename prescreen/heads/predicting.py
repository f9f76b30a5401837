"""Predicting: the layers that make one kind of prediction as one head, one row a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prescreen.captured import Capture
from prescreen.checks import require
from prescreen.heads.execute import Execution, Run
from prescreen.heads.layers import Head
from prescreen.heads.parts import sum_of
from prescreen.heads.positions import LinearMap, check_fit, draw, features_at
from prescreen.heads.roles import Row
from prescreen.heads.subject import Subject, effective_map, layer, require_executed

# The most elements of joint features: 32 MiB in float32. Fewer predictions are drawn if these are wide.
_MOST = 1 << 23


def predicting(subject: Subject, run: Run, heads: Sequence[Head], row: Row) -> Capture:
    """The head of one role, at its own output.

    A layer with A·K outputs predicts K for each of A anchors. It is one linear head on features z ⊗ e_a,
    whose weight has the blocks of all anchors side by side. Layers of several levels have blocks of
    their own. A bias that differs between blocks is the weight of e_a, but for its mean.

    Args:
        subject: the model and how it is read.
        run: with the executions of the heads.
        heads: layers of the role.
        row: how they make predictions.

    Raises:
        ValueError: none of them ran.
    """
    require_executed(run, heads)
    executions = [execution for execution in run.executions if execution.head in heads]
    executions = executions[-1:] if row.last else executions
    if row.summed and len(heads) > 1:
        return _summed(subject, executions)
    width = row.width(subject.model)
    if len(heads) == 1 and width in (None, effective_map(executions[-1]).weight.shape[0]):
        return layer(subject, run._replace(executions=executions), heads[0])
    return _by_anchor(subject, executions, width)


def _summed(subject: Subject, executions: Sequence[Execution]) -> Capture:
    """Layers of which each ran once at the same positions, and whose outputs are added."""
    pairs = [(effective_map(execution), execution.unchanged()) for execution in executions]
    outputs = [head.channels_last(call.outputs) for head, call in pairs]
    shape = outputs[0].shape[:-1]
    features = []
    weight = torch.cat([head.flat_weight for head, _ in pairs], 1)
    drawn = _drawn(subject, subject.rows(shape), weight.shape)
    rows = drawn.to(weight.device)
    bias: Tensor | None = None
    for head, call in pairs:
        check_fit(head, call)
        features.append(features_at(head, call.inputs, shape, rows))
        bias = sum_of(bias, head.bias)
    logits = torch.stack([output.flatten(0, -2)[rows] for output in outputs]).sum(0)
    return Capture(torch.cat(features, 1), logits, weight, bias, subject.link, drawn)


def _by_anchor(subject: Subject, executions: Sequence[Execution], width: int | None) -> Capture:
    maps = {execution.head: effective_map(execution) for execution in executions}
    width = width or next(iter(maps.values())).weight.shape[0]
    weight, bias, starts = _side_by_side(maps, width)
    calls = [(maps[one.head], starts[one.head], one.unchanged()) for one in executions]
    outputs = [head.channels_last(call.outputs) for head, _, call in calls]
    sizes = [output.numel() // width for output in outputs]
    drawn = _drawn(subject, _anchors(subject, outputs, width), weight.shape)
    features = weight.new_zeros(len(drawn), weight.shape[1], dtype=calls[0][2].inputs.dtype)
    logits, first, filled = [], 0, 0
    for (head, start, call), output, size in zip(calls, outputs, sizes, strict=True):
        check_fit(head, call)
        rows = (drawn[(drawn >= first) & (drawn < first + size)] - first).to(output.device)
        first += size
        anchors = len(head.weight) // width
        places, anchor = rows // anchors, rows % anchors
        seen = features_at(head, call.inputs, output.shape[:-1], places)
        block = features[filled : filled + len(rows), start : start + anchors * (seen.shape[1] + 1)]
        at = torch.arange(len(rows), device=output.device)
        block = block.unflatten(1, (anchors, seen.shape[1] + 1))
        block[at, anchor, :-1] = seen
        block[at, anchor, -1] = 1
        filled += len(rows)
        logits.append(output.flatten(0, -2)[places].unflatten(1, (anchors, width))[at, anchor])
    # Models put the anchors of several levels together in orders of their own.
    positions = drawn if len(calls) == 1 else None
    return Capture(features, torch.cat(logits), weight, bias, subject.link, positions)


def _anchors(subject: Subject, outputs: Sequence[Tensor], width: int) -> Tensor:
    """Numbers of the predictions that count: output by output, place by place, anchor by anchor."""
    numbers, start = [], 0
    for output in outputs:
        anchors = output.shape[-1] // width
        places = subject.rows(output.shape[:-1]).unsqueeze(1)
        numbers.append((places * anchors + torch.arange(anchors)).flatten() + start)
        start += output.numel() // width
    return torch.cat(numbers)


def _side_by_side(
    maps: dict[Head, LinearMap], width: int
) -> tuple[Tensor, Tensor | None, dict[Head, int]]:
    """The weight of all anchors of all layers, the mean bias, and where the block of a layer begins."""
    for name, head in maps.items():
        allowed = f"a layer with a multiple of {width} outputs, those of one prediction"
        got = f"{name.name} with {len(head.weight)}"
        require("head", allowed, got, len(head.weight) % width == 0)
    biases = [head.bias.reshape(-1, width) for head in maps.values() if head.bias is not None]
    mean = torch.cat(biases).mean(0) if len(biases) == len(maps) else None
    blocks, starts, start = [], {}, 0
    for name, head in maps.items():
        weight = head.flat_weight.unflatten(0, (-1, width))
        rest = weight.new_zeros(weight.shape[:2])
        if head.bias is not None:
            rest = head.bias.reshape(-1, width) - (0 if mean is None else mean)
        both = torch.cat([weight, rest.unsqueeze(2)], 2)
        blocks.append(both.transpose(0, 1).flatten(1))
        starts[name] = start
        start += blocks[-1].shape[1]
    return torch.cat(blocks, 1), mean, starts


def _drawn(subject: Subject, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Those of the rows that are read by a head whose weight is (K, D)."""
    classes, width = shape
    most = max(2, min(subject.max_positions, _MOST // width))
    return rows[draw(len(rows), most, classes)]
