"""Proxies implemented from their papers, which the benchmarks compare readouts with.

``BASELINES[name]`` says what a proxy needs besides the model, whether it uses labels, and which
direction is better. No function changes the model that it is given. All models are classifiers, inputs
are (N, C, H, W), labels (N,) integers, and an image shape is (C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmarks.baselines.az_nas import PARTS, az_nas, az_nas_scores
from benchmarks.baselines.curves import accuracy, loss, tse, tse_e
from benchmarks.baselines.gradients import grad_norm, snip, synflow, zico
from benchmarks.baselines.networks import flops, parameters
from benchmarks.baselines.samples import (
    SWAP_PARTS,
    jacob_cov,
    naswot,
    regularised_swap_scores,
    swap,
    swap_and_size,
)

Labels = Literal["none", "training", "validation"]


@dataclass(frozen=True)
class Baseline:
    """One proxy.

    Args:
        function: called with the arguments in ``needs``, by keyword.
        needs: ``model``; ``image_shape``; ``inputs`` and ``labels``, one batch; ``batches``, several
            pairs of them; ``losses``, one per training step; ``window``, steps.
        labels: whose labels it uses, directly or through the losses.
        higher_is_better: which values belong to better architectures.
        source: the paper.
        aggregate: where a value has several parts: turns a population's values into one score each.
        parts: the names of these parts.
    """

    function: Callable[..., Any]
    needs: tuple[str, ...]
    labels: Labels
    higher_is_better: bool
    source: str
    aggregate: Callable[[Sequence[Any]], list[float]] | None = None
    parts: tuple[str, ...] = ()


_SHAPE = ("model", "image_shape")
_UNLABELLED = ("model", "inputs")
_BATCH = ("model", "inputs", "labels")
_PENG = "ICLR 2024, arXiv 2403.04161"
_RU = "Ru et al. 2021, arXiv 2006.04492"


def _usual(function: Callable[..., float], labels: Labels, batch_statistics: bool) -> Baseline:
    measured = partial(function, batch_statistics=batch_statistics)
    return Baseline(measured, _BATCH, labels, function is accuracy, "usual practice")


AT_INITIALISATION = {
    "parameters": Baseline(parameters, ("model",), "none", True, "count"),
    "flops": Baseline(flops, _SHAPE, "none", True, "count"),
    "grad_norm": Baseline(grad_norm, _BATCH, "training", True, "arXiv 2101.08134"),
    "snip": Baseline(snip, _BATCH, "training", True, "arXiv 1810.02340, 2101.08134"),
    "synflow": Baseline(synflow, _SHAPE, "none", True, "arXiv 2006.05467, 2101.08134"),
    "jacob_cov": Baseline(jacob_cov, _UNLABELLED, "none", True, "arXiv 2006.04647v1"),
    "naswot": Baseline(naswot, _UNLABELLED, "none", True, "arXiv 2006.04647v2"),
    "zico": Baseline(zico, ("model", "batches"), "training", True, "arXiv 2301.11300"),
    "az_nas": Baseline(az_nas, _SHAPE, "none", True, "arXiv 2403.19232", az_nas_scores, PARTS),
    "swap": Baseline(swap, _UNLABELLED, "none", True, _PENG),
    "swap_regularised": Baseline(
        swap_and_size, _UNLABELLED, "none", True, _PENG, regularised_swap_scores, SWAP_PARTS
    ),
}
AFTER_TRAINING = {
    "tse": Baseline(tse, ("losses",), "training", False, _RU),
    "tse_e": Baseline(tse_e, ("losses", "window"), "training", False, _RU),
    "training_loss": _usual(loss, "training", batch_statistics=True),
    "training_accuracy": _usual(accuracy, "training", batch_statistics=True),
    "validation_accuracy": _usual(accuracy, "validation", batch_statistics=False),
    "validation_accuracy_batch": _usual(accuracy, "validation", batch_statistics=True),
}
BASELINES = AT_INITIALISATION | AFTER_TRAINING
