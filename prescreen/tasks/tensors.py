"""Labelled rows of data in memory, and the rows that are held out as the probe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor

from prescreen.tasks.images.layouts import is_clearly_channels_last
from prescreen.tasks.rows import digest, draw_rows, shuffled_rows

# Inputs of a model: a tensor, or keywords.
Inputs: TypeAlias = Tensor | dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class TensorData:
    """Training inputs with their targets, row by row, and a probe of inputs like them.

    Args:
        inputs: (n, ...), or a dict of such tensors.
        targets: (n, ...).
        probe: (N, ...), or a dict of such tensors.
    """

    inputs: Inputs
    targets: Tensor
    probe: Inputs

    @classmethod
    def split(
        cls, inputs: Inputs, targets: Tensor, probe: Inputs | None, probe_size: int, seed: int
    ) -> TensorData:
        """Hold `probe_size` rows out of the data, drawn by `seed`, unless a probe is given.

        Raises:
            ValueError: lengths are unequal, the probe is unlike the inputs, or the probe size is too
                large for the data.
        """
        tensors = {"targets": targets, **_named(inputs, "inputs")}
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len({*lengths.values()}) > 1 or not len(targets):
            got = ", ".join(f"{length} of {name}" for name, length in lengths.items())
            raise ValueError(f"`inputs` and `targets` must have equally many rows, got {got}")
        if probe is not None:
            _check_alike(probe, inputs)
            return cls(inputs, targets, probe)
        generator = Generator().manual_seed(seed)
        held_out, rest = draw_rows(len(targets), probe_size, generator, leave=1)
        return cls(take_rows(inputs, rest), targets[rest], take_rows(inputs, held_out))

    def batches(self, batch_size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(inputs, targets) without end, reshuffled every epoch; one seed always gives the same."""
        rows = shuffled_rows(len(self.targets), batch_size, Generator().manual_seed(seed))
        return ((take_rows(self.inputs, some), self.targets[some]) for some in rows)

    def fingerprint(self, kind: str, view: object, *parts: object) -> str:
        """A short hash of all tensors, the kind of task, the view's name and other parts."""
        tensors = {
            **_named(self.inputs, "inputs"),
            "targets": self.targets,
            **_named(self.probe, "probe"),
        }
        digests = [(name, digest(tensor)) for name, tensor in tensors.items()]
        of_view = getattr(view, "__qualname__", type(view).__qualname__)
        return hashlib.sha256(repr((digests, kind, of_view, parts)).encode()).hexdigest()[:16]


def take_rows(inputs: Inputs, rows: Tensor) -> Inputs:
    """Some rows of a tensor, or of every tensor of a dict."""
    if isinstance(inputs, Tensor):
        return inputs[rows]
    return {keyword: tensor[rows] for keyword, tensor in inputs.items()}


def as_floats(name: str, value: object, least: int, most: int) -> Tensor:
    """A tensor of `least` to `most` dimensions, as float32.

    Raises:
        ValueError: it is not such a tensor, or it is empty or not finite.
    """
    if not isinstance(value, Tensor) or not least <= value.ndim <= most or not value.numel():
        allowed = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(
            f"`{name}` must be a non-empty tensor of {allowed} dimensions, got {_form(value)}"
        )
    floats = value.float()
    if bad := int((~torch.isfinite(floats)).sum()):
        got = f"{bad} NaN or infinite of {value.numel()} values"
        raise ValueError(f"`{name}` must be finite, got {got}")
    return floats


def as_indices(name: str, value: object, shape: tuple[int, ...] | None = None) -> Tensor:
    """A tensor of integers (n, L), as int64.

    Args:
        name: the argument.
        value: what came.
        shape: the shape that it must have, if known.

    Raises:
        ValueError: it is not such a tensor.
    """
    if (
        not isinstance(value, Tensor)
        or value.is_floating_point()
        or value.ndim != 2
        or not value.numel()
        or shape not in (None, tuple(value.shape))
    ):
        allowed = "(n, L)" if shape is None else f"{shape}"
        raise ValueError(f"`{name}` must be a tensor of integers {allowed}, got {_form(value)}")
    return value.long()


def input_sizes(inputs: Tensor) -> Mapping[str, Any]:
    """``in_features`` of a table (n, F); ``in_channels`` and ``image_size`` of images.

    Raises:
        ValueError: images are (n, H, W, C).
    """
    if inputs.ndim == 2:
        return {"in_features": inputs.shape[1]}
    if inputs.ndim == 4:
        if is_clearly_channels_last(inputs.shape[1:]):
            raise ValueError(
                f"`inputs` must be (n, C, H, W), got (n, H, W, C) {tuple(inputs.shape)}"
            )
        return {"in_channels": inputs.shape[1], "image_size": tuple(inputs.shape[2:])}
    return {}


def _check_alike(probe: Inputs, inputs: Inputs) -> None:
    like = _named(inputs, "probe")
    given = _named(probe, "probe") if isinstance(probe, Tensor | dict) else {"probe": probe}
    tensors = [tensor for tensor in given.values() if isinstance(tensor, Tensor) and tensor.ndim]
    alike = (
        given.keys() == like.keys()
        and len(tensors) == len(given)
        and len({len(tensor) for tensor in tensors}) == 1
        and len(tensors[0]) > 1
        and all(_row(given[name]) == _row(tensor) for name, tensor in like.items())
    )
    if not alike:
        needed, got = (
            ", ".join(f"{name} {_form(value)}" for name, value in values.items())
            for values in (like, given)
        )
        raise ValueError(f"`probe` must be at least 2 rows like those of {needed}, got {got}")


def _row(tensor: Tensor) -> tuple[torch.dtype, torch.Size]:
    return tensor.dtype, tensor.shape[1:]


def _named(inputs: Inputs, name: str) -> dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return {name: inputs}
    return {f"{name}[{keyword!r}]": tensor for keyword, tensor in inputs.items()}


def _form(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
