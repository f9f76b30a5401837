"""Applied: linear maps as a model applies them, whatever layer, adapter or function does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from prescreen.heads.positions import LinearMap

IsData = Callable[[Tensor], bool]


class Applied(NamedTuple):
    """A linear map with a weight that does not depend on the data, and what it is applied to.

    Args:
        inputs: what enters.
        map: with the effective weight.
        axis: where the classes are in the result; None if it has no axis for its one class.
    """

    inputs: Tensor
    map: LinearMap
    axis: int | None = -1


def applied(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], is_data: IsData
) -> Applied | None:
    """What a call of one of torch's functions applies to data; None if it is not a linear map."""
    form = _FORMS.get(function)
    try:
        return form(is_data, *args, **kwargs) if form else None
    except TypeError:  # a signature that the forms below do not have, such as out=
        return None


def _linear(
    is_data: IsData, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Applied | None:
    if _any(is_data, weight, bias) or weight.ndim != 2:
        return None
    return Applied(input, LinearMap(_plain(weight), _plain(bias)))


def _convolution(dimensions: int) -> Callable[..., Applied | None]:
    def form(
        is_data: IsData,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Applied | None:
        if _any(is_data, weight, bias) or groups != 1:
            return None
        sides = padding if isinstance(padding, str) else _each(padding, dimensions)
        geometry = (_each(stride, dimensions), sides, _each(dilation, dimensions))
        return Applied(input, LinearMap(_plain(weight), _plain(bias), *geometry))

    return form


def _transposed(dimensions: int) -> Callable[..., Applied | None]:
    def form(
        is_data: IsData,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Applied | None:
        if _any(is_data, weight, bias) or groups != 1:
            return None
        geometry = (_each(v, dimensions) for v in (stride, padding, output_padding, dilation))
        return Applied(input, LinearMap.transposed(_plain(weight), _plain(bias), *geometry))

    return form


def _matmul(is_data: IsData, input: Tensor, other: Tensor) -> Applied | None:
    if not is_data(other) and other.ndim == 2:
        return Applied(input, LinearMap(_plain(other).T))
    if not is_data(other) and other.ndim == 1:
        return Applied(input, LinearMap(_plain(other)[None]), None)
    if not is_data(input) and input.ndim == 2 and other.ndim > 1:  # weight @ features.T
        return Applied(other.mT, LinearMap(_plain(input)), -2)
    return None


def _addmm(
    is_data: IsData, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Applied | None:
    if is_data(input) or is_data(mat2) or input.ndim != 1:
        return None
    return Applied(mat1, LinearMap(alpha * _plain(mat2).T, beta * _plain(input)))


def _inner(is_data: IsData, input: Tensor, other: Tensor) -> Applied | None:
    return _linear(is_data, input, other)


def _einsum(is_data: IsData, equation: str, *operands: Any) -> Applied | None:
    """One class index and one feature index, such as ``bld,kd->blk``."""
    tensors = operands[0] if len(operands) == 1 else operands
    entered, _, left = equation.replace(" ", "").partition("->")
    terms = entered.split(",")
    if len(tensors) != 2 or len(terms) != 2 or not left or "." in equation:
        return None
    pairs = [*zip(tensors, terms, strict=True)]
    (x, of_x), (weight, of_weight) = pairs if is_data(tensors[0]) else pairs[::-1]
    summed, classes = set(of_x) & set(of_weight) - set(left), set(of_weight) - set(of_x)
    if is_data(weight) or len(of_weight) != 2 or len(summed) != 1 or not classes <= set(left):
        return None
    feature = summed.pop()
    matrix = _plain(weight) if of_weight[1] == feature else _plain(weight).T
    inputs = x.movedim(of_x.index(feature), -1)
    order = [letter for letter in of_x if letter != feature]
    if [letter for letter in left if letter not in classes] != order:
        return None
    return Applied(inputs, LinearMap(matrix), left.index(classes.pop()))


def _quantized(is_data: IsData, input: Tensor, packed: Any, reduce_range: bool = False) -> Applied:
    """Dynamic quantisation: inputs are rounded before they are multiplied."""
    weight, bias = packed.unpack()
    rounded = torch.quantize_per_tensor_dynamic(input, torch.quint8, reduce_range).dequantize()
    return Applied(rounded, LinearMap(weight.dequantize(), _plain(bias)))


def _any(is_data: IsData, *tensors: Tensor | None) -> bool:
    return any(tensor is not None and is_data(tensor) for tensor in tensors)


def _plain(tensor: Any) -> Any:
    """Without gradients."""
    return None if tensor is None else tensor.detach()


def _each(value: Any, dimensions: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dimensions if len(values) == 1 else values


_FORMS: dict[Any, Callable[..., Applied | None]] = {
    functional.linear: _linear,
    **dict.fromkeys((torch.conv1d, functional.conv1d), _convolution(1)),
    **dict.fromkeys((torch.conv2d, functional.conv2d), _convolution(2)),
    **dict.fromkeys((torch.conv3d, functional.conv3d), _convolution(3)),
    **{getattr(torch, f"conv_transpose{n}d"): _transposed(n) for n in (1, 2, 3)},
    **{getattr(functional, f"conv_transpose{n}d"): _transposed(n) for n in (1, 2, 3)},
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _matmul),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.mv, Tensor.mv), _matmul),
    **dict.fromkeys((torch.addmm, Tensor.addmm), _addmm),
    **dict.fromkeys((torch.inner, Tensor.inner), _inner),
    torch.einsum: _einsum,
    # Exported programs call the operators themselves.
    torch.ops.aten.linear.default: _linear,
    torch.ops.aten.addmm.default: _addmm,
    **dict.fromkeys((torch.ops.aten.matmul.default, torch.ops.aten.mm.default), _matmul),
    **{getattr(torch.ops.aten, f"conv{n}d").default: _convolution(n) for n in (1, 2, 3)},
    torch.ops.quantized.linear_dynamic: _quantized,
}
