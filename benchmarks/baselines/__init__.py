"""The peers' proxies, written from their papers: what the benchmark compares readouts with.

``BASELINES[name]`` says what a proxy needs besides the model, whether labels are among it, and which
way is good. No function changes the model that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmarks.baselines.az_nas import az_nas, az_nas_scores
from benchmarks.baselines.capacity import flops, parameters
from benchmarks.baselines.curves import accuracy, loss, tse, tse_e
from benchmarks.baselines.gradients import grad_norm, snip, synflow, zico
from benchmarks.baselines.samples import jacob_cov, naswot

__all__ = [
    "AFTER_TRAINING",
    "AT_INITIALISATION",
    "BASELINES",
    "Baseline",
    "accuracy",
    "az_nas",
    "az_nas_scores",
    "flops",
    "grad_norm",
    "jacob_cov",
    "loss",
    "naswot",
    "parameters",
    "snip",
    "synflow",
    "tse",
    "tse_e",
    "zico",
]

_ABDELFATTAH = "Abdelfattah et al. 2021, arXiv 2101.08134"


@dataclass(frozen=True)
class Baseline:
    """One proxy.

    Args:
        function: called with the arguments in ``needs``, by keyword.
        needs: ``model``; ``image_shape``, (C, H, W); ``inputs`` and ``labels``, one batch;
            ``batches``, several pairs of them; ``losses``, one a training step; ``window``, steps.
        labels: whose labels it uses, directly or through the losses.
        higher_is_better: which values belong to better architectures.
        source: the paper.
        aggregate: for a value with several parts: the values of a whole population to one score
            each.
    """

    function: Callable[..., Any]
    needs: tuple[str, ...]
    labels: Literal["none", "training", "validation"]
    higher_is_better: bool
    source: str
    aggregate: Callable[[Sequence[Any]], list[float]] | None = None


_UNLABELLED = ("model", "inputs")
_BATCH = ("model", "inputs", "labels")

AT_INITIALISATION = {
    "parameters": Baseline(parameters, ("model",), "none", True, "count"),
    "flops": Baseline(flops, ("model", "image_shape"), "none", True, "count"),
    "grad_norm": Baseline(grad_norm, _BATCH, "training", True, _ABDELFATTAH),
    "snip": Baseline(
        snip, _BATCH, "training", True, f"Lee et al. 2019, arXiv 1810.02340; {_ABDELFATTAH}"
    ),
    "synflow": Baseline(
        synflow,
        ("model", "image_shape"),
        "none",
        True,
        f"Tanaka et al. 2020, arXiv 2006.05467; {_ABDELFATTAH}",
    ),
    "jacob_cov": Baseline(
        jacob_cov, _UNLABELLED, "none", True, "Mellor et al. 2020, arXiv 2006.04647v1"
    ),
    "naswot": Baseline(naswot, _UNLABELLED, "none", True, "Mellor et al. 2021, arXiv 2006.04647v2"),
    "zico": Baseline(
        zico, ("model", "batches"), "training", True, "Li et al. 2023, arXiv 2301.11300"
    ),
    "az_nas": Baseline(
        az_nas,
        ("model", "image_shape"),
        "none",
        True,
        "Lee & Ham 2024, arXiv 2403.19232",
        az_nas_scores,
    ),
}

AFTER_TRAINING = {
    "tse": Baseline(tse, ("losses",), "training", False, "Ru et al. 2021, arXiv 2006.04492"),
    "tse_e": Baseline(
        tse_e, ("losses", "window"), "training", False, "Ru et al. 2021, arXiv 2006.04492"
    ),
    "training_loss": Baseline(
        partial(loss, batch_statistics=True), _BATCH, "training", False, "usual practice"
    ),
    "training_accuracy": Baseline(
        partial(accuracy, batch_statistics=True), _BATCH, "training", True, "usual practice"
    ),
    "validation_accuracy": Baseline(
        partial(accuracy, batch_statistics=False), _BATCH, "validation", True, "usual practice"
    ),
    "validation_accuracy_batch": Baseline(
        partial(accuracy, batch_statistics=True), _BATCH, "validation", True, "usual practice"
    ),
}

BASELINES = AT_INITIALISATION | AFTER_TRAINING
