"""Predictions: where the logits are, and softmax or sigmoid of them, computed block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from prescreen.checks import require_one_of

Link = Literal["softmax", "sigmoid", "identity"]

# The label of positions without a class, such as padding; torch's cross-entropy ignores it by default.
IGNORED = -100

# The keyword of inputs that marks the positions (B, L) whose predictions the loss uses, with 1 or True.
# It says what is read; models are called without it.
LOSS_MASK = "loss_mask"

# The largest block of predictions, in elements (16 MiB in float32). Larger matrices are computed block
# by block: a vocabulary of 100,000 classes then needs no second (N, K) matrix.
BLOCK_ELEMENTS = 1 << 22

# Products of sums of as many exponentials as a block has neither overflow nor vanish below this.
_LARGE = 20.0


class Predictions:
    """P, the predictions of K classes for N samples (or positions), from logits (N, K) and a link."""

    logits: Tensor
    link: Link

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
        """The dtype of readouts: float64 if the logits are, else float32."""
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

    def overlap(self, other: Predictions) -> Tensor | None:
        """⟨p_i, q_i⟩ of two softmaxes, (N,), from their exponentials; None where these are not kept."""
        if not (self._is_small and self.link == other.link == "softmax"):
            return None
        (ours, total, _), (theirs, their_total, _) = self._exponentials, other._exponentials
        theirs, their_total = theirs.to(ours), their_total.to(ours)
        return ((ours * theirs).sum(1, keepdim=True) / (total * their_total)).squeeze(1)

    def row_blocks(self) -> Iterator[slice]:
        """Slices of samples, all classes at once; a block has at most BLOCK_ELEMENTS elements."""
        return blocks(self.num_samples, self.num_classes)

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
        """P and its log-partition from one exponential; torch's two calls take 3 to 6 times as long."""
        exponentials, total, top = self._exponentials
        return exponentials / total, (top + total.log()).squeeze(1)

    @cached_property
    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor | float]:
        """exp(a − top), its sum over classes (N, 1), and top: (N, 1), or 0 if no logit is large."""
        logits = self.logit_block()
        top: Tensor | float = 0.0
        # A maximum of each row takes as long as the exponentials; to look at the values takes no time
        # where they are.
        if (
            is_far(logits)
            or not -_LARGE < min(extremes := _extremes(logits)) <= max(extremes) < _LARGE
        ):
            top = logits.amax(1, keepdim=True)
            logits = logits - top
        exponentials = logits.exp()
        return exponentials, exponentials.sum(1, keepdim=True), top


@dataclass(frozen=True, eq=False)
class Logits(Predictions):
    """Predictions without the head that made them, kept from an earlier reading.

    Args:
        logits: shape (N, K).
        link: how logits become predictions.
    """

    logits: Tensor
    link: Link = "softmax"

    def at(self, rows: Tensor) -> Logits:
        """The predictions of some of the samples."""
        return Logits(self.logits[rows], self.link)

    def of_classes(self, classes: Tensor) -> Logits:
        """The predictions among some of the classes alone."""
        return Logits(self.logits[:, classes], self.link)


def model_logits(output: Any) -> Tensor:
    """The logits in a model's output: the tensor itself, those that are named, or the first of several.

    Training minimises the loss of these, and heads are looked for behind them.

    Args:
        output: a tensor, an object with ``.logits`` or, as diffusion models have it, ``.sample``, a dict
            with ``"logits"``, ``"sample"`` or, as segmentation models have it, ``"out"``, or a tuple or
            list that begins with a tensor.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(output, Tensor):
        return output
    logits = getattr(output, "logits", None)
    if logits is None and isinstance(output, Mapping):
        logits = output.get("logits", output.get("out", output.get("sample")))
    if logits is None and isinstance(sample := getattr(output, "sample", None), Tensor):
        logits = sample  # of distributions it is a method
    if logits is None and isinstance(output, tuple | list) and output:
        logits = output[0]
    if not isinstance(logits, Tensor):
        raise ValueError(
            "`model` must return a tensor, an object or dict with logits or a tuple that begins with a "
            f"tensor, got {type(output).__name__}"
        )
    return logits


def is_far(tensor: Tensor) -> bool:
    """Whether the values are on an accelerator, which must finish all its work before they are seen."""
    return tensor.device.type != "cpu"


def _extremes(tensor: Tensor) -> tuple[float, float]:
    low, high = tensor.aminmax()
    return low.item(), high.item()


def check_link(link: str) -> None:
    """Refuse an unknown link.

    Raises:
        ValueError: it is not one of ``Link``.
    """
    require_one_of("link", link, get_args(Link))


def blocks(length: int, other: int) -> Iterator[slice]:
    """Slices of one dimension; with the whole other one, a block has at most BLOCK_ELEMENTS elements."""
    step = max(1, BLOCK_ELEMENTS // max(1, other))
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
