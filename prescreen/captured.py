"""Capture: what enters and leaves a prediction head on one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

Link = Literal["softmax", "sigmoid", "identity"]

# A block of predictions holds at most this many elements (16 MiB in float32): what does not fit is
# computed block by block, so that a vocabulary of 100,000 classes costs no second (N, K) matrix.
BLOCK_ELEMENTS = 1 << 22

# How far features @ weight.T + bias may lie from the logits, relative to the size of the terms that
# are summed. Lower-precision matmuls round their inputs and, for TF32, the products as well.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 5e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True, eq=False)
class Capture:
    """Features, logits and weights of one linear prediction head on N samples (or positions).

    Args:
        features: what enters the head, shape (N, D).
        logits: what leaves it, shape (N, K).
        weight: the head's weight, shape (K, D).
        bias: the head's bias, shape (K,), or None.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.

    Raises:
        ValueError: a shape, dtype, device or value that no head can have produced, among them
            logits that are not ``features @ weight.T + bias`` (checked on a few rows and classes).
    """

    features: Tensor
    logits: Tensor
    weight: Tensor
    bias: Tensor | None = None
    link: Link = "softmax"

    def __post_init__(self) -> None:
        if self.link not in get_args(Link):
            raise ValueError(
                f"link: one of {', '.join(get_args(Link))} is allowed, got {self.link!r}"
            )
        self._check_shapes()
        self._check_tensors()
        self._check_linear()

    @property
    def num_samples(self) -> int:
        """N."""
        return self.logits.shape[0]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.logits.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """What readouts compute in: float64 if the logits are, else float32."""
        return torch.float64 if self.logits.dtype == torch.float64 else torch.float32

    def logit_block(self, rows: slice = slice(None), classes: slice = slice(None)) -> Tensor:
        """A block of the logits in the computing dtype, shape (rows, classes)."""
        return self.logits[rows, classes].to(self.dtype)

    def predictions(self, rows: slice = slice(None), classes: slice = slice(None)) -> Tensor:
        """A block of P: softmax or sigmoid of the logits, or the logits themselves; do not modify."""
        if self._is_small:
            return self._all_predictions[rows, classes]
        logits = self.logit_block(rows, classes)
        if self.link == "softmax":
            return (logits - self.log_partition[rows, None]).exp_()
        return logits.sigmoid() if self.link == "sigmoid" else logits

    def row_blocks(self) -> Iterator[slice]:
        """Slices of samples, all classes at once; a block keeps within BLOCK_ELEMENTS."""
        return _blocks(self.num_samples, self.num_classes)

    def class_blocks(self) -> Iterator[slice]:
        """Slices of classes, all samples at once; a block keeps within BLOCK_ELEMENTS.

        The larger of N and D counts, because products with (N, D) features have D rows a class.
        """
        return _blocks(self.num_classes, max(self.logits.shape[0], self.features.shape[1]))

    @cached_property
    def log_partition(self) -> Tensor:
        """Log Σ_k exp(a_k) of every sample, shape (N,)."""
        if self._is_small and self.link == "softmax":
            return self._softmax[1]
        return torch.cat([self.logit_block(rows).logsumexp(1) for rows in self.row_blocks()])

    @cached_property
    def mean_prediction(self) -> Tensor:
        """p̄, the mean of P over samples, shape (K,)."""
        total = sum(self.predictions(rows).sum(0) for rows in self.row_blocks())
        return torch.as_tensor(total) / self.num_samples

    @cached_property
    def feature_norms(self) -> Tensor:
        """‖z_i‖₂ of every sample, shape (N,)."""
        return torch.linalg.vector_norm(self.features, dim=1, dtype=self.dtype)

    @property
    def _is_small(self) -> bool:
        return self.logits.numel() <= BLOCK_ELEMENTS

    @cached_property
    def _all_predictions(self) -> Tensor:
        if self.link == "softmax":
            return self._softmax[0]
        logits = self.logit_block()
        return logits.sigmoid() if self.link == "sigmoid" else logits

    @cached_property
    def _softmax(self) -> tuple[Tensor, Tensor]:
        """P and its log-partition from one exponential: torch's own two take 3 to 6 times as long."""
        top = self.logits.amax(1, keepdim=True).to(self.dtype)
        p = (self.logit_block() - top).exp_()
        total = p.sum(1, keepdim=True)
        return p.div_(total), (top + total.log()).squeeze(1)

    def _check_shapes(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
        expected = "features (N, D), logits (N, K), weight (K, D), bias (K,)"
        fits = (
            self.features.ndim == self.logits.ndim == self.weight.ndim == 2
            and self.features.shape[0] == self.logits.shape[0]
            and self.weight.shape == (self.logits.shape[1], self.features.shape[1])
            and (self.bias is None or self.bias.shape == self.logits.shape[1:])
        )
        if not fits:
            got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"capture: shapes {expected} are needed, got {got}")
        if self.num_samples < 2:
            raise ValueError(
                f"inputs: a probe batch of at least 2 samples is needed, got {self.num_samples}"
            )
        if self.num_classes < 2 and self.link == "softmax":
            raise ValueError(
                "link: 'softmax' needs at least 2 classes, got 1; use link='sigmoid' or 'identity'"
            )
        if self.num_classes < 1 or self.features.shape[1] < 1:
            raise ValueError(
                f"capture: at least one class and one feature are needed, got {shapes}"
            )

    def _check_tensors(self) -> None:
        for name, tensor in self._tensors().items():
            if not tensor.is_floating_point():
                raise ValueError(f"{name}: a floating-point tensor is needed, got {tensor.dtype}")
            if tensor.device != self.logits.device:
                raise ValueError(
                    f"{name}: must lie on the logits' device {self.logits.device}, got {tensor.device}"
                )
            # One pass and no mask: a sum is finite only if every term is (float32 cannot overflow
            # here before the model itself has diverged).
            if not torch.isfinite(tensor.sum(dtype=self.dtype)):
                bad = int((~torch.isfinite(tensor)).sum())
                raise NonFiniteError(
                    f"{name}: finite values are needed, got {bad} NaN or infinite of {tensor.numel()}"
                )

    def _check_linear(self) -> None:
        """Compare a few logits with the linear map, at a cost that does not grow with N or K."""
        rows = torch.linspace(0, self.num_samples - 1, min(8, self.num_samples)).long()
        classes = torch.linspace(0, self.num_classes - 1, min(64, self.num_classes)).long()
        z, w = self.features[rows].double(), self.weight[classes].double()
        bias = 0.0 if self.bias is None else self.bias[classes].double()
        given = self.logits[rows][:, classes].double()
        error = (z @ w.T + bias - given).abs()
        coarsest = max((_TOLERANCE.get(t.dtype, 5e-2) for t in self._tensors().values()), default=0)
        allowed = coarsest * (z.abs() @ w.abs().T + torch.as_tensor(bias).abs() + 1e-6)
        if bool((error > allowed).any()):
            raise ValueError(
                "capture: features @ weight.T + bias must equal the logits, got a difference of "
                f"{error.max().item():.3g}; name the module that produces the logits with "
                "head='path.to.layer'"
            )

    def _tensors(self) -> dict[str, Tensor]:
        named = {"features": self.features, "logits": self.logits, "weight": self.weight}
        return named if self.bias is None else {**named, "bias": self.bias}


class NonFiniteError(ValueError):
    """A model's features, logits or weights are NaN or infinite: it has diverged."""


def _blocks(length: int, other: int) -> Iterator[slice]:
    step = max(1, BLOCK_ELEMENTS // max(1, other))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
