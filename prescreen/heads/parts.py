"""Parts: features, effective weight and results of the linear maps behind the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prescreen.heads.execute import require_unchanged, storage_of
from prescreen.heads.positions import LinearMap, features_at
from prescreen.heads.tails import Tail

# The most elements of features that are unfolded at once.
_CHUNK = 1 << 24


@dataclass
class Part:
    """Features (N, D), weight (K, D) and bias (K,) of the linear maps of one weight.

    ``results`` are what they add to the logits, ``tails`` where these come from. ``origins`` tell the
    tensors apart that features are taken from.
    """

    features: Tensor
    results: Tensor
    weight: Tensor
    bias: Tensor | None
    tails: list[Tail]
    origins: list[int]


def groups_of(found: Sequence[Tail]) -> list[list[Tail]]:
    """Tails of equal maps whose scales are equal but for a factor, which moves to the rows."""
    groups: list[list[Tail]] = []
    for tail in found:
        for group in groups:
            first = group[0]
            if not _same(tail.application.map, first.application.map):
                continue
            # Equal weights of two heads, such as zeros at first, may come to differ in training.
            if not _is_one_weight(tail, first) and any(_overlap(tail, one) for one in group):
                continue
            ratio = (tail.scales * first.scales).sum() / first.scales.square().sum()
            if torch.equal(tail.classes, first.classes) and torch.allclose(
                tail.scales, ratio * first.scales, rtol=1e-4
            ):
                group.append(tail._replace(scales=first.scales, factors=ratio * tail.factors))
                break
        else:
            groups.append([tail])
    return groups


def _same(one: LinearMap, other: LinearMap) -> bool:
    pairs = ((one.weight, other.weight), (one.bias, other.bias))
    return one.kernel_size == other.kernel_size and all(
        a is b or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
        for a, b in pairs
    )


def _is_one_weight(tail: Tail, other: Tail) -> bool:
    return storage_of(tail.application.map.weight) == storage_of(other.application.map.weight)


def _overlap(tail: Tail, other: Tail) -> bool:
    return bool(torch.isin(tail.rows[tail.rows >= 0], other.rows).any())


def part_of(
    group: Sequence[Tail], rows: Tensor, shape: Sequence[int], *, own: bool = False
) -> Part | None:
    """The features and results that reach the wanted rows, and the effective weight.

    Args:
        group: tails of one map.
        rows: the wanted rows, (N,).
        shape: (R, K) of the logits.
        own: results and weight as the map has them, without the scales of the tails.
    """
    first = group[0]
    head = first.application.map
    for tail in group:
        made = tail.application
        require_unchanged(made.name, made.inputs, made.version)
    origins = [storage_of(tail.application.inputs) for tail in group]
    features, total = _gathered(group, rows, shape[0])
    results, _ = _gathered(group, rows, shape[0], results=True)
    mean = total.mean()
    rounding = max(1e-3, 4 * torch.finfo(total.dtype).eps)
    even = bool(((total - mean).abs() <= rounding * mean.abs()).all())
    if head.bias is not None and not even:
        return None
    factor = mean if even and bool(mean != 0) and bool(mean != 1) else None
    scales = first.scales if factor is None else first.scales * factor
    if factor is not None:
        features, results = features / factor, results / factor
    if own:
        return Part(features, results, head.flat_weight, head.bias, list(group), origins)
    weight, bias = head.flat_weight, head.bias if bool(mean != 0) else None
    classes = first.classes
    place = torch.arange(shape[1], device=classes.device)
    if not (torch.equal(classes, place) and bool((scales == 1).all())):
        at = classes[classes >= 0]
        kept = (scales[classes >= 0]).to(weight.dtype)
        weight = weight.new_zeros(shape[1], weight.shape[1]).index_copy(
            0, at, kept[:, None] * weight[classes >= 0]
        )
        if bias is not None:
            bias = bias.new_zeros(shape[1]).index_copy(0, at, kept * bias[classes >= 0])
        results = results.new_zeros(len(results), shape[1]).index_copy(
            1, at, results[:, classes >= 0] * kept.to(results.dtype)
        )
    return Part(features, results, weight, bias, list(group), origins)


def _gathered(
    group: Sequence[Tail], rows: Tensor, count: int, results: bool = False, source: bool = False
) -> tuple[Tensor, Tensor]:
    """Σ factor · features (or results) over the positions of each wanted row, and Σ factor.

    With ``source``, the features are those of the applications that the group's come from.
    """
    first = group[0]
    device = first.result.device
    place = torch.full((count,), -1, device=device)
    place[rows.to(device)] = torch.arange(len(rows), device=device)
    total = torch.zeros(len(rows), device=device, dtype=first.result.dtype)
    sums: Tensor | None = None
    pure, filled = True, 0
    for tail in group:
        made = tail.application
        positions = torch.where(tail.rows >= 0, place[tail.rows.clamp(min=0)], -1)
        used = (positions >= 0).nonzero().flatten()
        target, factors = positions[used], tail.factors[used]
        total.index_add_(0, target, factors)
        pure, filled = pure and bool((factors == 1).all()), filled + len(used)

        of = made.source if source and made.source else made
        width = tail.result.shape[-1] if results else of.map.flat_weight.shape[1]
        for start in range(0, max(1, len(used)), max(1, _CHUNK // max(1, width))):
            some = slice(start, start + max(1, _CHUNK // max(1, width)))
            if results:
                values = tail.result[used[some]]
            else:
                values = features_at(of.map, of.inputs, tail.shape, used[some])
            wide = torch.promote_types(values.dtype, torch.float32)
            if sums is None:
                sums = torch.zeros(len(rows), values.shape[1], device=device, dtype=wide)
            sums.index_add_(0, target[some], values.to(wide) * factors[some, None].to(wide))
    assert sums is not None
    if pure and filled == len(rows):  # each row is one position: nothing was rounded
        sums = sums.to(first.result.dtype if results else first.application.inputs.dtype)
    return sums, total


def folded(part: Part, parts: Sequence[Part], rows: Tensor, shape: Sequence[int]) -> Part:
    """A low-rank adapter as a change of the weight that it adapts: B (A x) is (B A) x."""
    sources = [tail.application.source for tail in part.tails]
    if len(parts) < 2 or any(source is None for source in sources):
        return part
    lower = sources[0]
    assert lower is not None
    if not all(source is not None and _same(source.map, lower.map) for source in sources):
        return part
    if any(size != 1 for size in part.tails[0].application.map.kernel_size):
        return part
    features, _ = _gathered(part.tails, rows, shape[0], source=True)
    origins = [storage_of(source.inputs) for source in sources if source is not None]
    adapter = replace(part, features=features, origins=origins)
    if not any(p is not part and _same_features(p, adapter) for p in parts):
        return part
    weight = part.weight @ lower.map.flat_weight.to(part.weight.dtype)
    bias = part.bias
    if lower.map.bias is not None:
        added = part.weight @ lower.map.bias.to(part.weight.dtype)
        bias = added if bias is None else bias + added
    return replace(adapter, weight=weight, bias=bias)


def joined(parts: Sequence[Part]) -> Part:
    """One part: weights on the same features are added, others stand side by side."""
    distinct: list[Part] = []
    for part in parts:
        for i, other in enumerate(distinct):
            if _same_features(part, other):
                weight = other.weight + part.weight.to(other.weight.dtype)
                distinct[i] = replace(other, weight=weight, bias=sum_of(other.bias, part.bias))
                break
        else:
            distinct.append(part)
    if len(distinct) == 1:
        return distinct[0]
    bias: Tensor | None = None
    for part in distinct:
        bias = sum_of(bias, part.bias)
    features = torch.cat([part.features for part in distinct], 1)
    weight = torch.cat([part.weight for part in distinct], 1)
    return replace(distinct[0], features=features, weight=weight, bias=bias)


def sum_of(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The sum of two biases, either of which may be missing."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _same_features(one: Part, other: Part) -> bool:
    """Whether two parts are of the same tensors; equal ones may come to differ in training."""
    same = one.origins == other.origins and one.features.shape == other.features.shape
    return same and torch.equal(one.features, other.features)
