"""Capture: what enters and leaves a prediction head on one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from prescreen.predictions import Link, Predictions, blocks, check_link
from prescreen.text import showing

# How far features @ weight.T + bias may lie from the logits, relative to the size of the summed terms.
# Matrix products of lower precision round their inputs; TF32 rounds the products as well.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 5e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}

# Of more classes or products than these, the linear map is checked on evenly spaced classes.
_CHECKED_CLASSES, _CHECKED_TERMS = 64, 1 << 29


@dataclass(frozen=True, eq=False)
class Capture(Predictions):
    """Features, logits and weights of one linear prediction head on N samples (or positions).

    Args:
        features: what enters the head, shape (N, D).
        logits: what leaves it, shape (N, K).
        weight: the head's weight, shape (K, D).
        bias: the head's bias, shape (K,), or None.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        positions: which rows of the model's logits these are, shape (N,): numbers in the order of the
            logits with the classes last, such as sample by sample and token by token. So what is known
            of a position can be gathered. None if that is not told.

    Raises:
        ValueError: a shape, dtype, device or value that a linear head cannot have produced.
        NotLinearError: the logits are not ``features @ weight.T + bias``.
        NonFiniteError: a value is NaN or infinite.
    """

    features: Tensor
    logits: Tensor
    weight: Tensor
    bias: Tensor | None = None
    link: Link = "softmax"
    positions: Tensor | None = None

    __repr__ = showing(features="features", logits="logits", link="link")

    def __post_init__(self) -> None:
        check_link(self.link)
        self._check_shapes()
        self._check_kinds()
        # One look at all, as each would wait for an accelerator.
        sound = [torch.isfinite(self._sum(tensor)) for tensor in self._tensors().values()]
        sound += [(error <= allowed).all() for error, allowed in self._errors()]
        if not all(torch.stack(sound).tolist()):
            self._refuse()

    def class_blocks(self) -> Iterator[slice]:
        """Slices of classes, all samples at once; a block has at most BLOCK_ELEMENTS elements.

        The larger of N and D counts, because products with (N, D) features have D rows a class.
        """
        return blocks(self.num_classes, max(self.logits.shape[0], self.features.shape[1]))

    def at(self, rows: Tensor) -> Capture:
        """The same head on some of the samples, which need not be checked again."""
        part = object.__new__(Capture)
        at = self.positions
        vars(part).update(
            features=self.features[rows],
            logits=self.logits[rows],
            weight=self.weight,
            bias=self.bias,
            link=self.link,
            positions=None if at is None else at[rows.to(at.device)],
        )
        return part

    def of_classes(self, classes: Tensor) -> Capture:
        """The same head without other classes than these, which need not be checked again."""
        part = object.__new__(Capture)
        vars(part).update(
            features=self.features,
            logits=self.logits[:, classes],
            weight=self.weight[classes],
            bias=None if self.bias is None else self.bias[classes],
            link=self.link,
            positions=self.positions,
        )
        return part

    def at_most(self, samples: int) -> Capture:
        """The same head on no more than some number of samples, spread evenly; two at least."""
        count = max(2, samples)
        if self.num_samples <= count:
            return self
        return self.at(torch.arange(count, device=self.logits.device) * self.num_samples // count)

    @cached_property
    def feature_norms(self) -> Tensor:
        """‖z_i‖₂ of every sample, shape (N,)."""
        return torch.linalg.vector_norm(self.features, dim=1, dtype=self.dtype)

    def _check_shapes(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        expected = "features (N, D), logits (N, K), weight (K, D), bias (K,)"
        fits = (
            self.features.ndim == self.logits.ndim == self.weight.ndim == 2
            and self.features.shape[0] == self.logits.shape[0]
            and self.weight.shape == (self.logits.shape[1], self.features.shape[1])
            and (self.bias is None or self.bias.shape == self.logits.shape[1:])
        )
        if not fits:
            raise ValueError(f"capture must have the shapes {expected}, got {got}")
        if self.num_samples < 2:
            raise ValueError(
                f"`inputs` must be a probe batch of at least 2 samples, got {self.num_samples}"
            )
        if self.num_classes < 2 and self.link == "softmax":
            raise ValueError(
                "`link` must be 'sigmoid' or 'identity' for a head of 1 class, got 'softmax'"
            )
        if self.num_classes < 1 or self.features.shape[1] < 1:
            raise ValueError(f"capture must have at least one class and one feature, got {got}")

    def _check_kinds(self) -> None:
        for name, tensor in self._tensors().items():
            if not tensor.is_floating_point():
                raise ValueError(f"`{name}` must be a floating-point tensor, got {tensor.dtype}")
            if tensor.device != self.logits.device:
                raise ValueError(
                    f"`{name}` must be on the device of the logits, {self.logits.device}, "
                    f"got {tensor.device}"
                )

    def _sum(self, tensor: Tensor) -> Tensor:
        """Finite only if every term is: float32 cannot overflow before the model has diverged."""
        return tensor.sum(dtype=self.dtype)

    def _refuse(self) -> None:
        """Say what is wrong with the values, if anything is."""
        for name, tensor in self._tensors().items():
            if not torch.isfinite(self._sum(tensor)):
                bad = int((~torch.isfinite(tensor)).sum())
                raise NonFiniteError(
                    f"`{name}` must be finite, got {bad} NaN or infinite of {tensor.numel()} values"
                )
        for error, allowed in self._errors():
            if bool((error > allowed).any()):
                raise NotLinearError(
                    "`logits` must be features @ weight.T + bias, got a difference of "
                    f"{error.max().item():.3g}; name the layer that produces them with "
                    "head='path.to.layer'"
                )

    def _errors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """How far the logits of all rows are from the linear map, and how far they may be.

        Block by block, of some classes if there are many.
        """
        dtype, terms = self.dtype, self.features.numel()
        most = max(_CHECKED_CLASSES, _CHECKED_TERMS // terms)
        count = min(most, self.num_classes)
        classes = torch.linspace(0, self.num_classes - 1, count).long().to(self.weight.device)
        every = count == self.num_classes
        w = (self.weight if every else self.weight[classes]).to(dtype)
        bias = torch.zeros((), dtype=dtype, device=w.device)
        if self.bias is not None:
            bias = self.bias[classes].to(dtype)
        coarsest = max((_TOLERANCE.get(t.dtype, 5e-2) for t in self._tensors().values()), default=0)
        for rows in blocks(self.num_samples, max(count, self.features.shape[1])):
            z = self.features[rows].to(dtype)
            given = (self.logits[rows] if every else self.logits[rows][:, classes]).to(dtype)
            error = (z @ w.T + bias - given).abs()
            yield error, coarsest * (z.abs() @ w.abs().T + bias.abs() + 1e-6)

    def _tensors(self) -> dict[str, Tensor]:
        named = {"features": self.features, "logits": self.logits, "weight": self.weight}
        return named if self.bias is None else {**named, "bias": self.bias}


class NotLinearError(ValueError):
    """Logits are not the linear map of the features that they are said to be."""


class NonFiniteError(ValueError):
    """A model's features, logits or weights are NaN or infinite: it has diverged."""
